"""The text before a window, with the real base model: what is wrong in one window stays there.

The windows skip the speech detector, which would not let most of the wrong ones through.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.test_adaptive_windows import Adversary, adversaries, clips
from tests.wording import word_errors
from worker.bench.wer import normalize
from worker.speech.api import CarryContext, Options, WindowText
from worker.speech.engine.batcher import Turn
from worker.speech.engine.state import FileState
from worker.speech.engine.window import full_ladder
from worker.speech.model import models
from worker.speech.model.decoding import Request
from worker.speech.model.device import find_device
from worker.speech.model.whisper import Whisper
from worker.speech.prepare.features import FrontEnd
from worker.speech.windows import SAMPLE_RATE, Span

ECHO = 6
"""Words in a row that nobody says again by chance."""


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    device, _ = find_device("cpu")
    return Whisper(models.resolve("base"), device, "int8", 2)


def one_after_another(
    whisper: Whisper, windows: Sequence[Adversary], carry_context: CarryContext
) -> list[WindowText]:
    """The texts of the windows of one file, each prompted with the text before it if allowed."""
    state = FileState("file", Options(language="en", carry_context=carry_context), full_ladder)
    front_end = FrontEnd(whisper.mels)
    ready: list[int] = []
    for index, window in enumerate(windows):
        samples = window.samples[: 30 * SAMPLE_RATE]
        start = 40 * SAMPLE_RATE * index
        spans = (Span(start, start + len(samples)),)
        ready += state.add_window(index, spans, front_end(samples), None).ready
    state.end(40.0 * len(windows), {})
    while not state.finished:
        index = min(set(ready), key=lambda index: (state.turn(index) is not Turn.NOW, index))
        ready = [other for other in ready if other != index]
        rung = state.begin(index)
        features = state.windows[index].sound
        assert features is not None
        request = Request(features, 1.0, "en", "transcribe", carried=rung.prompt)
        (decoded,) = whisper.decode(
            [request], positions=rung.positions, beam_size=5, temperature=rung.temperature
        )
        step = state.decoded(index, decoded)
        ready += step.ready
        for chosen, _ in step.texts:
            state.words(chosen, ())
    return [state.done[index] for index in range(len(windows))]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_is_wrong_in_one_window_never_reaches_the_next(
    whisper: Whisper, speech_dir: Path
) -> None:
    import ctranslate2

    rng = random.Random(7)
    english = clips(speech_dir / "english")
    # Each wrong window, then clean ones that have the text before them to lean on, and to repeat.
    windows = []
    for adversary in adversaries(speech_dir, 32):
        clean = [Adversary("clean", *rng.choice(english)) for _ in range(2)]
        windows += [adversary, *clean]
    ctranslate2.set_random_seed(7)
    alone = one_after_another(whisper, windows, "off")
    ctranslate2.set_random_seed(7)
    carried = one_after_another(whisper, windows, "on")
    errors = {"alone": 0, "carried": 0}
    words = 0
    for window, without, with_text in zip(windows, alone, carried, strict=True):
        if window.kind == "clean":
            words += len(window.reference.split())
            errors["alone"] += word_errors(window.reference, without.text)
            errors["carried"] += word_errors(window.reference, with_text.text)
    points = {name: 100 * count / words for name, count in errors.items()}
    assert points["carried"] <= points["alone"] + 0.5, points
    for (first, one), (second, other) in itertools.pairwise(zip(windows, carried, strict=True)):
        said = set(runs(second.reference))
        echoed = [run for run in runs(other.text) if run in set(runs(one.text)) and run not in said]
        assert not echoed, (first.kind, one.text, second.kind, other.text)


def runs(text: str) -> list[tuple[str, ...]]:
    """Every so many words in a row."""
    words = normalize(text)
    return [tuple(words[at : at + ECHO]) for at in range(len(words) - ECHO + 1)]
