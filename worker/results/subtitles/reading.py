"""How long a reader needs for a cue (pure).

From Netflix's Timed Text Style Guides: at least 5/6 of a second, and at most 20 characters a second
(English, for adults; 17 in templates and in many other languages). Characters are counted as
columns, so that a Chinese or Korean one takes the time of two letters.
"""

from __future__ import annotations

import math

__all__ = ["LEAD_MS", "MAX_PACE", "MIN_CUE_MS", "comfortable_ms", "needed_ms"]

MIN_CUE_MS = 834
"""5/6 of a second: 20 frames of 24 a second."""

MAX_PACE = 20.0
"""Columns a second that a cue should not go over."""

_PACE = 17.0
"""Columns a second that are aimed at."""

_COMFORTABLE_MS = 1000
"""Aimed at for the shortest text: as much above the least as `_PACE` is below the most."""

LEAD_MS = 500
"""How long before its first word a cue may begin where it could not be read otherwise. The BBC's
Subtitle Guidelines allow 1.5 s, and to stay as long after the last word."""


def needed_ms(columns: int) -> int:
    """Milliseconds in which so many columns can just be read."""
    return max(MIN_CUE_MS, math.ceil(columns / MAX_PACE * 1000))


def comfortable_ms(columns: int) -> int:
    """Milliseconds in which so many columns are read at leisure."""
    return max(_COMFORTABLE_MS, math.ceil(columns / _PACE * 1000))
