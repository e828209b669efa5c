"""Real speech cut to measure: from the recording that pyannote-audio ships."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.media import write_wav
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.model.selftest import recording

PAUSE_SECONDS = 5.0
"""Between bursts: longer than what one window may span."""


def samples_of(path: Path) -> NDArray[np.float32]:
    """A media file as float32 [n] at 16 kHz."""
    with AudioReader(path, AudioLimits()) as reader:
        return np.concatenate(list(reader))


@cache
def conversation() -> NDArray[np.float32]:
    """Thirty seconds of telephone conversation, float32 [480000]; skips where it isn't there."""
    path = recording()
    if path is None:
        pytest.skip("needs the recording in pyannote-audio")
    return samples_of(path)


def talk(
    path: Path, *, bursts: int = 1, seconds: float | Sequence[float] = 3.0, silence: float = 0.0
) -> Path:
    """A WAV file of bursts of speech, each a window of its own and unlike the others.

    Args:
        path: the file.
        bursts: how many; not looked at if `seconds` has a length for each.
        seconds: of a burst, or of each; at most 20.
        silence: seconds of it at the end.
    """
    lengths = [seconds] * bursts if isinstance(seconds, (int, float)) else seconds
    parts: list[NDArray[np.float32]] = []
    for number, length in enumerate(lengths):
        # From where people talk without a pause; each burst starts a little later.
        start = 9 * 16_000 + number % 10 * 1_600
        parts += [conversation()[start : start + round(length * 16_000)], _quiet(PAUSE_SECONDS)]
    return write_wav(path, np.concatenate([*parts, _quiet(silence)]))


def _quiet(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * 16_000), dtype=np.float32)
