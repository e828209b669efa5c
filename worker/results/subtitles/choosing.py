"""Which pieces of text make a cue: of all ways to cut a transcript, the least bad one (pure).

As TeX breaks a paragraph into lines (Knuth and Plass, 1981): what is wrong with a cue is counted as
its badness, and dynamic programming finds the cues that have the least of it together. Reasons are
quoted from [N] Netflix's Timed Text Style Guide and [B] the BBC's Subtitle Guidelines.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from worker.results.subtitles.pieces import Ending, Piece
from worker.results.subtitles.reading import LEAD_MS, MAX_PACE, MIN_CUE_MS
from worker.results.transcript import SubtitleOptions

__all__ = ["choose"]

# The unit of badness is a cue that ends between two words of a clause.
_ENDS = {Ending.WORD: 1.0, Ending.CLAUSE: 0.3, Ending.SENTENCE: 0.0}
"""Text is parted at natural points: after sentences, then after commas and the like [B 3.4, N]. Two
cues that end with a clause are better than one that doesn't."""

_NEXT_SENTENCE = 1.0
"""For each sentence that ends before the cue does: a cue holds one sentence [B 3.2]. Short ones may
share one [B 3.8] where the time is short: that is, where one of the following is avoided by it."""

_TOO_SHORT = 2.0
"""A cue that can't stay for 5/6 of a second [N] flashes by."""

_ORPHAN = 2.0
"""A word without the others of its sentence says nothing."""

_STRANDED = 2.0
"""The beginning of a sentence behind the end of another, without even a clause, says as little.
With `_NEXT_SENTENCE` that is worse than two full lines at 22 columns a second (2.5)."""

_TOO_FAST = 1.0
"""A cue that can't be read at 20 columns a second [N] ..."""

_UNREAD = 0.2
"""... and for each column that is left unread then: for a word, as much again."""

_UNEVEN = 0.5
"""For the share of a cue that is empty, squared, where a sentence takes several cues: so they are
of like length, and not one full and one with the rest."""

_MOST_PIECES = 300
"""In a cue; a piece is a word or more. People say 150 words a minute, in a hurry 250, and no cue is
longer than a minute: so this only bounds the work, where a text has more words than its time."""


def choose(
    pieces: Sequence[Piece], options: SubtitleOptions, closes: float
) -> list[Sequence[Piece]]:
    """The pieces of each cue, in order.

    A cue fits its lines, goes over no piece that closes one, and is said within `max_cue_seconds`
    (unless it is a single piece).

    Args:
        pieces: of the whole transcript.
        options: what a job asks of its subtitles.
        closes: when the last cue has to end at the latest, in milliseconds.
    """
    table = _Table(pieces, options, closes)
    # Of the cues that hold pieces[:end], the least badness, and where the last of them begins.
    least = [0.0, *[math.inf] * len(pieces)]
    first_of = [0] * len(least)
    for first in range(len(pieces)):
        for end in _ends(pieces, first, options):
            badness = least[first] + table.endings[end]
            if badness < least[end]:
                badness += table.badness(first, end)
                if badness < least[end]:
                    least[end], first_of[end] = badness, first
    found: list[Sequence[Piece]] = []
    end = len(pieces)
    while end:
        found.append(pieces[first_of[end] : end])
        end = first_of[end]
    return found[::-1]


def _ends(pieces: Sequence[Piece], first: int, options: SubtitleOptions) -> Iterator[int]:
    """Where a cue may end that begins with pieces[first]: one past its last piece."""
    latest = pieces[first].start + options.max_cue_seconds * 1000
    begun = pieces[first].opening
    free = begun.line - begun.taken - pieces[first].width
    lines = 1
    if free < 0:  # the name has the first line to itself
        free = begun.line - pieces[first].width
        lines = 2
    yield first + 1
    for i in range(first + 1, min(first + _MOST_PIECES, len(pieces))):
        piece = pieces[i]
        free -= piece.width + piece.spaced
        if free < 0:
            lines += 1
            free = begun.line - piece.width
        if lines > options.max_line_count or piece.end > latest or pieces[i - 1].closes:
            return
        yield i + 1


class _Table:
    """What is known of all pieces, so that the badness of any cue is found in one step.

    Attributes:
        endings: what is bad about where a cue ends, by one past its last piece.
    """

    def __init__(self, pieces: Sequence[Piece], options: SubtitleOptions, closes: float) -> None:
        self._longest = options.max_cue_seconds * 1000
        self._rooms = [
            max(one.opening.line * options.max_line_count - one.opening.taken, one.opening.piece)
            for one in pieces
        ]
        self._starts = [*(piece.start for piece in pieces), closes]
        # A cue may begin early; that is counted on where the one before it surely leaves the room.
        pauses = [start - piece.end for piece, start in zip(pieces, self._starts[1:], strict=True)]
        self._leads = [
            min(LEAD_MS, self._starts[0]),
            *(LEAD_MS if pause >= 2 * LEAD_MS else 0 for pause in pauses),
        ]
        self._spaced = [piece.spaced for piece in pieces]
        # Beyond a long pause no word has others that it could be shown with.
        self._ended = [piece.closes or piece.ending is Ending.SENTENCE for piece in pieces]
        self._begun = [True, *self._ended]
        self._columns = [0, *itertools.accumulate(piece.width + piece.spaced for piece in pieces)]
        self._sentences = [0, *itertools.accumulate(self._ended)]
        self.endings = [0.0, *(0.0 if one.closes else _ENDS[one.ending] for one in pieces)]

    def badness(self, first: int, end: int) -> float:
        """What else is bad about the cue of pieces[first:end]."""
        columns = self._columns[end] - self._columns[first] - self._spaced[first]
        milliseconds = min(
            self._starts[end] - self._starts[first] + self._leads[first], self._longest
        )
        others = self._sentences[end - 1] - self._sentences[first]
        badness = _NEXT_SENTENCE * others
        if others and self.endings[end] == _ENDS[Ending.WORD]:
            badness += _STRANDED
        badness += _ORPHAN * self._orphans(first, end)
        unread = columns - milliseconds / 1000 * MAX_PACE
        if unread > 0:
            badness += _TOO_FAST + _UNREAD * unread
        if milliseconds < MIN_CUE_MS:
            badness += _TOO_SHORT
        if not (self._begun[first] and self._ended[end - 1]):
            badness += _UNEVEN * (1 - columns / self._rooms[first]) ** 2
        return badness

    def _orphans(self, first: int, end: int) -> int:
        """How many words are in a cue without the others of their sentence."""
        last = end - 1
        if first == last:
            return not (self._begun[first] and self._ended[first])
        tail = self._ended[first] and not self._begun[first]
        head = self._begun[last] and not self._ended[last]
        return tail + head
