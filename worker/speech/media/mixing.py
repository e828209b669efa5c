"""Many channels into one: mixed, or one of them alone (pure).

Where channels have places (left, centre, rear) they are mixed as ITU-R BS.775 mixes them into one;
where they have none, each counts the same: any of them may be the microphone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Blend", "Mixer", "OneChannel", "weights"]

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

LOUDER = 2.0
"""Noise of each channel's own hides that they cancel. In a file whose channels are opposed, other
stretches are turned over too, if that makes them so much louder."""

OPPOSED, MOST = 5.0, 0.6
"""The channels of a file are opposed if turning makes the stretches that aren't sure so many times
louder, or if such a share of its energy is in stretches that surely cancel. A voice in the middle
of what is around it is in the sum: with it a file is neither."""

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


class Blend(Protocol):
    """What makes one channel of the blocks of a stream."""

    @property
    def cancelled(self) -> bool:
        """Whether channels cancelled each other, and not only here and there."""
        ...

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """One channel in [-1, 1], float32 [n].

        Args:
            block: float32 [n, channels]. What is no number counts as 0.
        """
        ...


class OneChannel:
    """Takes one channel as it is, at full level.

    Where a block has but one, that is taken, as players give one channel to all loudspeakers. Where
    it has more, and not this one, this one is silent.

    Args:
        number: of the channel, from 0.
    """

    cancelled = False

    def __init__(self, number: int) -> None:
        self._number = number

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Blend`."""
        channels = block.shape[1]
        if channels > 1 and self._number >= channels:
            return np.zeros(len(block), dtype=np.float32)
        return _in_range(block[:, min(self._number, channels - 1)])


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
        """The channel with which those that are turned over are to agree; None until any was."""
        self._summed = self._opposed = 0.0
        """Energy of the stretches since that don't surely cancel, summed and turned over."""
        self._sure = self._heard = 0.0
        """Energy of those that do, and of all since, in unrelated channels."""
        self._turned = self._stretches = 0

    @property
    def cancelled(self) -> bool:
        """See `Blend`."""
        return self._turned > NOTED * self._stretches

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Blend`."""
        if len(self._mix) == 1:
            return _in_range(block[:, 0])
        mono = block @ self._mix
        if not np.isfinite(mono).all():
            block = np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0)
            mono = block @ self._mix
        self._stretches += -(-len(mono) // STRETCH)
        if self._against is not None or self._is_suspect(block, mono):
            mono = self._in_stretches(block, mono)
        return _in_range(mono)

    def _is_suspect(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> bool:
        """Whether channels may cancel in a stretch; most blocks are done with here."""
        power = _energies(mono, STRETCH)
        most = _energies(block.reshape(-1), STRETCH * block.shape[1]) * (self._mix**2).max()
        return bool(((most > _QUIET * STRETCH) & (power < CANCELS * most)).any())

    def _in_stretches(
        self, block: NDArray[np.float32], mono: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The mix, stretch by stretch, in which nothing cancels."""
        filling = -len(mono) % STRETCH
        x = np.pad(block, ((0, filling), (0, 0))).reshape(-1, STRETCH, block.shape[1])
        out = np.pad(mono, (0, filling)).reshape(-1, STRETCH)
        powers = np.einsum("ksc,ksc->kc", x, x)
        apart, summed = powers @ self._mix**2, np.einsum("ks,ks->k", out, out)
        heard = apart > _QUIET * STRETCH
        cancels = heard & (summed < CANCELS * apart)
        if cancels.any():
            self._choose(powers[cancels].sum(axis=0))
        if self._against is not None:
            signs = np.where(np.einsum("ksc,ks->kc", x, x[:, :, self._against]) < 0.0, -1.0, 1.0)
            turned = np.einsum("ksc,kc->ks", x, (self._mix * signs).astype(np.float32))
            opposed = np.einsum("ks,ks->k", turned, turned)
            unsure = heard & ~cancels
            self._summed += float(summed[unsure].sum())
            self._opposed += float(opposed[unsure].sum())
            self._sure += float(apart[cancels].sum())
            self._heard += float(apart.sum())
            if self._opposed > OPPOSED * self._summed or self._sure > MOST * self._heard:
                cancels |= unsure & (opposed > LOUDER * summed)
            out = np.where(cancels[:, None], turned, out)
            self._turned += int(cancels.sum())
        alone = ~heard & (powers.sum(axis=1) > _QUIET * STRETCH)
        out[alone] = x[alone].mean(axis=2)
        return np.asarray(out.reshape(-1)[: len(mono)], dtype=np.float32)

    def _choose(self, powers: NDArray[np.float32]) -> None:
        """The channel that others are turned to agree with; the same as long as it is heard.

        Against another the sum would change its sign.
        """
        if self._against is None or powers[self._against] < CANCELS * powers.max():
            self._against = int(np.argmax(powers * self._mix))


def _energies(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Sums of squares of each `size` values, and of those that are left."""
    whole = len(values) // size * size
    rows, rest = values[:whole].reshape(-1, size), values[whole:]
    sums = np.einsum("ij,ij->i", rows, rows)
    return np.append(sums, rest @ rest) if len(rest) else sums


def _in_range(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped: NDArray[np.float32] = np.clip(mono, -1.0, 1.0)
    return clipped if np.isfinite(clipped).all() else np.nan_to_num(clipped)
