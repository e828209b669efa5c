"""From who is who in each chunk to voices over the whole recording (pure).

What pyannote's `SpeakerDiarization` computes in `speaker_count`, `reconstruct` and `to_annotation`,
with the same numbers. pyannote keeps chunks x frames x clusters for it, in double precision: 3 GB
for two hours and 20 speakers. Here a minute is reckoned at a time, with the clusters that are heard
in it, and of each frame only those who speak are kept: however many speakers there are, it grows
with the length of the recording alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.results.speakers import Voice

__all__ = ["ABSENT", "Grid", "count_speakers", "voices", "who_speaks"]

ABSENT = -2
"""In place of a cluster: nobody speaks. pyannote's number for it."""

_SHORTEST_SECONDS = 1e-6
"""A voice that isn't longer is none: pyannote's `SEGMENT_PRECISION`."""

_BLOCK_FRAMES = 4096
"""Frames that are reckoned at a time: a minute of segmentation-3.0's. No chunk is much shorter, and
what many clusters take in a minute is little."""

_FEW_CLUSTERS = 64
"""So many are all ranked in each frame, as pyannote ranks them: which of two that are heard alike
comes first depends, in numpy's sort, on how many there are. Of more, those are that are heard in
the block."""


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


def who_speaks(
    scores: NDArray[np.float32] | NDArray[np.bool_],
    clusters: NDArray[np.int_],
    count: NDArray[np.uint8],
    chunks: Grid,
    frames: Grid,
    progress: Callable[[float], None] = lambda _: None,
) -> NDArray[np.int32]:
    """In each frame the clusters that are heard most, as many as speak.

    How much a cluster is heard is the sum of its scores in all chunks that hold the frame. One that
    isn't heard at all doesn't speak, where pyannote would take any.

    Args:
        scores: [chunks, frames of a chunk, speakers of a chunk]: how surely each speaks.
        clusters: [chunks, speakers of a chunk]: the cluster of each, or `ABSENT`.
        count: [frames of the recording]: how many speak at once.
        chunks: where the chunks lie.
        frames: where the frames lie.
        progress: called with 0 to 1 as the work goes on.

    Returns:
        [frames of the recording, most who speak at once]: the most heard first; `ABSENT` where
        there are fewer.
    """
    first, total = _places(len(scores), chunks, frames)
    length = scores.shape[1]
    speaking = np.full((total, int(count.max(initial=0))), ABSENT, np.int32)
    every = np.arange(clusters.max(initial=-1) + 1)
    for begin in range(0, total, _BLOCK_FRAMES):
        block = range(begin, min(begin + _BLOCK_FRAMES, total))
        within = slice(bisect_right(first, block.start - length), bisect_left(first, block.stop))
        few = clusters[within]
        names = every if len(every) <= _FEW_CLUSTERS else np.unique(few[few != ABSENT])
        heard = _hear(scores[within], few, names, first[within], block)
        known = np.minimum(count[block.start : block.stop], (heard > 0).sum(axis=1))
        ranked = np.argsort(-heard, axis=1)
        for rank in range(known.max(initial=0)):
            at = np.flatnonzero(known > rank)
            speaking[begin + at, rank] = names[ranked[at, rank]]
        progress(block.stop / total)
    return speaking


def voices(speaking: NDArray[np.int32], frames: Grid, *, least_silence: float) -> list[Voice]:
    """What is heard of each cluster, in order of start.

    Args:
        speaking: [frames, most who speak at once]: clusters, or `ABSENT`.
        frames: where the frames lie.
        least_silence: a shorter silence within what one cluster says is none; seconds.
    """
    found: list[Voice] = []
    middles = frames.middles(len(speaking))
    at, rank = np.nonzero(speaking != ABSENT)
    cluster = speaking[at, rank]
    order = np.argsort(cluster, kind="stable")
    names, own = np.unique(cluster[order], return_index=True)
    for name, spoken in zip(names.tolist(), np.split(at[order], own[1:]), strict=True):
        breaks = np.diff(spoken) > 1
        starts = middles[spoken[np.append(True, breaks)]]
        # A voice ends in the first frame without it, or in the recording's last.
        last = spoken[np.append(breaks, True)] + 1
        ends = middles[np.minimum(last, len(speaking) - 1)]
        kept = ends - starts > _SHORTEST_SECONDS
        starts, ends = starts[kept], ends[kept]
        apart = starts[1:] - ends[:-1] >= least_silence
        starts = starts[np.append(np.ones(min(1, len(starts)), np.bool_), apart)]
        ends = ends[np.append(apart, np.ones(min(1, len(ends)), np.bool_))]
        speaker = f"SPEAKER_{name:02d}"
        found += [Voice(*of, speaker) for of in zip(starts.tolist(), ends.tolist(), strict=True)]
    return sorted(found)


def _hear(
    scores: NDArray[np.float32] | NDArray[np.bool_],
    clusters: NDArray[np.int_],
    names: NDArray[np.int_],
    first: Sequence[int],
    block: range,
) -> NDArray[np.float32]:
    """How much clusters are heard in a block of frames, by the chunks that reach into it.

    Args:
        scores: as for `who_speaks`.
        clusters: as for `who_speaks`.
        names: of clusters, in order: all that are in these chunks, or more.
        first: the first frame of each chunk.
        block: of frames.

    Returns:
        [frames of the block, names].
    """
    heard = np.zeros((len(block), len(names)), np.float32)
    for start, chunk, known in zip(first, scores, clusters, strict=True):
        inside = range(max(start, block.start), min(start + len(chunk), block.stop))
        said = chunk[inside.start - start : inside.stop - start]
        rows = slice(inside.start - block.start, inside.stop - block.start)
        for cluster in np.unique(known[known != ABSENT]):
            column = np.searchsorted(names, cluster)
            heard[rows, column] += said[:, known == cluster].max(axis=1)
    return heard


def _places(number: int, chunks: Grid, frames: Grid) -> tuple[list[int], int]:
    """The first frame of each chunk, and the number of all frames."""
    half = 0.5 * frames.duration
    first = frames.nearest(np.arange(number) * chunks.step + half)
    last = frames.nearest(chunks.duration + (number - 1) * chunks.step + half)
    return first.tolist(), int(last) + 1
