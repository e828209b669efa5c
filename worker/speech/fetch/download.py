"""A download that is followed: what it is, how large, and how much of it is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from worker.threads import StoppableThread

__all__ = ["Download", "OnDownload", "bytes_in", "telling"]

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Download:
    """A download that begins.

    Attributes:
        repository: on the hub.
        size: bytes; None where the hub doesn't say.
        folder: where its files arrive.
    """

    repository: str
    size: int | None
    folder: Path

    def fetched(self) -> int:
        """Bytes that are here by now, unfinished files included."""
        return bytes_in(self.folder)


OnDownload = Callable[[Download], None]
"""Called before a download begins, on the thread that will wait for it."""


def bytes_in(folder: Path) -> int:
    """Bytes of the files in a folder; 0 if it isn't there yet."""
    found = 0
    with suppress(OSError):  # not there yet
        for path in folder.iterdir():
            with suppress(OSError):  # renamed meanwhile
                found += path.stat().st_size if path.is_file() else 0
    return found


@contextmanager
def telling(folder: Path, arrived: Callable[[], None], thread: str) -> Iterator[None]:
    """Tells of each growth of the files in a folder, whoever writes them.

    Args:
        folder: it need not be there yet.
        arrived: called on another thread.
        thread: that one's name.
    """

    def watch() -> None:
        size = bytes_in(folder)
        while not watching.stopping.wait(_LOOK_SECONDS):
            if (now := bytes_in(folder)) > size:
                arrived()
            size = now

    watching = StoppableThread(thread, watch)
    watching.start()
    try:
        yield
    finally:
        watching.stop()
