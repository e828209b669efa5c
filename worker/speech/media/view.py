"""A file's bytes, or a part of them, without holding them.

A child process has less address space than a film has bytes, so nothing is mapped into memory.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, Protocol

__all__ = ["Bytes", "FileBytes", "PartFile"]

_CHUNK = 1 << 16
"""Bytes read at a time."""


class Bytes(Protocol):
    """What pure modules look at; `bytes` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> bytes: ...

    def find(self, sub: bytes, start: int, /) -> int:
        """The first place from `start` on where `sub` stands, or -1."""
        ...


class FileBytes:
    """An open file as `Bytes`; keeps the chunk that it read last."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._size = os.fstat(self._descriptor).st_size
        self._chunk = b""
        self._start = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, places: slice, /) -> bytes:
        start, end, step = places.indices(self._size)
        if step != 1:
            raise ValueError("only neighbouring bytes can be read")
        wanted = max(0, end - start)
        if wanted > _CHUNK:
            return os.pread(self._descriptor, wanted, start)
        if not self._start <= start <= start + wanted <= self._start + len(self._chunk):
            self._chunk, self._start = os.pread(self._descriptor, _CHUNK, start), start
        return self._chunk[start - self._start : start - self._start + wanted]

    def find(self, sub: bytes, start: int, /) -> int:
        """See `Bytes`."""
        while start + len(sub) <= self._size:
            chunk = self[start : start + _CHUNK]
            place = chunk.find(sub)
            if place >= 0:
                return start + place
            # What is sought may lie across two chunks.
            start += max(1, len(chunk) - len(sub) + 1)
        return -1


class PartFile(io.RawIOBase):
    """A part of a file, as a file for FFmpeg to read.

    Args:
        path: the whole file.
        start: the part's first byte.
        end: the byte behind its last.
        patches: bytes of the part to replace: (place within the part, bytes).
    """

    def __init__(
        self, path: Path, start: int, end: int, patches: tuple[tuple[int, bytes], ...] = ()
    ) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start, self._size = start, end - start
        self._patches = patches
        self._at = 0

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """See `io.RawIOBase`.

        Raises:
            ValueError: the place lies before the start.
        """
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError("there is nothing before the start of a file")
        self._at = origin + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """See `io.RawIOBase`; gives fewer bytes only at the end."""
        left = max(0, self._size - self._at)
        wanted = left if size < 0 else min(size, left)
        data = os.pread(self._file.fileno(), wanted, self._start + self._at)
        for place, patch in self._patches:
            first, last = max(place, self._at), min(place + len(patch), self._at + len(data))
            if first < last:
                mine = patch[first - place : last - place]
                data = data[: first - self._at] + mine + data[last - self._at :]
        self._at += len(data)
        return data

    def close(self) -> None:
        """See `io.IOBase`."""
        self._file.close()
        super().close()
