"""A recording as a browser gets it: as it is, and decoded to WAV where the browser can't play it.

A browser tries the sources of a player one after the other. The second is made when it is first
asked for: endings say little of what is inside, and which codecs a browser has only it knows.
"""

from __future__ import annotations

import threading
from pathlib import Path

from worker.errors import MachineError
from worker.viewer.decoding import decode

__all__ = ["Recording"]

AS_IT_IS = "recording"
DECODED = "decoded.wav"

_TYPES = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".mov": "video/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "video/webm",
}
"""Endings of files that common browsers play, if they have the codec inside."""


class Recording:
    """One recording. Callable from any thread.

    Args:
        path: of the file.
        scratch: a folder of this run alone, for the WAV.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path
        self._type = _TYPES.get(path.suffix.lower())
        self._wav = scratch / DECODED
        self._lock = threading.Lock()
        self._failure: MachineError | None = None

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """(name, content type) of each form, in the order in which a browser is to try them."""
        decoded = (DECODED, "audio/wav")
        return ((AS_IT_IS, self._type), decoded) if self._type else (decoded,)

    def file(self, name: str) -> Path | None:
        """The file of one of the sources; None if there is no such source.

        Raises:
            MachineError: it can't be decoded; says why.
        """
        if name not in dict(self.sources):
            return None
        return self._decoded() if name == DECODED else self._path

    def _decoded(self) -> Path:
        with self._lock:  # a browser asks again while it waits
            if self._failure is not None:
                raise self._failure
            if not self._wav.exists():
                unfinished = self._wav.with_suffix(".part")
                try:
                    decode(self._path, unfinished)
                except MachineError as error:
                    self._failure = error
                    unfinished.unlink(missing_ok=True)
                    raise
                unfinished.rename(self._wav)
        return self._wav
