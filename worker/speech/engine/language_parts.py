"""A window in which the language changes -> its parts, each in one language (pure).

The pieces in which languages were detected overlap and are seconds long, so that they tell about
where the language changes. The window is cut there at the quietest moment: who changes the
language pauses for it, and mostly it is another speaker. Of 26 windows put together from recordings
in two languages, 25 were cut in the pause between them. Where a pause was left out of the window
nearby, the cut is there. No part is shorter than half a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from worker.speech.engine.carry import CHAIN
from worker.speech.engine.window import WindowState
from worker.speech.model.detection import PIECE_SECONDS, pieces
from worker.speech.windows import MEL_FRAMES_PER_SECOND, SAMPLE_RATE, WINDOW_SECONDS, Span

__all__ = ["FIRST_PART", "Part", "cut", "divided", "parts"]

FIRST_PART = 1 << 30
"""Indices from here on are those of parts. The first part of a window keeps its index; the others
come far behind all windows, each alone, so that no window is taken for their neighbour."""

_MOST_PARTS = len(pieces(WINDOW_SECONDS))

QUIET_SECONDS = 0.2
"""A moment is quiet if this much around it is: shorter ones are inside of words."""

SEAM_SECONDS = 0.4
"""As near to where a pause was left out, what is quiet is the rest of that pause: so much of it is
kept on either side (`SpanOptions.pad`)."""

_SAMPLES_PER_FRAME = SAMPLE_RATE // MEL_FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Part:
    """Mel frames [start, end) of a window that are in one language."""

    language: str
    start: int
    end: int


def parts(
    languages: Sequence[str], spans: Sequence[Span], features: NDArray[np.float32]
) -> tuple[Part, ...]:
    """The parts of a window, in order; together they are the whole of it.

    Args:
        languages: one for each of the window's `pieces`.
        spans: what the window is made of.
        features: float32 [mels, frames].

    Raises:
        ValueError: there are not as many languages as pieces.
    """
    loudness = _smooth(features.mean(axis=0))
    ends = list(accumulate(span.length for span in spans))
    seams = [round(end / _SAMPLES_PER_FRAME) for end in ends]
    seconds = ends[-1] / SAMPLE_RATE
    centres = [round((start + end) / 2 * MEL_FRAMES_PER_SECOND) for start, end in pieces(seconds)]
    if len(centres) != len(languages):
        raise ValueError(f"{len(languages)} languages for {len(centres)} pieces")
    shortest = round(PIECE_SECONDS / 2 * MEL_FRAMES_PER_SECOND)
    found: list[Part] = []
    start = 0
    for place in range(1, len(languages)):
        if languages[place] != languages[place - 1]:
            # Two changes near each other must not be cut in the same pause.
            low, high = max(centres[place - 1], start + shortest), centres[place]
            quiet = low + int(np.argmin(loudness[low:high]))
            seam = min(seams, key=lambda frame: abs(frame - quiet))
            near = abs(seam - quiet) <= SEAM_SECONDS * MEL_FRAMES_PER_SECOND
            end = seam if near and low <= seam <= high else quiet
            found.append(Part(languages[place - 1], start, end))
            start = end
    return (*found, Part(languages[-1], start, features.shape[1]))


def divided(window: WindowState, languages: Sequence[str]) -> tuple[WindowState, ...]:
    """The parts of a window as windows that nobody has decoded yet, in order.

    Args:
        window: one whose features are there.
        languages: one for each of its `pieces`.
    """
    assert window.features is not None
    made: list[WindowState] = []
    rest, at = window.spans, 0
    for place, part in enumerate(parts(languages, window.spans, window.features)):
        spans, rest = cut(rest, part.end - at)
        if part.end == window.features.shape[1]:
            spans, rest = (*spans, *rest), ()
        samples = window.samples
        made.append(
            WindowState(
                index=FIRST_PART + (window.index * _MOST_PARTS + place) * CHAIN
                if place
                else window.index,
                spans=spans,
                features=window.features[:, part.start : part.end],
                samples=None
                if samples is None
                else samples[part.start * _SAMPLES_PER_FRAME : part.end * _SAMPLES_PER_FRAME],
                rungs=window.rungs,
                language=part.language,
            )
        )
        at = part.end
    return tuple(made)


def cut(spans: Sequence[Span], frame: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans of a window before and after one of its mel frames; the frame's samples go last.

    Args:
        spans: what the window is made of.
        frame: counted from the window's start, inside the window.
    """
    before: list[Span] = []
    after: list[Span] = []
    left = frame * _SAMPLES_PER_FRAME
    for span in spans:
        middle = span.start + min(max(left, 0), span.length)
        if middle > span.start:
            before.append(Span(span.start, middle, span.pause))
        if middle < span.end:
            after.append(Span(middle, span.end, 0 if middle > span.start else span.pause))
        left -= span.length
    return tuple(before), tuple(after)


def _smooth(loudness: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over `QUIET_SECONDS` around each frame; edges as loud as their last frame."""
    width = round(QUIET_SECONDS * MEL_FRAMES_PER_SECOND)
    padded = np.pad(loudness, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width, dtype=np.float32) / width, mode="valid").astype(
        np.float32
    )
