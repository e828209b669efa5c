"""A file, or a part of one, opened by FFmpeg; or one sentence on why that can't be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from worker.errors import ErrorCode, JobError
from worker.speech.media.decoding import reason
from worker.speech.media.parts import Part
from worker.speech.media.raw import HEADERLESS, HINT, RawAudio
from worker.speech.media.sniff import why_not
from worker.speech.media.view import FileBytes, PartFile

__all__ = ["Opened", "open_media", "unreadable", "unrecognised"]

MAX_STREAMS = 64
"""Audio tracks in one file; films have a dozen. Fonts and pictures don't count."""

_PLAYLISTS = frozenset({"concat", "dash", "hls", "image2", "imf", "rtsp", "sdp", "vobsub"})
"""Formats that name other files to read: a job's file must not lead to another job's. To image2
the %d in a file's own name is such; it also takes any file named .raw for the dots of a picture."""

_ANYTHING = frozenset({"adf", "amrnb", "amrwb", "bin", "cdg", "idf", "xbin"})
"""Formats that FFmpeg takes a file for by its name, or nearly any file: pictures of terminals, and
AMR without its header."""

_FORMATS = ",".join(
    sorted(
        name
        for name in av.formats_available
        if (_PLAYLISTS | HEADERLESS | _ANYTHING).isdisjoint(name.split(","))
    )
)
"""What FFmpeg may take a file for, unless it is told."""

_LATE_STREAMS = frozenset({"mpegts", "mpeg", "flv"})
"""Formats whose streams are known only once a packet of theirs was read."""

_FAR = {"probesize": str(256 << 20), "analyzeduration": str(600_000_000)}
"""How far to look for streams (bytes, microseconds) where the beginning has no audio."""


class Opened:
    """An open container, and the file that it reads.

    Attributes:
        container: FFmpeg's.
        names: FFmpeg's names of the format.
    """

    def __init__(self, container: InputContainer, file: PartFile | None = None) -> None:
        self.container = container
        self.names = frozenset(container.format.name.split(","))
        self._file = file

    def close(self) -> None:
        """Closes both."""
        self.container.close()
        if self._file is not None:
            self._file.close()

    @property
    def audio(self) -> tuple[Any, ...]:
        """The audio streams (`av.AudioStream`), in their order."""
        return tuple(self.container.streams.audio)

    @property
    def start(self) -> float | None:
        """Seconds on the file's clock at which the first of its streams starts."""
        start: Any = self.container.start_time  # typed as if it were always there
        return None if start is None else float(start) / av.time_base


def open_media(
    path: Path,
    part: Part,
    *,
    raw: RawAudio | None = None,
    format_name: str | None = None,
) -> Opened:
    """A file, or a part of it, with one audio stream at least.

    Args:
        path: of the file.
        part: the bytes to read, and how.
        raw: what a file without a header holds.
        format_name: FFmpeg's name of the format, where it is known.

    Raises:
        JobError: not_media, no_audio_stream, or decode_failed: too many tracks.
    """
    options = {"ignore_length": "1"} if part.ignore_length else {}
    if raw is not None:
        format_name, options = raw.format, raw.options
    opened = _open(path, part, format_name, options)
    try:
        if not opened.audio and opened.names & _LATE_STREAMS:
            opened.close()
            opened = _open(path, part, format_name, options | _FAR)
        _check_streams(path, opened)
    except BaseException:
        opened.close()
        raise
    return opened


def unreadable(path: Path, otherwise: JobError) -> JobError:
    """The error of a file of which nothing can be read: what it is, if its bytes say so.

    Args:
        path: of the file.
        otherwise: the error of one that doesn't.
    """
    with path.open("rb") as file:
        sentence = why_not(FileBytes(file), path.name)
    return otherwise if sentence is None else JobError(ErrorCode.NOT_MEDIA, sentence)


def unrecognised(why: str) -> JobError:
    """The error of a file that is of no format, as far as can be told."""
    return JobError(
        ErrorCode.NOT_MEDIA,
        f"No decoder recognises the file ({why}); "
        f"send audio or video in a format that FFmpeg reads. {HINT}",
    )


def _open(path: Path, part: Part, format_name: str | None, options: Mapping[str, str]) -> Opened:
    file = None
    # A whole file is left to FFmpeg, which reads it quicker.
    if part.patch or (part.start, part.end) != (0, path.stat().st_size):
        patches = ((part.patch.at, part.patch.bytes),) if part.patch else ()
        file = PartFile(path, part.start, part.end, patches)
    try:
        container = av.open(
            # The scheme, because a colon in a name would be taken for one.
            file or f"file:{path}",
            mode="r",
            format=format_name,
            metadata_errors="ignore",
            options={
                "format_whitelist": format_name or _FORMATS,
                "protocol_whitelist": "file",
                **options,
            },
        )
    except MemoryError:
        raise  # the limit of the process, not the file's format
    except (av.error.FFmpegError, ValueError) as error:
        if file is not None:
            file.close()
        raise unreadable(path, unrecognised(reason(error))) from error
    return Opened(container, file)


def _check_streams(path: Path, opened: Opened) -> None:
    if len(opened.audio) > MAX_STREAMS:
        raise JobError(
            ErrorCode.DECODE_FAILED,
            f"The file has {len(opened.audio)} audio tracks, more than {MAX_STREAMS}; "
            "send the one to transcribe alone.",
        )
    if not opened.audio:
        kinds = sorted({str(stream.type) for stream in opened.container.streams}) or ["nothing"]
        raise unreadable(
            path,
            JobError(
                ErrorCode.NO_AUDIO_STREAM,
                f"The file has no audio stream (it holds {', '.join(kinds)}); send one that has.",
            ),
        )
