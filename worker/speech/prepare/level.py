"""Quiet speech is brought up: for the detector, and beside loud speech for the decoder (pure).

Silero takes quiet speech for silence: at a peak of -60 dB it hears none of it, and of a voice that
is 30 dB below another in noise it loses a quarter. Amplified noise leaves it calm. So it is given
the audio at one level (`level`).

Whisper doesn't mind a quiet recording. But of a voice that is 30 dB below the others in its window
it writes nothing, and may lose what follows. So quiet parts of a window are brought nearer to the
loud ones (`even_out`). A window of one level stays as it is.

How loud it is around a frame is the lower of two maxima, over the frames before and those after it:
pauses in loud speech count as loud, and a quiet voice counts as quiet from its first frame on.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from worker.speech.windows import FRAME

TARGET = -20.0
"""dB below full scale to which the detector's input is brought. With -26 it lost two points of far
speech in noise; -14 gained nothing."""

BEHIND = 15.0
"""dB that a part of a window may stay below the loudest. One reader's sentences differ by less; of
a voice that is 20 dB lower Whisper base loses words. Bringing it to 10 dB gained nothing."""

MOST_GAIN = 60.0
"""dB. Brings the loudest frame of -80 dB to the target; below lies what 16 bits can't hold."""

HEADROOM = 1.0
"""dB that peaks of the detector's input keep below full scale."""

REACH = 25
"""Frames (0.8 s) on either side that count as around, for the detector: more than most pauses."""

PART_REACH = 13
"""The same (0.42 s) within a part of a window: its padding. Pauses in it are shorter."""

SLOPE = 4
"""Frames (0.13 s) over which a gain changes, on either side."""

CONTEXT = REACH + 2 * SLOPE + 1
"""Frames on either side of a stretch that its gain depends on."""

EMPHASIS = 0.97
"""Share of each sample's predecessor that pre-emphasis takes off it."""

RISE = 10.0
"""dB above the noise from which on sound may be speech; less is not amplified in a window."""

_NOISE_SHARE = 0.1
"""Share of the frames that count as noise: pauses of speech."""

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


def noise_level(levels: NDArray[np.float64]) -> float:
    """The level in dB of the noise between speech.

    Args:
        levels: in dB, [frames]; at least one.
    """
    return float(np.quantile(levels, _NOISE_SHARE))


def level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples, amplified where it is quiet around; never turned down.

    The first and the last `CONTEXT` frames are right only where the audio starts or ends there.

    Args:
        samples: float32 [frames * FRAME] in [-1, 1].

    Returns:
        float32 of the same shape, in [-1, 1].
    """
    peaks = np.abs(samples.reshape(-1, FRAME)).max(axis=1).astype(np.float64)
    peak_levels = 20.0 * np.log10(peaks + _SILENCE)
    # How far a frame may be amplified: to the target, and no peak beyond the headroom.
    excess = np.maximum(frame_levels(samples) - TARGET, peak_levels + HEADROOM)
    before, after = _maxima(excess, REACH)
    return _amplify(samples, -np.minimum(before, after))


def even_out(samples: NDArray[np.float32], parts: Iterable[tuple[int, int]]) -> NDArray[np.float32]:
    """A window's samples, with what is far below the loudest amplified; never turned down.

    Args:
        samples: float32 [n] in [-1, 1].
        parts: (first sample, end) of the stretches of speech that the window was put together
            from, none empty. One voice may end and another begin between two of them.

    Returns:
        float32 [n] in [-1, 1].
    """
    padded = np.pad(samples, (0, -len(samples) % FRAME))
    levels = frame_levels(padded)
    gains = np.zeros(len(levels))
    window_noise, loudest = noise_level(levels), levels.max()
    for start, end in parts:
        first, last = start // FRAME, max(start // FRAME + 1, end // FRAME)
        part = levels[first:last]
        noise = min(window_noise, noise_level(part))
        speech = np.maximum(*_maxima(part, PART_REACH)) >= noise + RISE
        gains[first:last] = np.where(speech, loudest - BEHIND - _loudness(part), 0.0)
    return _amplify(padded, gains)[: len(samples)]


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


def _maxima(
    values: NDArray[np.float64], reach: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest of each value and `reach` before it, and of it and as many after it."""
    padded = np.pad(values, reach, constant_values=-np.inf)
    most = np.lib.stride_tricks.sliding_window_view(padded, reach + 1).max(axis=1)
    return most[: len(values)], most[reach:]


def _loudness(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """How loud it is around each frame of a part of a window, in dB, [frames].

    What lies beyond the part is another voice's or cut out. So near its end, where padding is, only
    what came before counts, and near its start only what comes after.

    Args:
        part: levels of its frames, [frames].
    """
    places = np.arange(len(part))
    early, late = places < PART_REACH, places >= len(part) - PART_REACH
    before, after = _maxima(part, REACH)
    at_edges = np.where(early, np.where(late, np.maximum(before, after), after), before)
    return np.where(early | late, at_edges, np.minimum(*_maxima(part, PART_REACH)))


def _amplify(samples: NDArray[np.float32], gains: NDArray[np.float64]) -> NDArray[np.float32]:
    """The samples with a gain for each frame.

    Args:
        samples: float32 [frames * FRAME].
        gains: in dB, [frames]; those below 0 count as 0.
    """
    gains = np.clip(gains, 0.0, MOST_GAIN)
    if not gains.any():
        return samples
    # The least around, so that the loud frame beside a quiet one keeps its own gain.
    gains = _around(gains).min(axis=1)
    amplitudes = 10.0 ** (_around(gains).mean(axis=1) / 20.0)
    # At the edge of two frames the gain is the lesser of theirs, between two edges it is a line.
    padded = np.pad(amplitudes, 1, mode="edge")
    edges = np.minimum(padded[:-1], padded[1:]).astype(np.float32)
    ramp = np.arange(FRAME, dtype=np.float32) / np.float32(FRAME)
    curve = edges[:-1, None] + (edges[1:] - edges[:-1])[:, None] * ramp
    amplified = samples.reshape(-1, FRAME) * curve
    return np.asarray(np.clip(amplified, -1.0, 1.0), dtype=np.float32).reshape(-1)


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value with its `SLOPE` neighbours on either side, [frames, 2 * SLOPE + 1]."""
    padded = np.pad(values, SLOPE, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * SLOPE + 1)
