"""The clustering that a pipeline of pyannote names, within bounds of memory."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyannote.core import SlidingWindow, SlidingWindowFeature

from worker.speech.speakers.clustering import MOST_EMBEDDINGS, evenly
from worker.speech.speakers.reconstruction import ABSENT, Grid

__all__ = ["PyannoteClustering"]


class PyannoteClustering:
    """A pipeline's own clustering, which looks at no more than so many embeddings.

    They are spread evenly over the recording; all others then belong to the nearest centroid, as
    those of short turns do anyway.

    Args:
        clustering: one of pyannote's (`BaseClustering`); its `filter_embeddings` is replaced.
        most_embeddings: that are clustered.
    """

    def __init__(self, clustering: Any, most_embeddings: int = MOST_EMBEDDINGS) -> None:
        self._clustering = clustering
        self._every = type(clustering).filter_embeddings.__get__(clustering)
        self._most = most_embeddings
        clustering.filter_embeddings = self._some

    def __call__(
        self,
        embeddings: NDArray[np.float32],
        active: NDArray[np.bool_],
        chunks: Grid,
        *,
        least: int = 1,
        most: int | None = None,
        progress: Callable[[float], None] = lambda _: None,
    ) -> NDArray[np.int_]:
        """The cluster of each speaker of each chunk; see `cluster_by_distance`.

        Silent speakers alone are `ABSENT`. Progress is told at the end only: pyannote tells none.
        """
        window = SlidingWindow(start=0.0, duration=chunks.duration, step=chunks.step)
        segmentations = SlidingWindowFeature(active, window)
        # pyannote's k-means fails where more clusters are asked for than there are embeddings.
        known = len(self._some(embeddings, segmentations)[0])
        least = max(1, min(least, known))
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            clusters, _, _ = self._clustering(
                embeddings=embeddings,
                segmentations=segmentations,
                num_clusters=least if least == most else None,
                min_clusters=least,
                max_clusters=math.inf if most is None else most,
            )
        found = np.array(clusters, np.int_)
        found[~active.any(axis=1)] = ABSENT
        progress(1.0)
        return found

    def _some(
        self, embeddings: NDArray[np.float32], segmentations: Any = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        found, chunks, speakers = self._every(embeddings, segmentations=segmentations)
        kept = evenly(len(found), self._most)
        return found[kept], chunks[kept], speakers[kept]
