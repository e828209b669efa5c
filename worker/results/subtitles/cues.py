"""The transcript's subtitles (pure).

Subtitle cues follow what broadcasters ask for: at most seven seconds, at most two lines of 42
characters, a wide character (Chinese, Japanese, Korean) counting two. A cue starts and ends with
the words in it; a segment without words is shared out in proportion to its characters.
Cue times are whole milliseconds, which is all that srt and vtt can say.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from worker.results.spelling import one_line
from worker.results.timed import Timed, opens, timed

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript

__all__ = ["MAX_CUE_SECONDS", "MAX_LINES", "MAX_LINE_WIDTH", "Cue", "cues", "text_width"]

MAX_CUE_SECONDS = 7.0
MAX_LINES = 2
MAX_LINE_WIDTH = 42

_MAX_CUE_MS = round(MAX_CUE_SECONDS * 1000)
_READABLE_MS = 1000
"""A cue stays this long where its segment and the next cue leave the room."""

_SENTENCE_ENDS = (
    *".?!…",
    "\N{IDEOGRAPHIC FULL STOP}",
    "\N{FULLWIDTH QUESTION MARK}",
    "\N{FULLWIDTH EXCLAMATION MARK}",
    "\N{ARABIC QUESTION MARK}",
    "\N{DEVANAGARI DANDA}",
)


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Attributes:
        start: seconds, a whole number of milliseconds.
        end: seconds, a whole number of milliseconds, after `start`.
        text: one or two lines joined by a newline; plain, not escaped for any format.
        word_starts: (offset in `text`, seconds) of each word that starts in this cue;
            empty where the segment had no word times.
    """

    start: float
    end: float
    text: str
    word_starts: tuple[tuple[int, float], ...] = ()


class _Piece(NamedTuple):
    """Text that stays on one line. Times in milliseconds."""

    text: str
    width: int
    spaced: bool
    """Whether a space parts it from the piece before when they share a line."""
    start: float
    end: float
    word_starts: tuple[tuple[int, float], ...]


@functools.lru_cache(maxsize=8192)
def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def text_width(text: str) -> int:
    """Columns of a line: wide characters count two, combining marks and joiners none."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _is_hangul(character: str) -> bool:
    return unicodedata.name(character, "").startswith("HANGUL")


def _follows(character: str) -> bool:
    """Whether it is bound to what is before it: other punctuation, lengthening and repeat marks."""
    return unicodedata.category(character) in ("Pe", "Pf", "Po", "Lm")


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters that no space parts.

    Scripts that write no spaces break anywhere but at punctuation (in the main what JIS X 4051
    asks, by Unicode's general categories); Korean writes spaces.
    """
    return (
        2 in (_character_width(before), _character_width(after))
        and _character_width(after) > 0
        and not opens(before)
        and not _follows(after)
        and not _is_hangul(before)
        and not _is_hangul(after)
    )


def _overflows(text: str, first: int, end: int) -> Iterator[int]:
    """Where [first, end) has to be cut for its parts to fit a line; marks stay with letters."""
    width = 0
    for i in range(first, end):
        step = _character_width(text[i])
        if width + step > MAX_LINE_WIDTH:
            yield i
            width = 0
        width += step


def _pieces(line: Timed) -> list[_Piece]:
    """`line` cut at spaces, between wide characters, and where a line would overflow.

    Words are cut only if one alone is longer than a line.
    """
    text = line.text
    inside_word = {i for first, end in line.words for i in range(first + 1, end)}
    pieces: list[_Piece] = []
    following = 0
    for run in re.finditer(r"[^ ]+", text):
        allowed = [
            i
            for i in range(run.start() + 1, run.end())
            if i not in inside_word and _may_break(text[i - 1], text[i])
        ]
        edges: list[int] = []
        for first, end in itertools.pairwise([run.start(), *allowed, run.end()]):
            edges += [first, *_overflows(text, first, end)]
        for first, end in itertools.pairwise([*edges, run.end()]):
            word_starts = []
            while following < len(line.words) and line.words[following][0] < end:
                at = line.words[following][0]
                word_starts.append((at - first, line.starts[at]))
                following += 1
            pieces.append(
                _Piece(
                    text=text[first:end],
                    width=text_width(text[first:end]),
                    spaced=first == run.start(),
                    start=line.starts[first],
                    end=line.ends[end - 1],
                    word_starts=tuple(word_starts),
                )
            )
    return pieces


def _full_at(pieces: Sequence[_Piece], first: int) -> int:
    """One past the last piece that a cue starting at `first` has room and time for."""
    lines = 1
    width = pieces[first].width
    for i in range(first + 1, len(pieces)):
        piece = pieces[i]
        if width + piece.spaced + piece.width <= MAX_LINE_WIDTH:
            width += piece.spaced + piece.width
        else:
            lines += 1
            width = piece.width
        if lines > MAX_LINES or piece.end - pieces[first].start > _MAX_CUE_MS:
            return i
    return len(pieces)


def _groups(pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
    """The pieces of each cue: as many as fit, or less where a sentence ends in the second half."""
    first = 0
    while first < len(pieces):
        end = _full_at(pieces, first)
        if end < len(pieces):
            for i in range(end, (first + end) // 2, -1):
                if pieces[i - 1].text.endswith(_SENTENCE_ENDS):
                    end = i
                    break
        yield pieces[first:end]
        first = end


def _lay_out(group: Sequence[_Piece]) -> tuple[str, tuple[tuple[int, float], ...]]:
    """The text of a cue, on one line or on two of like length, and its words' starts."""
    widths = [0]
    for i, piece in enumerate(group):
        widths.append(widths[-1] + piece.width + (piece.spaced and i > 0))
    second_line = 0
    if widths[-1] > MAX_LINE_WIDTH:
        lines = {
            i: (widths[i], widths[-1] - widths[i] - group[i].spaced) for i in range(1, len(group))
        }
        fitting = [i for i in lines if max(lines[i]) <= MAX_LINE_WIDTH]
        second_line = min(fitting, key=lambda i: abs(lines[i][0] - lines[i][1]))
    text = ""
    word_starts: list[tuple[int, float]] = []
    for i, piece in enumerate(group):
        if i > 0:
            text += "\n" if i == second_line else " " * piece.spaced
        word_starts += [(len(text) + offset, at / 1000) for offset, at in piece.word_starts]
        text += piece.text
    return text, tuple(word_starts)


def _settle(spans: Sequence[tuple[float, float]], opens: int, closes: int) -> list[tuple[int, int]]:
    """Whole milliseconds for the cues of one segment, which lies in [opens, closes].

    Each lasts from 1 ms (vtt allows none of length zero) to seven seconds and starts no sooner
    than the one before it ends. Only a segment with less than a millisecond for each of its cues
    is overrun: better than losing text.
    """
    starts = [round(start) for start, _ in spans]
    ends = [min(round(end), round(start) + _MAX_CUE_MS) for start, end in spans]
    latest = closes
    for i in reversed(range(len(spans))):
        starts[i] = min(starts[i], latest - 1)
        ends[i] = min(ends[i], latest)
        latest = starts[i]
    earliest = opens
    for i in range(len(spans)):
        starts[i] = max(starts[i], earliest)
        ends[i] = earliest = max(ends[i], starts[i] + 1)
    for i, room in enumerate([*starts[1:], closes]):
        ends[i] = max(ends[i], min(starts[i] + _READABLE_MS, room))
    return list(zip(starts, ends, strict=True))


def _segment_cues(segment: Segment, opens: int) -> list[Cue]:
    text = one_line(segment.text)
    if not text:
        return []
    start, end = segment.start * 1000, segment.end * 1000
    groups = list(_groups(_pieces(timed(text, segment.words, start, end))))
    spans = _settle(
        [(group[0].start, group[-1].end) for group in groups], max(opens, round(start)), round(end)
    )
    return [
        Cue(first / 1000, last / 1000, *_lay_out(group))
        for group, (first, last) in zip(groups, spans, strict=True)
    ]


def cues(transcript: Transcript) -> list[Cue]:
    """The transcript's subtitles, in order.

    Each is at most 7 s long, has at most two lines of 42 columns, lies inside its segment (to
    the nearest millisecond) and overlaps no other. White space is normalised; otherwise the
    cues of a segment hold all of its text.
    """
    found: list[Cue] = []
    opens = 0
    for segment in transcript.segments:
        found += _segment_cues(segment, opens)
        if found:
            opens = round(found[-1].end * 1000)
    return found
