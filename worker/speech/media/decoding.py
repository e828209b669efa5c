"""One stream's packets into frames of audio; a damaged packet is counted and left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer

from worker.errors import ErrorCode, JobError
from worker.speech.media.mixing import Mixer, weights
from worker.speech.media.raw import MAX_CHANNELS, MAX_RATE, MIN_RATE
from worker.speech.media.timeline import BACK, SURE_HOLE

__all__ = ["Decoder", "packets", "reason"]

MAX_READ_ERRORS = 1_000
"""Errors in a row without a packet after which the file is at its end."""

_SAY_EACH_TIME = frozenset({"pcm_bluray", "pcm_dvd"})
"""Codecs of plain samples whose packets have heads."""

_SAY_ONCE = frozenset({"alac", "flac", "opus", "vorbis"})
"""Codecs, besides those of plain samples, that say once for all how many channels there are; of
others a packet may have more than the one before it."""

_BETTER = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
"""FFmpeg's own decoders of AMR take the silence that phones send (DTX) for damage."""


class Decoder:
    """Decodes one audio stream of an open file.

    Args:
        container: the file.
        stream: one of its audio streams that has a decoder.
        beside: other streams to watch.

    Attributes:
        damaged: packets that could not be decoded.
        decoded: packets that could.
        codec: FFmpeg's name of it, as the file has it.
        channels: as the file says before the first packet; 0 if it doesn't.
        channels_stay: whether they are sure to stay as many.
        known: whether the file says what its audio is like. An MP3 in name alone doesn't, nor does
            a film whose sound begins late.
        seen: indices of the streams beside it that had packets before this one ended.
        behind: damaged packets since the last that could be decoded.

    Raises:
        JobError: decode_failed: the rate or the channels are none that can be decoded.
    """

    def __init__(
        self, container: InputContainer, stream: Any, beside: tuple[Any, ...] = ()
    ) -> None:
        self.damaged = 0
        self.decoded = 0
        self._previous: int | None = None
        self._latest: int | None = None
        self.seen: set[int] = set()
        self.behind = 0
        self._waiting: set[int] = set()
        self._before: set[int] = set()
        self._times: dict[int, float] = {}
        """When the last packet of each stream beside this one is decoded, on the file's clock."""
        self._steady = True
        self._container = container
        self._stream = stream
        self._beside = beside
        self._context = stream.codec_context
        self.codec = str(self._context.name)
        rate = self._context.sample_rate
        self.known = bool(rate)
        if rate and not _is_rate(rate):
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The file says its sample rate is {rate} Hz; "
                f"{MIN_RATE} to {MAX_RATE} Hz can be decoded, so export it again.",
            )
        layout = self._context.layout
        self.channels = int(layout.nb_channels)
        self.channels_stay = _say_once(self.codec)
        if layout.nb_channels > MAX_CHANNELS:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The audio has {layout.nb_channels} channels, more than {MAX_CHANNELS}; "
                "mix it down.",
            )
        self._own_order: list[str] | None = None
        if "(" in layout.name:
            # An order of the file's own: PyAV frees the list of channels with each copy of it, so
            # no frame may have one. Decoders that set no layout of their own pass on this one.
            self._own_order = [channel.name for channel in layout.channels]
            self._context.layout = f"{layout.nb_channels} channels"
        if self._context.name in _BETTER and _BETTER[self._context.name] in av.codecs_available:
            self._context = av.CodecContext.create(_BETTER[self._context.name], "r")

    def frames(self) -> Iterator[Any]:
        """Frames of audio (`av.AudioFrame`), none of them empty, at rates that can be resampled."""
        for packet in packets(self._container, self._stream, *self._beside):
            if packet is None:
                self.damaged += 1
                continue
            if packet.stream.index != self._stream.index:
                self._waiting.add(packet.stream.index)
                self._watch(packet)
                continue
            if packet.size:
                # Not with this packet's own: a parser may keep a stream's last frame until the
                # end of the file, behind all that has come of others.
                self.seen |= self._before
                self._before |= self._waiting
            elif packet.dts is not None:
                continue  # empty; to the decoder it would be the end
            for frame in self._decode(packet):
                if not _is_rate(frame.sample_rate):
                    self.damaged += 1
                elif frame.samples:
                    yield frame

    def _decode(self, packet: Any) -> list[Any]:
        """The frames of a packet; none if it is damaged."""
        try:
            frames: list[Any] = self._context.decode(packet if packet.size else None)
        except MemoryError:
            raise  # the limit of the process, not the file's fault
        except av.error.EOFError:
            return []  # the decoder was at its end before
        except av.error.FFmpegError:
            self.damaged += 1
            self.behind += 1
            return []
        if packet.size:
            self.decoded += 1
            self.behind = 0
            if packet.pos is not None:
                self._previous, self._latest = self._latest, packet.pos
        return frames

    @property
    def last(self) -> int | None:
        """The place in the file, in bytes, behind which nothing of the stream is; None if unknown.

        That of its last packet but one (see `frames`), unless others came behind the last that
        could be decoded.
        """
        return self._latest if self.behind else self._previous

    def steady(self) -> bool:
        """Whether another stream of the file ran on so far, on one clock."""
        return self._steady and bool(self._times)

    def _watch(self, packet: Any) -> None:
        """Keeps an eye on the clock of a stream beside this one."""
        if packet.dts is None or packet.stream.type != "video":
            return
        time = float(packet.dts * packet.time_base)
        step = time - self._times.get(packet.stream.index, time)
        self._steady &= -BACK < step < SURE_HOLE
        self._times[packet.stream.index] = time

    def mixer(self, frame: Any) -> Mixer:
        """What mixes the channels of frames like one."""
        names = self._own_order
        if names is None or len(names) != frame.layout.nb_channels:
            names = [channel.name for channel in frame.layout.channels]
        return Mixer(weights(names, ambisonic=frame.layout.name.startswith("ambisonic")))


def packets(container: InputContainer, *streams: Any) -> Iterator[Any]:
    """The packets (`av.Packet`) of some streams of an open file, in the file's order.

    None stands for each place where the file can't be read.
    """
    errors = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux(*streams):
                errors = 0
                yield packet
        except IndexError:
            return  # PyAV at the end of a file that got streams on the way
        except av.error.FFmpegError:
            # What follows can often be read: a generator that raised is finished, a fresh one
            # goes on behind the damage. FFmpeg's error for memory is one too: a packet claims
            # gigabytes.
            if not errors:
                yield None
            errors += 1
        else:
            return


def reason(error: BaseException) -> str:
    """The library's words without the local path it puts in them."""
    text = str(getattr(error, "strerror", None) or error)
    return text.split(": '")[0].rstrip(".")


def _say_once(codec: str) -> bool:
    return codec in _SAY_ONCE or (codec.startswith("pcm_") and codec not in _SAY_EACH_TIME)


def _is_rate(rate: int) -> bool:
    return MIN_RATE <= rate <= MAX_RATE
