"""Windows that are read as one text, with the times of its characters (pure).

A window ends where speech pauses or where 30 s are full, seldom where a sentence does. Where the
pause between two windows of one language is short, their texts are read as one, so that a sentence
may go over their edge.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from worker.results.languages import written_in
from worker.results.spacing import joint
from worker.results.speech_times import Stretch, clipped
from worker.results.spelling import one_line
from worker.results.timed import Timed, opens, timed
from worker.results.transcript import Segment, Task, Word

__all__ = ["Cut", "Run", "Spoken", "runs"]

_JOINED = 1.0
"""Seconds of pause over which no two windows are read as one. Longer ones hardly occur but between
sentences, or in speech that is made up as it goes (E. Campione, J. Véronis: A large-scale
multilingual study of silent pause duration, Speech Prosody 2002); nor does a subtitle stay on."""

_LETTER = re.compile(r"\w")


class Cut(NamedTuple):
    """Where a text may be cut: between two words, or between two windows.

    Attributes:
        at: the first character after it.
        pause: in milliseconds, between what is said before and after it.
    """

    at: int
    pause: float


class Spoken(NamedTuple):
    """Characters of a text whose speaker is known: a word, or a window whose words aren't known.

    Attributes:
        first: the first character.
        after: one past the last.
        speaker: who says them.
    """

    first: int
    after: int
    speaker: str


@dataclass(slots=True)
class Run:
    """The text of windows that are read as one.

    Attributes:
        text: of all of them.
        starts: of each character, in milliseconds.
        ends: of each character, in milliseconds.
        windows: each with its first character, in order.
        words: each with its first character, or one that is said while it is, in order.
        places: (first character, one past the last) of each word that is spelled in the text.
        spoken: in order, without overlap; what nobody is heard to say is left out.
        edges: where a window begins that isn't the first, and where speech pauses in a text of
            which no words are known.
    """

    text: str = ""
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    windows: list[tuple[int, Segment]] = field(default_factory=list)
    words: list[tuple[int, Word]] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    spoken: list[Spoken] = field(default_factory=list)
    edges: list[Cut] = field(default_factory=list)

    @classmethod
    def of(cls, window: Segment) -> Run:
        """A window that is read alone."""
        run = cls()
        run.add(window, _times(window))
        return run

    def pause_before(self, times: Timed) -> float:
        """Milliseconds between what is said in it and in a window."""
        begins = _said_first(times.text, times.words, 0, len(times.text))
        return times.starts[begins] - self.ends[-1]

    def add(self, window: Segment, times: Timed, between: str = "", pause: float = 0.0) -> None:
        """Append a window.

        Args:
            window: the one that follows.
            times: of its text.
            between: what parts its text from what is there; nothing before the first.
            pause: what `pause_before` says; before the first it is of no account.
        """
        self.text += between
        self.starts += self.ends[-1:] * len(between)
        self.ends += self.ends[-1:] * len(between)
        first = len(self.text)
        self.text += window.text
        self.starts += times.starts
        self.ends += times.ends
        self.windows.append((first, window))
        if first:
            self.edges.append(Cut(first, pause))
        places = [(first + begin, first + after) for begin, after in times.words]
        self.places += places
        if not places:
            pauses = enumerate(zip(times.ends, times.starts[1:], strict=False), first + 1)
            self.edges += [Cut(at, begin - end) for at, (end, begin) in pauses if begin > end]
            if window.speaker:
                self.spoken.append(Spoken(first, len(self.text), window.speaker))
        left = iter(places)
        at = first
        for word in window.words:
            if not places:
                middle = (word.start + word.end) * 500
                at = first + max(bisect_right(times.starts, middle) - 1, 0)
            elif one_line(word.word):
                at, after = next(left)
                if word.speaker:
                    self.spoken.append(Spoken(at, after, word.speaker))
            self.words.append((at, word))

    def begins(self, first: int, after: int) -> float:
        """When the first word in [first, after) begins, in milliseconds."""
        return self.starts[_said_first(self.text, self.places, first, after)]

    def pause_at(self, at: int) -> float:
        """Milliseconds between what is said before a character, not the first, and from it on."""
        return self.begins(at, len(self.text)) - self.ends[at - 1]

    def splits_a_word(self, at: int) -> bool:
        """Whether a word has characters before `at` and from it on."""
        before = bisect_left(self.places, (at, at)) - 1
        return before >= 0 and self.places[before][1] > at

    def cuts(self) -> list[Cut]:
        """Where it may be cut apart from sentences, in order."""
        found = {cut.at: cut for cut in self.edges}
        for (_, after), (first, _) in pairwise(self.places):
            at = after + _ends_at(self.text[after:first])
            found.setdefault(at, Cut(at, self.starts[first] - self.ends[after - 1]))
        return sorted(found.values())

    def segments(self, pieces: Iterable[tuple[int, int]], number: int) -> Iterator[Segment]:
        """The segments that it is cut into.

        Args:
            pieces: (first character, one past the last) of each, in order; outside of them is
                nothing but white space.
            number: `id` of the first.
        """
        words = deque(self.words)
        for id_, (first, after) in enumerate(pieces, number):
            own = []
            while words and words[0][0] < after:
                own.append(words.popleft()[1])
            yield self._segment(first, after, own, id_)

    def _segment(self, first: int, after: int, words: Sequence[Word], number: int) -> Segment:
        start = round(self.begins(first, after) / 1000, 3)
        end = max(round(self.ends[after - 1] / 1000, 3), start)
        from_ = bisect_right(self.windows, first, key=itemgetter(0)) - 1
        until = bisect_left(self.windows, after, key=itemgetter(0))
        windows = [window for _, window in self.windows[from_:until]]
        shares = [
            min(begin + len(window.text), after) - max(begin, first)
            for begin, window in self.windows[from_:until]
        ]
        ratios = [window.compression_ratio for window in windows]
        return windows[0].model_copy(
            update={
                "id": number,
                "start": start,
                "end": end,
                "text": self.text[first:after],
                "avg_logprob": _mean([window.avg_logprob for window in windows], shares),
                "no_speech_prob": _mean([window.no_speech_prob for window in windows], shares),
                "temperature": _highest([window.temperature for window in windows]),
                "compression_ratio": _mean(ratios, shares),
                "words": tuple(_fitted(word, start, end) for word in words),
                "speech": _speech(windows, start, end),
            }
        )


def runs(windows: Sequence[Segment], task: Task) -> Iterator[Run]:
    """The windows, as far as they are read as one; arguments as for `sentences.by_sentences`."""
    run = Run()
    written: str | None = None
    for window in windows:
        times = _times(window)
        language = written_in(window.language, task)
        pause = run.pause_before(times) if run.text else math.inf
        if language == written and pause <= _JOINED * 1000:
            run.add(window, times, joint(written, language), pause)
            continue
        if run.text:
            yield run
        run, written = Run(), language
        run.add(window, times)
    if run.text:
        yield run


def _times(window: Segment) -> Timed:
    return timed(window.text, window.words, window.start * 1000, window.end * 1000, window.speech)


def _said_first(text: str, places: Sequence[tuple[int, int]], first: int, after: int) -> int:
    """The first character of the first word in text[first:after].

    Signs that belong to no word take no time. Where a text has no words, its first letter is it.
    """
    letter = _LETTER.search(text, first, after)
    said = letter.start() if letter else first
    index = bisect_right(places, first, key=itemgetter(1))
    return min(said, max(places[index][0], first)) if index < len(places) else said


def _ends_at(between: str) -> int:
    """How much of what stands between two words stays with the first where they are parted."""
    parts = re.split(r"\s+", between)
    if len(parts) > 1:
        return len(between) - len(parts[-1])
    return len(between.rstrip("".join(filter(opens, between))))


def _speech(windows: Sequence[Segment], start: float, end: float) -> tuple[Stretch, ...]:
    """Where a part of some windows was heard, unless the words of all of them say that."""
    if not any(window.speech for window in windows):
        return ()
    stretches = [
        one for window in windows for one in window.speech or ((window.start, window.end),)
    ]
    return clipped(stretches, start, end)


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    """The weighted mean; None if a value isn't known."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    whole = sum(value * weight for value, weight in zip(known, weights, strict=True))
    return round(whole / sum(weights), 4)


def _highest(values: Sequence[float | None]) -> float | None:
    """The highest; None if one isn't known."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _fitted(word: Word, earliest: float, latest: float) -> Word:
    """The word within its segment; it lies elsewhere only where words don't spell the text."""
    if earliest <= word.start <= word.end <= latest:
        return word
    start = min(max(word.start, earliest), latest)
    return word.model_copy(update={"start": start, "end": min(max(word.end, start), latest)})
