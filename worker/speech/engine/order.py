"""Which window of a file stands before which, also where some were divided into parts (pure).

Windows count from 0, in the order of the file. A window that is divided keeps its index for its
first part; the others get indices from `FIRST_PART` on, so that no window's index is taken. So what
stands before a window can't be told from its index: this module knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["FIRST_PART", "MOST_PARTS", "Order", "whole"]

FIRST_PART = 1 << 30
"""Indices from here on are those of parts."""

MOST_PARTS = 64
"""Parts of a window, at most: 30 s in pieces of half a second."""


def whole(index: int) -> int:
    """The window that a window or a part belongs to."""
    return index if index < FIRST_PART else (index - FIRST_PART) // MOST_PARTS


@dataclass(slots=True)
class Order:
    """The windows of one file, and the parts of those that were divided."""

    _before: dict[int, int] = field(default_factory=dict)
    _after: dict[int, int] = field(default_factory=dict)
    _parts: dict[int, list[int]] = field(default_factory=dict)

    def before(self, index: int) -> int:
        """What stands before a window or part; -1 before the first."""
        return self._before.get(index, index - 1)

    def after(self, index: int) -> int:
        """What stands after a window or part."""
        return self._after.get(index, index + 1)

    def parts(self, index: int) -> tuple[int, ...]:
        """The parts of a whole window beside the first, in the order they were made."""
        return tuple(self._parts.get(index, ()))

    def divide(self, index: int, others: int) -> tuple[int, ...]:
        """A window or part is divided.

        Args:
            index: its own, which its first part keeps.
            others: how many parts there are beside that one.

        Returns:
            The indices of the others, in order.

        Raises:
            ValueError: the window would have more than `MOST_PARTS` parts.
        """
        of = whole(index)
        taken = len(self.parts(of))
        if taken + others >= MOST_PARTS:
            raise ValueError(f"window {of} has {taken + others + 1} parts")
        first = FIRST_PART + of * MOST_PARTS + taken
        new = tuple(range(first, first + others))
        self.insert(index, new)
        return new

    def insert(self, index: int, others: Sequence[int]) -> None:
        """Parts stand after a window or part, before what stood there."""
        self._parts.setdefault(whole(index), []).extend(others)
        for left, right in pairwise((index, *others, self.after(index))):
            self._after[left], self._before[right] = right, left
