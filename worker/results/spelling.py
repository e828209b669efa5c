"""A text on one line, and where the words that spell it stand in it (pure).

Subtitles, the page and corrections all put the times of words to the text of a segment; they must
agree on which characters are which word's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.results.transcript import Word

__all__ = ["one_line", "placed", "respelled", "says_something", "spans"]


def one_line(text: str) -> str:
    """`text` with its white space as single spaces and its control characters left out."""
    visible = "".join(c for c in " ".join(text.split()) if unicodedata.category(c) != "Cc")
    return " ".join(visible.split())


def spans(text: str, parts: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where each part stands: (first character, one past the last).

    Parts follow each other; between them, before and after may be anything but letters and digits.
    An empty part stands where the one before it ends.

    Returns:
        A span for each part; None if the parts don't spell the text.
    """
    found: list[tuple[int, int]] = []
    done = 0
    for part in parts:
        first = text.find(part, done)
        if first < 0 or says_something(text[done:first]):
            return None
        done = first + len(part)
        found.append((first, done))
    return None if says_something(text[done:]) else found


def placed(line: str, words: Iterable[Word]) -> list[tuple[Word, tuple[int, int]]] | None:
    """The words of a line that can be seen, each with its span; None if they don't spell it."""
    spelled = [(word, text) for word in words if (text := one_line(word.word))]
    places = spans(line, [text for _, text in spelled])
    if places is None:
        return None
    return [(word, place) for (word, _), place in zip(spelled, places, strict=True)]


def respelled(text: str, places: Sequence[tuple[int, int]], parts: Sequence[str]) -> str:
    """`text` with other parts in the places that `spans` found, on one line.

    What stands between the parts is kept.
    """
    pieces: list[str] = []
    done = 0
    for (first, end), part in zip(places, parts, strict=True):
        pieces += [text[done:first], part]
        done = end
    return one_line("".join([*pieces, text[done:]]))


def says_something(text: str) -> bool:
    """Whether it has a letter or a digit."""
    return any(character.isalnum() for character in text)
