"""The list of a job's fields, and what is made from it."""

from __future__ import annotations

from worker.jobs.fields import JOB_FIELDS
from worker.jobs.request import JobRequest, parse_request

INPUT = "s3://bucket/key"


def test_the_model_has_the_fields_of_the_list_in_its_order() -> None:
    assert list(JobRequest.model_fields) == list(JOB_FIELDS)


def test_defaults_and_descriptions_are_the_lists() -> None:
    job = parse_request({"input": INPUT})
    for name, listed in JOB_FIELDS.items():
        assert JobRequest.model_fields[name].description == listed.description
        if name not in ("input", "metadata"):
            assert getattr(job, name) == listed.default, name
    assert job.metadata == {}
