"""The fields about who speaks: speakers, channels and tracks, and what they may be together (pure).

A rule between fields stands with the last of them, in the order of the model. It says nothing where
an earlier one is wrong itself: that has its own sentence.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from worker.jobs.ids import shows
from worker.jobs.problems import contains
from worker.redact import quoted

__all__ = [
    "MAX_AUDIO_STREAM",
    "MAX_LABELS",
    "NEVER_TOGETHER",
    "AudioStream",
    "ChannelIdentification",
    "ChannelLabels",
    "SpeakerBound",
]

MAX_SPEAKERS = 30
"""Amazon Transcribe's bound."""

MAX_LABELS = 32
"""As many as there may be channels, or tracks, of one file that are transcribed each on its own:
each is decoded and kept as a file is."""

MAX_AUDIO_STREAM = 999
"""The greatest number of an audio track: no file has as many."""

MAX_LABEL_CHARACTERS = 64
"""A label stands before each line of a text and each cue of subtitles: no longer than a name."""


_JOINERS = "\u200c\u200d"
"""Between letters, and pictures, they say how these are drawn: Persian, Hindi, a family."""


def _advice(text: str) -> PydanticCustomError:
    return PydanticCustomError("advice", "{text}", {"text": text})


# -- speakers --------------------------------------------------------------------------------------


def _check_bound(value: int | None, info: ValidationInfo) -> int | None:
    if value is None:
        return None
    if info.data.get("diarize") is False:
        raise _advice(
            "speakers are told apart only with 'diarize': send that as true, or leave this out"
        )
    least = info.data.get("min_speakers")
    if least is not None and value < least:
        raise _advice(f"it must be at least 'min_speakers', which is {least}")
    return value


SpeakerBound = Annotated[
    Annotated[int, Field(ge=1, le=MAX_SPEAKERS)] | None, AfterValidator(_check_bound)
]
"""The least or the greatest number of speakers."""


# -- channels and tracks ---------------------------------------------------------------------------


def _check_channel_identification(value: bool, info: ValidationInfo) -> bool:
    if value and info.data.get("diarize"):
        raise _advice(
            "each channel is taken for one party here, and 'diarize' tells voices apart in all"
            " channels together: send only one of the two fields"
        )
    return value


ChannelIdentification = Annotated[bool, AfterValidator(_check_channel_identification)]
"""Whether each channel is transcribed on its own."""


def _check_form_of_track(value: object) -> object:
    # Pydantic would name each form's problem by itself.
    is_number = type(value) is int and 0 <= value <= MAX_AUDIO_STREAM  # a bool is none
    if value is None or value == "all" or is_number:
        return value
    raise _advice(f"it must be the number of an audio track, 0 to {MAX_AUDIO_STREAM}, or 'all'")


def _check_track(value: object, info: ValidationInfo) -> object:
    if value != "all":
        return value
    if info.data.get("diarize"):
        raise _advice(
            "'diarize' tells voices apart in one track: send its number, or leave out 'diarize'"
        )
    if info.data.get("channel_identification"):
        raise _advice(
            "each track is transcribed as one channel: send the number of one track, or leave out"
            " 'channel_identification'"
        )
    return value


AudioStream = Annotated[
    Annotated[int, Field(ge=0, le=MAX_AUDIO_STREAM)] | Literal["all"] | None,
    BeforeValidator(_check_form_of_track),
    AfterValidator(_check_track),
]
"""The number of an audio track, all of them, or the one that is taken without a word."""


def _check_label(value: str) -> str:
    label = unicodedata.normalize("NFC", value)
    between = label.strip(_JOINERS) == label.strip() == label
    printable = label.translate(dict.fromkeys(map(ord, _JOINERS))).isprintable()
    if not (between and printable and any(map(shows, label))):
        raise _advice("it must consist of characters that show, without space around them")
    return label


def _bound_labels(value: object) -> object:
    # Before pydantic makes an error of each of a hostile list's items.
    if isinstance(value, (list, tuple)) and len(value) > MAX_LABELS:
        raise contains(f"it has {len(value)} labels and may have {MAX_LABELS}: send fewer")
    return value


def _check_labels(labels: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    by_channel, track = (info.data.get(name) for name in ("channel_identification", "audio_stream"))
    by_track = track == "all"
    if not labels or by_channel is None or "audio_stream" not in info.data:
        return labels
    if not by_channel and not by_track:
        raise _advice(
            "there is one channel without 'channel_identification' or 'audio_stream': 'all': send"
            " one of these, or leave this out"
        )
    unnamed = {
        f"{'track' if by_track else 'ch'}_{number}" for number in range(len(labels), MAX_LABELS)
    }
    for number, label in enumerate(labels, 1):
        if label in labels[: number - 1]:
            raise contains(
                f"items {labels.index(label) + 1} and {number} are both {quoted(label)}: send"
                " labels that differ"
            )
        if label in unnamed:
            raise contains(
                f"item {number} is {quoted(label)}, which is what another one is called that has"
                " no label here: send another label"
            )
    return labels


_LABEL_SCHEMA: JsonDict = {"pattern": r"^\S(.*\S)?$"}

ChannelLabels = Annotated[
    tuple[
        Annotated[
            str,
            Field(min_length=1, max_length=MAX_LABEL_CHARACTERS, json_schema_extra=_LABEL_SCHEMA),
            AfterValidator(_check_label),
        ],
        ...,
    ],
    Field(strict=False, max_length=MAX_LABELS, json_schema_extra={"uniqueItems": True}),
    BeforeValidator(_bound_labels),
    AfterValidator(_check_labels),
]
"""What channels, or tracks, are called, in their order."""


# -- the same as JSON schemas ----------------------------------------------------------------------


def _with(field: str, value: JsonDict) -> JsonDict:
    """A job that has the field, with such a value."""
    return {"required": [field], "properties": {field: value}}


_DIARIZED = _with("diarize", {"const": True})
_BY_CHANNEL = _with("channel_identification", {"const": True})
_BY_TRACK = _with("audio_stream", {"const": "all"})

NEVER_TOGETHER: list[Any] = [
    {
        "anyOf": [
            _with("min_speakers", {"type": "integer"}),
            _with("max_speakers", {"type": "integer"}),
        ],
        "not": _DIARIZED,
    },
    {"allOf": [_DIARIZED, {"anyOf": [_BY_CHANNEL, _BY_TRACK]}]},
    {"allOf": [_BY_CHANNEL, _BY_TRACK]},
    {**_with("channel_labels", {"minItems": 1}), "not": {"anyOf": [_BY_CHANNEL, _BY_TRACK]}},
]
"""Jobs that are refused for what stands in several fields, as JSON schemas: what one can say of
that, which isn't that `min_speakers` is less than `max_speakers`."""
