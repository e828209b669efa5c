from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.utils.diarization import SpeakerDiarizationMixin
from pyannote.core import SlidingWindow, SlidingWindowFeature

from worker.results.speakers import Voice
from worker.speech.speakers import reconstruction
from worker.speech.speakers.reconstruction import (
    ABSENT,
    Grid,
    count_speakers,
    voices,
    who_speaks,
)

FRAMES = Grid(991 / 16000, 270 / 16000)
"""Those of segmentation-3.0."""


@st.composite
def chunks_of_speakers(
    draw: st.DrawFn,
) -> tuple[NDArray[np.bool_], NDArray[np.int_], Grid]:
    """Who speaks in each chunk, their clusters, and where the chunks lie."""
    number = draw(st.integers(1, 12))
    frames = draw(st.integers(5, 120))
    speakers = draw(st.integers(1, 4))
    duration = frames * FRAMES.step
    step = duration * draw(st.sampled_from([0.1, 0.2, 0.5, 1.0]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    active = random.random((number, frames, speakers)) < draw(st.floats(0.05, 0.95))
    # Stretches, so that turns are longer than a frame.
    active = np.repeat(active[:, ::5], 5, axis=1)[:, :frames]
    clusters = random.integers(0, draw(st.integers(1, 5)), (number, speakers))
    clusters[~active.any(axis=1)] = ABSENT
    return active, clusters, Grid(duration, step)


def theirs(
    scores: NDArray[np.floating],
    clusters: NDArray[np.int_],
    count: SlidingWindowFeature,
    chunks: Grid,
    silence: float,
) -> list[Voice]:
    """Voices as pyannote makes them."""
    window = SlidingWindow(start=0.0, duration=chunks.duration, step=chunks.step)
    pipeline = SpeakerDiarization.__new__(SpeakerDiarization)
    discrete = pipeline.reconstruct(SlidingWindowFeature(scores, window), clusters, count)
    found = pipeline.to_annotation(discrete, min_duration_on=0.0, min_duration_off=silence)
    tracks = found.itertracks(yield_label=True)
    return sorted(Voice(at.start, at.end, f"SPEAKER_{cluster:02d}") for at, _, cluster in tracks)


def their_count(active: NDArray[np.bool_], chunks: Grid) -> SlidingWindowFeature:
    window = SlidingWindow(start=0.0, duration=chunks.duration, step=chunks.step)
    return SpeakerDiarizationMixin.speaker_count(
        SlidingWindowFeature(active.astype(np.float32), window),
        SlidingWindow(start=0.0, duration=FRAMES.duration, step=FRAMES.step),
        warm_up=(0.0, 0.0),
    )


def clusters_heard(
    active: NDArray[np.bool_], clusters: NDArray[np.int_], chunks: Grid, frames: int
) -> NDArray[np.int_]:
    """How many clusters are heard in each frame of the recording, [frames, 1]."""
    heard: list[set[int]] = [set() for _ in range(frames)]
    for chunk, (spoken, names) in enumerate(zip(active, clusters, strict=True)):
        first = int(FRAMES.nearest(chunk * chunks.step + 0.5 * FRAMES.duration))
        for frame, speaker in np.argwhere(spoken).tolist():
            heard[first + frame].add(names[speaker])
    return np.array([[len(names)] for names in heard])


@settings(max_examples=60)
@given(chunks_of_speakers(), st.sampled_from([0.0, 0.1, 0.5]), st.booleans(), st.booleans())
def test_voices_are_pyannotes(
    drawn: tuple[NDArray[np.bool_], NDArray[np.int_], Grid],
    silence: float,
    exclusive: bool,
    scored: bool,
) -> None:
    """However many frames are reckoned at a time, of speakers by yes and no or by scores."""
    active, clusters, chunks = drawn
    count = count_speakers(active, chunks, FRAMES)
    known = their_count(active, chunks)
    assert count.tolist() == known.data[:, 0].tolist()
    if not count.any():
        return
    # Where two in a chunk are one cluster, fewer are heard than speak. pyannote takes any others.
    known.data = np.minimum(known.data, clusters_heard(active, clusters, chunks, len(count)))
    known.data = np.minimum(known.data, 1 if exclusive else 255).astype(np.int8)
    random = np.random.default_rng(active.size)
    scores = (random.random(active.shape) if scored else np.ones(active.shape)) * active
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "_BLOCK_FRAMES", 50)
        speaking = who_speaks(scores.astype(np.float32), clusters, count, chunks, FRAMES)
    ours = voices(speaking[:, :1] if exclusive else speaking, FRAMES, least_silence=silence)
    assert ours == theirs(scores.astype(np.float32), clusters, known, chunks, silence)


def test_many_speakers_take_no_more_memory_than_few() -> None:
    """An hour with a new speaker in each chunk; frames x clusters would take 300 MB, and more."""
    chunks = Grid(10.0, 10.0)
    active = np.ones((360, 592, 1), np.bool_)
    clusters = np.arange(360)[:, None]
    count = count_speakers(active, chunks, FRAMES)
    told: list[float] = []
    tracemalloc.start()
    speaking = who_speaks(active, clusters, count, chunks, FRAMES, told.append)
    found = voices(speaking, FRAMES, least_silence=0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [voice.speaker for voice in found] == [f"SPEAKER_{name:02d}" for name in range(360)]
    assert found[-1].end == pytest.approx(3600, abs=0.1)
    assert peak < 20e6
    assert told == sorted(told)
    assert (len(told) > 10, told[-1]) == (True, 1.0)


def test_a_voice_of_the_last_frame_alone_is_none() -> None:
    speaking = np.full((5, 1), ABSENT, np.int32)
    speaking[-1] = 0
    assert voices(speaking, FRAMES, least_silence=0.0) == []
