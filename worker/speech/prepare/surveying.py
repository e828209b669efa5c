"""What a file has that can be read on its own: its channels, or its tracks; no windows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from worker.speech.children.framing import Frame
from worker.speech.media.all_tracks import AllTracks
from worker.speech.media.copies import ChannelCopies
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.media.selection import Selection, Survey, Surveyed, check_count
from worker.speech.prepare.frames import (
    PROGRESS_SECONDS,
    PrepareConfig,
    PrepareTask,
    opened_frame,
    progress_frame,
    surveyed_frame,
)
from worker.speech.windows import SAMPLE_RATE

__all__ = ["survey"]


def survey(task: PrepareTask, config: PrepareConfig) -> Iterator[Frame]:
    """The frames of one file that is surveyed: opened, progress, surveyed.

    Raises:
        JobError: see `media.reader.AudioReader` and `media.all_tracks.AllTracks`.
    """
    return _survey_tracks(task) if task.survey == "tracks" else _survey_channels(task, config)


def _survey_channels(task: PrepareTask, config: PrepareConfig) -> Iterator[Frame]:
    """Decodes the track, to its end unless it is known before how many channels it has.

    The channels that its first packets have may not be all.
    """
    began, copies = time.perf_counter(), ChannelCopies()
    limits = AudioLimits(config.max_audio_seconds)
    selection = Selection(stream=task.selection.stream)
    with AudioReader(Path(task.path), limits, task.raw, selection, blend=copies.at) as reader:
        yield opened_frame(reader.stated_seconds)
        _check_channels(reader.channels)
        reported = 0
        for _ in reader:
            _check_channels(copies.channels)
            if copies.settled and reader.channels_stay:
                break
            if reader.samples - reported >= PROGRESS_SECONDS * SAMPLE_RATE:
                reported = reader.samples
                yield progress_frame(reported / SAMPLE_RATE)
        channels = [
            Surveyed(Selection(reader.track, channel), first)
            for channel, first in enumerate(copies.same_as() or [None] * max(1, reader.channels))
        ]
        # Where each channel's reader chooses the track again, it says what it left out.
        surveyed = _survey(channels, [] if reader.track is None else reader.left_out, began)
    yield surveyed_frame(surveyed)


def _check_channels(channels: int) -> None:
    check_count(
        channels,
        "channels",
        asked="channel_identification is true",
        fix="leave the field out, so that they are mixed, or send fewer",
    )


def _survey_tracks(task: PrepareTask) -> Iterator[Frame]:
    began = time.perf_counter()
    with AllTracks(Path(task.path), task.raw, sign_seconds=PROGRESS_SECONDS) as tracks:
        # They may differ in length; each one's reader says its own.
        yield opened_frame(None)
        for seconds in tracks.search():
            yield progress_frame(seconds)
        surveyed = _survey(tracks.found, tracks.notes, began)
    yield surveyed_frame(surveyed)


def _survey(found: list[Surveyed], notes: list[str], began: float) -> Survey:
    seconds = time.perf_counter() - began
    return Survey(tuple(found), tuple(notes), {"decode": seconds})
