"""When cues appear and go (pure). Times in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from worker.results.subtitles.reading import LEAD_MS, comfortable_ms, needed_ms

__all__ = ["settle"]

_GAP_MS = 80
"""Between two cues (two frames: Netflix), so that a change is seen; where it costs nothing."""


def settle(
    said: Sequence[tuple[float, float]], columns: Sequence[int], *, closes: int, longest: int
) -> list[tuple[int, int]]:
    """From when to when each cue is shown, in whole milliseconds.

    A cue starts with its first word and ends with its last. One that is gone too soon to be read
    stays into the free time after it; if that isn't enough, it begins up to half a second early.
    None overlaps another, is longer than `longest` or shorter than 1 ms (vtt allows no 0).
    Only where less than a millisecond is left for each of the last cues, `closes` is overrun:
    better than losing text.

    Args:
        said: when the first word of each cue starts and its last one ends.
        columns: of each cue.
        closes: when the audio ends.
        longest: `max_cue_seconds`.
    """
    starts, ends = _apart(said, closes, longest)
    nexts = [*starts[1:], max(closes, *ends[-1:], 0)]
    for i, count in enumerate(columns):
        ends[i] = max(ends[i], min(starts[i] + min(needed_ms(count), longest), nexts[i]))
    free = 0
    for i, count in enumerate(columns):
        missing = min(needed_ms(count), longest) - (ends[i] - starts[i])
        starts[i] -= max(0, min(missing, starts[i] - free, LEAD_MS))
        free = ends[i]
    nexts = [*(start - _GAP_MS for start in starts[1:]), nexts[-1]] if starts else []
    for i, count in enumerate(columns):
        ends[i] = max(ends[i], min(starts[i] + min(comfortable_ms(count), longest), nexts[i]))
    return list(zip(starts, ends, strict=True))


def _apart(
    said: Sequence[tuple[float, float]], closes: int, longest: int
) -> tuple[list[int], list[int]]:
    """Starts and ends as they are said, moved as little as it takes to keep the rules."""
    starts = [round(start) for start, _ in said]
    ends = [min(round(end), round(start) + longest) for start, end in said]
    latest = closes
    for i in reversed(range(len(said))):
        starts[i] = min(starts[i], latest - 1)
        ends[i] = min(ends[i], latest)
        latest = starts[i]
    earliest = 0
    for i in range(len(said)):
        starts[i] = max(starts[i], earliest)
        ends[i] = earliest = max(ends[i], starts[i] + 1)
    return starts, ends
