"""A transcript as the pieces that its subtitles are made of: text that stays on one line (pure)."""

from __future__ import annotations

import bisect
import enum
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from worker.results.languages import segment_language
from worker.results.punctuation import CLAUSE_ENDS, CLOSERS, SENTENCE_ENDS
from worker.results.said_by import said_by
from worker.results.sentence_ends import sentences
from worker.results.spelling import one_line, says_something
from worker.results.subtitles.line_breaks import (
    character_ends,
    joins_words,
    line_ends,
    parted_by_space,
    text_width,
)
from worker.results.subtitles.opening import Opening, opening
from worker.results.timed import Timed, timed

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript

__all__ = ["CueWord", "Ending", "Piece", "pieces"]

_LONGEST_PAUSE_MS = 1000
"""No cue goes over a longer pause: its end would be read long before it is said."""

_HESITATION_MS = 300
"""Who pauses this long has come to the end of a clause, comma or none. Shorter pauses than 250 ms
may be those of the sounds themselves (F. Goldman-Eisler, Psycholinguistics, 1968); times of words
are in steps of 20 ms, and so a little more is asked."""

_CLAUSE_ENDS = CLAUSE_ENDS | SENTENCE_ENDS - {"."}
"""`“Why?” he asked` ends a clause with its question mark; a full stop that ends no sentence is that
of an abbreviation or a number."""


class Ending(enum.IntEnum):
    """What ends with a piece."""

    WORD = 0
    CLAUSE = 1
    SENTENCE = 2


class CueWord(NamedTuple):
    """Where a word, or a part of one, stands in the text of a piece or a cue, and when it is said.

    Attributes:
        first: its first character.
        end: one past its last.
        start_ms: whole milliseconds.
        end_ms: whole milliseconds.
        begins: whether its word begins here, and not in the text before.
    """

    first: int
    end: int
    start_ms: int
    end_ms: int
    begins: bool = True


class Piece(NamedTuple):
    """Text that stays on one line. Times in milliseconds.

    Attributes:
        text: without space around it.
        width: columns of a line.
        spaced: whether a space parts it from the piece before it where they share a line.
        start: of its first word.
        end: of its last word.
        words: in it; none where their times aren't known.
        opening: how a cue begins that begins with it.
        ending: what ends with it.
        closes: whether no cue goes on after it.
    """

    text: str
    width: int
    spaced: bool
    start: float
    end: float
    words: tuple[CueWord, ...]
    opening: Opening
    ending: Ending = Ending.WORD
    closes: bool = True


def pieces(
    transcript: Transcript, segments: Sequence[Segment], *, named: bool = False
) -> list[Piece]:
    """All text of some segments, in order, as the pieces that no line break parts.

    Args:
        transcript: whose language and options hold for the segments.
        segments: of it, none of which overlaps another.
        named: whether the text of a cue says who speaks.
    """
    spoken = [(segment, text) for segment in segments if (text := one_line(segment.text))]
    found: list[Piece] = []
    for (language, label), group in itertools.groupby(
        spoken, key=lambda pair: (segment_language(transcript, pair[0]), said_by(pair[0]))
    ):
        begun = opening(label, transcript.subtitles, named=named)
        found += _of_group(transcript, list(group), language, begun)
    return found


def _of_group(
    transcript: Transcript,
    spoken: Sequence[tuple[Segment, str]],
    language: str | None,
    begun: Opening,
) -> Iterator[Piece]:
    """The pieces of segments that may share cues, each with what is known when the next is."""
    ends = _sentence_ends(transcript, [text for _, text in spoken], language)
    found: list[Piece] = []
    for (segment, text), own_ends in zip(spoken, ends, strict=True):
        start, end = segment.start * 1000, segment.end * 1000
        line = timed(text, segment.words, start, end, segment.speech)
        first, *others = _of_line(line, language, begun, own_ends)
        spaced = bool(found) and parted_by_space(found[-1].text, text)
        found += [first._replace(spaced=spaced), *others]
    for piece, following in itertools.pairwise(found):
        pause = following.start - piece.end
        ending = Ending.CLAUSE if pause >= _HESITATION_MS else Ending.WORD
        yield piece._replace(ending=max(piece.ending, ending), closes=pause > _LONGEST_PAUSE_MS)
    yield found[-1]


def _sentence_ends(
    transcript: Transcript, texts: Sequence[str], language: str | None
) -> list[list[int]]:
    """Where sentences end in each text: one past the last character, ascending.

    Segments that are sentences end one each; a sentence may go on from one window into the next.
    """
    if transcript.segment_resolution == "sentence":
        return [[len(text)] for text in texts]
    ends = [end for _, end in sentences(" ".join(texts), language)]
    found: list[list[int]] = []
    first = done = 0
    for text in texts:
        after = bisect.bisect_right(ends, first + len(text))
        found.append([end - first for end in ends[done:after]])
        done = after
        first += len(text) + 1
    return found


def _of_line(
    line: Timed, language: str | None, begun: Opening, sentence_ends: Sequence[int]
) -> list[Piece]:
    text = line.text
    allowed = line_ends(text, language, width=begun.piece, words=line.words)
    found: list[Piece] = []
    first = following = 0
    for end in sorted({*allowed, *_pauses(line)}):
        words = list(_words(line, following, first, end))
        # A word that isn't over goes on in the next piece.
        following += len(words) - (bool(words) and line.words[following + len(words) - 1][1] > end)
        shown = text[first:end].strip()
        found.append(
            Piece(
                text=shown,
                width=text_width(shown),
                spaced=first > 0 and text[first - 1] == " ",
                start=line.starts[first],
                end=line.ends[first + len(shown) - 1],
                words=tuple(words),
                opening=begun,
                ending=_ending(text, first, end, sentence_ends),
            )
        )
        first = end
    return found


def _words(line: Timed, following: int, first: int, end: int) -> Iterator[CueWord]:
    """The words in [first, end), of which `following` is the first; places from `first` on."""
    while following < len(line.words) and line.words[following][0] < end:
        word_first, word_end = line.words[following]
        begins, stops = max(word_first, first), min(word_end, end)
        yield CueWord(
            begins - first,
            stops - first,
            round(line.starts[begins]),
            round(line.ends[stops - 1]),
            begins == word_first,
        )
        following += 1


def _pauses(line: Timed) -> list[int]:
    """Where the text has to be cut since a longer pause is there: before what is said after it."""
    long = [
        at
        for at in range(1, len(line.text))
        if line.starts[at] - line.ends[at - 1] > _LONGEST_PAUSE_MS
    ]
    if not long:
        return []
    whole = character_ends(line.text)
    return [at for at in long if at in whole]


def _ending(text: str, first: int, end: int, sentence_ends: Sequence[int]) -> Ending:
    """What ends with text[first:end]."""
    at = bisect.bisect_right(sentence_ends, end) - 1
    if at >= 0 and sentence_ends[at] > first and not says_something(text[sentence_ends[at] : end]):
        return Ending.SENTENCE
    said = text[first:end].rstrip(CLOSERS)
    if said[-1:] in _CLAUSE_ENDS or (text[end - 1] == " " and joins_words(text[end - 2])):
        return Ending.CLAUSE
    return Ending.WORD
