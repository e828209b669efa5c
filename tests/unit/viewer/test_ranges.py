"""What of a file is sent for what a browser asks for (RFC 9110, 14.1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.viewer.ranges import UnsatisfiableRangeError, byte_range


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("BYTES=1-", (1, 100)),
        (" bytes=1-2 ", (1, 3)),
        ("bytes=0-1,5-6", None),
        ("bytes=9-3", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=٣-", None),
        ("bytes=1-2x", None),
        ("items=0-1", None),
        ("bytes=0-" + "9" * 40, (0, 100)),
        ("bytes=-" + "9" * 5000, (0, 100)),
        ("bytes=" + "0" * 40 + "7-8", (7, 9)),
    ],
)
def test_one_range_is_served_and_the_rest_ignored(
    header: str | None, part: tuple[int, int] | None
) -> None:
    assert byte_range(header, 100) == part


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=-0", 100),
        ("bytes=0-", 0),
        ("bytes=" + "9" * 22 + "-", 100),
        ("bytes=" + "9" * 5000 + "-", 100),
    ],
)
def test_a_range_behind_the_end_can_not_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        byte_range(header, size)


NUMBERS = st.sampled_from(["", "0", "7", "99", "100", "12345"])


@given(NUMBERS, NUMBERS, st.sampled_from([0, 1, 7, 8, 100]))
def test_no_range_leaves_the_file(first: str, last: str, size: int) -> None:
    try:
        part = byte_range(f"bytes={first}-{last}", size)
    except UnsatisfiableRangeError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size
