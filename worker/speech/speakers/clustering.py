"""Which embeddings of all chunks are one speaker's, for the packaged models (pure).

Embeddings whose centroids are near are joined (agglomerative clustering). Then clusters are, where
chance explains how far their centroids lie apart: the less speech a centroid stands for, the
farther it may be off. Last, a cluster with too little speech joins its nearest, the smallest first:
an utterance that sounds unlike the others, because it is short, far away or quiet, makes no speaker
of its own, while two such utterances that sound alike may. What was tried stands in VOICES.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from worker.speech.speakers.reconstruction import ABSENT, Grid

__all__ = ["MOST_EMBEDDINGS", "cluster_by_distance", "evenly"]

MOST_EMBEDDINGS = 4_000
"""So many are clustered, and every other belongs to the nearest centroid. Of 4 000 the distances of
all pairs take 64 MB; to join them takes 1 s of CPU, and 8 s where hardly two are near. Both grow
with the square: of the 19 000 that two hours of 20 speakers may have, distances alone take 1.4 GB,
for the same speakers."""

ALONE_SECONDS = 2.0
"""Of a chunk's speaker, without others: an embedding of less speech makes no cluster, and belongs
to the nearest. pyannote's."""

NEAR = 0.6
"""Between centroids of unit embeddings: nearer ones are joined at first. The distance that half of
all pairs of one speaker's embeddings have."""

SAME = 0.45
"""How far apart two centroids of one speaker may lie that no chance explains: nobody sounds the
same throughout a recording."""

SPREAD_SECONDS = 0.8
"""The variance of a centroid is this, divided by its seconds of speech: embeddings of one speaker
lie about 0.5 from their centroid, and each is made of 3 s."""

MUCH_SECONDS = 8.0
"""With more speech a centroid comes no nearer to the speaker's: what differs then is no chance, but
lasts, such as a mood, a distance, or what is said again and again."""

SPEAKER_SECONDS = 2.0
"""Alone, in the whole recording: with less, a cluster is no speaker."""


def evenly(number: int, most: int) -> NDArray[np.int64]:
    """Which of a number of things in a row are kept where only so many may be: evenly spread."""
    return np.linspace(0, number - 1, min(number, most)).round().astype(np.int64)


def cluster_by_distance(
    embeddings: NDArray[np.float32],
    active: NDArray[np.bool_],
    chunks: Grid,
    *,
    least: int = 1,
    most: int | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> NDArray[np.int_]:
    """The cluster of each speaker of each chunk.

    Args:
        embeddings: [chunks, speakers, dimension]; NaN where there is none.
        active: [chunks, frames, speakers]: who speaks.
        chunks: where the chunks lie.
        least: at least so many clusters, if there are embeddings and speech enough for them.
        most: at most so many.
        progress: called with 0 to 1 as the work goes on. It says nothing while those nearer
            than `NEAR` are joined, a second for `MOST_EMBEDDINGS`.

    Returns:
        [chunks, speakers]: clusters from 0 on; `ABSENT` for who is silent, or has no embedding.
    """
    only = active & (active.sum(axis=2, keepdims=True, dtype=np.uint8) == 1)
    alone = only.mean(axis=1) * chunks.duration
    unit = embeddings / np.linalg.norm(embeddings, axis=2, keepdims=True)
    known = np.isfinite(unit).all(axis=2) & active.any(axis=1)
    clusters = np.where(known, 0, ABSENT)
    long = np.argwhere(known & (alone >= ALONE_SECONDS))
    kept = long[evenly(len(long), MOST_EMBEDDINGS)]
    if len(kept) < 2:
        return clusters
    # Each kept embedding stands for so many, and each second lies in so many chunks.
    share = len(long) / len(kept) / _times_seen(kept[:, 0], len(active), active.shape[1], chunks)
    seconds = np.einsum("kf,kf->k", only[kept[:, 0], :, kept[:, 1]], share)
    seconds *= chunks.duration / active.shape[1]
    some = unit[kept[:, 0], kept[:, 1]].astype(np.float64)
    clusters[known] = _nearest(unit[known], _centroids(some, seconds, least, most, progress))
    progress(1.0)
    return clusters


def _nearest(embeddings: NDArray[np.float32], centroids: NDArray[np.float64]) -> NDArray[np.int_]:
    """The centroid at the least angle to each embedding.

    A few embeddings at a time: there may be many of both.
    """
    directions = (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T
    blocks = np.array_split(embeddings, 1 + len(embeddings) // MOST_EMBEDDINGS)
    return np.concatenate([(block @ directions).argmax(axis=1) for block in blocks])


def _times_seen(
    places: NDArray[np.int64], number: int, frames: int, chunks: Grid
) -> NDArray[np.float64]:
    """In how many of all chunks the time of each frame of some chunks lies: [places, frames].

    They are fewer at the ends of a recording.
    """
    middles = (np.arange(frames) + 0.5) * chunks.duration / frames
    times = places[:, None] * chunks.step + middles
    first = np.maximum(0, np.floor((times - chunks.duration) / chunks.step) + 1)
    last = np.minimum(number - 1, np.floor(times / chunks.step))
    return np.asarray(last - first + 1)


def _centroids(
    embeddings: NDArray[np.float64],
    seconds: NDArray[np.float64],
    least: int,
    most: int | None,
    progress: Callable[[float], None],
) -> NDArray[np.float64]:
    """The centroids of clusters: [clusters, dimension].

    Args:
        embeddings: of unit length, [embeddings, dimension].
        seconds: of speech that each stands for.
        least: clusters, if there are embeddings and speech enough for them.
        most: clusters.
        progress: called with 0 to 1.
    """
    tree = linkage(embeddings, "centroid")
    groups = _Groups(embeddings, seconds, fcluster(tree, NEAR, "distance"), progress)
    groups.join_nearest(spread=SPREAD_SECONDS, below=SAME**2)
    groups.join_small()
    least = min(least, len(embeddings), int(seconds.sum() // SPEAKER_SECONDS))
    if len(groups) < least:
        # Who says how many there are knows more than distances do: as pyannote does it.
        apart = KMeans(least, n_init=3, random_state=42).fit_predict(embeddings)
        groups = _Groups(embeddings, seconds, apart, progress)
    groups.join_nearest(most=most or len(groups))
    return groups.centroids


class _Groups:
    """Embeddings in groups that may be joined.

    Args:
        embeddings: [embeddings, dimension].
        seconds: of speech that each stands for.
        labels: the group of each.
        progress: called with the share of the groups that have joined another.
    """

    def __init__(
        self,
        embeddings: NDArray[np.float64],
        seconds: NDArray[np.float64],
        labels: NDArray[np.int_],
        progress: Callable[[float], None],
    ) -> None:
        _, places = np.unique(labels, return_inverse=True)
        self._sizes = np.bincount(places)
        self._seconds = np.bincount(places, seconds)
        self._sums = np.zeros((len(self._sizes), embeddings.shape[1]))
        np.add.at(self._sums, places, embeddings)
        self._centroids = self._sums / self._sizes[:, None]
        # Which haven't joined another.
        self._there = np.ones(len(self._sizes), np.bool_)
        self._progress = progress

    def __len__(self) -> int:
        return int(self._there.sum())

    @property
    def centroids(self) -> NDArray[np.float64]:
        """[groups, dimension]."""
        return np.asarray(self._centroids[self._there])

    def join_small(self) -> None:
        """Join groups with too little speech with their nearest, the smallest first."""
        while len(self) > 1:
            small = int(np.where(self._there, self._seconds, np.inf).argmin())
            if self._seconds[small] >= SPEAKER_SECONDS:
                return
            self._join(int(self._distances(small, 0.0).argmin()), small)

    def join_nearest(self, *, spread: float = 0.0, below: float = np.inf, most: int = 1) -> None:
        """Join the two that are nearest, again and again.

        The work grows with the square of the number of groups: distances are kept, those of the
        joined one are made anew, and a row is searched only if it may hold the least of all.

        Args:
            spread: see `SPREAD_SECONDS`; what it explains of a squared distance is left out.
            below: only where the rest of the squared distance is below this.
            most: only where there are more groups.
        """
        apart = np.stack([self._distances(group, spread) for group in range(len(self._sizes))])
        # No group is nearer to another than this. It may be farther, once its nearest has joined.
        least = apart.min(axis=1)
        while len(self) > most and least.min() < below:
            one = int(least.argmin())
            other = int(apart[one].argmin())
            if apart[one, other] > least[one]:
                least[one] = apart[one, other]
                continue
            self._join(one, other)
            apart[other] = apart[:, other] = least[other] = np.inf
            apart[one] = apart[:, one] = self._distances(one, spread)
            least = np.minimum(least, apart[one])
            least[one] = apart[one].min()

    def _distances(self, group: int, spread: float) -> NDArray[np.float64]:
        """Squared distances of its centroid from all, less what `spread` explains.

        Infinite from itself, and from and to those that joined another.
        """
        found = cdist(self._centroids[group : group + 1], self._centroids, "sqeuclidean")[0]
        seconds = np.minimum(self._seconds, MUCH_SECONDS)
        found -= spread / seconds + spread / seconds[group]
        found[~self._there] = np.inf
        found[group] = np.inf
        return np.asarray(found)

    def _join(self, one: int, other: int) -> None:
        for values in (self._sums, self._sizes, self._seconds):
            values[one] += values[other]
        self._centroids[one] = self._sums[one] / self._sizes[one]
        self._there[other] = False
        self._progress(1 - len(self) / len(self._sizes))
