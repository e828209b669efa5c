"""Speech of any level, brought to the level that a speech detector knows (pure).

Silero takes quiet speech for silence: at a peak of -60 dB it hears none of it, and beside a voice
40 dB louder a third of a second one is lost to it. Amplified noise leaves it calm. So a detector
is given the audio with as much gain as the loudest half second around asks for; nobody else is:
Whisper's log-mel has a range of 80 dB below the loudest, which holds a quiet voice beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.speech.windows import FRAME

TARGET = -20.0
"""dB below full scale to which the loudest frame around is brought. -26 lost two points of far
speech in noise; -14 gained nothing."""

MOST_GAIN = 60.0
"""dB. Brings the loudest frame of -80 dB to the target; below lies what 16 bits can't hold."""

HEADROOM = 1.0
"""dB that peaks keep below full scale."""

REACH = 18
"""Frames (0.58 s) on either side that the loudest is looked for in: a pause between two voices.
With 1 s a voice 40 dB lower lost five points; with 0.3 s more noise in pauses became speech."""

SLOPE = 4
"""Frames (0.13 s) on either side that the gain is averaged over, in dB."""

EMPHASIS = 0.97
"""Share of each sample's predecessor that pre-emphasis takes off it."""

CONTEXT = REACH + SLOPE + 1
"""Frames on either side of a stretch that its gain depends on."""

_SILENCE = 1e-10
"""Amplitude that stands for digital silence: -200 dB."""


def frame_levels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean power of each frame in dB below full scale, [frames].

    Args:
        samples: float32 [frames * FRAME].
    """
    frames = samples.reshape(-1, FRAME)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / FRAME
    return np.asarray(10.0 * np.log10(power + _SILENCE**2), dtype=np.float64)


def level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples, amplified where they are quiet; never turned down.

    The first and the last `CONTEXT` frames are right only where the audio starts or ends there.

    Args:
        samples: float32 [frames * FRAME] in [-1, 1].

    Returns:
        float32 of the same shape, in [-1, 1].
    """
    gains = _gains(samples)
    if not gains.any():
        return samples
    amplitudes = 10.0 ** (gains / 20.0)
    # At the edge of two frames the gain is the mean of theirs, between two edges it is a line.
    padded = np.pad(amplitudes, 1, mode="edge")
    edges = ((padded[:-1] + padded[1:]) / 2.0).astype(np.float32)
    ramp = np.arange(FRAME, dtype=np.float32) / np.float32(FRAME)
    curve = edges[:-1, None] + (edges[1:] - edges[:-1])[:, None] * ramp
    levelled = samples.reshape(-1, FRAME) * curve
    return np.asarray(np.clip(levelled, -1.0, 1.0), dtype=np.float32).reshape(-1)


def emphasize(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pre-emphasis: high frequencies raised against low ones, rumble all but taken out.

    The usual first step of speech analysis, with its usual coefficient (Rabiner and Schafer,
    Digital Processing of Speech Signals, 1978): far and muffled voices are weak where consonants
    are told apart, and strong where rooms, hands and breath rumble.

    Args:
        samples: float32 [n] in [-1, 1].

    Returns:
        float32 [n], clipped to [-1, 1].
    """
    previous = np.concatenate([np.zeros(1, dtype=np.float32), samples[:-1]])
    return np.clip(samples - np.float32(EMPHASIS) * previous, -1.0, 1.0)


def _gains(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Gain of each frame in dB, [frames]; 0 or more."""
    peaks = np.abs(samples.reshape(-1, FRAME)).max(axis=1).astype(np.float64)
    peak_levels = 20.0 * np.log10(peaks + _SILENCE)
    # How far each frame is from where it may go at the most.
    room = np.minimum(TARGET - frame_levels(samples), -HEADROOM - peak_levels)
    least = _around(np.pad(room, REACH, constant_values=np.inf), REACH).min(axis=1)
    gains = np.clip(least, 0.0, MOST_GAIN)
    return np.asarray(
        _around(np.pad(gains, SLOPE, mode="edge"), SLOPE).mean(axis=1), dtype=np.float64
    )


def _around(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Each value with `reach` neighbours on either side, [frames, 2 * reach + 1]."""
    return np.lib.stride_tricks.sliding_window_view(values, 2 * reach + 1)
