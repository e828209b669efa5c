"""How long to wait between attempts: every back-off rule of the worker (pure).

| rule | used for |
|---|---|
| `full_jitter` | calls to AWS, repeated at once; batch calls; downloads |
| `equal_jitter` | messages that are released because their cause may pass |
| `doubling` | the queue does not answer: one loop waits, so there is nothing to spread |
| `COMMIT_WAITS` | the commit of a finished job |

Sources: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import math
import random

__all__ = [
    "COMMIT_WAITS",
    "MAX_RELEASE_SECONDS",
    "doubling",
    "equal_jitter",
    "full_jitter",
    "release_seconds",
]

COMMIT_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts at a commit: what a job cost is worth half a minute of patience."""

RELEASE_SECONDS = 15
"""How long a message rests after its first failure that may pass."""

MAX_RELEASE_SECONDS = 900
"""The longest that a released message is hidden."""

_MAX_DOUBLINGS = 16
"""More would change nothing that a cap leaves, and end in overflow."""


def doubling(failures: int, *, base: float, cap: float) -> float:
    """Seconds to wait after the n-th failure in a row: `base`, twice that, ... up to `cap`.

    Args:
        failures: in a row, from 1.
        base: seconds after the first.
        cap: seconds at most.
    """
    return min(cap, base * 2.0 ** min(max(failures, 1) - 1, _MAX_DOUBLINGS))


def full_jitter(
    failures: int, *, base: float, cap: float, rng: random.Random | None = None
) -> float:
    """Seconds, uniform between 0 and `doubling`: spreads callers that failed together."""
    return (rng or random).uniform(0, doubling(failures, base=base, cap=cap))


def equal_jitter(
    failures: int, *, base: float, cap: float, rng: random.Random | None = None
) -> float:
    """Seconds, half of `doubling` fixed and half random: grows for sure, and yet spreads."""
    full = doubling(failures, base=base, cap=cap)
    return full / 2 + (rng or random).uniform(0, full / 2)


def release_seconds(receive_count: int, rng: random.Random | None = None) -> int:
    """Whole seconds to hide a message that failed for a cause that may pass.

    Args:
        receive_count: deliveries so far, from 1.
        rng: source of the jitter.
    """
    return math.ceil(
        equal_jitter(receive_count, base=RELEASE_SECONDS, cap=MAX_RELEASE_SECONDS, rng=rng)
    )
