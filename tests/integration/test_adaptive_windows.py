"""Adaptive context on windows that are meant to break it, with the real base model.

The windows skip the speech detector, which would not let most of them through: speech clipped
in the middle of a word, a third of a second of it, music, noise, silence, two languages in one
window. Short windows with their checks must be as good as full ones, and must not loop.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.speech import samples_of
from tests.wording import word_errors
from worker.bench.calibrate import Prepared, decode_all
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.quality import MAX_COMPRESSION
from worker.speech.engine.repeats import says_often
from worker.speech.engine.scripts import compression_ratio
from worker.speech.engine.window import Ladder, full_ladder
from worker.speech.model import models
from worker.speech.model.device import find_device
from worker.speech.model.whisper import Whisper
from worker.speech.prepare.features import FrontEnd
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE

SEED = 20
BATCH_POSITIONS = 8 * FULL_POSITIONS

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Adversary:
    """A window, and what a perfect ear would write (as far as anybody knows)."""

    kind: str
    samples: Samples
    reference: str


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    device, _ = find_device("cpu")
    return Whisper(models.resolve("base"), device, "int8", 2)


def clips(folder: Path) -> list[tuple[Samples, str]]:
    with (folder / "transcripts.csv").open(newline="", encoding="utf-8") as file:
        return [(samples_of(folder / row["file"]), row["text"]) for row in csv.DictReader(file)]


def adversaries(speech: Path, count: int) -> list[Adversary]:
    """Seeded; the kinds take turns."""
    rng = random.Random(SEED)
    noise = np.random.default_rng(SEED)
    english = clips(speech / "english")
    others = [(lang, samples_of(speech / "languages" / f"{lang}.wav")) for lang in ("de", "fr")]

    def clipped() -> Adversary:
        samples, text = rng.choice(english)
        start = rng.uniform(0.1, 0.4)
        end = rng.uniform(0.6, 0.9)
        words = text.split()
        kept = words[round(start * len(words)) : round(end * len(words))]
        cut = samples[int(start * len(samples)) : int(end * len(samples))]
        return Adversary("clipped", cut, " ".join(kept))

    def instant() -> Adversary:
        samples, _ = rng.choice(english)
        at = rng.randrange(len(samples) - 4800)
        return Adversary("instant", samples[at : at + 4800], "")

    def music() -> Adversary:
        seconds = rng.uniform(2, 12)
        t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        notes = rng.choices([220.0, 277.2, 329.6, 440.0, 554.4], k=int(seconds * 3) + 1)
        pitch = np.repeat(notes, SAMPLE_RATE // 3)[: len(t)]
        chord = np.sum([np.sin(2 * np.pi * pitch * k * t) / k for k in (1, 2, 3)], axis=0)
        return Adversary("music", (0.2 * chord).astype(np.float32), "")

    def hiss() -> Adversary:
        size = int(rng.uniform(1, 15) * SAMPLE_RATE)
        return Adversary("noise", (0.05 * noise.standard_normal(size)).astype(np.float32), "")

    def silence() -> Adversary:
        return Adversary("silence", np.zeros(int(rng.uniform(1, 15) * SAMPLE_RATE), np.float32), "")

    def noisy() -> Adversary:
        samples, text = rng.choice(english)
        hissing = samples + 0.02 * noise.standard_normal(len(samples)).astype(np.float32)
        return Adversary("noisy speech", hissing.astype(np.float32), text)

    def bilingual() -> Adversary:
        samples, text = rng.choice(english)
        _, other = rng.choice(others)
        return Adversary("two languages", np.concatenate([samples, other]), text)

    def repeated() -> Adversary:
        samples, text = rng.choice([clip for clip in english if len(clip[0]) < 8 * SAMPLE_RATE])
        return Adversary("said twice", np.concatenate([samples, samples]), f"{text} {text}")

    kinds = (clipped, instant, music, hiss, silence, noisy, bilingual, repeated)
    return [kinds[index % len(kinds)]() for index in range(count)]


def transcribe(whisper: Whisper, windows: Sequence[Adversary], ladder: Ladder) -> list[str]:
    """Every window up its ladder; windows at the same rung share batches."""
    front_end = FrontEnd(whisper.mels)
    prepared = []
    for number, window in enumerate(windows):
        samples = window.samples[: 30 * SAMPLE_RATE]
        prepared.append(Prepared(number, front_end(samples), len(samples)))
    texts, _ = decode_all(
        whisper,
        prepared,
        ladder,
        language="en",
        beam_size=5,
        batch_positions=BATCH_POSITIONS,
    )
    return texts


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1500)]),
    ],
)
def test_short_windows_with_checks_are_as_good_as_full_ones(
    count: int, whisper: Whisper, speech_dir: Path
) -> None:
    import ctranslate2

    windows = adversaries(speech_dir, count)
    ctranslate2.set_random_seed(SEED)
    full = transcribe(whisper, windows, full_ladder)
    ctranslate2.set_random_seed(SEED)
    short = transcribe(whisper, windows, adaptive_ladder)
    words = sum(len(window.reference.split()) for window in windows)
    errors = {
        name: sum(
            word_errors(window.reference, text) for window, text in zip(windows, texts, strict=True)
        )
        for name, texts in (("full", full), ("adaptive", short))
    }
    points = {name: 100 * count / words for name, count in errors.items()}
    assert points["adaptive"] <= points["full"] + 0.5, points
    for window, text in zip(windows, short, strict=True):
        if window.kind != "said twice":
            assert compression_ratio(text) <= MAX_COMPRESSION, (window.kind, text)
            assert not says_often(text), (window.kind, text)
