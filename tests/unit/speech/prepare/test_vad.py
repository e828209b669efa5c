"""Silero over a stream: the same probabilities in any pieces, and speech where speech is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from faster_whisper.vad import get_vad_model
from numpy.typing import NDArray

from worker.speech.model.selftest import known_speech, recording
from worker.speech.prepare.audio import AudioLimits, AudioReader
from worker.speech.prepare.vad import Silero
from worker.speech.windows import FRAME


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """Ten seconds of the conversation that pyannote-audio ships."""
    path = recording()
    if path is None:
        pytest.skip("needs the recording in pyannote-audio")
    with AudioReader(path, AudioLimits(60.0)) as reader:
        return np.concatenate(list(reader))[:160_100]


def run(silero: Silero, samples: NDArray[np.float32], edges: list[int]) -> NDArray[np.float32]:
    stream = silero.stream()
    cuts = [0, *edges, len(samples)]
    pieces = [stream.feed(samples[low:high]) for low, high in pairwise(cuts)]
    return np.concatenate([*pieces, stream.finish()])


def test_pieces_of_any_length_give_the_same(silero: Silero, speech: NDArray[np.float32]) -> None:
    whole = run(silero, speech, [])
    assert len(whole) == -(-len(speech) // FRAME)
    rng = np.random.default_rng(0)
    for count in (1, 7, 60):
        edges = sorted(rng.integers(0, len(speech), size=count).tolist())
        np.testing.assert_allclose(run(silero, speech, edges), whole, atol=1e-5)


def test_it_is_the_model_that_faster_whisper_runs(
    silero: Silero, speech: NDArray[np.float32]
) -> None:
    samples = speech[: len(speech) // FRAME * FRAME]
    theirs = np.asarray(get_vad_model()(samples)).reshape(-1)
    np.testing.assert_allclose(run(silero, samples, [3_000, 90_001]), theirs, atol=1e-4)


def test_speech_is_told_from_silence_and_noise(silero: Silero, speech: NDArray[np.float32]) -> None:
    assert known_speech() is not None
    assert run(silero, speech, []).max() > 0.9
    quiet = np.zeros(32_000, dtype=np.float32)
    assert run(silero, quiet, []).max() < 0.3
    hiss = np.random.default_rng(0).normal(size=32_000).astype(np.float32) * 0.05
    assert run(silero, hiss, []).max() < 0.5


def test_nothing_gives_nothing(silero: Silero) -> None:
    stream = silero.stream()
    assert stream.feed(np.zeros(0, dtype=np.float32)).shape == (0,)
    assert stream.finish().shape == (0,)
