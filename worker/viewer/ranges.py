"""Which bytes of a file a browser asks for: RFC 9110's Range header (pure)."""

from __future__ import annotations

import re

__all__ = ["UnsatisfiableRangeError", "byte_range"]

_ONE_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)", re.IGNORECASE | re.ASCII)
_BEYOND = 10**18
"""More bytes than any file has: what a longer number stands for."""


class UnsatisfiableRangeError(Exception):
    """The range lies behind the end of the file (status 416)."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The range asked for: (first byte, one past the last).

    Args:
        header: the value of `Range`, or None.
        size: of the file in bytes.

    Returns:
        None where the whole file is to be sent: nothing was asked for, or something that a server
        may ignore (several ranges, another unit, nonsense).

    Raises:
        UnsatisfiableRangeError: nothing of the range is in the file.
    """
    asked = _ONE_RANGE.fullmatch((header or "").strip())
    if asked is None or not (asked["first"] or asked["last"]):
        return None
    if asked["first"]:
        first = _number(asked["first"])
        end = min(_number(asked["last"]) + 1, size) if asked["last"] else size
        if asked["last"] and _number(asked["last"]) < first:
            return None
    else:
        first, end = max(size - _number(asked["last"]), 0), size
    if first >= end:
        raise UnsatisfiableRangeError
    return first, end


def _number(digits: str) -> int:
    """What the digits say; of more than a file's size has, which `int` may refuse, a bound."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= 18 else _BEYOND
