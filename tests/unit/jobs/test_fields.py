"""The list of a job's fields, and what is made from it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.jobs.fields import JOB_FIELDS
from worker.jobs.request import JobRequest, parse_request

INPUT = "s3://bucket/key"

OF_KIND = {
    "text": "text",
    "integer": 10,
    "number": 1.5,
    "switch": True,
    "names": ["a", "b"],
    "labels": ["a", "b"],
    "track": "all",
    "pairs": {"a": "b"},
}
"""A value of each kind of flag, as a message has it."""

OF_FEW_WORDS = (
    "language",
    "task",
    "formats",
    "carry_context",
    "vocabulary_filter_method",
    "segment_resolution",
)
"""Fields whose texts are of a list, so that the values above don't fit."""

OF_FORMS = ("vocabulary",)
"""Fields that come in several forms, and are kept in one."""


def test_the_model_has_the_fields_of_the_list_in_its_order() -> None:
    assert list(JobRequest.model_fields) == list(JOB_FIELDS)


def test_defaults_and_descriptions_are_the_lists() -> None:
    job = parse_request({"input": INPUT})
    for name, listed in JOB_FIELDS.items():
        assert JobRequest.model_fields[name].description == listed.description
        if name not in ("input", "metadata"):
            assert getattr(job, name) == listed.default, name
    assert job.metadata == {}


def test_a_flags_kind_is_that_of_the_models_field() -> None:
    for name, listed in JOB_FIELDS.items():
        if listed.flag is None or name in OF_FEW_WORDS + OF_FORMS:
            continue
        annotation: Any = JobRequest.model_fields[name].annotation
        allowed = TypeAdapter(annotation)
        fitting = set()
        for kind, value in OF_KIND.items():
            try:
                allowed.validate_json(json.dumps(value), strict=True)
            except ValidationError:
                continue
            fitting.add(kind)
        assert listed.flag.kind in fitting, name
