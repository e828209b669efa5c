"""All samples of a file, on disk: for what needs them at once and must not hold them in memory.

Mono int16 at 16 kHz, without a header, in the byte order of the machine: 115 MB an hour.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.errors import TransientError
from worker.speech.prepare.sound import to_samples

__all__ = ["SamplesFile", "map_samples"]


class SamplesFile:
    """Takes samples while their file is decoded; complete once it is closed.

    Args:
        path: where they go; None: nowhere.

    Raises:
        TransientError: the disk is full, or the folder is gone. So do its methods.
    """

    def __init__(self, path: str | None) -> None:
        self._file: int | None = None
        self._path = path
        if path is not None:
            try:
                # Unbuffered: nothing is left to be written, and to fail, when it is closed.
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            except OSError as error:
                raise self._unwritten(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next samples, float32 [n] in [-1, 1]."""
        if self._file is None:
            return
        left = memoryview(to_samples(samples).tobytes())
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except OSError as error:
                raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> TransientError:
        folder = Path(self._path or "").parent
        return TransientError(
            f"the samples of the audio can't be written to the folder {folder}: {error.strerror}"
        )


def map_samples(path: Path) -> NDArray[np.int16]:
    """The samples in such a file, int16 [n], read from it only where they are looked at."""
    if not path.stat().st_size:  # an empty file can't be mapped
        return np.zeros(0, dtype=np.int16)
    return np.memmap(path, dtype=np.int16, mode="r")
