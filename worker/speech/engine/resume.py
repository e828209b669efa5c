"""The finished windows of an earlier run, as a checkpoint has them (pure)."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from worker.speech.api import Partial, WindowText
from worker.speech.engine.order import whole

__all__ = ["Finished", "done", "finished"]

Finished = dict[int, tuple[WindowText, ...]]
"""Windows by index; each with the text of the whole, or of its parts in the order of the file."""


def finished(partial: Partial | None) -> Finished:
    """The windows that need not be decoded again.

    A window of which two runs made different parts is decoded again: parts of both would say the
    same twice.
    """
    if partial is None:
        return {}
    parts: dict[int, list[WindowText]] = defaultdict(list)
    for text in sorted(partial.windows, key=lambda text: text.start):
        parts[whole(text.index)].append(text)
    return {
        index: tuple(texts)
        for index, texts in parts.items()
        if texts[0].index == index
        and all(left.end <= right.start for left, right in pairwise(texts))
    }


def done(windows: Finished) -> tuple[tuple[int, float, float], ...]:
    """(index, start, end) of each window, in seconds: one found there again is not prepared."""
    return tuple((index, texts[0].start, texts[-1].end) for index, texts in windows.items())
