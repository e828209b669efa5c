"""Which segments share the next forward pass of an alignment model (pure)."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from worker.speech.windows import SAMPLE_RATE, WINDOW_SAMPLES

__all__ = ["MIN_SAMPLES", "next_batch"]

MIN_SAMPLES = SAMPLE_RATE // 40
"""The receptive field of wav2vec2's first frame, 25 ms: nothing shorter has a frame."""

_BUCKETS = sorted(
    WINDOW_SAMPLES * eighths // (8 << octave) for octave in range(6) for eighths in (5, 6, 7, 8)
)
"""Four lengths an octave, from 0.6 s up to a full window of 30 s, in samples."""


def next_batch(
    lengths: Sequence[int], *, max_samples: int, paddable: bool, bucketed: bool
) -> tuple[list[int], int]:
    """Choose the segments of the next forward pass: the longest, and those of like length (pure).

    Args:
        lengths: of the segments that are left, in samples; at least one.
        max_samples: of one pass, padding included; a longer segment goes alone.
        paddable: whether unlike lengths may share a pass.
        bucketed: whether to keep the shapes few, for devices that tune their kernels anew for
            each: items are padded to one of `_BUCKETS` (where the model is `paddable`), and
            their number is a power of two.

    Returns:
        Their indices, and the length to pad them to.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    longest = lengths[order[0]]
    padded, shortest = longest, longest
    if paddable:
        padded, shortest = _bucket(longest) if bucketed else (longest, 0)
    room = max(1, max_samples // padded)
    fitting = [i for i in order[:room] if lengths[i] >= shortest]
    count = 2 ** int(math.log2(len(fitting))) if bucketed else len(fitting)
    return fitting[:count], padded


def _bucket(length: int) -> tuple[int, int]:
    """The least bucket that holds the length, and the least length that belongs in it.

    What is longer than every bucket keeps its length.
    """
    at = bisect.bisect_left(_BUCKETS, length)
    if at == len(_BUCKETS):
        return length, _BUCKETS[-1] + 1
    return _BUCKETS[at], _BUCKETS[at - 1] + 1 if at else 0
