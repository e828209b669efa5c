"""A vocabulary in the decoder, with the real base model: it helps what is said, and adds nothing.

The windows skip the speech detector, which lets hardly any without speech through.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.speech import samples_of
from tests.wording import word_errors
from worker.bench.wer import normalize
from worker.speech.api import Options
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.own_prompt import own_prompt
from worker.speech.engine.state import FileState
from worker.speech.model import models
from worker.speech.model.decoding import Request
from worker.speech.model.device import find_device
from worker.speech.model.whisper import Whisper
from worker.speech.prepare.features import FrontEnd
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span

Samples = NDArray[np.float32]

SAID = (
    "Exhibition", "Netherlands", "woodcutters", "block books", "typography", "Gutenberg",
    "forty-two line Bible", "picture-books", "letterpress", "craftsmen", "shapeliness",
    "calligraphy",
)  # fmt: skip
UNSAID = (
    "Kubernetes", "Novak Djokovic", "Mississauga", "paracetamol", "Szczecin", "Anheuser-Busch",
    "Ngozi Okonjo", "Reykjavik", "hydroxychloroquine", "Oaxaca",
)  # fmt: skip


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    device, _ = find_device("cpu")
    return Whisper(models.resolve("base"), device, "int8", 2)


def texts(whisper: Whisper, samples: Samples, vocabulary: Sequence[str] = ()) -> list[str]:
    """What each attempt at a window says, and last what is written of it."""
    options = Options(language="en", vocabulary=tuple(vocabulary))
    own = own_prompt(whisper, options, carries=True)
    state = FileState("file", options, adaptive_ladder, own=own)
    step = state.add_window(0, (Span(0, len(samples)),), FrontEnd(whisper.mels)(samples), None)
    said: list[str] = []
    while not step.texts:
        rung = state.begin(0)
        window = state.windows[0]
        assert window.sound is not None
        request = Request(
            window.sound,
            window.seconds,
            "en",
            "transcribe",
            context=own.tokens(0, told=rung.told),
            want_words=rung.positions < FULL_POSITIONS,
        )
        (decoded,) = whisper.decode(
            [request], positions=rung.positions, beam_size=5, temperature=rung.temperature
        )
        said.append(decoded.text)
        step = state.decoded(0, decoded.with_words())
    state.words(0, ())
    return [*said, state.done[0].text]


def found(phrases: Sequence[str], text: str) -> list[str]:
    """Those that a text says."""
    said = f" {' '.join(normalize(text))} "
    return [phrase for phrase in phrases if f" {' '.join(normalize(phrase))} " in said]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_phrases_that_are_said_are_found_and_others_are_not_written(
    whisper: Whisper, speech_dir: Path
) -> None:
    folder = speech_dir / "english"
    with (folder / "transcripts.csv").open(newline="", encoding="utf-8") as file:
        clips = {folder / row["file"]: row["text"] for row in csv.DictReader(file)}
    vocabulary = [*UNSAID[:5], *SAID, *UNSAID[5:]]
    errors, hits = {"without": 0, "with": 0}, {"without": 0, "with": 0}
    for path, reference in clips.items():
        samples = samples_of(path)
        for name, told in (("without", ()), ("with", vocabulary)):
            text = texts(whisper, samples, told)[-1]
            errors[name] += word_errors(reference, text)
            hits[name] += len(found(found(SAID, reference), text))
            assert not found(UNSAID, text)
    assert errors["with"] <= errors["without"], errors
    assert hits["with"] > hits["without"], hits
    assert hits["with"] >= 12, hits


def without_speech() -> dict[str, Samples]:
    """Windows in which nobody speaks, seeded."""
    noise = np.random.default_rng(3)
    made: dict[str, NDArray[np.float64]] = {}
    for seconds in (1.5, 3.0, 8.0, 14.0):
        size = int(seconds * SAMPLE_RATE)
        time = np.arange(size) / SAMPLE_RATE
        made[f"hiss {seconds}"] = 0.05 * noise.standard_normal(size)
        made[f"hum {seconds}"] = 0.2 * np.sin(2 * np.pi * 100 * time)
        made[f"silence {seconds}"] = np.zeros(size)
    return {name: samples.astype(np.float32) for name, samples in made.items()}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_where_nobody_speaks_the_vocabulary_is_not_written(whisper: Whisper) -> None:
    import ctranslate2

    ctranslate2.set_random_seed(1)
    first = 0
    for name, samples in without_speech().items():
        for vocabulary in (UNSAID, UNSAID[5:8]):
            *said, written = texts(whisper, samples, vocabulary)
            first += bool(found(vocabulary, said[0]))
            assert not found(vocabulary, written), (name, said)
    assert first >= 6, "else nothing was there to be doubted"
