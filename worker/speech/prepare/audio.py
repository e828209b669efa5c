"""Any media file -> mono float32 samples at 16 kHz, in pieces.

Decoding is PyAV's (FFmpeg's libraries, no binary). A damaged packet is skipped and counted, as
players do; what is left is decoded. The caller runs this in a child process with limits:
decoders crash, hang and swallow memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError
from worker.speech.media.raw import HEADERLESS, HINT, RawAudio
from worker.speech.windows import SAMPLE_RATE

Samples = NDArray[np.float32]

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Hz; sound cards and codecs end at 768 kHz, so anything outside is a lying header."""

MAX_STREAMS = 64
"""Streams of all kinds in one container; films have a dozen."""

MAX_CHANNELS = 16
"""Sound cards and codecs end there; FFmpeg mixes no more down."""

MAX_DAMAGED = 1_000
"""Damaged packets before the file is given up."""

MIN_BYTES_PER_SECOND = 100
"""Fewer than any codec for speech writes: a header that claims more audio than this lies."""

_NOTHING_SECONDS = 0.1
"""A stream that claims less than this and gives nothing is empty, not damaged."""

_FLOATS = frozenset({"flt", "fltp", "dbl", "dblp"})

_PLAYLISTS = frozenset({"concat", "dash", "hls", "image2", "imf", "rtsp", "sdp", "vobsub"})
"""Formats that name other files to read: a job's file must not lead to another job's. To image2
the %d in a file's own name is such; it also takes any file named .raw for the dots of a picture."""

_REFUSED = _PLAYLISTS | HEADERLESS

_FORMATS = ",".join(
    sorted(name for name in av.formats_available if _REFUSED.isdisjoint(name.split(",")))
)
"""What FFmpeg may take a file for that nobody told it of."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What one file may cost.

    Attributes:
        max_seconds: decoded audio beyond this is refused, whatever the header says.
    """

    max_seconds: float = 43_200.0


class AudioReader:
    """Reads one file's first audio stream; a context manager and an iterator of pieces.

    Args:
        path: the file.
        limits: what it may cost.
        raw: what it holds, if it has no header; None lets FFmpeg find out.

    Raises:
        JobError: from the constructor and the iterator; the code says what is wrong with the
            file (empty_file, not_media, no_audio_stream, decode_failed, audio_too_long).
    """

    def __init__(self, path: Path, limits: AudioLimits, raw: RawAudio | None = None) -> None:
        self._limits = limits
        self.damaged = 0
        """Packets that could not be decoded."""
        self.samples = 0
        """Samples at 16 kHz given out so far."""
        if path.stat().st_size == 0:
            raise JobError(ErrorCode.EMPTY_FILE, "The file has no bytes; upload it again.")
        try:
            container = av.open(
                str(path),
                mode="r",
                format=raw.format if raw else None,
                metadata_errors="ignore",
                options={
                    "format_whitelist": raw.format if raw else _FORMATS,
                    "protocol_whitelist": "file",
                    **(raw.options if raw else {}),
                },
            )
        except MemoryError:
            raise  # the limit of the process, not the file's format
        except (av.error.FFmpegError, ValueError) as error:
            raise JobError(
                ErrorCode.NOT_MEDIA,
                f"No decoder recognises the file ({_reason(error)}); "
                f"send audio or video in a format that FFmpeg reads. {HINT}",
            ) from error
        self._container: InputContainer = container
        try:
            self._check_streams()
        except BaseException:
            container.close()
            raise

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Samples]:
        """Pieces of samples, float32 in [-1, 1], shape [n], any length."""
        resampler: AudioResampler | None = None
        shape: tuple[str, str, int] | None = None
        for frame in self._frames():
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or now != shape:
                if resampler is not None:
                    yield from self._pieces(resampler, None)
                self._check_rate(frame.sample_rate)
                # To integers, because FFmpeg mixes channels down into floats without dividing:
                # loud stereo would leave [-1, 1] by a factor of 1.4, surround by 2.7.
                resampler = AudioResampler(format="s32", layout="mono", rate=SAMPLE_RATE)
                shape = now
            # Broken timestamps would make the resampler insert or drop audio.
            frame.pts = None
            yield from self._pieces(resampler, frame)
        if resampler is not None:
            yield from self._pieces(resampler, None)
        if self.samples == 0 and (self.damaged or self._stream_seconds > _NOTHING_SECONDS):
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"None of the file's audio can be decoded ({self.damaged} damaged packets); "
                "export it again.",
            )

    def _frames(self) -> Iterator[Any]:
        frames = self._container.decode(audio=0)
        while True:
            try:
                frame = next(frames)
            except StopIteration:
                return
            except MemoryError:
                raise
            except av.error.FFmpegError as error:
                self.damaged += 1
                if self.damaged > MAX_DAMAGED:
                    raise JobError(
                        ErrorCode.DECODE_FAILED,
                        f"The file has more than {MAX_DAMAGED} damaged packets "
                        f"({_reason(error)}); export it again.",
                    ) from error
                # A generator that raised is finished; a fresh one goes on with the next packet.
                frames = self._container.decode(audio=0)
                continue
            yield frame

    def _pieces(self, resampler: AudioResampler, frame: Any) -> Iterator[Samples]:
        try:
            resampled = resampler.resample(None if frame is None else _finite(frame))
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The file's audio can't be brought to 16 kHz mono ({_reason(error)}); "
                "export it again.",
            ) from error
        for piece in resampled:
            samples = piece.to_ndarray().reshape(-1)
            self.samples += len(samples)
            if self.samples > self._limits.max_seconds * SAMPLE_RATE:
                raise JobError(
                    ErrorCode.AUDIO_TOO_LONG,
                    f"The audio is longer than max_audio_seconds = {self._limits.max_seconds:g}; "
                    "split the file or raise the setting.",
                )
            yield samples.astype(np.float32) * np.float32(2.0**-31)

    def _check_streams(self) -> None:
        streams = self._container.streams
        if len(streams) > MAX_STREAMS:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The file has {len(streams)} streams, more than {MAX_STREAMS}; "
                "send the audio stream alone.",
            )
        if not streams.audio:
            kinds = sorted({str(stream.type) for stream in streams}) or ["nothing"]
            raise JobError(
                ErrorCode.NO_AUDIO_STREAM,
                f"The file has no audio stream (it holds {', '.join(kinds)}); send one that has.",
            )
        stream = streams.audio[0]
        if stream.codec_context is None:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                "No decoder is at hand for the file's audio; convert it to WAV, FLAC, MP3 or AAC.",
            )
        self._check_rate(stream.codec_context.sample_rate)
        channels = stream.codec_context.channels
        if channels > MAX_CHANNELS:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The audio has {channels} channels, more than {MAX_CHANNELS}; mix it down.",
            )
        self.stated_seconds = (
            self._container.duration / av.time_base if self._container.duration else None
        )
        self._stream_seconds = (
            float(stream.duration * stream.time_base)
            if stream.duration and stream.time_base
            else 0.0
        )
        believable = self._container.size / MIN_BYTES_PER_SECOND
        if self.stated_seconds and self.stated_seconds > believable:
            self.stated_seconds = None
        if self.stated_seconds and self.stated_seconds > self._limits.max_seconds * 1.5:
            # Decoding for hours to find out what the header says already helps nobody.
            raise JobError(
                ErrorCode.AUDIO_TOO_LONG,
                f"The file says it lasts {self.stated_seconds:.0f} s, more than "
                f"max_audio_seconds = {self._limits.max_seconds:g}; "
                "split the file or raise the setting.",
            )

    def _check_rate(self, rate: int) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"The file says its sample rate is {rate} Hz; "
                f"{MIN_RATE} to {MAX_RATE} Hz can be decoded, so export it again.",
            )


def _finite(frame: Any) -> Any:
    """The frame; a float one may hold NaN or infinities, which no filter gets rid of."""
    if frame.format.name not in _FLOATS:
        return frame
    samples = frame.to_ndarray()
    if np.isfinite(samples).all():
        return frame
    clean = av.AudioFrame.from_ndarray(
        np.nan_to_num(samples, posinf=1.0, neginf=-1.0),
        format=frame.format.name,
        layout=frame.layout.name,
    )
    clean.sample_rate = frame.sample_rate
    return clean


def _reason(error: BaseException) -> str:
    """The library's words without the local path it puts in them."""
    text = str(getattr(error, "strerror", None) or error)
    return text.split(": '")[0].rstrip(".")
