"""Flags of jobs' fields: one of each kind, as a later release may add them, typed and checked."""

from __future__ import annotations

from typing import Any

import click
import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.cli.flags import job_options, job_part
from worker.errors import SettingsError
from worker.jobs.fields import Flag, JobField

FIELDS = {
    "title": JobField("text", flag=Flag("Text.")),
    "min_speakers": JobField("integer", flag=Flag("Fewest speakers.", kind="integer")),
    "max_line_width": JobField("with a default", default=42, flag=Flag("Width.", kind="integer")),
    "gain": JobField("number", default=1.0, flag=Flag("Gain.", kind="number")),
    "speakers": JobField("switch", default=False, flag=Flag("Name speakers.", kind="switch")),
    "punctuation": JobField("no default", flag=Flag("Punctuate, or not.", kind="switch")),
    "vocabulary": JobField("names", default=(), flag=Flag("Words, with commas.", kind="names")),
    "spelled": JobField("phrases", flag=Flag("Phrases, and how shown.", kind="phrases")),
    "channels": JobField("names or none", flag=Flag("Channels.", kind="names")),
    "channel_labels": JobField("labels", default=(), flag=Flag("Labels.", kind="labels")),
    "audio_stream": JobField("a track", flag=Flag("Track.", kind="track")),
    "labels": JobField("pairs", flag=Flag("Labels.", kind="pairs", commands=("submit",))),
    "place": JobField("on no command line"),
}


class Request(BaseModel):
    """The fields above, as strict as a job's own model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str | None = None
    min_speakers: int | None = Field(default=None, ge=1)
    max_line_width: int = 42
    gain: float = 1.0
    speakers: bool = False
    punctuation: bool | None = None
    vocabulary: tuple[str, ...] = Field(default=(), strict=False)
    spelled: list[dict[str, str | None]] = Field(default_factory=list)
    channels: list[str] | None = None
    channel_labels: list[str] = Field(default_factory=list)
    audio_stream: int | str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    place: str | None = None


def request(*arguments: str) -> Request:
    """What the command line makes of a job; one that has nothing but these flags."""
    typed: dict[str, Any] = {}
    command = click.Command(
        "submit", callback=typed.update, params=[*job_options("submit", FIELDS)]
    )
    command.main(list(arguments), standalone_mode=False)
    return Request.model_validate(job_part(typed, FIELDS))


def test_what_is_not_typed_has_its_default() -> None:
    assert request() == Request()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--title", "-3"), {"title": "-3"}),
        (("--title=3",), {"title": "3"}),
        (("--min-speakers", "2", "--max-line-width=38"), {"min_speakers": 2, "max_line_width": 38}),
        (("--gain", "-0.5"), {"gain": -0.5}),
        (("--gain", "2"), {"gain": 2.0}),
        (("--speakers",), {"speakers": True}),
        (("--speakers", "--no-speakers"), {"speakers": False}),
        (("--no-punctuation",), {"punctuation": False}),
        (("--vocabulary", " a b , c,"), {"vocabulary": ("a b", "c")}),
        (
            ("--spelled", "a b, c = D d,"),
            {
                "spelled": [
                    {"Phrase": "a b", "DisplayAs": None},
                    {"Phrase": "c", "DisplayAs": "D d"},
                ]
            },
        ),
        (
            ("--spelled", 'a, "b, c", "d=D, Inc.",'),
            {
                "spelled": [
                    {"Phrase": "a", "DisplayAs": None},
                    {"Phrase": "b, c", "DisplayAs": None},
                    {"Phrase": "d", "DisplayAs": "D, Inc."},
                ]
            },
        ),
        (("--spelled", ""), {"spelled": []}),
        (("--spelled", "a\nb"), {"spelled": [{"Phrase": "a b", "DisplayAs": None}]}),
        (("--channels", "1"), {"channels": ["1"]}),
        (("--channels", ""), {"channels": []}),
        (("--channel-labels", "agent, Löwe & Co"), {"channel_labels": ["agent", "Löwe & Co"]}),
        (("--channel-labels", ",customer"), {"channel_labels": ["", "customer"]}),
        (("--channel-labels", " "), {"channel_labels": []}),
        (("--audio-stream", "0"), {"audio_stream": 0}),
        (("--audio-stream", "all"), {"audio_stream": "all"}),
        (("--audio-stream", "-1"), {"audio_stream": "-1"}),
        (("--audio-stream", "1.0"), {"audio_stream": "1.0"}),
        (("--audio-stream", "9" * 5000), {"audio_stream": "9" * 5000}),
        (("--labels", "a=b=c", "--labels", "d="), {"labels": {"a": "b=c", "d": ""}}),
    ],
)
def test_what_is_typed_has_the_fields_type(
    arguments: tuple[str, ...], expected: dict[str, Any]
) -> None:
    assert request(*arguments) == Request(**expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-speakers", "two"), "'two' is not a valid integer"),
        (("--min-speakers", "1.5"), "'1.5' is not a valid integer"),
        (("--gain", "loud"), "'loud' is not a valid float"),
        (("--place", "x"), "No such option"),
    ],
)
def test_what_is_of_another_kind_is_a_wrong_argument(
    arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(click.UsageError, match=message):
        request(*arguments)


def test_what_a_value_may_be_is_for_the_model_to_say() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        request("--min-speakers", "-1")


def test_a_pair_without_a_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="--labels =x: write NAME=VALUE"):
        request("--labels", "=x")


def test_a_phrase_without_words_is_refused_by_its_number() -> None:
    with pytest.raises(SettingsError, match="--spelled item 2: write PHRASE, or PHRASE=SHOWN"):
        request("--spelled", "hush, secret=")


@pytest.mark.parametrize("typed", ['a, "secret', '"secret" b', '"'])
def test_quotes_around_part_of_a_phrase_are_refused(typed: str) -> None:
    with pytest.raises(SettingsError, match="--spelled: double quotes stand around all") as caught:
        request("--spelled", typed)
    assert "secret" not in str(caught.value)


def test_a_command_has_the_flags_that_name_it() -> None:
    names = {option.name for option in job_options("transcribe", FIELDS)}
    assert names == set(FIELDS) - {"labels", "place"}
