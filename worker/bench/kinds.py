"""Recordings of other kinds, made from clean clips: pauses, levels, noise, lines, rooms (pure).

A benchmark on clean clips says nothing of what is between them. Each function here takes mono
float32 samples at 16 kHz, shape [samples], within -1 to 1, and gives new ones of that sort; the
samples given are not changed. What is random comes from the generator that is handed in, so that
a seed makes the same recordings everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.speech.windows import SAMPLE_RATE

__all__ = [
    "Gap",
    "add_noise",
    "at_peak",
    "colour_noise",
    "find_gaps",
    "insert_pauses",
    "join",
    "quieter",
    "reverberate",
    "room_tone",
    "speech_level",
    "telephone",
]

Samples = NDArray[np.float32]
Colour = Literal["white", "pink"]

MIN_GAP_SECONDS = 0.12
"""The shortest gap that is taken for one between words: closures of stops (p, t, k) mostly last
50 to 100 ms."""

_FRAME = SAMPLE_RATE // 100
"""Samples of a frame whose level is measured: 10 ms."""

_ACTIVE_DB = 30.0
"""Frames down to this far below the loudest are speech: the softest consonants lie some 30 dB
below the loudest vowels."""

_FLOOR_MARGIN_DB = 6.0
"""Frames up to this far above the quietest tenth are background."""

_FADE = SAMPLE_RATE // 200
"""Samples of the fade at each end of what is put in: 5 ms, so that nothing clicks."""

_MU = 255.0
"""Of mu-law (ITU-T G.711)."""

_TELEPHONE_BAND = (300.0, 3400.0)
"""Hz that a telephone line lets through (ITU-T G.712)."""

_LEAST = 1e-10


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without speech between two stretches with; samples from the start."""

    start: int
    end: int

    @property
    def middle(self) -> int:
        """Where a pause is put in, or a recording is cut."""
        return (self.start + self.end) // 2


def find_gaps(samples: Samples, min_seconds: float = MIN_GAP_SECONDS) -> list[Gap]:
    """The gaps inside a recording, in order; what lies before and after all speech is none.

    Args:
        samples: the recording.
        min_seconds: the shortest that counts.
    """
    plain, steep = _frame_levels(samples), _frame_levels(_steepened(samples))
    if not len(plain):
        return []
    # Fricatives (s, f) are quiet but for their high frequencies: each alone would miss some speech.
    spoken = np.flatnonzero((plain >= _threshold(plain)) | (steep >= _threshold(steep)))
    gaps = []
    for before, after in pairwise(spoken.tolist()):
        if (after - before - 1) * _FRAME >= min_seconds * SAMPLE_RATE:
            gaps.append(Gap((before + 1) * _FRAME, after * _FRAME))
    return gaps


def speech_level(samples: Samples) -> float:
    """The root mean square of the frames with speech: what loudness and SNR are taken from."""
    levels = _frame_levels(samples)
    if not len(levels) or levels.max() <= 20.0 * np.log10(_LEAST) + 1.0:
        return 0.0
    active = levels[levels >= levels.max() - _ACTIVE_DB]
    return float(np.sqrt(np.mean(10.0 ** (active / 10.0))))


def room_tone(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """Noise like a recording's own background: random phases, the spectrum of its quiet frames.

    Args:
        samples: the recording.
        length: samples of noise.
        rng: of the phases.
    """
    levels = _frame_levels(samples)
    if not len(levels) or not length:
        return np.zeros(length, dtype=np.float32)
    quiet = levels <= np.percentile(levels, 10.0) + _FLOOR_MARGIN_DB
    quiet &= levels < levels.max() - _ACTIVE_DB
    if not quiet.any():
        quiet = levels == levels.min()
    frames = samples[: len(levels) * _FRAME].reshape(-1, _FRAME)[quiet].astype(np.float64)
    # One spectrum of 10 ms has bins of 100 Hz, enough for the hum and hiss of a room.
    power = np.mean(np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)) ** 2, axis=0)
    noise = _shaped_noise(length, np.sqrt(power), rng)
    wanted = np.sqrt(np.mean(frames**2))
    return _scaled(noise, float(wanted))


def insert_pauses(
    samples: Samples, places: Sequence[int], seconds: Sequence[float], fill: Samples | None = None
) -> Samples:
    """The recording with pauses put in.

    Args:
        samples: the recording.
        places: samples from its start, rising.
        seconds: of each pause.
        fill: background that the pauses are cut from, one after the other, at least as long as
            all of them; None for digital silence.
    """
    pieces: list[Samples] = []
    done = used = 0
    for place, duration in zip(places, seconds, strict=True):
        length = round(duration * SAMPLE_RATE)
        pieces.append(_faded(samples[done:place], start=done > 0, end=True))
        if fill is None:
            pieces.append(np.zeros(length, dtype=np.float32))
        else:
            pieces.append(fill[used : used + length])
        done, used = place, used + length
    pieces.append(_faded(samples[done:], start=done > 0, end=False))
    return np.concatenate(pieces)


def join(parts: Sequence[Samples], seconds: Sequence[float]) -> Samples:
    """Recordings one after the other, with digital silence between them.

    Args:
        parts: the recordings.
        seconds: of silence after each but the last.
    """
    pieces: list[Samples] = []
    for part, pause in zip(parts, [*seconds, 0.0], strict=True):
        pieces += [part, np.zeros(round(pause * SAMPLE_RATE), dtype=np.float32)]
    return np.concatenate(pieces)


def at_peak(samples: Samples, peak_db: float) -> Samples:
    """The recording scaled so that its highest sample lies at `peak_db` (0 is full scale)."""
    peak = float(np.abs(samples).max(initial=0.0))
    factor = 10.0 ** (peak_db / 20.0) / peak if peak else 1.0
    return (samples * factor).astype(np.float32)


def quieter(samples: Samples, decibels: float, beside: Samples) -> Samples:
    """The recording with its speech so many dB below that of another."""
    wanted = speech_level(beside) * 10.0 ** (-decibels / 20.0)
    return _scaled(samples, wanted, level=speech_level(samples))


def colour_noise(length: int, colour: Colour, rng: np.random.Generator) -> Samples:
    """Noise of root mean square 1: white, or pink (power falls as 1 / frequency)."""
    if colour == "white":
        return _scaled(rng.standard_normal(length).astype(np.float32), 1.0)
    frequencies = np.maximum(np.fft.rfftfreq(_FRAME * 100, 1.0 / SAMPLE_RATE), 20.0)
    return _scaled(_shaped_noise(length, 1.0 / np.sqrt(frequencies), rng), 1.0)


def add_noise(samples: Samples, snr_db: float, colour: Colour, rng: np.random.Generator) -> Samples:
    """The recording in noise, `snr_db` below its speech; scaled down if it would clip."""
    noise = colour_noise(len(samples), colour, rng)
    return _unclipped(samples + noise * (speech_level(samples) * 10.0 ** (-snr_db / 20.0)))


def telephone(samples: Samples) -> Samples:
    """The recording over a telephone line: 300 to 3400 Hz, 8 kHz, mu-law in 8 bits."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    frequencies = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)
    low, high = _TELEPHONE_BAND
    # Flanks a tenth as wide as their frequency: a brick wall would ring.
    gain = np.clip((frequencies - 0.9 * low) / (0.1 * low), 0.0, 1.0)
    gain *= np.clip((1.1 * high - frequencies) / (0.1 * high), 0.0, 1.0)
    line = np.fft.irfft(spectrum * gain, len(samples))[::2]
    peak = np.abs(line).max(initial=0.0)
    # Lines are driven as hard as they go without distortion.
    scale = 0.5 / peak if peak else 1.0
    coded = np.sign(line) * np.log1p(_MU * np.abs(line * scale)) / np.log1p(_MU)
    coded = np.round(coded * 127.0) / 127.0
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU
    return _twice_the_rate(decoded, len(samples))


def reverberate(
    samples: Samples, decay_seconds: float, direct_db: float, rng: np.random.Generator
) -> Samples:
    """The recording from far away in a room: its sound, and a decaying echo of it.

    The room is exponentially decaying noise, the usual model of late reverberation (Polack 1988).

    Args:
        samples: the recording.
        decay_seconds: in which the echo falls by 60 dB (RT60).
        direct_db: the direct sound's energy over the echo's; below 0 the echo is stronger.
        rng: of the room.
    """
    length = round(decay_seconds * SAMPLE_RATE)
    times = np.arange(length) / SAMPLE_RATE
    room = rng.standard_normal(length) * 10.0 ** (-3.0 * times / decay_seconds)
    room *= 10.0 ** (-direct_db / 20.0) / np.sqrt(np.sum(room**2))
    room[0] += 1.0
    whole = len(samples) + length
    size = 1 << (whole - 1).bit_length()  # other lengths take a Fourier transform many times longer
    far = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(room, size), size)[:whole]
    echoed: Samples = far.astype(np.float32)
    return _unclipped(_scaled(echoed, speech_level(samples), level=speech_level(echoed)))


def _frame_levels(samples: Samples) -> NDArray[np.float64]:
    """The level of each whole frame of 10 ms, in dB of full scale."""
    count = len(samples) // _FRAME
    frames = samples[: count * _FRAME].reshape(count, _FRAME).astype(np.float64)
    power: NDArray[np.float64] = np.mean(frames**2, axis=1)
    levels: NDArray[np.float64] = 10.0 * np.log10(np.maximum(power, _LEAST**2))
    return levels


def _steepened(samples: Samples) -> Samples:
    """The differences of neighbours: 6 dB more with each octave, the usual pre-emphasis."""
    return np.diff(samples, prepend=samples[:1]).astype(np.float32)


def _threshold(levels: NDArray[np.float64]) -> float:
    """The level from which a frame counts as speech, in dB.

    It is 30 dB below the loudest frames, or above the background where that is louder.
    """
    background = np.percentile(levels, 10.0) + _FLOOR_MARGIN_DB
    top = np.percentile(levels, 95.0)
    return float(min(max(top - _ACTIVE_DB, background), top - 3.0))


def _shaped_noise(length: int, shape: NDArray[np.float64], rng: np.random.Generator) -> Samples:
    """Noise whose amplitude over frequency is `shape`, given at even steps from 0 to 8 kHz."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    where = np.linspace(0.0, len(shape) - 1.0, len(spectrum))
    spectrum *= np.interp(where, np.arange(len(shape)), shape)
    noise: Samples = np.fft.irfft(spectrum, length).astype(np.float32)
    return noise


def _scaled(samples: Samples, wanted: float, level: float | None = None) -> Samples:
    """The samples at another level: of root mean square, or of what else was measured."""
    if level is None:
        level = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0
    return samples * np.float32(wanted / level) if level else samples.copy()


def _unclipped(samples: Samples) -> Samples:
    """Scaled down as a whole where a sample would leave -1 to 1."""
    peak = float(np.abs(samples).max(initial=0.0))
    return (samples / max(peak, 1.0)).astype(np.float32)


def _faded(samples: Samples, *, start: bool, end: bool) -> Samples:
    """A copy that begins or ends softly."""
    faded = samples.copy()
    fade = min(_FADE, len(faded))
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    if start:
        faded[:fade] *= ramp
    if end and fade:
        faded[-fade:] *= ramp[::-1]
    return faded


def _twice_the_rate(samples: NDArray[np.float64], length: int) -> Samples:
    """8 kHz -> 16 kHz, by zeros above 4 kHz in the spectrum."""
    spectrum = np.fft.rfft(samples)
    wide = np.zeros(length // 2 + 1, dtype=np.complex128)
    count = min(len(spectrum), len(wide))
    wide[:count] = spectrum[:count]
    scale = length / max(len(samples), 1)
    doubled: Samples = (np.fft.irfft(wide, length) * scale).astype(np.float32)
    return doubled
