"""How far things are: what is counted, guessed, left out, and how it is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.progress import (
    FileProgress,
    Finished,
    Progress,
    clock,
    fraction,
    of_files,
    size,
    words,
)
from worker.results.plural import counted


@pytest.mark.parametrize(
    ("progress", "elapsed", "expected"),
    [
        (Progress(0, 1, seconds=0.0), 0.0, "0:00 of audio"),
        (Progress(0, 1, seconds=250.0, of_seconds=600.0), 50.0, "4:10 of 10:00, 5.0x, 1:10 left"),
        (
            Progress(1, 3, seconds=250.0, of_seconds=7500.0, estimated=True),
            50.0,
            "4:10 of about 2:05:00, 1 of 3 files, 5.0x, 24:10 left",
        ),
        # What two seconds have shown is chance.
        (Progress(0, 1, seconds=30.0, of_seconds=600.0), 2.0, "0:30 of 10:00"),
        # A container may state less than there is.
        (Progress(0, 1, seconds=70.0, of_seconds=60.0), 10.0, "1:10 of 1:10, 7.0x"),
        (Progress(0, 1, seconds=70.0), 10.0, "1:10 of audio, 7.0x"),
        (Progress(3, 4, "job"), 60.0, "3 of 4 jobs, 0:20 left"),
        (Progress(0, 1, "job"), 60.0, "0 of 1 job"),
        (Progress(3, 3, seconds=60.0, of_seconds=60.0), 10.0, "1:00 of 1:00, 3 of 3 files, 6.0x"),
    ],
)
def test_what_is_said(progress: Progress, elapsed: float, expected: str) -> None:
    assert words(progress, elapsed) == expected


def test_small_things() -> None:
    assert [clock(seconds) for seconds in (-1, 0, 59.9, 60, 3661)] == [
        "0:00", "0:00", "0:59", "1:00", "1:01:01",
    ]  # fmt: skip
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [size(count) for count in (0, 84_000, 145_217_532, 3_087_284_237)] == [
        "0.0 MB", "0.1 MB", "145 MB", "3.1 GB",
    ]  # fmt: skip


def test_files_that_wait_are_taken_to_be_as_long_as_their_bytes_say() -> None:
    finished = Finished(files=1, size=1000, seconds=60.0)
    begun = [FileProgress(2000, 30.0, 120.0), FileProgress(500)]
    progress = of_files(finished, begun, waiting_size=2500, total=4)
    assert progress == Progress(done=1, total=4, seconds=90.0, of_seconds=180.0 * 2, estimated=True)
    known = of_files(finished, begun[:1], waiting_size=0, total=2)
    assert (known.of_seconds, known.estimated) == (180.0, False)
    assert of_files(Finished(), begun[1:], waiting_size=0, total=1).of_seconds is None


sizes = st.integers(0, 10**12)
seconds_ = st.floats(0, 1e6)


@given(
    st.builds(Finished, st.integers(0, 5), sizes, seconds_),
    st.lists(st.builds(FileProgress, sizes, seconds_, st.none() | seconds_), max_size=4),
    sizes,
    st.integers(0, 9),
    st.floats(0, 1e6),
)
def test_a_part_is_a_part_and_words_are_never_lacking(
    finished: Finished, begun: list[FileProgress], waiting: int, more: int, elapsed: float
) -> None:
    total = finished.files + len(begun) + more
    progress = of_files(finished, begun, waiting_size=waiting, total=total)
    part = fraction(progress)
    assert part is None or 0.0 <= part <= 1.0
    assert progress.of_seconds is None or progress.of_seconds >= finished.seconds
    said = words(progress, elapsed)
    assert said
    assert "-" not in said.replace("e-", "")
    assert ("about" in said) <= progress.estimated
