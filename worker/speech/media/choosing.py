"""Takes one of a file's audio tracks: listens until one has sound."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from worker.errors import ErrorCode, JobError
from worker.speech.media.conversion import Converter
from worker.speech.media.decoding import Decoder
from worker.speech.media.opening import Opened
from worker.speech.media.tracks import Track, listed, note, preferred
from worker.speech.unheard import SILENT
from worker.speech.windows import SAMPLE_RATE

__all__ = ["Choice", "NoSuchTrackError", "choose", "listen", "take", "tracks_of"]

LONGEST_LISTENING = 21_600.0
"""Seconds of audio that are listened to in all: half a minute's work, in which the child process
that reads the file says nothing."""


class Choice(NamedTuple):
    """The track that is transcribed, and what is known of the others.

    Attributes:
        tracks: of the file; the numbers are those of the audio streams.
        taken: the one to transcribe.
        silent: numbers of those that were found to hold no sound.
        asked: whether somebody asked for it by its number.
    """

    tracks: Sequence[Track]
    taken: Track
    silent: Collection[int] = ()
    asked: bool = False

    def notes(self, later: Collection[int] = ()) -> list[str]:
        """For the result; see `tracks.note`. Who asked for a track knows that there are others."""
        return [] if self.asked else note(self.tracks, self.taken, self.silent, later)


class NoSuchTrackError(JobError):
    """The file has no audio track of the number that was asked for."""


def take(opened: Opened, number: int) -> Choice:
    """The track of a number, whatever is marked and whether or not it has sound.

    Args:
        opened: the file.
        number: of the track among those of audio, from 0: a job's `audio_stream`.

    Raises:
        NoSuchTrackError: no_audio_stream: there are not so many.
        JobError: decode_failed: there is no decoder for it.
    """
    tracks = tracks_of(opened)
    if number >= len(tracks):
        count = "1 audio track" if len(tracks) == 1 else f"{len(tracks)} audio tracks"
        raise NoSuchTrackError(
            ErrorCode.NO_AUDIO_STREAM,
            f"audio_stream is {number}, but the file has {count}, counted from 0: "
            f"{listed(tracks)}; send a number that is there, or leave the field out.",
        )
    if tracks[number].codec is None:
        raise JobError(
            ErrorCode.DECODE_FAILED,
            f"No decoder is at hand for audio track {tracks[number].described()}, which "
            "audio_stream names; convert it to WAV, FLAC, MP3 or AAC.",
        )
    return Choice(tracks, tracks[number], asked=True)


def choose(opened: Opened, again: Callable[[], Opened]) -> Choice:
    """The track to transcribe: the first that has sound, those that are marked before the others.

    If none has any, the first of them that can be decoded.

    Args:
        opened: the file.
        again: opens it once more, to listen to it.

    Raises:
        JobError: decode_failed: there is a decoder for none of them.
    """
    tracks = tracks_of(opened)
    candidates = preferred(tracks)
    if not candidates:
        raise JobError(
            ErrorCode.DECODE_FAILED,
            "No decoder is at hand for the file's audio; convert it to WAV, FLAC, MP3 or AAC.",
        )
    taken, silent = candidates[0], set[int]()
    if len(candidates) == 1:
        return Choice(tracks, taken)
    left = LONGEST_LISTENING
    for track in candidates:
        heard, seconds = listen(track.number, again, left)
        left -= seconds
        if heard is None:
            tracks[track.number] = replace(track, codec=None)
        elif heard or left <= 0:
            return Choice(tracks, track, silent)
        else:
            silent.add(track.number)
    return Choice(tracks, taken, silent)


def tracks_of(opened: Opened) -> list[Track]:
    """The audio tracks of a file, as it describes them; the numbers are those of its streams."""
    return [_track(number, stream) for number, stream in enumerate(opened.audio)]


def _track(number: int, stream: Any) -> Track:
    context = stream.codec_context
    return Track(
        number,
        codec=None if context is None else str(context.name),
        marked=bool(stream.disposition & type(stream.disposition).default),
        language=str(stream.metadata.get("language", "")),
        title=str(stream.metadata.get("title", "")),
    )


def listen(number: int, again: Callable[[], Opened], longest: float) -> tuple[bool | None, float]:
    """Whether a track has sound (None: it can't be decoded), and how many seconds it took to know.

    Args:
        number: of the track.
        again: opens the file.
        longest: seconds to listen; 0: to the first that can be decoded.
    """
    samples = 0
    with closing(again()) as opened:
        try:
            decoder = Decoder(opened.container, opened.audio[number])
            converter = Converter(decoder.mixer)
            pieces = (piece for frame in decoder.frames() for piece in converter.feed(frame))
            for piece in chain(pieces, converter.drain()):
                samples += len(piece)
                if np.abs(piece).max(initial=0.0) >= SILENT:
                    return True, samples / SAMPLE_RATE
                if samples > longest * SAMPLE_RATE:
                    break
        except JobError:
            return None, samples / SAMPLE_RATE
    decoded = decoder.decoded or not decoder.damaged
    return (False if decoded else None), samples / SAMPLE_RATE
