"""Hears a file's speech twice: all of it at one level, and again what was passed over (pure).

The detector first hears the audio levelled (see `level`). Sound that it passes over, though it
rises out of the noise as speech does, is heard a second time with pre-emphasis, and the higher of
the two probabilities counts. Far and muffled voices under rumble are found so, and so are some that
are sung. A second hearing costs what the first did, but read speech and silence need hardly any.

Works on blocks counted from the file's start, so that what is heard doesn't depend on the pieces in
which the audio comes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.speech.prepare.level import (
    CONTEXT,
    RISE,
    emphasize,
    frame_levels,
    level,
    noise_level,
)
from worker.speech.windows import FRAME

BLOCK = 125
"""Frames (4 s) that are heard at a time."""

HEARD = 0.5
"""Speech probability from which on a frame counts as heard."""

BESIDE = 12
"""Frames (0.38 s) beside one that was heard that need no second hearing: padding takes them in."""

QUIETEST = -95.0
"""dB below full scale under which nothing is sound: the rounding noise of 16 bits, emphasized."""

PASSED_OVER = 6
"""Frames (0.2 s, a syllable) in a block that must have been passed over for a second hearing."""


class RawStream(Protocol):
    """A detector's state within one file; see `vad.SileroStream`."""

    def hear(
        self, samples: NDArray[np.float32], before: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Speech probabilities, [frames], of whole frames.

        Args:
            samples: float32 [frames * FRAME].
            before: float32 [FRAME], what was before them.
        """
        ...

    def fork(self) -> RawStream:
        """Another stream, in this one's state."""
        ...


class Hearing:
    """One file's way through a detector.

    Args:
        stream: the detector, in its first state.
    """

    def __init__(self, stream: RawStream) -> None:
        self._first = stream
        self._second: RawStream | None = None
        """The stream of the second hearing, if that was needed in the block before."""
        self._buffer = np.zeros(0, dtype=np.float32)
        self._before = 0
        """Frames in the buffer that come before the next block."""
        self._levels = np.zeros(0)
        """Levels of the frames of the block before, emphasized."""

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Speech probabilities of the next frames that can be told, [frames].

        Args:
            samples: float32 [n] in [-1, 1], the next of the file.
        """
        self._buffer = np.concatenate([self._buffer, samples])
        found = [np.zeros(0, dtype=np.float32)]
        while len(self._buffer) >= (self._before + BLOCK + CONTEXT) * FRAME:
            found.append(self._next_block())
        return np.concatenate(found)

    def finish(self) -> NDArray[np.float32]:
        """Speech probabilities of all frames left, [frames]; the last is padded with silence."""
        self._buffer = np.pad(self._buffer, (0, -len(self._buffer) % FRAME))
        found = [np.zeros(0, dtype=np.float32)]
        while len(self._buffer) > self._before * FRAME:
            found.append(self._next_block())
        self._buffer = self._buffer[:0]
        return np.concatenate(found)

    def _next_block(self) -> NDArray[np.float32]:
        """The next block's probabilities; leaves in the buffer what the one after it needs."""
        found = self._block(self._buffer[: (self._before + BLOCK + CONTEXT) * FRAME])
        kept = min(self._before + BLOCK, CONTEXT)
        self._buffer = self._buffer[(self._before + BLOCK - kept) * FRAME :]
        self._before = kept
        return found

    def _block(self, stretch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next block's probabilities; the stretch holds what is around it, too."""
        first, last = self._before, min(self._before + BLOCK, len(stretch) // FRAME)
        start = self._first.fork()
        probabilities = _hear(self._first, level(stretch), first, last)
        emphasized = emphasize(stretch)
        levels = frame_levels(emphasized)[first:last]
        noise = noise_level(np.concatenate([self._levels, levels]))
        self._levels = levels
        if _passed_over(probabilities, levels, noise) < PASSED_OVER:
            self._second = None
            return probabilities
        if self._second is None:
            self._second = start
        again = _hear(self._second, level(emphasized), first, last)
        return np.maximum(probabilities, again)


def _hear(
    stream: RawStream, samples: NDArray[np.float32], first: int, last: int
) -> NDArray[np.float32]:
    before = samples[max(0, first - 1) * FRAME : first * FRAME]
    if not first:
        before = np.zeros(FRAME, dtype=np.float32)
    return stream.hear(samples[first * FRAME : last * FRAME], before)


def _passed_over(
    probabilities: NDArray[np.float32], levels: NDArray[np.float64], noise: float
) -> int:
    """Frames that rise out of the noise and are not beside any that was heard."""
    heard = np.pad(probabilities >= HEARD, BESIDE)
    beside = np.lib.stride_tricks.sliding_window_view(heard, 2 * BESIDE + 1).any(axis=1)
    audible = levels >= max(noise + RISE, QUIETEST)
    return int((audible & ~beside).sum())
