"""Samples -> log-mel features of a whole batch, in torch, on the card that decodes it.

The same front end as `prepare.features`, which runs in child processes: there a second of audio
takes 0.3 ms of a core, here 0.005 ms of a card. Bands are summed up in float64, because the worker
allows TF32 for matrix products and that is too coarse under a logarithm: it was off by 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.speech.prepare.features import TAIL
from worker.speech.prepare.sound import FULL_SCALE, HOP

if TYPE_CHECKING:
    import torch

__all__ = ["LogMel", "stack"]

FFT = 400
"""Samples that a frame sees."""

GROUP = 4
"""Windows whose spectra are in memory at a time: 60 MB with windows of 30 s."""


def stack(windows: Sequence[NDArray[np.int16]], frames: int) -> NDArray[np.int16]:
    """The windows as rows of one array, int16 [windows, n], each padded with silence.

    Args:
        windows: int16 [n] at 16 kHz.
        frames: mel frames that are wanted of each.
    """
    # Every row ends in silence, so that no frame sees an edge.
    longest = max(frames * HOP, *map(len, windows)) + TAIL
    padded = np.zeros((len(windows), longest), dtype=np.int16)
    for row, samples in zip(padded, windows, strict=True):
        row[: len(samples)] = samples
    return padded


class LogMel:
    """Whisper's front end on a device.

    Args:
        mels: bands of the model: 80, or 128 from large-v3 on.
        device: torch's name of it.
    """

    def __init__(self, mels: int, device: str) -> None:
        import torch
        from faster_whisper.feature_extractor import FeatureExtractor

        filters = FeatureExtractor.get_mel_filters(sr=16_000, n_fft=FFT, n_mels=mels)
        # float32 as there, or a band would differ by the rounding of its weights.
        weights = torch.from_numpy(filters.astype(np.float32))
        self._filters = weights.to(device=device, dtype=torch.float64)
        self._window = torch.hann_window(FFT, device=device)
        self._device = device

    def __call__(self, windows: Sequence[NDArray[np.int16]], frames: int) -> torch.Tensor:
        """Features float32 [windows, mels, frames] on the device, padded with silence or cut.

        Args:
            windows: int16 [n] at 16 kHz, each at most 30 s.
            frames: mel frames of each.
        """
        import torch

        loaded = torch.from_numpy(stack(windows, frames)).to(self._device)
        groups = torch.split(loaded, GROUP)
        return torch.cat([self._features(group, frames) for group in groups])

    def _features(self, samples: torch.Tensor, frames: int) -> torch.Tensor:
        import torch

        spectrum = torch.stft(
            samples.to(torch.float32) / FULL_SCALE,
            FFT,
            HOP,
            window=self._window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum[..., :-1].abs().square().to(torch.float64)
        logarithm = (self._filters @ power).clamp(min=1e-10).log10()
        loudest = logarithm.amax(dim=(1, 2), keepdim=True)
        scaled = (torch.maximum(logarithm, loudest - 8.0) + 4.0) / 4.0
        return scaled[..., :frames].to(torch.float32)
