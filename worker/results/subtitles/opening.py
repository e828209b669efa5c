"""How a cue begins: with who speaks, where that is shown, and what room that leaves (pure)."""

from __future__ import annotations

from typing import NamedTuple

from worker.results.said_by import introduction
from worker.results.subtitles.line_breaks import text_width
from worker.results.transcript import SubtitleOptions

__all__ = ["Opening", "opening"]

_LEAST_ROOM = 10
"""Columns for text beside a name where a cue has one line: the narrowest line that may be asked
for. Only there a longer name makes a line wider than asked; text is lost nowhere."""


class Opening(NamedTuple):
    """How the cues of some pieces begin. Widths in columns.

    Attributes:
        said_by: who speaks; None where that isn't known.
        text: what stands before the text of each cue, `[SPEAKER_00]:`; empty where nothing does.
        taken: by that and the space behind it.
        line: the width of a line.
        piece: of the widest piece of text. If a cue has several lines, one that doesn't fit beside
            the name begins the next.
    """

    said_by: str | None
    text: str
    taken: int
    line: int
    piece: int


def opening(label: str | None, options: SubtitleOptions, *, named: bool) -> Opening:
    """How the cues of one speaker, or of one channel, begin.

    Args:
        label: who speaks; None where that isn't known.
        options: what a job asks of its subtitles.
        named: whether the text of a cue says who speaks.
    """
    width = options.max_line_width
    if label is None or not named:
        return Opening(label, "", 0, width, width)
    text = introduction(label)
    taken = text_width(text) + 1
    if options.max_line_count > 1:
        return Opening(label, text, taken, width, width)
    room = max(width - taken, _LEAST_ROOM)
    return Opening(label, text, taken, taken + room, room)
