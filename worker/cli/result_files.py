"""Results as files: whole or not at all, and none that an earlier run left in another format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.cli.targets import Target
from worker.results.formats import render
from worker.results.names import FORMAT_NAMES, Format
from worker.results.transcript import Transcript
from worker.whole_files import WholeFiles

__all__ = ["ResultFiles", "WriteError"]


class WriteError(Exception):
    """A result could not be written; says which, and why."""


class ResultFiles:
    """Writes the results of one run, those of a file together (see `WholeFiles`).

    Args:
        overwrite: whether results that are there are replaced. Then a result that an earlier run
            left in a format which this one doesn't write is removed, because it says something
            else than the new ones. But only if it is provably a result: exactly what the earlier
            json would be rendered as. Any other may hold somebody's corrections and is kept.

    Attributes:
        kept: what was kept so.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self.kept: list[Path] = []
        self._overwrite = overwrite
        self._files = WholeFiles()

    def write(self, target: Target, texts: Iterable[tuple[Format, str]]) -> None:
        """Write the results of a file.

        Args:
            target: the file.
            texts: (format, text) of each format that it is to write, the json last: where it is,
                the others are. Each is written before the next is asked for.

        Raises:
            WriteError: some could not be written; then no result is changed, unless moving failed.
        """
        stale, kept = self._stale(target) if self._overwrite else ((), ())
        try:
            self._files.write(
                ((target.results[fmt], text) for fmt, text in texts),
                before_moving=lambda: self._check_absent(target),
            )
            for path in stale:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{error.filename} can't be written: {error.strerror}") from error
        self.kept += kept

    def discard(self) -> None:
        """Remove what was begun and not moved to its place. Callable from a signal's handler."""
        self._files.discard()

    def _check_absent(self, target: Target) -> None:
        """Another run may have been faster. Raises WriteError."""
        if self._overwrite:
            return
        for path in target.results.values():
            if os.path.lexists(path):  # a link to nothing is somebody's too
                raise WriteError(f"{path} has come to be meanwhile and is kept")

    def _stale(self, target: Target) -> tuple[Sequence[Path], Sequence[Path]]:
        """Earlier results in formats that this run doesn't write: ours, and what may not be."""
        others = {fmt: target.result(fmt) for fmt in FORMAT_NAMES if fmt not in target.results}
        there = {fmt: path for fmt, path in others.items() if path.is_file()}
        if not there:
            return (), ()
        earlier = _read(target.result("json"))
        ours = [path for fmt, path in there.items() if earlier and _is_of(earlier, fmt, path)]
        return ours, [path for path in there.values() if path not in ours]


def _read(path: Path) -> Transcript | None:
    """The transcript in a file; None if there is none."""
    try:
        return Transcript.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _is_of(transcript: Transcript, fmt: Format, path: Path) -> bool:
    """Whether a file is what a transcript is rendered as, to the byte."""
    try:
        return path.read_bytes() == render(transcript, fmt).encode()
    except OSError:
        return False
