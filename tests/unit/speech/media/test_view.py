"""A file's bytes in windows: the same as if all of them were there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.speech.media import view
from worker.speech.media.view import FileBytes, PartFile

CHUNK = 16

WITH_FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is sought lies across chunks."""
    monkeypatch.setattr(view, "_CHUNK", CHUNK)


@WITH_FILES
@given(
    data=st.binary(min_size=1, max_size=100),
    start=st.integers(-5, 120),
    end=st.integers(-5, 120),
    sub=st.binary(min_size=1, max_size=3),
)
def test_the_same_as_bytes(tmp_path: Path, data: bytes, start: int, end: int, sub: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with path.open("rb") as file:
        seen = FileBytes(file)
        assert len(seen) == len(data)
        assert seen[start:end] == data[start:end]
        assert seen[:] == data
        if start >= 0:
            assert seen.find(sub, start) == data.find(sub, start)


@WITH_FILES
@given(
    data=st.binary(min_size=1, max_size=100),
    bounds=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    patch=st.tuples(st.integers(0, 100), st.binary(min_size=1, max_size=8)),
    reads=st.lists(st.integers(0, 30), max_size=12),
)
def test_a_part_reads_as_a_file_of_its_own(
    tmp_path: Path,
    data: bytes,
    bounds: tuple[int, int],
    patch: tuple[int, bytes],
    reads: list[int],
) -> None:
    start, end = sorted(min(bound, len(data)) for bound in bounds)
    path = tmp_path / "a"
    path.write_bytes(data)
    expected = bytearray(data[start:end])
    place, new = patch
    kept = new[: max(0, len(expected) - place)]
    expected[place : place + len(kept)] = kept
    with PartFile(path, start, end, (patch,)) as part:
        assert part.seek(0, os.SEEK_END) == len(expected)
        assert part.seek(0) == 0
        assert b"".join(part.read(size) for size in reads) == expected[: sum(reads)]
        part.seek(0)
        assert part.read() == expected


def test_there_is_nothing_before_the_start(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    with PartFile(path, 1, 4) as part, pytest.raises(ValueError, match="before the start"):
        part.seek(-1)
