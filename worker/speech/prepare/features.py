"""Samples -> log-mel features, without padding.

Whisper was trained on samples padded with zeros to 30 s. Its front end raises every value that is
far below the window's loudest to a lowest value (the loudest less 8, before scaling), so padding
has one and the same value in all its features, and that is known without computing it
(`padding_value`). Features are therefore computed at a window's own length, sent between processes
so, and cut or padded to a batch's length when the batch is put together.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from worker.speech.prepare.sound import Sound, frames, to_float

TAIL = 400
"""Samples of silence added after the speech: one FFT length, so that no frame sees an edge."""

FLOOR = (-10.0 + 4.0) / 4.0
"""The features of digital silence alone: scaled log10 of 1e-10, the least power there is."""

_RANGE = 8.0 / 4.0
"""Scaled dynamic range below the loudest value (Whisper's `log_spec.max() - 8`)."""


class FrontEnd:
    """Whisper's front end for a model of `mels` bands (80, or 128 from large-v3 on)."""

    def __init__(self, mels: int) -> None:
        self._extractor = FeatureExtractor(feature_size=mels)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of shape [mels, frames], as many as `sound.frames` says."""
        features = self._extractor(samples, padding=TAIL)
        return np.ascontiguousarray(features[:, : frames(samples)], dtype=np.float32)


def features_of(sound: Sound, mels: int = 80) -> NDArray[np.float32]:
    """The log-mel features of a window, float32 [mels, frames]; computed if they are not there.

    Args:
        sound: of the window.
        mels: bands to compute.
    """
    if sound.ndim == 2:
        return cast("NDArray[np.float32]", sound)
    return _front_end(mels)(to_float(cast("NDArray[np.int16]", sound)))


@cache
def _front_end(mels: int) -> FrontEnd:
    return FrontEnd(mels)


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
