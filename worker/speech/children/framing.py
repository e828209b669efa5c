"""The frames that a child process and its parent exchange: what all children have in common.

A child is not trusted: it reads what comes from strangers. So nothing that it sends is unpickled or
executed; a frame is two little-endian uint32 lengths, a JSON header and a binary payload, and the
lengths have limits.

    parent -> child   the configuration, once; then a task for each file
    child -> parent   ready, once; then for each file: taken, and what the child makes of it; or
                      error at any point after taken

| kind | header | payload |
|---|---|---|
| ready | | |
| taken | | |
| error | code: of a `JobError`, or null for a `TransientError`; message | |
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from worker.errors import ErrorCode, JobError, TransientError

__all__ = [
    "MAX_HEADER",
    "MAX_PAYLOAD",
    "READY",
    "TAKEN",
    "Frame",
    "FrameError",
    "error_frame",
    "read_error",
    "read_frame",
    "write_frame",
]

Frame = tuple[dict[str, Any], bytes]
"""A header, which has a `kind` if it comes from a child, and a payload."""

READY: Frame = ({"kind": "ready"}, b"")
"""The child has loaded what it needs."""

TAKEN: Frame = ({"kind": "taken"}, b"")
"""The child knows of the file: from here on a death is the file's doing."""

MAX_HEADER = 1 << 22
MAX_PAYLOAD = 1 << 24
"""A window of 128 bands and its samples is 2.5 MB; who speaks in twelve hours, a few."""

_LENGTHS = struct.Struct("<II")


class FrameError(Exception):
    """The other end is gone, or sent what no child of ours sends."""


def write_frame(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Sends one frame."""
    encoded = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(encoded), len(payload)))
    stream.write(encoded)
    stream.write(payload)
    stream.flush()


def read_frame(read: Callable[[int], bytes]) -> Frame | None:
    """The next frame, or None at the end of the stream.

    Args:
        read: takes so many bytes from the stream; fewer only at its end.

    Raises:
        FrameError: the frame is longer than any of ours, or its header is not a JSON object.
    """
    lengths = read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    if header_bytes > MAX_HEADER or payload_bytes > MAX_PAYLOAD:
        raise FrameError(f"a frame of {header_bytes} + {payload_bytes} bytes")
    try:
        header = json.loads(read(header_bytes))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame with a broken header: {error}") from error
    if not isinstance(header, dict):
        raise FrameError("a frame whose header is no object")
    return header, read(payload_bytes)


def error_frame(code: ErrorCode | None, message: str) -> Frame:
    """Nothing can be made of the file; without a code: not now."""
    return {"kind": "error", "code": code, "message": message}, b""


def read_error(header: dict[str, Any]) -> JobError | TransientError:
    """The error in a header.

    Raises:
        FrameError: it is none that a child of ours would report.
    """
    try:
        message = str(header["message"])
        if header["code"] is None:
            return TransientError(message)
        return JobError(ErrorCode(header["code"]), message)
    except (KeyError, ValueError) as error:
        raise FrameError(f"a child sent an unknown error: {error}") from error
