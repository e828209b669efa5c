"""Which voices of all chunks are one speaker's, for the packaged models (pure).

Embeddings whose centroids are near are joined (agglomerative clustering). Then clusters are, where
chance explains how far their centroids lie apart: the less speech a centroid stands for, the
farther it may be off. Last, a cluster with too little speech joins its nearest, the smallest first:
an utterance that sounds unlike the others, because it is short, far away or quiet, makes no speaker
of its own, while two such utterances that sound alike may. What was tried stands in VOICES.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from worker.speech.speakers.reconstruction import ABSENT, Grid

__all__ = ["MOST_EMBEDDINGS", "cluster_by_distance", "evenly"]

MOST_EMBEDDINGS = 4_000
"""So many are clustered, and every other belongs to the nearest centroid. Distances between all
pairs take 64 MB and 7 s of CPU; of the 19 000 that two hours of 20 speakers may have they take
1.4 GB and 55 s, for the same speakers."""

ALONE_SECONDS = 2.0
"""Of a chunk's speaker, without others: who speaks less helps to find no cluster. pyannote's."""

NEAR = 0.6
"""Between centroids of unit embeddings: nearer ones are joined at first. The distance that half of
all pairs of one speaker's embeddings have."""

SAME = 0.5
"""Between centroids of one speaker, where both stand for much speech: a voice changes within a
recording."""

SPREAD_SECONDS = 0.8
"""The variance of a centroid is this, divided by its seconds of speech: embeddings of one speaker
lie about 0.5 from their centroid, and each is made of 3 s."""

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
) -> NDArray[np.int_]:
    """The cluster of each speaker of each chunk.

    Args:
        embeddings: [chunks, speakers, dimension]; NaN where there is none.
        active: [chunks, frames, speakers]: who speaks.
        chunks: where the chunks lie.
        least: at least so many clusters, if there is enough speech for them.
        most: at most so many.

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
    centroids = _centroids(unit[kept[:, 0], kept[:, 1]].astype(np.float64), seconds, least, most)
    clusters[known] = cdist(unit[known], centroids, "cosine").argmin(axis=1)
    return clusters


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
    voices: NDArray[np.float64], seconds: NDArray[np.float64], least: int, most: int | None
) -> NDArray[np.float64]:
    """The centroids of clusters: [clusters, dimension].

    Args:
        voices: unit embeddings, [embeddings, dimension].
        seconds: of speech that each stands for.
        least: clusters, if there is enough speech for them.
        most: clusters.
    """
    tree = linkage(voices, "centroid")
    groups = _Groups(voices, seconds, fcluster(tree, NEAR, "distance"))
    groups.join_nearest(spread=SPREAD_SECONDS, below=SAME**2)
    groups.join_small()
    least = min(least, int(seconds.sum() // SPEAKER_SECONDS))
    if len(groups) < least:
        # Who says how many there are knows more than distances do: as pyannote does it.
        apart = KMeans(least, n_init=3, random_state=42).fit_predict(voices)
        groups = _Groups(voices, seconds, apart)
    groups.join_nearest(most=most or len(groups))
    return groups.centroids


class _Groups:
    """Embeddings in groups that may be joined.

    Args:
        voices: [embeddings, dimension].
        seconds: of speech that each stands for.
        labels: the group of each.
    """

    def __init__(
        self, voices: NDArray[np.float64], seconds: NDArray[np.float64], labels: NDArray[np.int_]
    ) -> None:
        _, places = np.unique(labels, return_inverse=True)
        self._sizes = np.bincount(places)
        self._seconds = np.bincount(places, seconds)
        self._sums = np.zeros((len(self._sizes), voices.shape[1]))
        np.add.at(self._sums, places, voices)
        # Which haven't joined another.
        self._there = np.ones(len(self._sizes), np.bool_)

    def __len__(self) -> int:
        return int(self._there.sum())

    @property
    def centroids(self) -> NDArray[np.float64]:
        """[groups, dimension]."""
        return np.asarray((self._sums / self._sizes[:, None])[self._there])

    def join_small(self) -> None:
        """Join groups with too little speech with their nearest, the smallest first."""
        while len(self) > 1:
            small = int(np.where(self._there, self._seconds, np.inf).argmin())
            if self._seconds[small] >= SPEAKER_SECONDS:
                return
            self._join(int(self._distances(small, 0.0).argmin()), small)

    def join_nearest(self, *, spread: float = 0.0, below: float = np.inf, most: int = 1) -> None:
        """Join the two that are nearest, again and again.

        Args:
            spread: see `SPREAD_SECONDS`; what it explains of a squared distance is left out.
            below: only where the rest of the squared distance is below this.
            most: only where there are more groups.
        """
        apart = np.stack([self._distances(group, spread) for group in range(len(self._sizes))])
        nearest = apart.argmin(axis=1)
        least = apart.min(axis=1)
        while len(self) > most and least.min() < below:
            one = int(least.argmin())
            other = int(nearest[one])
            self._join(one, other)
            apart[other] = apart[:, other] = np.inf
            apart[one] = apart[:, one] = self._distances(one, spread)
            # Whose nearest was either of them, or is what they have become, looks anew.
            anew = (nearest == one) | (nearest == other) | (apart[one] < least)
            anew[[one, other]] = True
            nearest[anew] = apart[anew].argmin(axis=1)
            least[anew] = apart[anew].min(axis=1)

    def _distances(self, group: int, spread: float) -> NDArray[np.float64]:
        """Squared distances of its centroid from all, less what `spread` explains.

        Infinite from itself, and from and to those that joined another.
        """
        centroids = self._sums / self._sizes[:, None]
        found = np.square(centroids - centroids[group]).sum(axis=1)
        found -= spread / self._seconds + spread / self._seconds[group]
        found[~self._there] = np.inf
        found[group] = np.inf
        return np.asarray(found)

    def _join(self, one: int, other: int) -> None:
        for values in (self._sums, self._sizes, self._seconds):
            values[one] += values[other]
        self._there[other] = False
