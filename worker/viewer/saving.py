"""Corrections are saved as new files; nothing that anyone else wrote is written over.

Two pages may be open on the same transcript, and each sends its corrections whole: one that doesn't
know what the other saved is refused. A file that was changed after it was saved is left as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from worker.results.corrections import Corrections, corrected
from worker.results.formats import render
from worker.results.names import Format, ending
from worker.results.transcript import Transcript
from worker.whole_files import WholeFiles

__all__ = ["FORMATS", "Edits", "Saved", "StaleError"]

FORMATS: tuple[Format, ...] = ("srt", "vtt", "txt", "json")
"""What is saved; the json last: where it is, the others are."""


class Saved(NamedTuple):
    """What a save came to.

    Attributes:
        message: a sentence that says where the files are.
        version: of the state that is saved now.
    """

    message: str
    version: int


class StaleError(Exception):
    """The corrections began with a state that isn't the one saved last."""


class _ForeignFileError(Exception):
    """A file is in the way that wasn't saved from here, or that was changed since."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


class Edits:
    """What was corrected in one transcript, and where it is saved. Callable from any thread.

    Args:
        transcript: as it was opened. Every save starts from it: corrections come whole.
        folder: where files go.
        name: what they begin with.
    """

    def __init__(self, transcript: Transcript, folder: Path, name: str) -> None:
        self._transcript = transcript
        self._folder = folder
        self._name = name
        self._stem: str | None = None
        self._written: dict[Path, bytes] = {}
        self._files = WholeFiles()
        self._lock = threading.Lock()
        self._saved = Corrections()

    @property
    def saved(self) -> Corrections:
        """What was saved last, and its version; nothing at first."""
        return self._saved

    def save(self, corrections: Corrections) -> Saved:
        """Write the corrected transcript.

        Args:
            corrections: all there are, with the version of the saved state that they began with.

        Raises:
            StaleError: others were saved since.
            ValueError: the corrections don't fit the transcript.
            OSError: the files can't be written; those that were saved before stay as they are.
        """
        with self._lock:
            # The same once more is a save whose answer got lost.
            known = corrections.segments == self._saved.segments
            if corrections.version != self._saved.version and not known:
                raise StaleError(
                    "another page saved corrections since this one was loaded; load this page anew"
                    " and correct again what is missing"
                )
            transcript = corrected(self._transcript, corrections)
            texts = {fmt: render(transcript, fmt) for fmt in FORMATS}
            Transcript.model_validate_json(texts["json"])
            stem, left = self._write(texts)
            version = self._saved.version + (not known)
            self._saved = corrections.model_copy(update={"version": version})
        endings = ", ".join(map(ending, FORMATS[:-1]))
        said = f"Saved {stem}.json, {endings} in {self._folder.resolve()}"
        if left is not None:
            said += f"; {left.name} was changed by another program and is left as it is"
        return Saved(said, version)

    def _write(self, texts: dict[Format, str]) -> tuple[str, Path | None]:
        """The stem of the files, and the file that was changed since the last save, if any."""
        stem = self._stem or self.free_stem()
        left = None
        while True:
            files = {self._folder / f"{stem}{ending(fmt)}": texts[fmt] for fmt in FORMATS}
            try:
                self._files.write(files.items(), before_moving=partial(self._check_own, files))
            except _ForeignFileError as error:
                left = error.path
                stem = self.free_stem()
            else:
                self._stem = stem
                self._written = {path: text.encode() for path, text in files.items()}
                return stem, left

    def _check_own(self, paths: Iterable[Path]) -> None:
        """Each path is free, or has what was saved there."""
        for path in paths:
            own = self._written.get(path)
            if os.path.lexists(path) and (own is None or _content(path) != own):
                raise _ForeignFileError(path)

    def free_stem(self) -> str:
        """The first of NAME.edited, NAME.edited-2, ... of which no file is there."""
        stems = (f"{self._name}.edited" + (f"-{n}" if n > 1 else "") for n in count(1))
        return next(
            stem
            for stem in stems
            if not any(os.path.lexists(self._folder / f"{stem}{ending(fmt)}") for fmt in FORMATS)
        )


def _content(path: Path) -> bytes | None:
    """What is in a file; None if it can't be read or is none."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None
