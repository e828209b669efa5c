"""What a job asks of the engine."""

from __future__ import annotations

from dataclasses import fields

from worker.jobs.request import parse_request
from worker.pipeline.options import engine_options
from worker.speech.api import Options

INPUT = "s3://bucket/key"


def test_every_option_of_the_engine_comes_from_a_field_of_its_name() -> None:
    asked = {
        "language": "de",
        "task": "translate",
        "words": False,
        "prompt": "Dr. Löwe",
        "hotwords": "Löwe",
    }
    assert set(asked) == {field.name for field in fields(Options)}
    assert engine_options(parse_request({"input": INPUT, **asked})) == Options(
        language="de", task="translate", words=False, prompt="Dr. Löwe", hotwords="Löwe"
    )


def test_a_job_that_asks_for_nothing_gets_the_engines_defaults() -> None:
    assert engine_options(parse_request({"input": INPUT})) == Options()
