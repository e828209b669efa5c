"""Weights that suppress tokens by themselves write what the list writes: the real base model.

On a card the worker decodes with a copy of the weights (`worker/speech/model/suppressed.py`). Both
ways are compared here in every compute type that this processor has, on the same windows in the
same batches. What a step of the decoder takes with each is shown, and bounds nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fakes.tiny_model import base_model, tiny_model
from worker.bench.calibrate import Prepared as Window
from worker.bench.calibrate import prepare_clips
from worker.bench.loads import read_clips
from worker.bench.probe import fixed_length
from worker.speech.model import suppressed
from worker.speech.model.choices import Device
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.device import supported_compute_types
from worker.speech.model.suppressed import Prepared, prepare
from worker.speech.model.whisper import Whisper
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE

if TYPE_CHECKING:
    import ctranslate2

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CPU = Device("cpu", 0, "a processor")
BEAMS = 5
BATCH = 8
"""Windows in a call: 40 rows of the decoder."""

COMPUTE_TYPES = (
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
)

ROWS = (20, 125, 320, 535)
"""Rows of the decoder whose steps are timed; the last are 107 windows, a full batch on a card."""

Ways = tuple[Prepared, Prepared]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Ways]]:
    """Makes of weights the two ways: those themselves with the list, and their copy."""
    base_model()  # joined in the real cache, before another takes its place
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setattr(suppressed, "cache_directory", lambda: cache)

        def both(directory: Path) -> Ways:
            copy = prepare(directory)
            assert copy.directory != directory
            return Prepared(directory), copy

        yield both


@pytest.fixture(scope="module")
def ways(copied: Callable[[Path], Ways]) -> Ways:
    return copied(base_model())


@pytest.fixture(scope="module")
def windows(speech_dir: Path) -> list[Window]:
    """Of the 80 clips, the longest first, which is how the worker decodes them."""
    clips = read_clips([speech_dir / "english", speech_dir / "english-more"], None)
    assert len(clips) == 80
    found, _ = prepare_clips(clips, mels=80)
    assert {window.clip for window in found} == set(range(80))
    return sorted(found, key=lambda window: -window.samples)


def decode(way: Prepared, compute_type: str, windows: Sequence[Window]) -> list[Decoded]:
    """All windows as the worker decodes them, in full and in batches."""
    model = Whisper(way.directory, CPU, compute_type, 2, suppressed=way.tokens)
    requests = [
        Request(window.sound, window.samples / SAMPLE_RATE, "en", "transcribe")
        for window in windows
    ]
    return [
        decoded
        for first in range(0, len(requests), BATCH)
        for decoded in model.decode(
            requests[first : first + BATCH],
            positions=FULL_POSITIONS,
            beam_size=BEAMS,
            temperature=0.0,
        )
    ]


def test_every_compute_type_of_this_processor_is_compared() -> None:
    assert supported_compute_types(CPU) <= set(COMPUTE_TYPES)


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_eighty_clips_have_the_same_tokens(
    ways: Ways,
    windows: list[Window],
    compute_type: str,
    record_property: Callable[[str, object], None],
) -> None:
    if compute_type not in supported_compute_types(CPU):
        pytest.skip(f"needs a processor with {compute_type}")
    by_list, by_weights = (decode(way, compute_type, windows) for way in ways)
    differing = [
        (window.clip, one.text, other.text)
        for window, one, other in zip(windows, by_list, by_weights, strict=True)
        if (one.tokens, one.text) != (other.tokens, other.text)
    ]
    assert not differing
    apart = max(
        max(abs(one.avg_logprob - other.avg_logprob), abs(one.no_speech - other.no_speech))
        for one, other in zip(by_list, by_weights, strict=True)
    )
    assert apart < 1e-4
    tokens = sum(len(each.tokens) for each in by_list)
    record_property(
        "figure",
        f"{compute_type}: {len(windows)} windows and {tokens} tokens are the same by list and by "
        f"weights; probabilities are at most {apart:.1e} apart",
    )


def test_what_a_step_takes_with_the_list_and_without(
    copied: Callable[[Path], Ways],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Of a small model, so that what is written into the logits shows beside the rest.

    On a processor CTranslate2 writes the list straight into them, and the copy's bias is one more
    pass over them: there the worker stays with the list. What the list costs on a card, where it is
    kept in order on the host, only a card shows.
    """
    base = json.loads((base_model() / "config.json").read_text(encoding="utf-8"))
    directory = tiny_model(tmp_path / "tiny")
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config["suppress_ids"] = base["suppress_ids"]
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    by_list, by_weights = (
        Whisper(way.directory, CPU, "float32", 2, suppressed=way.tokens).model
        for way in copied(directory)
    )
    special = list(copied(directory)[1].tokens)
    for rows in ROWS:
        listed = step_milliseconds(by_list, rows, base["suppress_ids"])
        weighed = step_milliseconds(by_weights, rows, special)
        record_property(
            "figure",
            f"a step of {rows} rows: {listed:.1f} ms with the list, {weighed:.1f} ms by weights",
        )


def step_milliseconds(model: ctranslate2.models.Whisper, rows: int, suppressed: list[int]) -> float:
    """What one more token takes: a long call less a short one, by the tokens between them."""
    import ctranslate2

    few, many = 4, 16
    features = np.zeros((rows // BEAMS, 128, 100), dtype=np.float32)
    encoded = model.encode(ctranslate2.StorageView.from_array(features))
    prompts = [[50258, 50259, 50360, 50364]] * (rows // BEAMS)

    def seconds(tokens: int) -> float:
        began = time.perf_counter()
        results = model.generate(
            encoded,
            prompts,
            beam_size=BEAMS,
            max_length=fixed_length(len(prompts[0]), tokens),
            suppress_tokens=suppressed,
        )
        assert {len(result.sequences_ids[0]) for result in results} == {tokens}
        return time.perf_counter() - began

    seconds(few)  # the first call is slower
    return 1000 * min(seconds(many) - seconds(few) for _ in range(3)) / (many - few)
