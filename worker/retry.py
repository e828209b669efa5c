"""How long to wait between attempts: every back-off rule of the worker (pure).

| rule | used for |
|---|---|
| `full_jitter` | calls to AWS |
| `equal_jitter` | a message that is released because its failure may be temporary |
| `doubling` | a receive, a broken download, a machine's end: one waits, nothing is to spread |
| `COMMIT_WAITS` | the commit of a finished job |
| `MODELS_SECONDS` | a host of models that is of no use, a model that could not be fetched |

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import math
import random

__all__ = [
    "CALL_CAP_SECONDS",
    "CALL_SECONDS",
    "COMMIT_WAITS",
    "END_CAP_SECONDS",
    "END_SECONDS",
    "MAX_RELEASE_SECONDS",
    "MODELS_SECONDS",
    "doubling",
    "equal_jitter",
    "full_jitter",
    "release_seconds",
]

CALL_SECONDS = 0.2
"""The scale of the wait after the first failure of a call to AWS."""

CALL_CAP_SECONDS = 5.0
"""The longest wait between attempts at a call to AWS."""

COMMIT_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts at a commit. Losing a finished job costs far more than half a minute."""

END_SECONDS = 10.0
"""The wait after the first attempt at ending a machine that may not end yet."""

END_CAP_SECONDS = 300.0
"""The longest wait between such attempts: an upgrade takes minutes, and no more is paid beyond."""

MODELS_SECONDS = 300.0
"""How long a host's answer holds, and how long a model that could not be fetched is left alone: a
worker lives for hours, and a network may come back."""

_RELEASE_SECONDS = 15
"""About how long a message is hidden after its first failure."""

MAX_RELEASE_SECONDS = 900
"""The longest that a message is hidden for its failures."""

_MAX_DOUBLINGS = 16
"""Every cap is reached long before; without a bound the power would overflow."""


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
    """Seconds, random between 0 and `doubling`: spreads callers that failed together."""
    return (rng or random).uniform(0, doubling(failures, base=base, cap=cap))


def equal_jitter(
    failures: int, *, base: float, cap: float, rng: random.Random | None = None
) -> float:
    """Seconds, half of `doubling` fixed and half random: grows each time, and spreads callers."""
    full = doubling(failures, base=base, cap=cap)
    return full / 2 + (rng or random).uniform(0, full / 2)


def release_seconds(receive_count: int, rng: random.Random | None = None) -> int:
    """Whole seconds to hide a message that failed for a reason that may be temporary.

    Args:
        receive_count: deliveries so far, from 1.
        rng: source of the jitter.
    """
    return math.ceil(
        equal_jitter(receive_count, base=_RELEASE_SECONDS, cap=MAX_RELEASE_SECONDS, rng=rng)
    )
