"""Text with the times of its characters: from its words, or shared out for want of them (pure)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from worker.results.speech_times import Stretch, clipped, shared_out
from worker.results.spelling import placed

if TYPE_CHECKING:
    from worker.results.transcript import Word

__all__ = ["Timed", "opens", "timed", "timed_by_speech", "timed_by_words"]


class Timed(NamedTuple):
    """Text on one line, with the times in milliseconds of its characters and its words."""

    text: str
    starts: Sequence[float]
    ends: Sequence[float]
    words: Sequence[tuple[int, int]]
    """(first character, one past the last) of each word; empty without word times."""


def timed(
    text: str, words: Sequence[Word], start: float, end: float, speech: Sequence[Stretch] = ()
) -> Timed:
    """Times of the characters of a text: of its words if they spell it, else of its speech.

    Args:
        text: on one line, not empty.
        words: of it, maybe none; their times are in seconds.
        start: of the text, in milliseconds.
        end: of the text, in milliseconds.
        speech: stretches of the text in which speech was heard, in seconds; none where that is
            not known, and it may be all of it.
    """
    return timed_by_words(text, words, start, end) or timed_by_speech(text, start, end, speech)


def timed_by_speech(text: str, start: float, end: float, speech: Sequence[Stretch]) -> Timed:
    """Times of the characters of `text`, shared out; arguments as for `timed`."""
    within = start / 1000, end / 1000
    starts, ends = shared_out(text, clipped(speech, *within) or [within])
    return Timed(text, [at * 1000 for at in starts], [at * 1000 for at in ends], ())


def timed_by_words(line: str, words: Sequence[Word], start: float, end: float) -> Timed | None:
    """Times of the characters of `line` from its words; None if they don't spell it.

    Punctuation between words takes no time: it belongs to the word before it, or, where it
    opens a quotation or a bracket, to the word after it.
    """
    spelled = placed(line, words)
    if not spelled:
        return None
    starts = [start] * len(line)
    ends = [start] * len(line)
    done = 0
    clock = start
    for word, (first, after) in spelled:
        word_start = min(max(word.start * 1000, clock), end)
        word_end = min(max(word.end * 1000, word_start), end)
        for i in range(done, first):
            starts[i] = ends[i] = word_start if opens(line[i]) or not done else clock
        done = after
        step = (word_end - word_start) / (done - first)
        for i in range(first, done):
            starts[i] = word_start + (i - first) * step
            ends[i] = starts[i] + step
        ends[done - 1] = clock = word_end
    starts[done:] = ends[done:] = [clock] * (len(line) - done)
    return Timed(line, starts, ends, [place for _, place in spelled])


def opens(character: str) -> bool:
    """Whether it opens a bracket or a quotation; such a character never ends a line."""
    return unicodedata.category(character) in ("Ps", "Pi")
