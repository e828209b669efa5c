"""Silero over a stream: speech where speech is, however quiet, and none in noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from faster_whisper.vad import get_vad_model
from numpy.typing import NDArray

from worker.speech.config import SPANS
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.model.selftest import known_speech, recording
from worker.speech.prepare.vad import Silero
from worker.speech.windows import FRAME, Padder, SpanFinder


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


def run(silero: Silero, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    stream = silero.stream()
    return np.concatenate([stream.feed(samples), stream.finish()])


def decoded(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which frames are decoded: those in spans, and the padding beside them."""
    samples = len(probabilities) * FRAME
    finder, padder = SpanFinder(SPANS), Padder(SPANS)
    found = [*finder.feed(probabilities.tolist()), *finder.finish(samples)]
    inside = np.zeros(len(probabilities), dtype=bool)
    for span in (*padder.feed(found), *padder.finish(samples)):
        inside[span.start // FRAME : -(-span.end // FRAME)] = True
    return inside


def raw(silero: Silero, samples: NDArray[np.float32], *edges: int) -> NDArray[np.float32]:
    """What the model itself says of whole frames, cut at some of them."""
    stream = silero.raw_stream()
    before = np.zeros(FRAME, dtype=np.float32)
    found = []
    for low, high in pairwise([0, *edges, len(samples) // FRAME]):
        piece = samples[low * FRAME : high * FRAME]
        found.append(stream.hear(piece, before))
        before = piece[-FRAME:]
    return np.concatenate(found)


def test_it_is_the_model_that_faster_whisper_runs(
    silero: Silero, speech: NDArray[np.float32]
) -> None:
    samples = speech[: len(speech) // FRAME * FRAME]
    theirs = np.asarray(get_vad_model()(samples)).reshape(-1)
    np.testing.assert_allclose(raw(silero, samples, 6, 200), theirs, atol=1e-4)


def test_a_fork_goes_on_from_where_its_stream_is(
    silero: Silero, speech: NDArray[np.float32]
) -> None:
    stream = silero.raw_stream()
    first, second = speech[: 100 * FRAME], speech[100 * FRAME : 200 * FRAME]
    stream.hear(first, np.zeros(FRAME, dtype=np.float32))
    fork = stream.fork()
    told = stream.hear(second, first[-FRAME:])
    np.testing.assert_array_equal(fork.hear(second, first[-FRAME:]), told)


@pytest.mark.parametrize("gain", [-20.0, -40.0, -60.0])
def test_speech_is_heard_at_any_level(
    silero: Silero, speech: NDArray[np.float32], gain: float
) -> None:
    whole = run(silero, speech) >= SPANS.threshold
    assert decoded(run(silero, speech * np.float32(10 ** (gain / 20))))[whole].mean() > 0.97


def test_a_voice_is_heard_beside_one_that_is_40_db_louder(
    silero: Silero, speech: NDArray[np.float32]
) -> None:
    quiet = speech.copy()
    quiet[5 * 16_000 :] *= np.float32(0.01)
    whole = run(silero, speech) >= SPANS.threshold
    assert decoded(run(silero, quiet))[whole].mean() > 0.97


def test_a_muffled_voice_under_rumble_is_heard(silero: Silero, speech: NDArray[np.float32]) -> None:
    hertz = np.fft.rfftfreq(len(speech), 1 / 16_000)
    noise = np.fft.rfft(np.random.default_rng(0).normal(size=len(speech)) * speech.std())
    rumble = noise * (20 * (hertz < 100) + 0.01)
    mixed = np.fft.rfft(speech) / np.hypot(1, (hertz / 400) ** 2) + rumble
    far = (0.02 * np.fft.irfft(mixed, len(speech))).astype(np.float32)
    voice = run(silero, speech) >= SPANS.threshold
    assert decoded(raw(silero, far))[voice[:-1]].mean() < 0.1
    assert decoded(run(silero, far))[voice].mean() > 0.95


def test_speech_is_told_from_silence_and_noise(silero: Silero, speech: NDArray[np.float32]) -> None:
    assert known_speech() is not None
    assert run(silero, speech).max() > 0.9
    quiet = np.zeros(32_000, dtype=np.float32)
    assert run(silero, quiet).max() < 0.3
    hiss = np.random.default_rng(0).normal(size=32_000).astype(np.float32) * 0.05
    assert run(silero, hiss).max() < 0.5


def test_nothing_gives_nothing(silero: Silero) -> None:
    stream = silero.stream()
    assert stream.feed(np.zeros(0, dtype=np.float32)).shape == (0,)
    assert stream.finish().shape == (0,)
