"""The frames that the speakers' child and its parent exchange, beside those of every child.

See `children.framing` for those, and for how a frame is written. Where the models can't be loaded,
the child sends an error in place of ready. For each file it sends progress, and found.

| kind | header | payload |
|---|---|---|
| progress | share: of the file that is done, from 0 to 1 | |
| found | diarizer; device: where the models are by now; notes: sentences for | JSON: voices and |
| | the result | exclusive, each |
| | | [[start, end, speaker], ...] |
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.results.speakers import Diarization, Voice
from worker.speech.children.framing import Frame, FrameError
from worker.speech.speakers.choice import Chosen

__all__ = [
    "Found",
    "SpeakersConfig",
    "SpeakersTask",
    "config_frame",
    "found_frame",
    "progress_frame",
    "read_config",
    "read_found",
    "read_progress",
    "read_task",
    "task_frame",
]


@dataclass(frozen=True, slots=True)
class SpeakersConfig:
    """What all files have in common.

    Attributes:
        chosen: the model.
        device: torch's name for where it is to run.
        card_bytes: of the card's memory that torch may take there, its own context apart.
    """

    chosen: Chosen
    device: str
    card_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SpeakersTask:
    """One file.

    Attributes:
        samples_file: all its samples (see `prepare.samples_file`).
        min_speakers: the least number of speakers; None: one.
        max_speakers: the greatest; None: as many as are found.
    """

    samples_file: str
    min_speakers: int | None = None
    max_speakers: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the child found in a file.

    Attributes:
        diarization: who speaks when.
        device: where the models were at last.
        notes: sentences for the result.
    """

    diarization: Diarization
    device: str
    notes: tuple[str, ...] = ()


# From parent to child.


def config_frame(config: SpeakersConfig) -> Frame:
    """The first frame that a child gets."""
    return {
        "chosen": config.chosen.to_header(),
        "device": config.device,
        "card_bytes": config.card_bytes,
    }, b""


def read_config(header: dict[str, Any]) -> SpeakersConfig:
    """The configuration in a header."""
    return SpeakersConfig(**header | {"chosen": Chosen.from_header(header["chosen"])})


def task_frame(task: SpeakersTask) -> Frame:
    """The frame that asks for a file."""
    return {
        "samples_file": task.samples_file,
        "min_speakers": task.min_speakers,
        "max_speakers": task.max_speakers,
    }, b""


def read_task(header: dict[str, Any]) -> SpeakersTask:
    """The task in a header."""
    return SpeakersTask(**header)


# From child to parent.


def progress_frame(share: float) -> Frame:
    """So much of the file is done, from 0 to 1."""
    return {"kind": "progress", "share": share}, b""


def read_progress(header: dict[str, Any]) -> float:
    """The share in a header, from 0 to 1.

    Raises:
        FrameError: there is none.
    """
    share = header.get("share")
    if share is None or not _is_time(share):
        raise FrameError(f"a child sent progress of {share!r}")
    return min(1.0, float(share))


def found_frame(found: Found, notes: Sequence[str] = ()) -> Frame:
    """Who speaks in the file, and notes before its own."""
    diarization = found.diarization
    payload = {"voices": diarization.voices, "exclusive": diarization.exclusive}
    return {
        "kind": "found",
        "diarizer": diarization.diarizer,
        "device": found.device,
        "notes": [*notes, *found.notes],
    }, json.dumps(payload).encode()


def read_found(header: dict[str, Any], payload: bytes) -> Found:
    """What a frame says.

    Raises:
        FrameError: it is none that a child of ours would send.
    """
    try:
        voices = json.loads(payload)
        return Found(
            Diarization(
                diarizer=str(header["diarizer"]),
                voices=_voices(voices["voices"]),
                exclusive=_voices(voices["exclusive"]),
            ),
            device=str(header["device"]),
            notes=tuple(map(str, header["notes"])),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"a child sent broken speakers: {error}") from error


def _voices(entries: Sequence[Sequence[Any]]) -> tuple[Voice, ...]:
    """Raises TypeError or ValueError: they are none."""
    voices = []
    for start, end, speaker in entries:
        if not (_is_time(start) and _is_time(end) and start <= end and isinstance(speaker, str)):
            raise ValueError(f"a voice from {start!r} to {end!r}")
        voices.append(Voice(float(start), float(end), speaker))
    return tuple(voices)


def _is_time(value: object) -> bool:
    """Whether it is a number that a time, or a share, can be."""
    # A bool is an int too; an int may be too large for a float.
    return (isinstance(value, float) and math.isfinite(value) and value >= 0.0) or (
        type(value) is int and 0 <= value < 1 << 53
    )
