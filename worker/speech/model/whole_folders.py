"""Folders that are there whole or not at all: filled beside their place, then moved to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["discard_unfinished", "made_whole"]

_unfinished: set[str] = set()
"""Folders that `made_whole` is filling."""


@contextmanager
def made_whole(target: Path, *, marker: str) -> Iterator[Path]:
    """A new folder to fill, beside its place; moved there at the end, unless filling it failed.

    Args:
        target: the place; its parents are made.
        marker: a file in it by which a whole one is known: if another process made the same folder
            in the meantime, that one stays.

    Raises:
        OSError: it can't be made or moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as scratch:
        _unfinished.add(scratch)
        try:
            folder = Path(scratch) / "model"
            folder.mkdir()
            yield folder
            try:
                folder.rename(target)
            except OSError:
                if not (target / marker).is_file():
                    raise
        finally:
            _unfinished.discard(scratch)


def discard_unfinished() -> None:
    """Remove folders that are being made: for a process that ends without waiting for them."""
    for scratch in tuple(_unfinished):
        shutil.rmtree(scratch, ignore_errors=True)
