"""Frames of any format, rate and channels into one channel of float32 at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError
from worker.speech.media.decoding import reason
from worker.speech.media.mixing import Blend
from worker.speech.windows import SAMPLE_RATE

__all__ = ["Converter", "Samples"]

Samples = NDArray[np.float32]

BLOCK = 65_536
"""Samples (of each channel) that are converted at a time: some sixty packets, so that Python's
share of the work is small."""


class Converter:
    """Converts the frames of one stream, which may change their shape on the way.

    Args:
        blend: what makes one channel of frames like one (`av.AudioFrame`).

    Attributes:
        cancelled: whether channels cancelled each other; see `mixing.Blend`.
    """

    def __init__(self, blend: Callable[[Any], Blend]) -> None:
        self.cancelled = False
        self._blend = blend
        self._shape: tuple[str, str, int] | None = None
        self._run: _Run | None = None

    def feed(self, frame: Any) -> Iterator[Samples]:
        """Samples that are ready, float32 [n] in [-1, 1].

        Args:
            frame: the next (`av.AudioFrame`).

        Raises:
            JobError: decode_failed: FFmpeg can't convert it.
        """
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._run is None or shape != self._shape:
            yield from self.drain()
            self._run = _Run(self._blend(frame), frame.sample_rate)
            self._shape = shape
        # Its time has been read; the buffer would compare it.
        frame.pts = None
        yield from self._convert(self._run.feed(frame))

    def settle(self) -> Iterator[Samples]:
        """The samples of all frames so far, but for a millisecond that the filter keeps.

        Where silence follows. To begin anew would take a millisecond of work for each hole.
        """
        if self._run is not None:
            yield from self._convert(self._run.settle())

    def drain(self) -> Iterator[Samples]:
        """The samples of all frames so far that are not given out yet."""
        if self._run is not None:
            run, self._run = self._run, None
            yield from self._convert(run.finish())
            self.cancelled |= run.blend.cancelled

    def _convert(self, pieces: Iterator[Samples]) -> Iterator[Samples]:
        try:
            yield from pieces
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The file's audio can't be brought to 16 kHz mono ({reason(error)}); "
                "export it again.",
            ) from error


class _Run:
    """Frames of one shape, one after the other."""

    def __init__(self, blend: Blend, rate: int) -> None:
        self.blend = blend
        self._rate = rate
        self._fifo = av.AudioFifo()
        # Interleaved, because PyAV reads at most seven planes.
        self._to_float = AudioResampler(format="flt")
        self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def feed(self, frame: Any) -> Iterator[Samples]:
        self._fifo.write(frame)
        if self._fifo.samples >= BLOCK:
            yield from self._block(self._fifo.read())

    def settle(self) -> Iterator[Samples]:
        if self._fifo.samples:
            yield from self._block(self._fifo.read())

    def finish(self) -> Iterator[Samples]:
        yield from self.settle()
        if self._rate != SAMPLE_RATE:
            yield from self._resampled(None)

    def _block(self, block: Any) -> Iterator[Samples]:
        for mono in self._mixed(block):
            if self._rate == SAMPLE_RATE:
                yield mono
                continue
            one = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
            one.sample_rate = self._rate
            yield from self._resampled(one)

    def _mixed(self, block: Any) -> Iterator[Samples]:
        if block.format.name == "s16":  # the commonest, and quicker so
            samples = block.to_ndarray().astype(np.float32)
            samples *= np.float32(2.0**-15)
            yield self.blend.mix(samples.reshape(-1, block.layout.nb_channels))
            return
        for frame in self._to_float.resample(block):
            packed: Any = frame.to_ndarray()  # float32: the resampler was told so
            yield self.blend.mix(packed.reshape(-1, block.layout.nb_channels))

    def _resampled(self, frame: Any) -> Iterator[Samples]:
        for piece in self._resampler.resample(frame):
            # The filter's ripple may leave full scale.
            yield np.clip(piece.to_ndarray()[0], -1.0, 1.0)
