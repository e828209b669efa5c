"""Which channels of a track, and which tracks of a file, hold the same (pure).

What is the same is transcribed once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worker.speech.unheard import SILENT

__all__ = ["ChannelCopies", "TrackCopies"]


BAND = (100.0, 3_400.0)
"""Hz: a telephone's, in which voices are told apart. Above it, codecs put noise in place of sounds,
into each channel another; below it lie hum and a sound card's offset."""

STRETCH = 0.17
"""Seconds that are looked at: less than a word. A voice of its own is alone in some of them."""

BESIDE = 0.25
"""Amplitude of a difference, of that of the sound in the same stretch and band (12 dB less). Of one
sound in both channels it was up to 0.07 in AAC, 0.03 in AC-3, 0.15 in Opus at 32 kbit/s and 0.32 in
MP2 at 128 kbit/s; MP3 made none. Of a voice on one side, which the other side hears too, it is 0.25
only where that hears it 2.5 dB less."""

QUIET = (SILENT / 4.0) ** 2
"""Mean square of a difference that is no sound: of speech whose largest amplitude is `SILENT`."""


class ChannelCopies:
    """Compares the channels of a track, block by block; stands where others mix them.

    Two channels are the same where nothing can be told in their difference: it is silent
    (`unheard.SILENT`), or so much less than what is heard at the same moment (`BESIDE`) that it is
    a codec's doing. Each is compared with the first of its like. One whose sign is turned over is
    another: the sum of the two is silent, not their difference.

    Attributes:
        channels: the most that there were at a time; 0 before the first block.
    """

    cancelled = False

    def __init__(self) -> None:
        self.channels = 0
        self._rate = 0
        self._alike: list[list[int]] = []
        """Channels that are the same so far."""
        self._several = False
        """Whether there was a block of several channels."""

    def at(self, rate: int) -> ChannelCopies:
        """Itself, for blocks of so many samples a second."""
        self._rate = rate
        return self

    @property
    def settled(self) -> bool:
        """Whether each channel is known to differ from each other one."""
        return 0 < self.channels == len(self._alike)

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `mixing.Blend`; compares, and gives the first channel.

        Where a block has one channel alone, that counts for each, as for `mixing.OneChannel`; where
        it has more, those that it lacks are silent.
        """
        self._expect(block.shape[1])
        if block.shape[1] > 1:
            self._several = True
            self._alike = [
                part for group in self._alike for part in _divided(group, block, self._rate)
            ]
        return _channel(block, 0)

    def same_as(self) -> list[int | None]:
        """For each channel the first that is the same, or None if it is the first."""
        found: list[int | None] = [None] * self.channels
        for first, *others in self._alike:
            for other in others:
                found[other] = first
        return found

    def _expect(self, channels: int) -> None:
        """Makes room for channels that were not there before."""
        if channels <= self.channels:
            return
        if self._several:
            # They were silent among others; which of those were, nobody noted.
            self._alike.append(list(range(self.channels, channels)))
        else:
            self._alike = [list(range(channels))]
        self.channels = channels


def _divided(group: list[int], block: NDArray[np.float32], rate: int) -> list[list[int]]:
    """Channels that were the same before a block, divided into those that still are."""
    divided = []
    while len(group) > 1:
        first = _channel(block, group[0])
        differ = [other for other in group[1:] if _differ(first, _channel(block, other), rate)]
        divided.append([one for one in group if one not in differ])
        group = differ
    return [*divided, group] if group else divided


def _differ(one: NDArray[np.float32], two: NDArray[np.float32], rate: int) -> bool:
    """Whether something can be told in the difference of two channels, float32 [n]."""
    if np.abs(one - two).max(initial=0.0) < SILENT:
        return False
    size = max(2, round(STRETCH * rate))
    difference, first, second = (
        _powers(_stretches(samples, size), rate) for samples in (one - two, one, two)
    )
    told = (difference >= QUIET) & (difference >= BESIDE**2 * np.maximum(first, second))
    return bool(told.any())


def _stretches(samples: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """[n, size]: each begins in the middle of the one before; all samples are in one at least."""
    hop = size // 2
    count = max(1, -(-(len(samples) - size) // hop) + 1)
    padded = np.pad(samples, (0, max(0, (count - 1) * hop + size - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]


def _powers(stretches: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Mean squares of stretches, [n], of what lies in the band of voices."""
    size = stretches.shape[1]
    window = np.hanning(size)
    spectrum = np.fft.rfft(stretches * window.astype(np.float32), axis=1)
    first, last = (round(hertz * size / rate) for hertz in BAND)
    energies = (np.abs(spectrum[:, first : last + 1]) ** 2).sum(axis=1)
    return np.asarray(2.0 * energies / (size * (window**2).sum()))


def _channel(block: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """A channel of a block as it is transcribed: silent if it isn't there, cut at full scale."""
    if number >= block.shape[1]:
        return np.zeros(len(block), dtype=np.float32)
    channel: NDArray[np.float32] = np.clip(block[:, number], -1.0, 1.0)
    return channel if np.isfinite(channel).all() else np.nan_to_num(channel)


class TrackCopies:
    """Compares tracks by their packets, undecoded.

    A program that records one sound as several tracks writes the same packets into each, at the
    same times; of these a decoder makes the same samples. Tracks of the same sound in two codecs
    are not compared: what decoders make of them differs.

    Args:
        heads: of each track, what its decoder is told before the first packet.
    """

    def __init__(self, heads: Sequence[bytes]) -> None:
        self._sums = [hashlib.sha256(head) for head in heads]
        self._packets = [0] * len(heads)
        self._marks = [[sum_.digest()] for sum_ in self._sums]
        """Sums of each track's first packets: of none, of 1, 2, 4, 8 and so on."""

    @property
    def settled(self) -> bool:
        """Whether each track is known to differ from each other one."""
        tracks = range(len(self._marks))
        return all(self._differ(one, two) for one in tracks for two in tracks[one + 1 :])

    def add(self, track: int, packet: bytes) -> bool:
        """Counts the next packet of a track; whether each track is now known to differ.

        Args:
            track: its position among the heads.
            packet: with its time.
        """
        one = self._sums[track]
        one.update(len(packet).to_bytes(8, "little"))
        one.update(packet)
        self._packets[track] += 1
        if self._packets[track] & (self._packets[track] - 1):
            return False
        self._marks[track].append(one.digest())
        return self.settled

    def same_as(self) -> list[int | None]:
        """For each track the first that is the same, or None; once all packets have been added."""
        sums = [one.digest() for one in self._sums]
        firsts = [sums.index(one) for one in sums]
        return [first if first < track else None for track, first in enumerate(firsts)]

    def _differ(self, one: int, two: int) -> bool:
        marks = zip(self._marks[one], self._marks[two], strict=False)
        return any(left != right for left, right in marks)
