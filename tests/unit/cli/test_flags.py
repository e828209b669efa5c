"""The flags that commands make of a job's fields."""

from __future__ import annotations

from typing import Any

import click
import pytest

from worker.cli.flags import job_options
from worker.jobs.fields import Flag, JobField

FIELDS = {
    "topic": JobField("a text", flag=Flag("A text.")),
    "most_speakers": JobField("a number", flag=Flag("A number.", kind="integer")),
    "calm": JobField("a switch", default=False, flag=Flag("A switch.", kind="switch")),
    "tags": JobField("a list", default=("a", "b"), flag=Flag("A list.", kind="names")),
    "notes": JobField("texts by name", flag=Flag("Pairs.", kind="pairs", commands=("submit",))),
    "hidden": JobField("has no flag"),
}


def parsed(command: str, *arguments: str) -> dict[str, Any]:
    """What a command gets of its arguments, by the name of the field."""
    made = click.Command(command, params=[*job_options(command, FIELDS)])
    with made.make_context(command, [*arguments]) as context:
        return dict(context.params)


def test_without_flags_every_field_has_its_default() -> None:
    assert parsed("submit") == {
        "topic": None,
        "most_speakers": None,
        "calm": False,
        "tags": ["a", "b"],
        "notes": {},
    }


def test_each_kind_gives_the_value_that_a_message_has() -> None:
    arguments = ("--topic", "7", "--most-speakers", "3", "--calm", "--tags", "c, d")
    assert parsed("submit", *arguments, "--notes", "x=1", "--notes", "y=2=3") == {
        "topic": "7",
        "most_speakers": 3,
        "calm": True,
        "tags": ["c", "d"],
        "notes": {"x": "1", "y": "2=3"},
    }


def test_a_command_has_only_its_own_flags() -> None:
    assert set(parsed("transcribe")) == {"topic", "most_speakers", "calm", "tags"}


def test_a_number_that_is_none_is_refused_by_its_flag() -> None:
    with pytest.raises(click.BadParameter) as caught:
        parsed("submit", "--most-speakers", "two")
    said = caught.value.format_message()
    assert "--most-speakers" in said
    assert "'two' is not a valid integer" in said
