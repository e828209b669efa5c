#!/usr/bin/env python3
"""Time the aligner beside `whisperx.align` on identical segments and models.

The rows: the dynamic programming alone, on seeded random emissions; the whole of `align` with a
model that has its emissions ready; the same with a small wav2vec2 of random weights; and with
the base model's convolutions, whose forward passes are nearly all there is on a CPU, where
batching them gains nothing (on a card it does: `--device cuda`).

WhisperX splits each segment into sentences with NLTK's punkt, whose data has to be downloaded;
here a stand-in takes each segment as one sentence. That favours WhisperX, which is spared
the work, and changes no word's time.

    .venv/bin/python scripts/benchmark-align.py --segments 60 --repeats 3
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from worker.speech.windows import SAMPLE_RATE
from worker.speech.words.align import Aligner, AlignItem
from worker.speech.words.trellis import align_tokens, token_scores
from worker.speech.words.wav2vec2 import AlignModel

LETTERS = ["-", "|", *"etaonihsrdlumwcfgypbvk'xjqz"]
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
SECONDS = (4.0, 6.0)
CHARACTERS_PER_SECOND = 15
SECONDS_PER_FRAME = 0.02


@dataclass(frozen=True)
class Row:
    """One comparison; seconds are medians.

    Attributes:
        what: was timed.
        ours: seconds of the aligner.
        whisperx: seconds of WhisperX.
        ours_cpu: CPU seconds of the aligner, for machines that others use as well.
        whisperx_cpu: CPU seconds of WhisperX.
        difference: largest difference of a start or end between the two, in frames.
    """

    what: str
    ours: float
    whisperx: float
    ours_cpu: float
    whisperx_cpu: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times faster the aligner is."""
        return self.whisperx / self.ours


class OneSentence:
    """Stands in for NLTK's sentence splitter."""

    @staticmethod
    def span_tokenize(text: str) -> list[tuple[int, int]]:
        """The whole text."""
        return [(0, len(text))]


def alternate(
    what: str,
    repeats: int,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    difference: Callable[[Any, Any], float],
) -> Row:
    """Run both in turn, changing who goes first."""
    wall: dict[str, list[float]] = {"ours": [], "theirs": []}
    cpu: dict[str, list[float]] = {"ours": [], "theirs": []}
    results: dict[str, Any] = {}
    runs = {"ours": ours, "theirs": theirs}
    for repeat in range(repeats):
        for name in ("ours", "theirs") if repeat % 2 == 0 else ("theirs", "ours"):
            start, start_cpu = time.perf_counter(), time.process_time()
            results[name] = runs[name]()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return Row(
        what,
        statistics.median(wall["ours"]),
        statistics.median(wall["theirs"]),
        statistics.median(cpu["ours"]),
        statistics.median(cpu["theirs"]),
        difference(results["ours"], results["theirs"]),
    )


def make_text(rng: np.random.Generator, seconds: float) -> str:
    """Random words, as many characters as speech has, some of them digits."""
    text = ""
    while len(text) < seconds * CHARACTERS_PER_SECOND:
        letters = rng.choice([*LETTERS[2:], "7"], size=int(rng.integers(1, 9)))
        text += " " + "".join(letters)
    return text.strip()


def compare_paths(whisperx: Any, segments: int, repeats: int) -> Row:
    """The dynamic programming alone."""
    import torch

    rng = np.random.default_rng(0)
    cases: list[tuple[npt.NDArray[np.float32], list[int]]] = []
    for _ in range(segments):
        seconds = rng.uniform(*SECONDS)
        logits = torch.from_numpy(rng.normal(size=(int(seconds * 50), len(LETTERS))) * 3)
        tokens = rng.integers(1, len(LETTERS), size=int(seconds * CHARACTERS_PER_SECOND))
        cases.append((torch.log_softmax(logits.float(), dim=-1).numpy(), tokens.tolist()))

    def theirs() -> list[Any]:
        found = []
        for emission, tokens in cases:
            scores = torch.from_numpy(emission)
            trellis = whisperx.get_trellis(scores, tokens, 0)
            path = whisperx.backtrack(trellis, scores, tokens, 0)
            found.append(whisperx.merge_repeats(path, "x" * len(tokens)))
        return found

    def difference(mine: Any, other: Any) -> float:
        frames = [
            max(abs(int(start) - span.start), abs(int(end) - span.end))
            for spans, merged in zip(mine, other, strict=True)
            for start, end, span in zip(spans.start, spans.end, merged, strict=True)
        ]
        return float(max(frames))

    def ours() -> Any:
        return align_tokens([token_scores(*case, blank=0) for case in cases])

    return alternate("dynamic programming, random emissions", repeats, ours, theirs, difference)


def build(channels: int, layers: int, width: int) -> Any:
    """A wav2vec2 of the base model's layout (group norm) with random weights."""
    import torch
    import torchaudio

    torch.manual_seed(0)
    module = torchaudio.models.wav2vec2_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=[(channels, kernel, stride) for kernel, stride in CONVOLUTIONS],
        extractor_conv_bias=False,
        encoder_embed_dim=width,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=layers,
        encoder_num_heads=width // 64,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=4 * width,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.0,
        aux_num_out=len(LETTERS),
    )
    # Fresh weights say nearly the same in every frame; these make up their mind.
    torch.nn.init.normal_(module.aux.weight, std=1.0)
    return module.eval()


def canned(segments: Sequence[npt.NDArray[np.float32]]) -> Any:
    """A model that has its answers ready: random logits for each segment, and no work."""
    import torch

    class Canned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            rng = np.random.default_rng(2)
            # The first sample tells the segments apart.
            self.answers = {
                float(samples[0]): torch.from_numpy(
                    (rng.normal(size=((len(samples) - 80) // 320, len(LETTERS))) * 3).astype(
                        np.float32
                    )
                )
                for samples in segments
            }

        def forward(self, waves: Any, lengths: Any = None) -> tuple[Any, Any]:
            logits = [self.answers[float(wave[0])] for wave in waves]
            frames = torch.tensor([len(item) for item in logits])
            stacked = torch.nn.utils.rnn.pad_sequence(logits, batch_first=True)
            return stacked.to(waves.device), None if lengths is None else frames

    return Canned()


def compare_words(
    whisperx: Any,
    what: str,
    shape: tuple[int, int, int] | None,
    segments: int,
    repeats: int,
    device: str,
) -> Row:
    """The whole way from samples and texts to words; without a shape, no forward passes."""
    rng = np.random.default_rng(1)
    lengths = rng.uniform(*SECONDS, size=segments)
    edges = np.concatenate(([0.0], np.cumsum(lengths))).round(3)
    audio = (rng.normal(size=int(edges[-1] * SAMPLE_RATE)) * 0.1).astype(np.float32)
    texts = [make_text(rng, float(seconds)) for seconds in lengths]
    spans = [(float(a), float(b)) for a, b in pairwise(edges)]
    items = [
        AlignItem(audio[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)], text, "en", a, b)
        for text, (a, b) in zip(texts, spans, strict=True)
    ]
    dictionary = {letter: code for code, letter in enumerate(LETTERS)}

    def make() -> Any:
        module = build(*shape) if shape else canned([item.samples for item in items])
        return module.to(device)

    module = make()
    aligner = Aligner(
        device,
        load=lambda *_: AlignModel(make(), dictionary, kind="torchaudio", name=what, spaced=True),
    )
    aligner.request("en")
    while aligner.ready("en") is None:
        time.sleep(0.01)

    def theirs() -> Any:
        transcript = [
            {"start": a, "end": b, "text": text} for text, (a, b) in zip(texts, spans, strict=True)
        ]
        metadata = {"language": "en", "dictionary": dictionary, "type": "torchaudio"}
        return whisperx.align(transcript, module, metadata, audio, device)["segments"]

    def difference(mine: Any, other: Any) -> float:
        found: list[float] = []
        for words, segment in zip(mine, other, strict=True):
            if [word.word for word in words] != [word["word"] for word in segment["words"]]:
                raise SystemExit("the two found different words")
            for word, their in zip(words, segment["words"], strict=True):
                found += [abs(word.start - their["start"]), abs(word.end - their["end"])]
        return max(found) / SECONDS_PER_FRAME

    aligner.align(items[:2])  # first calls allocate
    row = alternate(what, repeats, lambda: aligner.align(items), theirs, difference)
    aligner.close()
    return row


def benchmark(segments: int, repeats: int, device: str, layers: int) -> list[Row]:
    """All rows."""
    # whisperx sends its log to stdout, where the table goes, unless its logger has a handler.
    logging.getLogger("whisperx").addHandler(logging.NullHandler())
    whisperx: Any = importlib.import_module("whisperx.alignment")
    whisperx.nltk_load = lambda _: OneSentence()
    rows = [
        compare_paths(whisperx, segments, repeats),
        *(
            compare_words(whisperx, what, shape, segments, repeats, device)
            for what, shape in (
                ("whole alignment, forward passes left out", None),
                ("whole alignment, small model", (32, 2, 64)),
            )
        ),
    ]
    if layers:
        what = f"whole alignment, base convolutions, {layers} layers"
        shape = (512, layers, 768)
        rows.append(compare_words(whisperx, what, shape, segments, repeats, device))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| what | aligner, s | WhisperX, s | times faster | CPU s | CPU s | difference, frames |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.ours:.3f} | {row.whisperx:.3f} | {row.ratio:.1f} "
        f"| {row.ours_cpu:.3f} | {row.whisperx_cpu:.3f} | {row.difference:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--segments", type=int, default=60, help="of 4 to 6 s each")
    parser.add_argument("--repeats", type=int, default=3, help="of each; the median counts")
    parser.add_argument("--device", default="cpu", help="torch's name of the device")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads; 0 is its choice")
    parser.add_argument(
        "--layers", type=int, default=2, help="of the model with base convolutions; 0: leave it out"
    )
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    options = parser.parse_args()

    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    rows = benchmark(options.segments, options.repeats, options.device, options.layers)
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    print(
        f"{options.segments} segments, {options.repeats} repeats, {where}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}; NLTK's sentence splitter replaced by a stand-in\n"
    )
    print(table(rows))
    if options.json:
        document = [asdict(row) | {"ratio": row.ratio} for row in rows]
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
