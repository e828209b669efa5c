"""Many channels into one (pure).

Where channels have places (left, centre, rear) they are mixed as ITU-R BS.775 mixes them into one;
where they have none, each counts the same: any of them may be the microphone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mixer", "weights"]

_CENTRE, _SIDE, _REAR = 1.0, 2**-0.5, 0.5
"""BS.775: centre as it is, left and right 3 dB lower, those behind 3 dB lower again."""

_PLACES = {
    "FC": _CENTRE,
    "FL": _SIDE,
    "FR": _SIDE,
    "FLC": _SIDE,
    "FRC": _SIDE,
    "DL": _SIDE,
    "DR": _SIDE,
    "LFE": 0.0,
    "LFE2": 0.0,
}
"""FFmpeg's names of channels; others are behind or above. Rumble (LFE) is left out."""

CANCELS = 0.05
"""Share of the power that unrelated channels would have in the mix (13 dB less) from which on they
cancel each other: one of two microphones was wired the wrong way round."""

STRETCH = 2_048
"""Samples that are looked at: less than a syllable at any rate, so that what cancels only in a
pause, as the surroundings do in films, turns no speech over."""

NOTED = 0.1
"""Share of the stretches in which channels cancel that a result says so of; surroundings cancel in
many a film's pauses."""

_QUIET = 1e-10
"""Mean square below which nothing is heard: -100 dB."""


def weights(names: Sequence[str], *, ambisonic: bool = False) -> NDArray[np.float32]:
    """How much of each channel goes into the mix, float32 [channels]; the sum is 1.

    Args:
        names: of the channels' places, as FFmpeg has them.
        ambisonic: whether they are the components of a sound field (AMBI...), of which the first
            hears all directions alike and the others would cancel some; and what is beside them.
    """
    if ambisonic:
        raw = [
            float(not number or not name.startswith("AMBI")) for number, name in enumerate(names)
        ]
    elif "FC" in names or {"FL", "FR"} <= set(names):
        raw = [_PLACES.get(name, _REAR) for name in names]
    else:
        raw = [1.0] * len(names)
    mix: NDArray[np.float32] = np.array(raw, dtype=np.float32)
    return np.asarray(mix / mix.sum(), dtype=np.float32)


class Mixer:
    """Mixes the blocks of one file into one channel.

    Where channels cancel each other they are not summed: those opposed to the loudest are turned
    over. Half of what two speakers say is thus never lost, which leaving out a channel would. Where
    nothing is heard in the channels that count, as if speech were in one called LFE, all count.

    Args:
        mix: see `weights`.
    """

    def __init__(self, mix: NDArray[np.float32]) -> None:
        self._mix = mix
        self._against: int | None = None
        """The channel with which those that are turned over are to agree."""
        self._turned = self._stretches = 0

    @property
    def cancelled(self) -> bool:
        """Whether channels cancelled each other, and not only here and there."""
        return self._turned > NOTED * self._stretches

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """One channel in [-1, 1], float32 [n].

        Args:
            block: float32 [n, channels]. What is no number counts as 0, what is louder than full
                scale as full scale.
        """
        if len(self._mix) == 1:
            return _in_range(block[:, 0])
        mono = block @ self._mix
        if not np.isfinite(mono).all():
            block = np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0)
            mono = block @ self._mix
        for start in self._suspects(block, mono):
            stretch = slice(start, start + STRETCH)
            mono[stretch] = self._heard(block[stretch], mono[stretch])
        return _in_range(mono)

    def _suspects(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> list[int]:
        """Where stretches begin in which channels may cancel each other."""
        power = _energies(mono, STRETCH)
        self._stretches += len(power)
        # Most stretches are done with here: what each channel has takes longer than the mix.
        most = _energies(block.reshape(-1), STRETCH * block.shape[1]) * (self._mix**2).max()
        found = np.flatnonzero((most > _QUIET * STRETCH) & (power < CANCELS * most))
        return [int(number) * STRETCH for number in found]

    def _heard(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> NDArray[np.float32]:
        """A stretch's mix in which nothing cancels."""
        powers = np.einsum("ij,ij->j", block, block)
        apart = float(powers @ self._mix**2)
        if apart <= _QUIET * len(block):
            return np.asarray(block.mean(axis=1), dtype=np.float32)
        if float(mono @ mono) >= CANCELS * apart:
            return mono
        self._turned += 1
        # Against the same channel as before, or the sum would change its sign with every stretch.
        if self._against is None or powers[self._against] < CANCELS * powers.max():
            self._against = int(np.argmax(powers * self._mix))
        signs = np.where(block.T @ block[:, self._against] < 0.0, -1.0, 1.0).astype(np.float32)
        return np.asarray(block @ (self._mix * signs), dtype=np.float32)


def _energies(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Sums of squares of each `size` values, and of those that are left."""
    whole = len(values) // size * size
    rows, rest = values[:whole].reshape(-1, size), values[whole:]
    sums = np.einsum("ij,ij->i", rows, rows)
    return np.append(sums, rest @ rest) if len(rest) else sums


def _in_range(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped: NDArray[np.float32] = np.clip(mono, -1.0, 1.0)
    return clipped if np.isfinite(clipped).all() else np.nan_to_num(clipped)
