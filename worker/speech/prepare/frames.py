"""The frames that a prepare child and its parent exchange, beside those of every child.

See `children.framing` for those, and for how a frame is written. For each file a child sends
opened, window or samples, progress, and end, or surveyed where the task is a survey.

| kind | header | payload |
|---|---|---|
| opened | stated_seconds: length by the file's header, or null | |
| window | index; spans: [[start, end], ...] in samples; speech: a | features float32 |
| | list like that for each span; frames, or done: true | [mels, frames], then samples |
| | | int16 [n] if asked for; samples alone if frames is 0; nothing if done |
| samples | | samples float32 [n], the next of the file; if configured |
| progress | seconds: of audio decoded so far | |
| end | audio_seconds; peak: largest amplitude, of 1; seconds: {stage: seconds}; | |
| | notes: sentences for the result | |
| surveyed | found: [{stream, channel, same_as}, ...], numbers or null; notes; seconds: | |
| | {stage: seconds} | |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.speech.children.framing import Frame, FrameError
from worker.speech.media.raw import RawAudio
from worker.speech.media.selection import (
    MOST_SURVEYED,
    USUAL,
    Kind,
    Selection,
    Survey,
    Surveyed,
)
from worker.speech.prepare.sound import Sound, to_samples
from worker.speech.windows import Span, Window

__all__ = [
    "LAST",
    "PROGRESS_SECONDS",
    "TAKES_ROOM",
    "PrepareConfig",
    "PrepareTask",
    "PreparedWindow",
    "config_frame",
    "end_frame",
    "opened_frame",
    "progress_frame",
    "read_config",
    "read_samples",
    "read_survey",
    "read_task",
    "read_window",
    "samples_frame",
    "surveyed_frame",
    "task_frame",
    "window_frame",
]

TAKES_ROOM = ("window", "samples")
"""Kinds of frames that hold audio."""

LAST = ("end", "surveyed")
"""Kinds of frames after which no other of a file comes; nor does one after an error."""

PROGRESS_SECONDS = 30
"""Audio after which a child sends a sign of life, whatever else it sends."""


@dataclass(frozen=True, slots=True)
class PrepareConfig:
    """What all files have in common.

    Attributes:
        mels: bands of the loaded model; 0 where it computes features itself, of samples.
        vad: silero, or none to send the samples alone (speech is then found elsewhere).
        spans: `windows.SpanOptions` as a mapping.
        windows: `windows.WindowOptions` as a mapping.
        all_samples: whether to send the samples of the whole file beside its windows. With vad
            none they are sent in any case.
        max_audio_seconds: longer audio is refused.
        memory_bytes: address space of the child; 0 sets no limit.
    """

    mels: int
    vad: str = "silero"
    spans: dict[str, float] = field(default_factory=dict)
    windows: dict[str, float] = field(default_factory=dict)
    all_samples: bool = False
    max_audio_seconds: float = 43_200.0
    memory_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """One file.

    Attributes:
        path: a local file.
        done: (index, start, end) in seconds of windows that need no sound: a checkpoint has
            them.
        samples: whether windows come with their samples (for alignment).
        raw: what the file holds, if it has no header.
        selection: what of the file is read.
        survey: whether no windows are wanted, but what the file has that can be read on its own:
            the channels of the track that `selection` names, or all tracks.
        samples_file: where all samples of the file go as well, int16 at 16 kHz (see
            `samples_file`); None: nowhere.
    """

    path: str
    done: tuple[tuple[int, float, float], ...] = ()
    samples: bool = False
    raw: RawAudio | None = None
    selection: Selection = USUAL
    survey: Kind | None = None
    samples_file: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedWindow:
    """A window as the parent gets it.

    Attributes:
        index: position among the file's windows, from 0.
        spans: what it was cut from.
        sound: of its spans one after the other; None where the task said that it is done.
        samples: int16 [n] at 16 kHz, of its spans one after the other; None unless asked for.
    """

    index: int
    spans: tuple[Span, ...]
    sound: Sound | None
    samples: NDArray[np.int16] | None


# From parent to child.


def config_frame(config: PrepareConfig) -> Frame:
    """The first frame that a child gets."""
    return asdict(config), b""


def read_config(header: dict[str, Any]) -> PrepareConfig:
    """The configuration in a header."""
    return PrepareConfig(**header)


def task_frame(task: PrepareTask) -> Frame:
    """The frame that asks for a file."""
    return asdict(task), b""


def read_task(header: dict[str, Any]) -> PrepareTask:
    """The task in a header."""
    done = tuple((index, start, end) for index, start, end in header["done"])
    raw = RawAudio(**header["raw"]) if header["raw"] else None
    selection = Selection(**header["selection"])
    return PrepareTask(**header | {"done": done, "raw": raw, "selection": selection})


# From child to parent.


def opened_frame(stated_seconds: float | None) -> Frame:
    """The file is media, and maybe says how long it is."""
    return {"kind": "opened", "stated_seconds": stated_seconds}, b""


def window_frame(
    window: Window, sound: Sound | None, samples: NDArray[np.float32] | None = None
) -> Frame:
    """A window.

    Args:
        window: its place in the file.
        sound: what the model gets; None for one that is done.
        samples: float32 [n] at 16 kHz in [-1, 1], beside features; None where nobody asked for
            them, or the sound is samples.
    """
    header: dict[str, Any] = {
        "kind": "window",
        "index": window.index,
        "spans": [[span.start, span.end] for span in window.spans],
        "speech": [span.speech for span in window.spans],
    }
    if sound is None:
        return {**header, "done": True}, b""
    payload = sound.tobytes()
    if samples is not None:
        payload += to_samples(samples).tobytes()
    return {**header, "frames": sound.shape[1] if sound.ndim == 2 else 0}, payload


def read_window(
    header: dict[str, Any], payload: bytes, mels: int, *, samples: bool = True
) -> PreparedWindow:
    """The window in a frame.

    Args:
        header: of the frame.
        payload: of the frame.
        mels: bands of the features, as configured.
        samples: whether samples are wanted beside the sound, if they are there.
    """
    spans = tuple(
        Span(start, end, speech=tuple((first, last) for first, last in speech))
        for (start, end), speech in zip(header["spans"], header["speech"], strict=True)
    )
    if header.get("done"):
        return PreparedWindow(header["index"], spans, None, None)
    frames = int(header["frames"])
    features = np.frombuffer(payload, dtype=np.float32, count=mels * frames).reshape(mels, frames)
    raw = np.frombuffer(payload, dtype=np.int16, offset=features.nbytes)
    sound: Sound = features if frames else raw
    return PreparedWindow(header["index"], spans, sound, raw if samples and len(raw) else None)


def samples_frame(samples: NDArray[np.float32]) -> Frame:
    """The next samples, float32 [n] at 16 kHz, of a file that the parent wants whole."""
    return {"kind": "samples"}, samples.astype(np.float32).tobytes()


def read_samples(payload: bytes) -> NDArray[np.float32]:
    """The samples in a frame, float32 [n]."""
    return np.frombuffer(payload, dtype=np.float32)


def progress_frame(seconds: float) -> Frame:
    """So many seconds of audio are decoded."""
    return {"kind": "progress", "seconds": seconds}, b""


def end_frame(
    audio_seconds: float, peak: float, seconds: dict[str, float], notes: Sequence[str] = ()
) -> Frame:
    """The file is at its end: its length, largest amplitude, seconds of each stage, notes."""
    return {
        "kind": "end",
        "audio_seconds": audio_seconds,
        "peak": peak,
        "seconds": seconds,
        "notes": list(notes),
    }, b""


def surveyed_frame(survey: Survey) -> Frame:
    """What the file has."""
    found = [{**asdict(one.selection), "same_as": one.same_as} for one in survey.found]
    return {
        "kind": "surveyed",
        "found": found,
        "notes": list(survey.notes),
        "seconds": survey.seconds,
    }, b""


def read_survey(header: dict[str, Any]) -> Survey:
    """The survey in a header.

    Raises:
        FrameError: it is none that a child of ours would send.
    """
    try:
        found = tuple(
            Surveyed(Selection(one["stream"], one["channel"]), one["same_as"])
            for one in header["found"]
        )
        survey = Survey(found, tuple(map(str, header["notes"])), dict(header["seconds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a child sent a broken survey: {error}") from error
    if not 1 <= len(found) <= MOST_SURVEYED or not all(
        _is_number(one.selection.stream)
        and _is_number(one.selection.channel)
        and (one.same_as is None or _is_first(one.same_as, found[:position]))
        for position, one in enumerate(found)
    ):
        raise FrameError("a child sent a survey that can't be")
    return survey


def _is_number(value: object) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _is_first(place: object, before: Sequence[Surveyed]) -> bool:
    """Whether a place is that of an earlier one which is the same as none before it."""
    return type(place) is int and 0 <= place < len(before) and before[place].same_as is None
