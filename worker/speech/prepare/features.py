"""Samples -> log-mel features, without padding.

Whisper was trained on samples padded with zeros to 30 s. Its front end raises every value that is
far below the window's loudest to a lowest value (the loudest less 8, before scaling), so padding
has one and the same value in all its features, and that is known without computing it
(`padding_value`). Features are therefore computed at a window's own length, sent between processes
so, and cut or padded to a batch's length when the batch is put together.
"""

from __future__ import annotations

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from worker.speech.windows import MEL_FRAMES_PER_SECOND, SAMPLE_RATE, WINDOW_SAMPLES

HOP = SAMPLE_RATE // MEL_FRAMES_PER_SECOND
"""160: samples per mel frame."""

WINDOW_FRAMES = WINDOW_SAMPLES // HOP
"""3000: mel frames of a full window."""

_TAIL = 400
"""Samples of silence added after the speech: one FFT length, so that no frame sees an edge."""

_REACH = 200
"""Samples on either side of a frame's centre that it sees: half an FFT."""

FLOOR = (-10.0 + 4.0) / 4.0
"""The features of digital silence alone: scaled log10 of 1e-10, the least power there is."""

_RANGE = 8.0 / 4.0
"""Scaled dynamic range below the loudest value (Whisper's `log_spec.max() - 8`)."""


class FrontEnd:
    """Whisper's front end for a model of `mels` bands (80, or 128 from large-v3 on)."""

    def __init__(self, mels: int) -> None:
        self._extractor = FeatureExtractor(feature_size=mels)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of shape [mels, frames], at most 3000 frames.

        There is a frame for each 160 samples, and one or two more that still see the last.
        """
        frames = min(WINDOW_FRAMES, -(-(len(samples) + _REACH) // HOP))
        features = self._extractor(samples, padding=_TAIL)
        return np.ascontiguousarray(features[:, :frames], dtype=np.float32)


def padding_value(features: NDArray[np.float32]) -> float:
    """The value of digital silence in a window with these features."""
    return max(FLOOR, float(features.max()) - _RANGE) if features.size else FLOOR


def pad(features: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """The features cut or padded with silence to shape [mels, frames]."""
    have = features.shape[1]
    if have >= frames:
        return features[:, :frames]
    out = np.full((features.shape[0], frames), padding_value(features), dtype=np.float32)
    out[:, :have] = features
    return out
