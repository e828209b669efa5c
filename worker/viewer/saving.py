"""Corrections are saved as new files; nothing that was there before is written over."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path

from worker.results.corrections import Corrections, corrected
from worker.results.formats import Format, render
from worker.results.transcript import Transcript
from worker.whole_files import WholeFiles

__all__ = ["FORMATS", "Edits"]

FORMATS: tuple[Format, ...] = ("srt", "vtt", "txt", "json")
"""What is saved; the json last: where it is, the others are."""


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
        self._files = WholeFiles()
        self._lock = threading.Lock()
        self._saved = Corrections()

    @property
    def saved(self) -> Corrections:
        """What was saved last; nothing at first."""
        return self._saved

    def save(self, corrections: Corrections) -> str:
        """Write the corrected transcript; returns a sentence that says where.

        Raises:
            ValueError: the corrections don't fit the transcript.
            OSError: the files can't be written; those that were saved before stay as they are.
        """
        with self._lock:
            transcript = corrected(self._transcript, corrections)
            texts = {fmt: render(transcript, fmt) for fmt in FORMATS}
            Transcript.model_validate_json(texts["json"])
            stem = self._stem or self.free_stem()
            self._files.write((self._folder / f"{stem}.{fmt}", texts[fmt]) for fmt in FORMATS)
            self._stem = stem
            self._saved = corrections
        endings = ", ".join(f".{fmt}" for fmt in FORMATS[:-1])
        return f"Saved {stem}.json, {endings} in {self._folder.resolve()}"

    def free_stem(self) -> str:
        """The first of NAME.edited, NAME.edited-2, ... of which no file is there."""
        stems = (f"{self._name}.edited" + (f"-{n}" if n > 1 else "") for n in count(1))
        return next(
            stem
            for stem in stems
            if not any((self._folder / f"{stem}.{fmt}").exists() for fmt in FORMATS)
        )
