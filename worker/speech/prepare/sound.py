"""What a window sounds like, on its way from a child process to the model.

Where the model runs on a processor, children compute the log-mel features, each on its own core.
On a card the model computes them itself (`model.log_mel`), and children send samples: as 16 bits,
which is what Whisper's own front end reads (openai/whisper, `audio.load_audio`).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from worker.speech.windows import MEL_FRAMES_PER_SECOND, SAMPLE_RATE, WINDOW_SAMPLES

__all__ = ["FULL_SCALE", "HOP", "WINDOW_FRAMES", "Sound", "cut", "frames", "to_float", "to_samples"]

Sound: TypeAlias = NDArray[np.float32] | NDArray[np.int16]
"""Log-mel features, float32 [mels, frames], or samples at 16 kHz, int16 [n]."""

HOP = SAMPLE_RATE // MEL_FRAMES_PER_SECOND
"""160: samples per mel frame."""

WINDOW_FRAMES = WINDOW_SAMPLES // HOP
"""3000: mel frames of a full window."""

_REACH = 200
"""Samples on either side of a frame's centre that it sees: half an FFT."""

FULL_SCALE = 32_768.0
"""int16 of a sample of 1.0, as FFmpeg and Whisper have it: a file of 16 bits stays as it is."""


def to_samples(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples of [-1, 1] in 16 bits; what is louder is cut."""
    scaled: NDArray[np.float32] = np.rint(samples * np.float32(FULL_SCALE))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1.0).astype(np.int16)


def to_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples of 16 bits as float32 of [-1, 1]."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def frames(sound: NDArray[np.generic]) -> int:
    """Mel frames of a window, given its features or its samples; at most 3000.

    There is one for each 160 samples, and one or two more that still see the last.
    """
    if sound.ndim == 2:
        return int(sound.shape[1])
    return min(WINDOW_FRAMES, -(-(len(sound) + _REACH) // HOP))


def cut(sound: Sound, start: int, end: int | None) -> Sound:
    """Mel frames [start, end) of a window; None is its end."""
    if sound.ndim == 2:
        return sound[:, start:end]
    return sound[start * HOP : None if end is None else end * HOP]
