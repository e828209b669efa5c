"""What a job asks of the engine, and what the settings add to it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.request import JobRequest, parse_request
from worker.pipeline.options import engine_options, presentation, windows_fingerprint
from worker.speech.api import Options
from worker.speech.media.raw import RawAudio

INPUT = "s3://bucket/key"

SETTINGS = Options(carry_context="off", language_options=("de", "fr"), multilingual=True)
"""What the settings say, each otherwise than by default."""

OF_FILES = {"raw"}
"""Options that local files have and jobs don't."""


def job(**asked: Any) -> JobRequest:
    return parse_request({"input": INPUT, **asked})


def test_every_option_of_the_engine_comes_from_a_field_of_its_name() -> None:
    asked = {
        "language": None,
        "task": "translate",
        "words": False,
        "prompt": "Dr. Löwe",
        "hotwords": "Löwe",
        "vocabulary": ["Löwe", {"Phrase": "Tiger", "DisplayAs": "Panthera tigris"}],
        "carry_context": "on",
        "language_options": ["de", "nl"],
        "multilingual": True,
    }
    told = {"diarize": True, "min_speakers": 2, "max_speakers": 4, "audio_stream": 1}
    split = {"channel_identification": True, "channel_labels": ["agent", "customer"]}
    assert {*asked, *told, *split} == {field.name for field in fields(Options)} - OF_FILES
    wanted = Options(
        task="translate",
        words=False,
        prompt="Dr. Löwe",
        hotwords="Löwe",
        vocabulary=("Löwe", "Tiger"),
        carry_context="on",
        language_options=("de", "nl"),
        multilingual=True,
    )
    assert engine_options(job(**asked)) == wanted
    assert engine_options(job(language="de")) == Options(language="de")
    assert engine_options(job(**told)) == Options(
        diarize=True, min_speakers=2, max_speakers=4, audio_stream=1
    )
    assert engine_options(job(**split)) == Options(
        channel_identification=True, channel_labels=("agent", "customer")
    )
    assert engine_options(job(audio_stream="all")) == Options(audio_stream="all")


def test_who_speaks_is_told_by_words_also_where_the_result_has_none() -> None:
    asked = job(diarize=True, words=False)
    assert engine_options(asked).words
    assert not presentation(asked).words
    assert not engine_options(job(channel_identification=True, words=False)).words


def test_a_job_that_asks_for_nothing_gets_the_engines_defaults() -> None:
    assert engine_options(job()) == Options()


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, SETTINGS),
        ({"carry_context": "auto"}, replace(SETTINGS, carry_context="auto")),
        ({"carry_context": None}, SETTINGS),
        ({"language_options": []}, replace(SETTINGS, language_options=())),
        ({"language_options": ["en"]}, replace(SETTINGS, language_options=("en",))),
        ({"multilingual": False}, replace(SETTINGS, multilingual=False)),
    ],
)
def test_a_job_s_field_goes_over_the_setting_and_the_setting_over_the_default(
    asked: dict[str, Any], wanted: Options
) -> None:
    assert engine_options(job(**asked), SETTINGS) == wanted


def test_a_language_that_a_job_names_is_not_detected_whatever_the_settings_say() -> None:
    wanted = Options(language="ja", carry_context="off")
    assert engine_options(job(language="ja"), SETTINGS) == wanted


@pytest.mark.parametrize("settings", [Options(), SETTINGS])
def test_an_option_that_no_job_has_is_no_part_of_a_fingerprint(settings: Options) -> None:
    other = replace(settings, raw=RawAudio("mulaw", 8_000))
    assert windows_fingerprint("f", job(), other) == windows_fingerprint("f", job(), settings)


@pytest.mark.parametrize(
    ("asked", "fingerprint"),
    [
        ({}, "f-b843ba97f0527244"),
        ({"language": "en"}, "f-6c34e6667adeb737"),
        ({"words": False, "prompt": "Dr. Löwe"}, "f-e55f35aed29fa8e1"),
        ({"task": "translate", "hotwords": "Löwe", "multilingual": True}, "f-725ee40287a491db"),
        (
            {"carry_context": "on", "language_options": ["de", "nl"], "multilingual": False},
            "f",
        ),
    ],
)
def test_a_checkpoint_of_an_earlier_release_is_still_known(
    asked: dict[str, Any], fingerprint: str
) -> None:
    # As the release before speakers, channels and tracks wrote them.
    assert windows_fingerprint("f", job(**asked), SETTINGS) == fingerprint


@pytest.mark.parametrize(
    "asked",
    [
        {"diarize": True, "min_speakers": 2, "max_speakers": 3, "audio_stream": 1},
        {"channel_identification": True, "channel_labels": ["agent"]},
        {"audio_stream": "all"},
    ],
)
def test_what_no_setting_decides_is_no_part_of_a_fingerprint(asked: dict[str, Any]) -> None:
    assert windows_fingerprint("f", job(**asked), SETTINGS) == "f-b843ba97f0527244"
    assert windows_fingerprint("f", job(**asked), Options()) == "f"


choices = st.sampled_from([None, "auto", "off", "on"])
codes = st.none() | st.lists(st.sampled_from(["de", "en", "ja"]), max_size=3)
switches = st.none() | st.booleans()


@given(choices, codes, switches, choices, codes, switches)
def test_windows_are_resumed_only_if_they_were_decoded_as_they_would_be_now(
    context: str | None,
    options: list[str] | None,
    multilingual: bool | None,
    setting: str | None,
    allowed: list[str] | None,
    several: bool | None,
) -> None:
    mine = job(carry_context=context, language_options=options, multilingual=multilingual)
    settings = engine_options(
        job(carry_context=setting, language_options=allowed, multilingual=several)
    )
    same = engine_options(mine, settings) == engine_options(mine)
    assert (windows_fingerprint("f", mine, settings) == "f") is same
    assert windows_fingerprint("g", mine, settings) != windows_fingerprint("f", mine, settings)
    other = replace(settings, carry_context="off" if settings.carry_context == "on" else "on")
    moved = windows_fingerprint("f", mine, other) != windows_fingerprint("f", mine, settings)
    assert moved is (context is None)
