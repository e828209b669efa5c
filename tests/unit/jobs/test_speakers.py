"""What a job may say of speakers, channels and tracks, and what it is told where that is wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# It has neither types nor stubs in this project.
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from worker.errors import ErrorCode, JobError
from worker.jobs.request import JobRequest, job_schema, parse_request

INPUT = "s3://bucket/key"

BY_CHANNEL = {"channel_identification": True}
BY_TRACK = {"audio_stream": "all"}

SCHEMA = Draft202012Validator(job_schema())


def job(**asked: Any) -> JobRequest:
    return parse_request({"input": INPUT, **asked})


def refusal(**asked: Any) -> str:
    with pytest.raises(JobError) as refused:
        job(**asked)
    assert refused.value.code is ErrorCode.INVALID_JOB
    assert refused.value.message.isprintable()
    return refused.value.message


@pytest.mark.parametrize(
    "asked",
    [
        {"diarize": True},
        {"diarize": True, "min_speakers": 2, "max_speakers": 2},
        {"diarize": True, "min_speakers": 1, "max_speakers": 30},
        {"diarize": True, "max_speakers": 3, "audio_stream": 0},
        {"diarize": False, "min_speakers": None, "max_speakers": None},
        {"channel_identification": True, "audio_stream": 999},
        {"channel_identification": True, "channel_labels": ["Löwe & Söhne", "客服", "ch_2"]},
        {"channel_identification": True, "channel_labels": ["ch_1", "ch_0"]},
        {
            "channel_identification": True,
            "channel_labels": ["👩\u200d💻", "❤\ufe0f", "क्\u200dष"],
        },
        {"channel_identification": True, "channel_labels": ["track_7"]},
        {"channel_identification": True, "channel_labels": [f"{n}" for n in range(32)]},
        {"channel_identification": True, "channel_labels": []},
        {"channel_labels": [], "audio_stream": None},
        {"audio_stream": "all", "channel_labels": ["x" * 64]},
    ],
)
def test_what_may_be_asked(asked: dict[str, Any]) -> None:
    request = job(**asked)
    for name, value in asked.items():
        assert getattr(request, name) == (tuple(value) if isinstance(value, list) else value)
    assert SCHEMA.is_valid({"input": INPUT, **asked})
    assert parse_request(json.loads(request.body())) == request


A_TRACK = "it must be the number of an audio track, 0 to 999, or 'all'"
ONLY_WITH_DIARIZE = (
    "speakers are told apart only with 'diarize': send that as true, or leave this out"
)
SHOWN = "it must consist of characters that show, without space around them"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"diarize": None}, "field 'diarize' is null: it must be true or false"),
        ({"diarize": 1}, "field 'diarize' is 1: it must be true or false"),
        ({"diarize": "true"}, "field 'diarize' is 'true': it must be true or false"),
        ({"min_speakers": 2}, f"field 'min_speakers' is 2: {ONLY_WITH_DIARIZE}"),
        ({"max_speakers": 2}, f"field 'max_speakers' is 2: {ONLY_WITH_DIARIZE}"),
        (
            {"diarize": True, "min_speakers": 3, "max_speakers": 2},
            "field 'max_speakers' is 2: it must be at least 'min_speakers', which is 3",
        ),
        (
            {"diarize": True, "min_speakers": 0},
            "field 'min_speakers' is 0: it must be at least 1",
        ),
        (
            {"diarize": True, "max_speakers": 31},
            "field 'max_speakers' is 31: it must be at most 30",
        ),
        (
            {"diarize": True, "max_speakers": True},
            "field 'max_speakers' is true: it must be a whole number",
        ),
        (
            {"diarize": True, "max_speakers": "2"},
            "field 'max_speakers' is '2': it must be a whole number",
        ),
        (
            {"diarize": True, "channel_identification": True},
            "field 'channel_identification' is true: each channel is taken for one party here, and"
            " 'diarize' tells voices apart in all channels together: send only one of the two"
            " fields",
        ),
        ({"audio_stream": True}, f"field 'audio_stream' is true: {A_TRACK}"),
        ({"audio_stream": 1.0}, f"field 'audio_stream' is 1.0: {A_TRACK}"),
        ({"audio_stream": "0"}, f"field 'audio_stream' is '0': {A_TRACK}"),
        ({"audio_stream": -1}, f"field 'audio_stream' is -1: {A_TRACK}"),
        ({"audio_stream": 1000}, f"field 'audio_stream' is 1000: {A_TRACK}"),
        ({"audio_stream": "ALL"}, f"field 'audio_stream' is 'ALL': {A_TRACK}"),
        ({"audio_stream": [0]}, f"field 'audio_stream' is a list: {A_TRACK}"),
        (
            {"audio_stream": "all", "diarize": True},
            "field 'audio_stream' is 'all': 'diarize' tells voices apart in one track: send its"
            " number, or leave out 'diarize'",
        ),
        (
            {"audio_stream": "all", "channel_identification": True},
            "field 'audio_stream' is 'all': each track is transcribed as one channel: send the"
            " number of one track, or leave out 'channel_identification'",
        ),
        ({"channel_labels": None}, "field 'channel_labels' is null: it must be a list"),
        ({**BY_CHANNEL, "channel_labels": "a"}, "field 'channel_labels' is 'a': it must be a list"),
        (
            {"channel_labels": ["a"], "audio_stream": 0},
            "field 'channel_labels' is a list: there is one channel without"
            " 'channel_identification' or 'audio_stream': 'all': send one of these, or leave this"
            " out",
        ),
        (
            {**BY_CHANNEL, "channel_labels": ["a", 1]},
            "field 'channel_labels' item 2 is 1: it must be text",
        ),
        (
            {**BY_CHANNEL, "channel_labels": ["a", ""]},
            "field 'channel_labels' item 2 is '': it must not be empty",
        ),
        (
            {**BY_CHANNEL, "channel_labels": ["x" * 65]},
            "field 'channel_labels' item 1 has 65 characters and may have 64: shorten it",
        ),
        ({**BY_CHANNEL, "channel_labels": [" a"]}, f"item 1 is ' a': {SHOWN}"),
        ({**BY_CHANNEL, "channel_labels": ["a\n"]}, f"item 1 is 'a\\n': {SHOWN}"),
        ({**BY_CHANNEL, "channel_labels": ["a\u202eb"]}, f"item 1 is 'a\\u202eb': {SHOWN}"),
        ({**BY_CHANNEL, "channel_labels": ["\u3164"]}, f"item 1 is 'ㅤ': {SHOWN}"),
        ({**BY_CHANNEL, "channel_labels": ["\u0301"]}, f"item 1 is '\u0301': {SHOWN}"),
        ({**BY_CHANNEL, "channel_labels": ["a\u200d"]}, f"item 1 is 'a\\u200d': {SHOWN}"),
        ({**BY_CHANNEL, "channel_labels": ["\ud800"]}, "field 'channel_labels' item 1 is "),
        (
            {**BY_CHANNEL, "channel_labels": ["a", "e\u0301", "\u00e9"]},
            "field 'channel_labels': items 2 and 3 are both '\u00e9': send labels that differ",
        ),
        (
            {**BY_CHANNEL, "channel_labels": ["ch_1"]},
            "field 'channel_labels': item 1 is 'ch_1', which is what another one is called that has"
            " no label here: send another label",
        ),
        (
            {**BY_TRACK, "channel_labels": ["a", "track_31"]},
            "field 'channel_labels': item 2 is 'track_31', which is what another one is called",
        ),
        (
            {**BY_CHANNEL, "channel_labels": ["a"] * 33},
            "field 'channel_labels': it has 33 labels and may have 32: send fewer",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_the_fix(
    asked: dict[str, Any], said: str
) -> None:
    assert said in refusal(**asked)


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"diarize": "yes", "min_speakers": 2, "max_speakers": 1}, {"diarize", "max_speakers"}),
        ({"diarize": True, "min_speakers": 40, "max_speakers": 2}, {"min_speakers"}),
        ({"channel_identification": "yes", "channel_labels": ["a"]}, {"channel_identification"}),
        ({"audio_stream": "every", "channel_labels": ["a"]}, {"audio_stream"}),
    ],
)
def test_a_field_is_not_blamed_for_another_that_is_wrong_itself(
    asked: dict[str, Any], wrong: set[str]
) -> None:
    message = refusal(**asked)
    assert {name for name in asked if f"field '{name}'" in message} == wrong


def test_a_hostile_list_of_labels_takes_no_time() -> None:
    started = time.process_time()
    assert "it has 50000 labels" in refusal(**BY_CHANNEL, channel_labels=[0] * 50_000)
    assert time.process_time() - started < 1


def test_labels_are_kept_in_the_composed_form_and_in_their_order() -> None:
    request = job(**BY_CHANNEL, channel_labels=["z", "Mu\u0308ller"])
    assert request.channel_labels == ("z", "M\u00fcller")


counts = st.sampled_from([None, 1, 2, 30, 0, 31, -5, 10**30, True, "2", [2]])
FORMS: dict[str, st.SearchStrategy[Any]] = {
    "diarize": st.sampled_from([True, True, False, None, 1]),
    "min_speakers": counts,
    "max_speakers": counts,
    "channel_identification": st.sampled_from([True, True, False, None, "true"]),
    "audio_stream": st.sampled_from([None, "all", 0, 1, 999, 1000, -1, "0", "ALL", False, [0]]),
    "channel_labels": st.lists(
        st.sampled_from(["agent", "客服", "a b", "", " a", "a ", "x" * 65, 7, None]), max_size=3
    )
    | st.sampled_from([None, "agent", ["a"] * 33]),
}


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.fixed_dictionaries({}, optional=FORMS))
def test_the_schema_says_what_the_parser_says(asked: dict[str, Any]) -> None:
    try:
        job(**asked)
    except JobError as refused:
        # A schema can't compare two numbers.
        said = {"it must be at least 'min_speakers'" in part for part in str(refused).split("; ")}
        by_schema = said == {True}
    else:
        by_schema = True
    assert SCHEMA.is_valid({"input": INPUT, **asked}) is by_schema
