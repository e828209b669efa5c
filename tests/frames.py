"""Frames between a child process and its parent, as tests send them."""

from __future__ import annotations

import io

from worker.speech.children.framing import Frame, read_frame, write_frame


def sent(frame: Frame) -> Frame:
    """The frame as it comes out of the pipe."""
    stream = io.BytesIO()
    write_frame(stream, *frame)
    stream.seek(0)
    received = read_frame(stream.read)
    assert received is not None
    return received
