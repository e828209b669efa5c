from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.utils.diarization import SpeakerDiarizationMixin
from pyannote.core import SlidingWindow, SlidingWindowFeature

from worker.speech.speakers.reconstruction import (
    ABSENT,
    Grid,
    Turn,
    choose,
    count_speakers,
    hear,
    turns,
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
) -> list[Turn]:
    """Turns as pyannote makes them."""
    window = SlidingWindow(start=0.0, duration=chunks.duration, step=chunks.step)
    pipeline = SpeakerDiarization.__new__(SpeakerDiarization)
    discrete = pipeline.reconstruct(SlidingWindowFeature(scores, window), clusters, count)
    found = pipeline.to_annotation(discrete, min_duration_on=0.0, min_duration_off=silence)
    tracks = found.itertracks(yield_label=True)
    return sorted(Turn(turn.start, turn.end, cluster) for turn, _, cluster in tracks)


def their_count(active: NDArray[np.bool_], chunks: Grid) -> SlidingWindowFeature:
    window = SlidingWindow(start=0.0, duration=chunks.duration, step=chunks.step)
    return SpeakerDiarizationMixin.speaker_count(
        SlidingWindowFeature(active.astype(np.float32), window),
        SlidingWindow(start=0.0, duration=FRAMES.duration, step=FRAMES.step),
        warm_up=(0.0, 0.0),
    )


@settings(max_examples=60)
@given(chunks_of_speakers(), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_turns_are_pyannotes(
    drawn: tuple[NDArray[np.bool_], NDArray[np.int_], Grid], silence: float, exclusive: bool
) -> None:
    active, clusters, chunks = drawn
    count = count_speakers(active, chunks, FRAMES)
    known = their_count(active, chunks)
    assert count.tolist() == known.data[:, 0].tolist()
    if not count.any():
        return
    if exclusive:
        count = np.minimum(count, np.uint8(1))
        known.data = np.minimum(known.data, 1).astype(np.int8)
    speaking = choose(hear(active, clusters, chunks, FRAMES), count)
    ours = turns(speaking, FRAMES, least_silence=silence)
    assert ours == theirs(active.astype(np.float32), clusters, known, chunks, silence)


@settings(max_examples=25)
@given(chunks_of_speakers())
def test_turns_by_scores_are_pyannotes(
    drawn: tuple[NDArray[np.bool_], NDArray[np.int_], Grid],
) -> None:
    active, clusters, chunks = drawn
    random = np.random.default_rng(active.size)
    scores = random.random(active.shape).astype(np.float32)
    count = count_speakers(active, chunks, FRAMES)
    if not count.any():
        return
    speaking = choose(hear(scores, clusters, chunks, FRAMES), count)
    ours = turns(speaking, FRAMES, least_silence=0.0)
    assert ours == theirs(scores.copy(), clusters, their_count(active, chunks), chunks, 0.0)


def test_many_frames_are_ranked_like_few() -> None:
    """More than one block: three hours of somebody who alternates with somebody else."""
    chunks = Grid(10.0, 10.0)
    active = np.zeros((1080, 592, 2), np.bool_)
    active[::2, :, 0] = active[1::2, :, 1] = True
    clusters = np.tile(np.arange(2), (1080, 1))
    clusters[~active.any(axis=1)] = ABSENT
    count = count_speakers(active, chunks, FRAMES)
    found = turns(choose(hear(active, clusters, chunks, FRAMES), count), FRAMES, least_silence=0.0)
    assert len(found) == 1080
    assert [turn.cluster for turn in found] == [0, 1] * 540
    assert found[-1].end == pytest.approx(10800, abs=0.1)


def test_a_voice_of_the_last_frame_alone_is_no_turn() -> None:
    speaking = np.zeros((5, 1), np.bool_)
    speaking[-1] = True
    assert turns(speaking, FRAMES, least_silence=0.0) == []
