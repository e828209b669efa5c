"""From who is who in each chunk to turns over the whole recording (pure).

What pyannote's `SpeakerDiarization` computes in `speaker_count`, `reconstruct` and `to_annotation`,
with the same numbers. pyannote keeps chunks x frames x speakers for it, in double precision: 3 GB
for two hours and 20 speakers. Here chunks are added up one by one: frames x speakers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABSENT", "Grid", "Turn", "choose", "count_speakers", "hear", "turns"]

ABSENT = -2
"""In place of a cluster: nobody speaks. pyannote's number for it."""

_SHORTEST_SECONDS = 1e-6
"""A turn that isn't longer is none: pyannote's `SEGMENT_PRECISION`."""

_BLOCK_FRAMES = 1 << 16
"""Frames that are ranked at a time, so that ranks of hours needn't be held."""


class Grid(NamedTuple):
    """Stretches of time of one length at even distances, the first at 0: chunks, or frames.

    Attributes:
        duration: of one, in seconds.
        step: from the start of one to that of the next, in seconds.
    """

    duration: float
    step: float

    def nearest(self, seconds: NDArray[np.floating] | float) -> NDArray[np.int64]:
        """The stretch whose middle is nearest to a time."""
        return np.rint((np.asarray(seconds) - 0.5 * self.duration) / self.step).astype(np.int64)

    def middles(self, number: int) -> NDArray[np.float64]:
        """The middles of the first stretches, in seconds."""
        starts = np.arange(number) * self.step
        return 0.5 * (starts + (starts + self.duration))


class Turn(NamedTuple):
    """A stretch in which one cluster's voice is heard; seconds."""

    start: float
    end: float
    cluster: int


def count_speakers(active: NDArray[np.bool_], chunks: Grid, frames: Grid) -> NDArray[np.uint8]:
    """How many speak at once: the mean of all chunks that hold a frame, rounded.

    Args:
        active: [chunks, frames of a chunk, speakers of a chunk]: who speaks in each chunk.
        chunks: where the chunks lie.
        frames: where the frames lie.

    Returns:
        [frames of the recording].
    """
    first, total = _places(len(active), chunks, frames)
    length = active.shape[1]
    said = np.zeros(total, np.float32)
    seen = np.zeros(total, np.float32)
    for start, chunk in zip(first, active, strict=True):
        said[start : start + length] += chunk.sum(axis=1)
        seen[start : start + length] += 1
    return np.rint(said / np.maximum(seen, 1e-12)).astype(np.uint8)


def hear(
    scores: NDArray[np.float32] | NDArray[np.bool_],
    clusters: NDArray[np.int_],
    chunks: Grid,
    frames: Grid,
) -> NDArray[np.float32]:
    """How much each cluster is heard: the scores of all chunks, added up.

    Args:
        scores: [chunks, frames of a chunk, speakers of a chunk]: how surely each speaks.
        clusters: [chunks, speakers of a chunk]: the cluster of each, or `ABSENT`.
        chunks: where the chunks lie.
        frames: where the frames lie.

    Returns:
        [frames of the recording, clusters].
    """
    first, total = _places(len(scores), chunks, frames)
    length = scores.shape[1]
    heard = np.zeros((total, int(clusters.max(initial=-1)) + 1), np.float32)
    for start, chunk, known in zip(first, scores, clusters, strict=True):
        for cluster in np.unique(known[known != ABSENT]):
            heard[start : start + length, cluster] += chunk[:, known == cluster].max(axis=1)
    return heard


def choose(heard: NDArray[np.float32], count: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Who speaks when: in each frame the `count` clusters that are heard most.

    Args:
        heard: [frames of the recording, clusters].
        count: [frames of the recording]: how many speak at once. Where it exceeds the number of
            clusters, the voices that are missing get clusters of their own.

    Returns:
        [frames of the recording, clusters]. Of a cluster that isn't heard at all in a frame it
        depends on nothing whether it speaks.
    """
    most = int(count.max(initial=0))
    heard = np.pad(heard, ((0, 0), (0, max(0, most - heard.shape[1]))))
    speaking = np.zeros(heard.shape, np.bool_)
    for start in range(0, len(heard), _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        ranked = np.argsort(-heard[block], axis=-1)
        for rank in range(most):
            at = np.flatnonzero(count[block] > rank)
            speaking[start + at, ranked[at, rank]] = True
    return speaking


def turns(speaking: NDArray[np.bool_], frames: Grid, *, least_silence: float) -> list[Turn]:
    """The turns of each cluster, in order of start.

    Args:
        speaking: [frames, clusters].
        frames: where the frames lie.
        least_silence: a shorter silence within what one cluster says is none; seconds.
    """
    found: list[Turn] = []
    middles = frames.middles(len(speaking))
    for cluster in range(speaking.shape[1]):
        change = np.diff(speaking[:, cluster].astype(np.int8), prepend=0)
        starts = middles[np.flatnonzero(change > 0)]
        ends = middles[np.flatnonzero(change < 0)]
        if len(ends) < len(starts):
            ends = np.append(ends, middles[-1])
        spoken = ends - starts > _SHORTEST_SECONDS
        starts, ends = starts[spoken], ends[spoken]
        apart = starts[1:] - ends[:-1] >= least_silence
        starts = starts[np.append(np.ones(min(1, len(starts)), np.bool_), apart)]
        ends = ends[np.append(apart, np.ones(min(1, len(ends)), np.bool_))]
        found += [Turn(*at, cluster) for at in zip(starts.tolist(), ends.tolist(), strict=True)]
    return sorted(found)


def _places(number: int, chunks: Grid, frames: Grid) -> tuple[list[int], int]:
    """The first frame of each chunk, and the number of all frames."""
    half = 0.5 * frames.duration
    first = frames.nearest(np.arange(number) * chunks.step + half)
    last = frames.nearest(chunks.duration + (number - 1) * chunks.step + half)
    return first.tolist(), int(last) + 1
