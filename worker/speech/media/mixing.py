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

CANCELS = 0.01
"""Share of the power that unrelated channels would have in the mix (20 dB less) from which on they
cancel each other: one of two microphones was wired the wrong way round."""

_QUIET = 1e-10
"""Mean square below which nothing is heard: -100 dB."""


def weights(names: Sequence[str], *, ambisonic: bool = False) -> NDArray[np.float32]:
    """How much of each channel goes into the mix, float32 [channels]; the sum is 1.

    Args:
        names: of the channels' places, as FFmpeg has them.
        ambisonic: whether they are the components of a sound field, of which the first hears all
            directions alike and the others would cancel some.
    """
    if ambisonic:
        raw = [1.0] + [0.0] * (len(names) - 1)
    elif "FC" in names or {"FL", "FR"} <= set(names):
        raw = [_PLACES.get(name, _REAR) for name in names]
    else:
        raw = [1.0] * len(names)
    mix: NDArray[np.float32] = np.array(raw, dtype=np.float32)
    return np.asarray(mix / mix.sum(), dtype=np.float32)


class Mixer:
    """Mixes the blocks of one file into one channel.

    Channels that cancel each other are not summed: those opposed to the loudest are turned over
    first, until they would cancel so. Half of what two speakers say is thus never lost, which
    leaving out a channel would.

    Args:
        mix: see `weights`.

    Attributes:
        cancelled: whether any channels were turned over.
    """

    def __init__(self, mix: NDArray[np.float32]) -> None:
        self._mix = mix
        self._signs = np.ones(len(mix), dtype=np.float32)
        self.cancelled = False

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """One channel in [-1, 1], float32 [n].

        Args:
            block: float32 [n, channels]. What is no number counts as 0, what is louder than full
                scale as full scale.
        """
        if len(self._mix) == 1:
            return _in_range(block[:, 0])
        mono = block @ (self._mix * self._signs)
        if not np.isfinite(mono).all():
            block = np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0)
            mono = block @ (self._mix * self._signs)
        if self._cancels(block, mono):
            self._turn(block)
            mono = block @ (self._mix * self._signs)
        return _in_range(mono)

    def _cancels(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> bool:
        flat, power = block.reshape(-1), float(mono @ mono)
        most = float(flat @ flat) * float((self._mix**2).max())
        # Most blocks are done with here; the exact power takes longer than the mix.
        if most <= _QUIET * len(mono) or power >= CANCELS * most:
            return False
        return bool(power < CANCELS * (np.einsum("ij,ij->j", block, block) @ self._mix**2))

    def _turn(self, block: NDArray[np.float32]) -> None:
        """Makes every channel agree with the one that is loudest in the mix."""
        loudest = np.argmax(np.einsum("ij,ij->j", block, block) * self._mix)
        self._signs = np.where(block.T @ block[:, loudest] < 0.0, -1.0, 1.0).astype(np.float32)
        self.cancelled = True


def _in_range(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped: NDArray[np.float32] = np.clip(mono, -1.0, 1.0)
    return clipped if np.isfinite(clipped).all() else np.nan_to_num(clipped)
