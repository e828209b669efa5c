"""What a job asks of the engine, and what the settings add to it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.request import JobRequest, parse_request
from worker.pipeline.options import engine_options, windows_fingerprint
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
    assert set(asked) == {field.name for field in fields(Options)} - OF_FILES
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


def test_a_checkpoint_of_an_earlier_release_is_still_known() -> None:
    assert windows_fingerprint("f", job(), SETTINGS) == "f-b843ba97f0527244"


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
