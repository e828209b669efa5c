"""A text and the words that spell it, changed together (pure)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from worker.results.spelling import spans
from worker.results.transcript import Word
from worker.results.wording.closing import Removal, is_shown, removal

__all__ = ["Edit", "Spelled", "spelled"]

_DECIMALS = 3
"""Times are in milliseconds, as those of all words."""


class Edit(NamedTuple):
    """Characters of a text, from the first to one past the last, and what stands there instead."""

    first: int
    end: int
    text: str


class _Group(NamedTuple):
    """Edits that share words: the characters of both together, and the words as first and last."""

    first: int
    end: int
    edits: Sequence[Edit]
    words: slice


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text, its words, and where they stand in it.

    Attributes:
        text: of a segment.
        words: in order; none, or not those of the text (`is_spelled`).
        places: (first character, one past the last) of each word; empty where they don't spell
            the text.
    """

    text: str
    words: tuple[Word, ...] = ()
    places: tuple[tuple[int, int], ...] = ()

    @property
    def is_spelled(self) -> bool:
        """Whether the words spell the text, or there are none."""
        return len(self.places) == len(self.words)

    def replaced(self, edits: Sequence[Edit]) -> Spelled:
        """With other texts in some places, and the words with them.

        The words that stand in a place become the words of its new text, cut at white space. As
        many words as before keep their times; of others each has its part, by characters, of the
        time from the first to the last. A word that is more than what is replaced keeps the rest
        of it. The score is the least of theirs; null where none is known. Words that don't spell
        the text fall out.

        Args:
            edits: in order, without overlap; their texts aren't empty.
        """
        if not edits:
            return self
        if not self.places:
            return Spelled(_edited(self.text, edits, 0, len(self.text)))
        pieces: list[str] = []
        length = done = 0
        words: list[Word] = []
        places: list[tuple[int, int]] = []
        upto = 0
        for group in [*_groups(self.places, edits), self._rest()]:
            words += self.words[upto : group.words.start]
            places += [
                (first + length - done, end + length - done)
                for first, end in self.places[upto : group.words.start]
            ]
            between = self.text[done : group.first]
            new = _edited(self.text, group.edits, group.first, group.end)
            length += len(between)
            found = list(re.finditer(r"\S+", new))
            words += _timed_anew(self.words[group.words], [one[0] for one in found])
            places += [(length + one.start(), length + one.end()) for one in found]
            pieces += [between, new]
            length += len(new)
            done, upto = group.end, group.words.stop
        return Spelled("".join(pieces), tuple(words), tuple(places))

    def without(self, taken: Sequence[tuple[int, int]]) -> Spelled:
        """Without some of its characters, closed as `worker.results.wording.closing` says.

        Words that don't spell the text fall out.

        Args:
            taken: (first character, one past the last) of each, in order, without overlap.
        """
        left = self
        whole = len(self.text)
        for first, end in reversed(taken):
            # What closed over a later one may have taken the end of this one.
            if first < min(end, whole):
                gone = removal(left.text, first, min(end, whole))
                left = left._closed(gone)
                whole = gone.first
        return left

    def tagged(self, matched: Sequence[tuple[int, int]]) -> Spelled:
        """With a mark on every word that has a character in one of the places.

        Args:
            matched: (first character, one past the last) of each, in order, without overlap.
        """
        words = list(self.words)
        for group in _groups(self.places, [Edit(first, end, "") for first, end in matched]):
            words[group.words] = [
                word.model_copy(update={"vocabulary_filter_match": True})
                for word in words[group.words]
            ]
        return replace(self, words=tuple(words))

    def _rest(self) -> _Group:
        return _Group(len(self.text), len(self.text), (), slice(len(self.words), len(self.words)))

    def _closed(self, gone: Removal) -> Spelled:
        mark = gone.mark + (" " if gone.space else "")
        text = self.text[: gone.first] + mark + self.text[gone.end :]
        words: list[Word] = []
        places: list[tuple[int, int]] = []
        for word, place in zip(self.words, self.places, strict=False):  # no places, no words
            moved = _moved(place, gone, len(text) - len(self.text))
            if moved is None:
                continue
            rest = text[slice(*moved)]
            if rest == word.word or is_shown(rest):
                words.append(word.model_copy(update={"word": rest}))
                places.append(moved)
        return Spelled(text, tuple(words), tuple(places))


def spelled(text: str, words: Sequence[Word]) -> Spelled:
    """A text and its words, if there are any."""
    places = spans(text, [word.word for word in words]) if words else None
    return Spelled(text, tuple(words), tuple(places or ()))


def _edited(text: str, edits: Sequence[Edit], first: int, end: int) -> str:
    """The characters from `first` to `end` with the edits that lie in them."""
    pieces = []
    done = first
    for edit in edits:
        pieces += [text[done : edit.first], edit.text]
        done = edit.end
    return "".join([*pieces, text[done:end]])


def _groups(places: Sequence[tuple[int, int]], edits: Sequence[Edit]) -> Iterator[_Group]:
    """The edits with the words that stand in them, in order; edits that share a word together."""
    number = done = 0
    while done < len(edits):
        first, end, _ = edits[done]
        while number < len(places) and places[number][1] <= first:
            number += 1
        begun = (number, done)
        done += 1
        while True:
            if number < len(places) and places[number][0] < end:
                first, end = min(first, places[number][0]), max(end, places[number][1])
                number += 1
            elif done < len(edits) and edits[done].first < end:
                end = max(end, edits[done].end)
                done += 1
            else:
                break
        yield _Group(first, end, edits[begun[1] : done], slice(begun[0], number))


def _timed_anew(words: Sequence[Word], texts: Sequence[str]) -> list[Word]:
    """Words of other texts in the time of words that they take the place of."""
    score = min((word.score for word in words if word.score is not None), default=None)
    if len(texts) == len(words):
        return [
            word.model_copy(update={"word": text, "score": score})
            for word, text in zip(words, texts, strict=True)
        ]
    start, end = words[0].start, words[-1].end
    speaker = next((word.speaker for word in words if word.speaker), words[0].speaker)
    step = (end - start) / sum(map(len, texts))
    edges = [start]
    for text in texts:
        edges.append(edges[-1] + step * len(text))
    times = [min(round(edge, _DECIMALS), end) for edge in edges[:-1]] + [end]
    anew = words[0].model_copy(update={"speaker": speaker, "score": score})
    return [
        anew.model_copy(update={"word": text, "start": start, "end": end})
        for text, (start, end) in zip(texts, itertools.pairwise(times), strict=True)
    ]


def _moved(place: tuple[int, int], gone: Removal, by: int) -> tuple[int, int] | None:
    """Where a word stands after characters were taken out; None if all of it went.

    Args:
        place: of the word before.
        gone: what was taken out.
        by: how many characters the text has more than before.
    """
    first, end = place
    if end < gone.first:
        return place
    if first >= gone.end:
        return first + by, end + by
    if first < gone.first:
        # What stands on the word before is the word's.
        return first, end + by if end > gone.end else gone.first + len(gone.mark)
    return (gone.end + by, end + by) if end > gone.end else None
