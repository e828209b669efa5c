"""Any media file -> mono float32 samples at 16 kHz, in pieces, where a player plays them.

Decoding is PyAV's (FFmpeg's libraries, no binary). A damaged packet is skipped and counted, as
players do; what is left is decoded. The caller runs this in a child process with limits:
decoders crash, hang and swallow memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from worker.errors import ErrorCode, JobError
from worker.speech.media import length
from worker.speech.media.choosing import Choice, NoSuchTrackError, choose, take
from worker.speech.media.conversion import Converter, Samples
from worker.speech.media.decoding import Decoder
from worker.speech.media.file import MediaFile
from worker.speech.media.mixing import Blend, OneChannel
from worker.speech.media.opening import Opened, unreadable, unrecognised
from worker.speech.media.parts import Part
from worker.speech.media.raw import RawAudio
from worker.speech.media.report import Report
from worker.speech.media.selection import USUAL, Selection
from worker.speech.media.timeline import Timeline, clock_of
from worker.speech.windows import SAMPLE_RATE

__all__ = ["AudioLimits", "AudioReader"]

_NOTHING_SECONDS = 0.1
"""A stream that claims less than this and gives nothing is empty, not damaged."""

_SILENCE_BLOCK = 4 * SAMPLE_RATE
"""Samples of silence that are given out at a time."""

_MOST_STREAMS = 100
"""Streams of a transport stream that are read one after the other."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What one file may cost.

    Attributes:
        max_seconds: decoded audio beyond this is refused, whatever the header says.
    """

    max_seconds: float = 43_200.0


class AudioReader:
    """Reads one audio track of a file; a context manager and an iterator of pieces.

    Args:
        path: of the file.
        limits: what it may cost.
        raw: what a file without a header holds.
        selection: which of its tracks, and which of that track's channels. Where a further part of
            the file has no track of that number, its own choice is read; where a part of the track
            has one channel alone, that is read, and silence where it has several but not this one.
        blend: makes what gets the channels, at so many samples a second, in place of what mixes
            them.

    Attributes:
        samples: at 16 kHz, given out so far.
        stated_seconds: how long the audio lasts by the file's header, if that says so.

    Raises:
        JobError: from the constructor and the iterator; the code says what is wrong with the
            file (empty_file, not_media, no_audio_stream, decode_failed, audio_too_long), or
            with what was asked for (no_audio_stream, invalid_job: there is no such channel).
    """

    def __init__(
        self,
        path: Path,
        limits: AudioLimits,
        raw: RawAudio | None = None,
        selection: Selection = USUAL,
        *,
        blend: Callable[[int], Blend] | None = None,
    ) -> None:
        self.samples = 0
        self._selection = selection
        self._blend = blend
        if selection.channel is not None:
            one = OneChannel(selection.channel)
            self._blend = lambda _: one
        self._limits = limits
        self._later: set[int] = set()
        """Numbers of tracks that go on where the one that was taken ends."""
        self._file = MediaFile(path, raw)
        self._report = Report(stale_length=any(part.ignore_length for part in self._file.parts))
        self._opened, self._choice = self._first()
        try:
            self._stream = self._opened.audio[self._choice.taken.number]
            self._decoder = self._decode(self._opened, self._stream)
            self.stated_seconds = self._stated()
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        return self._report.damaged

    @property
    def track(self) -> int | None:
        """The number of the track that is read; None where each part of the file has its own."""
        if self._selection.stream is None and (len(self._file.parts) > 1 or self._may_be_followed):
            return None
        return self._choice.taken.number

    @property
    def channels(self) -> int:
        """Of the track, as the file says before its first packet; 0 if it doesn't."""
        return self._decoder.channels

    @property
    def channels_stay(self) -> bool:
        """Whether each part of the track is sure to have as many channels as its first."""
        stay = self._decoder.channels_stay
        return stay and len(self._file.parts) == 1 and not self._may_be_followed

    @property
    def _may_be_followed(self) -> bool:
        """Whether streams may follow that aren't there at the beginning."""
        return "mpegts" in self._opened.names

    @property
    def left_out(self) -> list[str]:
        """Sentences on tracks that are not read."""
        return self._choice.notes(self._later)

    @property
    def notes(self) -> list[str]:
        """Sentences for the result; complete at the end of the file."""
        return self.left_out + self._report.sentences()

    def __iter__(self) -> Iterator[Samples]:
        """Pieces of samples, float32 in [-1, 1], shape [n], any length."""
        timeline = self._timeline(self._opened, self._decoder, self.stated_seconds)
        yield from self._read(self._decoder, timeline)
        if self._may_be_followed:
            yield from self._read_later_streams(timeline)
        self._report.add_times(timeline)
        for part in self._left:
            yield from self._read_part(part)
        self._check_end()

    def _open_track(self, part: Part, *, first: bool = False) -> tuple[Opened, Choice]:
        """A part, and the track of it to read."""
        opened, asked = self._file.open(part), self._selection.stream
        try:
            if asked is not None and (first or asked < len(opened.audio)):
                return opened, take(opened, asked)
            return opened, choose(opened, lambda: self._file.open(part))
        except BaseException:
            opened.close()
            raise

    def _first(self) -> tuple[Opened, Choice]:
        """The first part that can be read; what is left is behind it."""
        for number, part in enumerate(self._file.parts):
            self._left = self._file.parts[number + 1 :]
            try:
                return self._open_track(part, first=True)
            except NoSuchTrackError:
                raise
            except JobError:
                if not self._left:
                    raise
                self._report.unread += 1
        raise AssertionError("a file that has bytes has a part")

    def _decode(self, opened: Opened, stream: Any) -> Decoder:
        # Streams of a transport stream may follow one another; see `_read_later_streams`. Pictures
        # tell whether a clock jumped or sound is missing.
        beside: list[Any] = list(opened.audio) if "mpegts" in opened.names else []
        if opened.names & {"mpegts", "mpeg"}:
            beside += opened.container.streams.video
        return Decoder(opened.container, stream, tuple(one for one in beside if one is not stream))

    def _timeline(
        self, opened: Opened, decoder: Decoder, end: float | None = None
    ) -> Timeline[Any]:
        """The timeline of a part of the file; only of the first is it known when it ends."""
        position = self.samples / SAMPLE_RATE
        clock = clock_of(opened.names, opened.start, end, joined=opened is not self._opened)
        return Timeline(clock, self._limits.max_seconds, position, decoder.steady)

    def _read(self, decoder: Decoder, timeline: Timeline[Any]) -> Iterator[Samples]:
        """The samples of one stream, with silence where it has none."""
        blend = self._blend
        converter = Converter(
            decoder.mixer if blend is None else lambda frame: blend(frame.sample_rate)
        )
        asked = self._selection.channel
        there = 0
        """Samples of what follows that are there already."""

        def place(frame: Any, at: float | None) -> Iterator[Samples]:
            nonlocal there
            if at is not None:
                yield from give(converter.settle())
                missing = round(at * SAMPLE_RATE) - self.samples
                yield from self._silence(missing)
                there = max(0, -missing)
            yield from give(converter.feed(frame))

        def give(pieces: Iterator[Samples]) -> Iterator[Samples]:
            nonlocal there
            for piece in pieces:
                yield self._counted(piece[there:])
                there -= min(there, len(piece))

        try:
            for frame in decoder.frames():
                seconds = frame.samples / frame.sample_rate
                if asked is not None:
                    self._report.add_channels(frame.layout.nb_channels, asked, seconds)
                for placed in timeline.add(frame, frame.time, seconds):
                    yield from place(*placed)
            for placed in timeline.finish():
                yield from place(*placed)
            yield from give(converter.drain())
        finally:
            self._report.add_stream(decoder, cancelled=converter.cancelled)

    def _silence(self, samples: int) -> Iterator[Samples]:
        while samples > 0:
            size = min(samples, _SILENCE_BLOCK)
            yield self._counted(np.zeros(size, dtype=np.float32))
            samples -= size

    def _counted(self, piece: Samples) -> Samples:
        self.samples += len(piece)
        if self.samples > self._limits.max_seconds * SAMPLE_RATE:
            raise JobError(
                ErrorCode.AUDIO_TOO_LONG,
                f"The audio is longer than max_audio_seconds = {self._limits.max_seconds:g}; "
                "split the file or raise the setting.",
            )
        return piece

    def _read_later_streams(self, timeline: Timeline[Any]) -> Iterator[Samples]:
        """Audio of a transport stream that goes on under other numbers (PIDs), or in another codec.

        Two recordings were joined, or the sender changed its programme. FFmpeg's libraries find
        such streams, but PyAV shows only those that it saw at the beginning.
        """
        numbers = {stream.id: number for number, stream in enumerate(self._opened.audio)}
        known = {
            stream.id
            for stream in self._opened.container.streams
            if stream.type != "audio" or stream.index in self._decoder.seen
        }
        known.add(self._stream.id)
        asked = self._selection.stream
        start, decoder, taken = 0, self._decoder, self._stream
        # No pictures run from one recording into the next.
        timeline.steady = lambda: False
        for _ in range(_MOST_STREAMS):
            if decoder.last is None:
                return
            start += decoder.last
            try:
                opened = self._file.open(Part(start, self._file.size), "mpegts")
            except JobError:
                return  # no audio is left
            with closing(opened):
                before = self.samples
                fresh = _fresh(opened, decoder, known, taken.id if asked is not None else None)
                if not fresh:
                    return
                taken = fresh[min(asked or 0, len(fresh) - 1)]
                if taken.id in known:
                    # What was taken for damage is another codec's, under the same number.
                    self._report.damaged -= decoder.behind
                decoder = self._decode(opened, taken)
                yield from self._read(decoder, timeline)
                known |= {one.id for one in opened.audio if one.index in decoder.seen}
                known.add(taken.id)
                if self.samples > before:
                    self._report.joined += 1
                    if taken.id in numbers:
                        self._later.add(numbers[taken.id])

    def _read_part(self, part: Part) -> Iterator[Samples]:
        """A further part of the file, behind what there is; one that can't be read is noted."""
        before, timeline = self.samples, None
        try:
            opened, choice = self._open_track(part)
            with closing(opened):
                decoder = self._decode(opened, opened.audio[choice.taken.number])
                timeline = self._timeline(opened, decoder)
                yield from self._read(decoder, timeline)
        except JobError as error:
            if error.code is ErrorCode.AUDIO_TOO_LONG:
                raise
        finally:
            if timeline is not None:
                self._report.add_times(timeline)
        if self.samples > before:
            self._report.joined += 1
        else:
            self._report.unread += 1

    def _stated(self) -> float | None:
        """How long a player says the audio lasts; refuses what is far too long by its header."""
        container, stream = self._opened.container, self._stream
        end = length.seconds_of_tag(str(stream.metadata.get("DURATION", "")))
        if stream.duration and stream.time_base:
            end = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        whole = container.duration and container.duration / av.time_base
        if "ogg" in self._opened.names and whole:
            whole -= self._opened.start or 0.0  # FFmpeg counts from the start of its clock
        seconds = None
        first, *others = self._file.parts
        if not others and not first.ignore_length:
            seconds = length.stated(
                self._opened.names, self._file.head, self._file.size, container=whole, track=end
            )
        if seconds and seconds > self._limits.max_seconds * 1.5:
            # Decoding for hours to find out what the header says already helps nobody.
            raise JobError(
                ErrorCode.AUDIO_TOO_LONG,
                f"The file says it lasts {seconds:.0f} s, more than "
                f"max_audio_seconds = {self._limits.max_seconds:g}; "
                "split the file or raise the setting.",
            )
        return seconds

    def _check_end(self) -> None:
        """Refuses a file of which too little could be decoded."""
        said = self._stream.duration and self._stream.time_base
        claims = float(self._stream.duration * self._stream.time_base) if said else 0.0
        if self.samples == 0 and not self._decoder.known:
            format_name = self._opened.container.format.long_name
            raise unreadable(
                self._file.path, unrecognised(f"looked at as {format_name}, it holds no audio")
            )
        if self.samples == 0 and (self.damaged or claims > _NOTHING_SECONDS):
            raise unreadable(
                self._file.path,
                JobError(
                    ErrorCode.DECODE_FAILED,
                    f"None of the file's audio can be decoded ({self.damaged} damaged packets); "
                    "export it again.",
                ),
            )
        if self._selection.channel is not None:
            self._report.check_channels(self._selection.channel)
        try:
            self._report.check_damage()
        except JobError as error:
            raise unreadable(self._file.path, error) from error


def _fresh(opened: Opened, decoder: Decoder, known: Set[int], number: int | None) -> list[Any]:
    """Streams that go on where a transport stream's track ended.

    Args:
        opened: the file from there on.
        decoder: of the track.
        known: numbers (PIDs) of streams that were there before; others are fresh. Of these one is
            only if its codec is another now.
        number: which may be so; None: any.
    """
    return [
        one
        for one in opened.audio
        if one.codec_context
        and (
            one.id not in known
            or (
                number in {None, one.id}
                and decoder.behind
                and decoder.codec != one.codec_context.name
            )
        )
    ]
