"""Which of a file's audio tracks can be transcribed each on its own, and which are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from worker.errors import ErrorCode, JobError
from worker.speech.media.choosing import listen, tracks_of
from worker.speech.media.copies import TrackCopies
from worker.speech.media.decoding import packets
from worker.speech.media.file import MediaFile
from worker.speech.media.opening import Opened
from worker.speech.media.parts import Part
from worker.speech.media.raw import RawAudio
from worker.speech.media.selection import Selection, Surveyed, check_count
from worker.speech.media.tracks import Track, TrackOrder, left_out

__all__ = ["AllTracks"]


class AllTracks:
    """Finds the tracks of a file that can be decoded; a context manager.

    Those without sound are among them: they cost nothing later, because no speech is found in them.
    Tracks that are the same are sought in a file of one part that is no transport stream; elsewhere
    what follows might differ. In a transport stream those that only begin where the others have
    ended are read behind them (see `reader`), the first of these behind the first and so on, and
    are no tracks of their own.

    Args:
        path: of the file.
        raw: what a file without a header holds.
        sign_seconds: seconds of audio whose packets are compared between two signs of life.

    Attributes:
        found: the tracks, in their order; complete when `search` is.
        notes: sentences for the result on those that are left out; complete when `search` is.

    Raises:
        JobError: from the constructor and `search`: empty_file; see `opening.open_media`;
            decode_failed: no track can be decoded; invalid_job: there are too many.
    """

    def __init__(self, path: Path, raw: RawAudio | None = None, *, sign_seconds: float) -> None:
        self._sign_seconds = sign_seconds
        self.found: list[Surveyed] = []
        self.notes: list[str] = []
        self._file = MediaFile(path, raw)
        self._part, self._opened = _first(self._file)

    def __enter__(self) -> AllTracks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    def search(self) -> Iterator[float]:
        """Looks at the file; signs of life on the way: seconds of audio that were looked at."""
        tracks, able = tracks_of(self._opened), list[Track]()
        for track in tracks:
            if track.codec is not None and self._gives_samples(track):
                able.append(track)
            yield 0.0
        _check_any(tracks, able)
        self.notes = left_out(tracks, able)
        same_as: list[int | None] = [None] * len(able)
        if "mpegts" in self._opened.names:
            order = TrackOrder(len(able))
            yield from self._look(able, lambda place, _: order.add(place))
            able = [able[place] for place in order.own()]
            same_as = same_as[: len(able)]
        elif len(self._file.parts) == 1:
            copies = TrackCopies([_head(self._stream(track)) for track in able])
            if not copies.settled:
                yield from self._look(able, lambda place, it: copies.add(place, _told(it)))
            same_as = copies.same_as()
        self.found = [
            Surveyed(Selection(stream=track.number), first)
            for track, first in zip(able, same_as, strict=True)
        ]
        check_count(
            len(self.found),
            "tracks",
            asked="audio_stream is 'all'",
            fix="send the number of one, or split the file",
        )

    def _stream(self, track: Track) -> Any:
        return self._opened.audio[track.number]

    def _gives_samples(self, track: Track) -> bool:
        """Whether a track can be decoded, or has nothing that could be."""
        heard, _ = listen(track.number, lambda: self._file.open(self._part), 0.0)
        return heard is not None

    def _look(self, able: Sequence[Track], add: Callable[[int, Any], bool]) -> Iterator[float]:
        """Shows packets and the places of their tracks, until no more need be seen."""
        streams = [self._stream(track) for track in able]
        places = {stream.index: place for place, stream in enumerate(streams)}
        said = 0.0
        for packet in packets(self._opened.container, *streams):
            if packet is None or not packet.size:
                continue
            if add(places[packet.stream.index], packet):
                return
            seconds = said if packet.dts is None else float(packet.dts * packet.time_base)
            if abs(seconds - said) >= self._sign_seconds:
                said = seconds
                yield max(0.0, seconds)


def _first(file: MediaFile) -> tuple[Part, Opened]:
    """The first part that can be opened."""
    *parts, last = file.parts
    for part in parts:
        try:
            return part, file.open(part)
        except JobError:
            continue  # `reader` does the same, and notes it
    return last, file.open(last)


def _check_any(tracks: Sequence[Track], able: Sequence[Track]) -> None:
    if not able:
        raise JobError(
            ErrorCode.DECODE_FAILED,
            f"None of the file's {len(tracks)} audio tracks can be decoded; "
            "convert it to WAV, FLAC, MP3 or AAC.",
        )


def _told(packet: Any) -> bytes:
    """What a decoder is told by a packet."""
    return f"{packet.pts} {packet.dts} {packet.duration} ".encode() + bytes(packet)


def _head(stream: Any) -> bytes:
    """What a decoder is told of a track before its first packet, and what its times mean.

    Not the order of its channels: PyAV frees one of the file's own with each reading. How many
    there are shows in how long a packet lasts, or in its own head.
    """
    context = stream.codec_context
    told = (
        context.name,
        context.sample_rate,
        context.format and context.format.name,
        stream.time_base,
        stream.start_time,
        context.extradata,
    )
    return repr(told).encode()
