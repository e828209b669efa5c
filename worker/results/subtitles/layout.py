"""The pieces of a cue on lines (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.results.subtitles.line_breaks import text_width
from worker.results.subtitles.pieces import CueWord, Ending, Piece

__all__ = ["lay_out"]

_BREAKS_CLAUSE = 0.1
"""For a line that ends within a clause: lines end after punctuation where it is near (Netflix). The
unit is a line that differs from the mean by a whole line, and the difference is squared: in lines
of 42 columns, punctuation up to nine from the middle is preferred to the middle."""

_ORPHAN = 1.0
"""For a line with one word of a sentence that has others: worse than any difference in length."""


def lay_out(said: Sequence[Piece]) -> tuple[str, tuple[CueWord, ...]]:
    """The text of a cue and where its words stand in it.

    On as few lines as will do (Netflix: one if it fits), of like length; behind who speaks, where
    that is shown.

    Args:
        said: the pieces of the cue; all have the same opening, and none is wider than a line.
    """
    width = said[0].opening.line
    pieces = _opened(said)
    breaks = _breaks(pieces, width)
    text = ""
    words: list[CueWord] = []
    for i, piece in enumerate(pieces):
        if i > 0:
            text += "\n" if i in breaks else " " * piece.spaced
        for word in piece.words:
            end = word.end + len(text)
            if word.begins or not words:
                words.append(word._replace(first=word.first + len(text), end=end))
            else:
                words[-1] = words[-1]._replace(end=end, end_ms=word.end_ms)
        text += piece.text
    return text, tuple(words)


def _opened(said: Sequence[Piece]) -> Sequence[Piece]:
    """The pieces behind one that says who speaks, if any does."""
    first, *others = said
    name = first.opening.text
    if not name:
        return said
    begins = first._replace(text=name, width=text_width(name), words=(), ending=Ending.CLAUSE)
    return [begins, first._replace(spaced=True), *others]


def _breaks(pieces: Sequence[Piece], width: int) -> frozenset[int]:
    """The pieces that begin a line, the first among them."""
    # least[end]: what is bad about so many lines that hold pieces[:end], and where they begin.
    least: dict[int, tuple[float, frozenset[int]]] = {0: (0.0, frozenset())}
    count, mean = _fewest(pieces, width)
    for _ in range(count):
        further: dict[int, tuple[float, frozenset[int]]] = {}
        for first, (before, begun) in least.items():
            for end, columns in _lines_from(first, pieces, width):
                badness = before + ((columns - mean) / width) ** 2 + _breaking(pieces, first, end)
                if end not in further or badness < further[end][0]:
                    further[end] = badness, begun | {first}
        least = further
    return least[len(pieces)][1]


def _lines_from(first: int, pieces: Sequence[Piece], width: int) -> Iterator[tuple[int, int]]:
    """The lines that may begin with a piece: one past the last piece, and columns.

    A name may be wider than a line, and has one to itself then.
    """
    columns = 0
    for i in range(first, len(pieces)):
        columns += pieces[i].width + (pieces[i].spaced and i > first)
        if columns > width and i > first:
            return
        yield i + 1, columns


def _fewest(pieces: Sequence[Piece], width: int) -> tuple[int, float]:
    """How many lines are needed, and how long they are in the mean."""
    count = total = first = 0
    while first < len(pieces):
        *_, (first, columns) = _lines_from(first, pieces, width)
        count += 1
        total += columns
    return count, total / count


def _breaking(pieces: Sequence[Piece], first: int, end: int) -> float:
    """What is bad about where a line begins and ends."""
    ending = pieces[end - 1].ending
    badness = _BREAKS_CLAUSE if ending is Ending.WORD and end < len(pieces) else 0.0
    whole = first > 0 and pieces[first - 1].ending is ending is Ending.SENTENCE
    return badness + (_ORPHAN if end - first == 1 and not whole else 0.0)
