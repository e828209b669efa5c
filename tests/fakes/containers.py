"""Media files as phones, browsers and film makers leave them: late audio, holes, many tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from numpy.typing import NDArray

Samples = NDArray[np.float32]

PICTURES = 25
"""A second of the black film beside a track."""

VIDEO_CODECS = {"webm": "libvpx", "flv": "flv", "mpeg": "mpeg1video", "vob": "mpeg2video"}
"""FFmpeg's encoders for formats that hold no MPEG-4."""


@dataclass(frozen=True, slots=True)
class Track:
    """An audio track to be written.

    Attributes:
        samples: float32 [n] or [channels, n].
        codec: FFmpeg's name of the encoder.
        rate: Hz.
        layout: FFmpeg's name of the channels' places.
        start: seconds at which it begins.
        lost: (start, end) in seconds of its own whose packets are missing.
        paused: (at, seconds): from a time of its own on, everything is so much later.
        default: whether it is marked to be played.
        metadata: language, title.
        bit_rate: for encoders that have none of their own.
        options: for the encoder.
    """

    samples: Samples
    codec: str
    rate: int = 16_000
    layout: str = "mono"
    start: float = 0.0
    lost: tuple[float, float] | None = None
    paused: tuple[float, float] | None = None
    default: bool | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """At which it ends."""
        late = self.paused[1] if self.paused else 0.0
        return self.start + int(self.samples.shape[-1]) / self.rate + late

    def moved(self, at: float) -> float | None:
        """Where a packet of its own time is put; None if it is lost."""
        if self.lost and self.lost[0] <= at < self.lost[1]:
            return None
        late = self.paused[1] if self.paused and at >= self.paused[0] else 0.0
        return at + self.start + late


def write(
    path: Path,
    tracks: Sequence[Track],
    *,
    container: str | None = None,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes a file of these tracks, their packets in the order of their times.

    Args:
        path: the file.
        tracks: in their order in the file.
        container: FFmpeg's name of the format; what the path's ending says if None.
        video: whether a black film that lasts a second longer comes first.
        options: for FFmpeg's muxer.
    """
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        packets: list[tuple[float, Any]] = []
        if video:
            codec = VIDEO_CODECS.get(container or path.suffix[1:], "mpeg4")
            packets += _film(out, codec, max(track.seconds for track in tracks) + 1.0)
        streams = [_stream(out, track) for track in tracks]
        for stream, track in zip(streams, tracks, strict=True):
            packets += _packets(stream, track)
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)
    return path


def _film(out: Any, codec: str, seconds: float) -> list[tuple[float, Any]]:
    stream = out.add_stream(codec, rate=PICTURES)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    packets = []
    for number in range(int(PICTURES * seconds)):
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = number
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return [(float(packet.dts * packet.time_base), packet) for packet in packets]


def _stream(out: Any, track: Track) -> AudioStream:
    stream = cast("AudioStream", out.add_stream(track.codec, rate=track.rate, layout=track.layout))
    stream.metadata.update(track.metadata)
    stream.options = dict[str, object](track.options)
    if track.bit_rate is not None:
        stream.bit_rate = track.bit_rate
    if track.default is not None:
        stream.disposition = Disposition.default if track.default else Disposition(0)
    return stream


def _packets(stream: AudioStream, track: Track) -> list[tuple[float, Any]]:
    """The track's packets with the times at which they are put."""
    context = stream.codec_context
    clock = Fraction(1, track.rate)
    whole = np.atleast_2d(track.samples)
    if len(whole) == 1:
        whole = np.repeat(whole, context.layout.nb_channels, 0)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(whole.T.reshape(1, -1)), format="flt", layout=track.layout
    )
    frame.sample_rate = track.rate
    convert = av.AudioResampler(format=context.format.name, layout=track.layout, rate=track.rate)
    fifo = av.AudioFifo()
    for piece in convert.resample(frame):
        piece.pts = None
        fifo.write(piece)
    size, written, found = context.frame_size or 1_024, 0, list[Any]()
    while (part := fifo.read(size) or fifo.read(size, partial=True)) is not None:
        part.pts, part.time_base = written, clock
        written += part.samples
        found += stream.encode(part)
    found += stream.encode(None)
    placed = []
    for packet in found:
        packet.time_base = packet.time_base or clock
        at = float(packet.pts * packet.time_base)
        moved = track.moved(at)
        if moved is not None:
            later = round((moved - at) / float(packet.time_base))
            packet.pts += later
            packet.dts += later
            placed.append((moved, packet))
    return placed
