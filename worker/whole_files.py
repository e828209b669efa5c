"""Files that belong together, each whole or not there: all are written before the first is moved.

A file is written beside its place and then moved: so a full disk or a killed process leaves nothing
half under a file's name, and no new file beside an old one of the same set.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["WholeFiles"]


class WholeFiles:
    """Writes sets of files. One set at a time."""

    def __init__(self) -> None:
        self._unfinished: set[Path] = set()

    def write(
        self,
        texts: Iterable[tuple[Path, str]],
        *,
        before_moving: Callable[[], None] = lambda: None,
    ) -> None:
        """Write files in UTF-8, replacing those that are there; makes their directories.

        Args:
            texts: (path, text) of each file, in the order in which they are moved. Each is
                written before the next is asked for.
            before_moving: called when all are written; what it raises ends it, and nothing is
                changed.

        Raises:
            OSError: one could not be written; its `filename` says which. Nothing is changed then,
                unless moving failed.
        """
        moves: list[tuple[Path, Path]] = []
        try:
            for path, text in texts:
                with _named(path):
                    moves.append((self._write_beside(path, text), path))
            before_moving()
            for part, path in moves:
                with _named(path):
                    part.replace(path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was begun and not moved to its place. Callable from a signal's handler."""
        while self._unfinished:
            with contextlib.suppress(OSError):
                self._unfinished.pop().unlink(missing_ok=True)

    def _write_beside(self, path: Path, text: str) -> Path:
        with contextlib.suppress(FileExistsError):  # a file: opening says it better
            path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(8)}.part")  # as long as any name may be
        self._unfinished.add(part)
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        return part


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors name the file that was to be, not the one beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
