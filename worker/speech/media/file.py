"""A media file on disk: the parts it falls into, and FFmpeg opened on each."""

from __future__ import annotations

from pathlib import Path

from worker.errors import ErrorCode, JobError
from worker.speech.media.opening import Opened, open_media
from worker.speech.media.parts import Part, find_parts
from worker.speech.media.raw import RawAudio
from worker.speech.media.view import FileBytes

__all__ = ["MediaFile"]

_HEAD = 1 << 16
"""Bytes in which a file says how long it is, for formats of which FFmpeg doesn't tell."""


class MediaFile:
    """A file, before anything in it is opened.

    Args:
        path: of the file.
        raw: what a file without a header holds.

    Attributes:
        path: as given.
        size: bytes.
        head: the first 64 kB.
        parts: one at least; see `parts.find_parts`.

    Raises:
        JobError: empty_file.
    """

    def __init__(self, path: Path, raw: RawAudio | None = None) -> None:
        self.path = path
        self._raw = raw
        if path.stat().st_size == 0:
            raise JobError(ErrorCode.EMPTY_FILE, "The file has no bytes; upload it again.")
        with path.open("rb") as file:
            data = FileBytes(file)
            self.size = len(data)
            self.parts = find_parts(data)
            self.head = data[:_HEAD]

    def open(self, part: Part, format_name: str | None = None) -> Opened:
        """A part, with one audio stream at least; see `opening.open_media`."""
        return open_media(self.path, part, raw=self._raw, format_name=format_name)
