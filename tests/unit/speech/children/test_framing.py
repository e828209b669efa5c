"""Frames between child and parent: what is written on one end is read on the other."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import sent
from worker.errors import ErrorCode, JobError, TransientError
from worker.speech.children.framing import (
    MAX_HEADER,
    MAX_PAYLOAD,
    Frame,
    FrameError,
    error_frame,
    read_error,
    read_frame,
    write_frame,
)

headers = st.dictionaries(
    st.text(max_size=10),
    st.one_of(st.integers(), st.text(), st.booleans(), st.none(), st.lists(st.integers())),
)


@given(st.lists(st.tuples(headers, st.binary(max_size=1_000)), max_size=5))
def test_frames_survive_the_pipe(frames: list[Frame]) -> None:
    stream = io.BytesIO()
    for header, payload in frames:
        write_frame(stream, header, payload)
    stream.seek(0)
    found = []
    while (frame := read_frame(stream.read)) is not None:
        found.append(frame)
    assert found == frames


@pytest.mark.parametrize(("header", "payload"), [(MAX_HEADER + 1, 0), (2, MAX_PAYLOAD + 1)])
def test_a_frame_longer_than_any_of_ours(header: int, payload: int) -> None:
    lengths = header.to_bytes(4, "little") + payload.to_bytes(4, "little")
    with pytest.raises(FrameError, match="a frame of"):
        read_frame(io.BytesIO(lengths).read)


def test_half_a_frame_is_the_end() -> None:
    assert read_frame(io.BytesIO(b"\x01\x00").read) is None
    assert read_frame(io.BytesIO().read) is None


@pytest.mark.parametrize(
    ("header", "why"),
    [(b"{x}", "a broken header"), (b"\xff{}", "a broken header"), (b"[1]", "is no object"),
     (b"[" * 100_000, "a broken header")],
)  # fmt: skip
def test_a_header_that_is_no_json_object_is_refused(header: bytes, why: str) -> None:
    lengths = len(header).to_bytes(4, "little") + (0).to_bytes(4, "little")
    with pytest.raises(FrameError, match=why):
        read_frame(io.BytesIO(lengths + header).read)


def test_errors_arrive_with_code_and_message_and_unknown_ones_are_refused() -> None:
    header, _ = sent(error_frame(ErrorCode.NOT_MEDIA, "No decoder recognises the file."))
    error = read_error(header)
    assert isinstance(error, JobError)
    assert (error.code, error.message) == (ErrorCode.NOT_MEDIA, "No decoder recognises the file.")
    error = read_error(sent(error_frame(None, "the disk is full"))[0])
    assert isinstance(error, TransientError)
    assert str(error) == "the disk is full"
    for wrong in ({"kind": "error"}, {"code": None}, {"code": "no_such_code", "message": "x"}):
        with pytest.raises(FrameError, match="unknown error"):
            read_error(wrong)
