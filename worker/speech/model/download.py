"""A model on its way from the hub: what it is, how large, and how much of it is here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Download", "OnDownload"]


@dataclass(frozen=True, slots=True)
class Download:
    """A download that begins.

    Attributes:
        repository: on the hub.
        size: bytes; None where the hub doesn't say.
        folder: the repository's in a cache, where the hub's client keeps what it fetches.
    """

    repository: str
    size: int | None
    folder: Path

    def fetched(self) -> int:
        """Bytes that are here by now, unfinished files included."""
        fetched = 0
        for path in self.folder.glob("blobs/*"):
            with suppress(OSError):  # renamed meanwhile
                fetched += path.stat().st_size
        return fetched


OnDownload = Callable[[Download], None]
"""Called before a download begins, on the thread that will wait for it."""
