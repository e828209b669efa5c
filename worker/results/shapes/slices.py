"""A segment's text cut into slices, and the words that are spoken in each (pure).

Whole texts are cut, not single words: what stands between words (a dash, a quotation mark that no
word has) is lost nowhere, and the slices spell the text again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from worker.results.spelling import placed

if TYPE_CHECKING:
    from worker.results.transcript import Word

__all__ = ["Slice", "known", "slices"]

_DECIMALS = 3


class Slice(NamedTuple):
    """Some of a line, without white space around it.

    Attributes:
        first: its first character's place in the line.
        text: what is in it.
        words: those that are spoken in it, in order; empty where the words don't spell the line.
    """

    first: int
    text: str
    words: Sequence[Word]

    @property
    def score(self) -> float | None:
        """The mean of its words' scores, 0 to 1; None where none is known."""
        scores = [score for word in self.words if (score := known(word.score)) is not None]
        return round(sum(scores) / len(scores), _DECIMALS) if scores else None


def slices(line: str, words: Sequence[Word], may_cut: Callable[[int], bool]) -> list[Slice]:
    """A line cut at its spaces, never inside a word, and before some words.

    Args:
        line: text on one line.
        words: of it, maybe none.
        may_cut: whether a slice may begin with the word at this place, where no space is before it.
    """
    spelled = placed(line, words) or []
    places = [place for _, place in spelled]
    inside = {place for first, after in places for place in range(first + 1, after)}
    edges = {run.start() for run in re.finditer(r"[^ ]+", line)} - inside
    edges |= {
        first for first, _ in places if first > 0 and line[first - 1] != " " and may_cut(first)
    }
    found: list[Slice] = []
    following = 0
    for first, after in zip(sorted(edges), [*sorted(edges)[1:], len(line)], strict=True):
        end = following
        while end < len(places) and places[end][0] < after:
            end += 1
        said = [word for word, _ in spelled[following:end]]
        found.append(Slice(first, line[first:after].rstrip(), said))
        following = end
    return found


def known(value: float | None) -> float | None:
    """A number that JSON can say, or None."""
    return value if value is not None and math.isfinite(value) else None
