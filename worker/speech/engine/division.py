"""A window -> parts of it, which are decoded as windows (pure).

A window is divided where its language changes (`language_parts`), and where its text is longer than
the decoder can write.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worker.results.speech_times import clipped
from worker.speech.engine.window import WindowState
from worker.speech.prepare import sound as sounds
from worker.speech.prepare.features import features_of
from worker.speech.prepare.sound import HOP, Sound, frames
from worker.speech.windows import MEL_FRAMES_PER_SECOND, Span

__all__ = ["cut", "divided", "loudness", "middle", "quietest"]

QUIET_SECONDS = 0.2
"""A moment is quiet if this much around it is: shorter ones are inside of words."""

SEAM_SECONDS = 0.4
"""As near to where a pause was left out, what is quiet is the rest of that pause: so much of it is
kept on either side (`SpanOptions.pad`)."""


def loudness(sound: Sound) -> NDArray[np.float32]:
    """How loud it is around each frame, float32 [frames]: the mean over `QUIET_SECONDS`.

    Edges are as loud as their last frame. Of samples this takes some milliseconds of a core; few
    windows are divided.

    Args:
        sound: of a window.
    """
    width = round(QUIET_SECONDS * MEL_FRAMES_PER_SECOND)
    levels = features_of(sound).mean(axis=0)
    padded = np.pad(levels, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width, dtype=np.float32) / width, mode="valid").astype(
        np.float32
    )


def quietest(spans: Sequence[Span], loud: NDArray[np.float32], low: int, high: int) -> int:
    """The mel frame, of [low, high), at which a window is best cut.

    Where a pause was left out of the window nearby, the cut is there.

    Args:
        spans: what the window is made of.
        loud: its `loudness`.
        low: the first frame that can be taken.
        high: the first that can't any more.
    """
    quiet = low + int(np.argmin(loud[low:high]))
    seams = np.cumsum([span.length for span in spans]) / HOP
    seam = min((round(frame) for frame in seams), key=lambda frame: abs(frame - quiet))
    near = abs(seam - quiet) <= SEAM_SECONDS * MEL_FRAMES_PER_SECOND
    return seam if near and low <= seam <= high else quiet


def middle(spans: Sequence[Span], sound: Sound) -> int:
    """The mel frame at which a window is cut in two, in the middle half of it.

    Args:
        spans: what the window is made of.
        sound: of the window.
    """
    count = frames(sound)
    return quietest(spans, loudness(sound), count // 4, count - count // 4)


def divided(
    window: WindowState, ends: Sequence[int], indices: Sequence[int]
) -> tuple[WindowState, ...]:
    """The parts of a window as windows that nobody has decoded yet, in order.

    Args:
        window: one whose sound is there.
        ends: the mel frame at which each part but the last ends.
        indices: of the parts.
    """
    assert window.sound is not None
    made: list[WindowState] = []
    rest = window.spans
    start = 0
    for index, end in zip(indices, (*ends, None), strict=True):
        spans, rest = (rest, ()) if end is None else cut(rest, end - start)
        samples = slice(start * HOP, None if end is None else end * HOP)
        made.append(
            WindowState(
                index=index,
                spans=spans,
                sound=sounds.cut(window.sound, start, end),
                samples=None if window.samples is None else window.samples[samples],
                rungs=window.rungs,
                language=window.language,
                vocabulary=window.vocabulary,
            )
        )
        start = end or start
    return tuple(made)


def cut(spans: Sequence[Span], frame: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans of a window before and after one of its mel frames; the frame's samples go last.

    Args:
        spans: what the window is made of.
        frame: counted from the window's start, inside the window.
    """
    before: list[Span] = []
    after: list[Span] = []
    left = frame * HOP
    for span in spans:
        place = span.start + min(max(left, 0), span.length)
        if place > span.start:
            heard = clipped(span.speech, span.start, place)
            before.append(Span(span.start, place, span.pause, heard))
        if place < span.end:
            pause = 0 if place > span.start else span.pause
            heard = clipped(span.speech, place, span.end)
            after.append(Span(place, span.end, pause, heard))
        left -= span.length
    return tuple(before), tuple(after)
