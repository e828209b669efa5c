"""What is wrong with cues, counted: the rates by which subtitles are compared (pure).

It knows cues as a player does, from their times and their text, so that those of any program can be
counted. Speed is in columns a second (a wide character is two, a combining mark none), without line
breaks. A sentence ends with a word that ends in its punctuation; a clause also, in Thai, Lao, Khmer
and Burmese, before a space. A word is one of the transcript's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from worker.results.punctuation import CLAUSE_ENDS, CLOSERS, SENTENCE_ENDS
from worker.results.subtitles.line_breaks import joins_words, text_width
from worker.results.transcript import Transcript

MAX_PACE = 20.0
SHORT_SECONDS = 5 / 6
LEAD_SECONDS = 0.5
PAUSE_SECONDS = 1.0
MAX_CUE_SECONDS = 7.0
FRAMES_SECONDS = 0.1
"""Free time that is too short to be of use."""


class Shown(NamedTuple):
    """A cue as a player has it; seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many cues there are, and how many of them have a fault.

    Attributes:
        cues: all.
        fast: over 20 columns a second.
        fast_with_room: of these, those that could stay longer, or come up to half a second sooner.
        short: under 5/6 of a second.
        short_with_room: of these, those that could have been as long.
        orphans: one word, of a sentence with more.
        orphans_joinable: of these, those that no longer pause parts from the others.
        orphan_lines: lines of one word, of a sentence with more, in cues of several lines.
        over_pause: with a pause of more than a second between two of their words.
        unpunctuated: that end neither with punctuation nor before a longer pause.
        unpunctuated_near: of these, those with punctuation in their second half.
    """

    cues: int
    fast: int
    fast_with_room: int
    short: int
    short_with_room: int
    orphans: int
    orphans_joinable: int
    orphan_lines: int
    over_pause: int
    unpunctuated: int
    unpunctuated_near: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts))
        )


NOTHING = Counts(*[0] * len(fields(Counts)))


class _Said(NamedTuple):
    """A word of the transcript, by its place among all characters that are not space.

    Attributes:
        start: seconds.
        stop: seconds.
        ends: whether a sentence ends with it.
        pauses: whether at least a clause does.
    """

    first: int
    end: int
    start: float
    stop: float
    ends: bool
    pauses: bool


def count(shown: Sequence[Shown], transcript: Transcript) -> Counts:
    """The faults of cues that hold all text of a transcript, whose words spell it."""
    said = _said(transcript)
    found = []
    done = 0
    for cue in shown:
        length = len(_squeezed(cue.text))
        found.append([word for word in said if done <= word.first < done + length])
        done += length
    number = {word.first: i for i, word in enumerate(said)}

    def begins(word: _Said) -> bool:
        at = number[word.first]
        return at == 0 or said[at - 1].ends

    def single(words: Sequence[_Said]) -> bool:
        """Whether it is one word of a sentence that has more."""
        return len(words) == 1 and not (begins(words[0]) and words[0].ends)

    def pause_after(word: _Said) -> bool:
        at = number[word.first]
        return at + 1 == len(said) or said[at + 1].start - word.stop > PAUSE_SECONDS

    def joinable(word: _Said) -> bool:
        """Whether the word before it or after it is of its sentence, without a longer pause."""
        before = not begins(word) and not pause_after(said[number[word.first] - 1])
        return before or not (word.ends or pause_after(word))

    fast = [cue for cue in shown if _pace(cue) > MAX_PACE]
    short = [cue for cue in shown if cue.end - cue.start < SHORT_SECONDS - 0.001]
    room = _room(shown, found, transcript.input.audio_seconds)
    orphans = [words for words in found if single(words)]
    loose = [
        words for words in found if words and not words[-1].pauses and not pause_after(words[-1])
    ]
    return Counts(
        cues=len(shown),
        fast=len(fast),
        fast_with_room=sum(
            room(cue) > FRAMES_SECONDS and cue.end - cue.start < MAX_CUE_SECONDS for cue in fast
        ),
        short=len(short),
        short_with_room=sum(room(cue) + cue.end - cue.start >= SHORT_SECONDS for cue in short),
        orphans=len(orphans),
        orphans_joinable=sum(joinable(words[0]) for words in orphans),
        orphan_lines=sum(map(single, _lines(shown, said))),
        over_pause=sum(any(map(pause_after, words[:-1])) for words in found),
        unpunctuated=len(loose),
        unpunctuated_near=sum(
            any(word.pauses for word in words[len(words) // 2 : -1]) for words in loose
        ),
    )


def _pace(cue: Shown) -> float:
    columns = sum(map(text_width, cue.text.split("\n")))
    return columns / round(cue.end - cue.start, 3)


def _room(
    shown: Sequence[Shown], found: Sequence[Sequence[_Said]], closes: float
) -> Callable[[Shown], float]:
    """Seconds that a cue could be longer: after it, and up to half a second before its words."""
    befores = [0.0, *(cue.end for cue in shown)]
    afters = [*(cue.start for cue in shown[1:]), closes]
    rooms = {}
    for cue, words, before, after in zip(shown, found, befores, afters, strict=False):
        opens = max(before, words[0].start - LEAD_SECONDS) if words else cue.start
        rooms[cue] = max(0.0, after - cue.end) + max(0.0, cue.start - opens)
    return rooms.__getitem__


def _lines(shown: Sequence[Shown], said: Sequence[_Said]) -> list[list[_Said]]:
    """The words of each line of cues with several."""
    found = []
    done = 0
    for cue in shown:
        lines = cue.text.split("\n")
        for line in lines:
            length = len(_squeezed(line))
            if len(lines) > 1:
                found.append([word for word in said if done <= word.first < done + length])
            done += length
    return found


def _said(transcript: Transcript) -> list[_Said]:
    found = []
    done = 0
    for segment in transcript.segments:
        places = [place for place, one in enumerate(segment.text) if not one.isspace()]
        rest = _squeezed(segment.text)
        at = 0
        for word in segment.words:
            text = _squeezed(word.word)
            at = rest.index(text, at)
            end = at + len(text)
            sign = text.rstrip(CLOSERS)[-1:]
            ends = sign in SENTENCE_ENDS
            spaced = end == len(rest) or places[end] > places[end - 1] + 1
            pauses = ends or sign in CLAUSE_ENDS or (spaced and joins_words(text[-1]))
            found.append(_Said(done + at, done + end, word.start, word.end, ends, pauses))
            at = end
        done += len(rest)
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split())
