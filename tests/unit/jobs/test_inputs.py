"""Kinds of input: S3 alone as the worker comes, and a kind that one line adds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from tests.fakes import local_input
from tests.fakes.local_input import FileUri
from worker.errors import ErrorCode, SettingsError
from worker.jobs.inputs import KINDS, JobInput, input_forms, is_input, parse_input
from worker.jobs.message import JobDefaults, Parsed, parse_message
from worker.jobs.request import JobRequest, job_schema
from worker.sender.plan import plan
from worker.uris import S3Prefix, S3Uri

FILE = "file:///srv/calls/17.flac"


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that adds a kind."""
    monkeypatch.setitem(KINDS, "file", local_input.KIND)


def parse(body: object, defaults: JobDefaults | None = None) -> Parsed:
    return parse_message(json.dumps(body), message_id="m", defaults=defaults or JobDefaults())


# -- as the worker comes ----------------------------------------------------------------------


@pytest.mark.parametrize("scheme", KINDS)
def test_what_the_registry_names_is_there(scheme: str) -> None:
    kind = KINDS[scheme]
    assert kind.uri_class.scheme == scheme
    assert callable(kind.make_reader)
    assert kind.form.startswith(f"{scheme}://")
    assert kind.pattern.startswith(f"^{scheme}://")


def test_an_s3_uri_is_an_input() -> None:
    uri = parse_input("s3://bucket/in/call 17.flac")
    assert uri == S3Uri("bucket", "in/call 17.flac")
    assert (uri.scheme, uri.bucket, uri.name) == ("s3", "bucket", "call 17.flac")
    assert str(uri) == "s3://bucket/in/call 17.flac"


@pytest.mark.parametrize("text", ["", "call.flac", "S3://b/k", "https://host/key", FILE, "s3:/b/k"])
def test_what_is_of_no_kind_is_refused(text: str) -> None:
    assert not is_input(text)
    with pytest.raises(ValueError, match=r"is not an S3 URI: write s3://bucket/key$"):
        parse_input(text)


def test_a_wrong_uri_of_a_kind_is_refused_by_the_rules_of_that_kind() -> None:
    assert is_input("s3://bucket")
    with pytest.raises(ValueError, match="names no object"):
        parse_input("s3://bucket")


def test_the_schema_of_a_job_takes_s3_uris_alone() -> None:
    found = job_schema()["properties"]["input"]
    assert (found["type"], found["pattern"]) == ("string", "^s3://[^/]+/.+")


def test_in_a_model_an_input_is_text() -> None:
    adapter: TypeAdapter[object] = TypeAdapter(JobInput)
    uri = adapter.validate_python("s3://bucket/k{}")
    assert uri == S3Uri("bucket", "k{}")
    assert adapter.validate_python(uri) is uri
    assert adapter.dump_python(uri, mode="json") == "s3://bucket/k{}"
    for wrong in (3, None, ["s3://bucket/k"], "s3://{why}/k", S3Prefix("bucket", "")):
        with pytest.raises(ValueError, match=r"\S"):
            adapter.validate_python(wrong)


def test_reading_a_job_imports_nothing_that_fetches() -> None:
    code = (
        "import sys; from worker.jobs.message import *;"
        "parse_message('{\"input\": \"s3://bucket/key\"}', message_id='m', defaults=JobDefaults());"
        "print([name for name in sys.modules if 'boto' in name or name == 'worker.aws.inputs'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- with one more line -----------------------------------------------------------------------


@pytest.mark.usefixtures("files")
def test_another_kind_is_read_beside_s3() -> None:
    assert input_forms() == "s3://bucket/key or file:///path"
    assert parse_input(FILE) == FileUri("/srv/calls/17.flac")
    assert parse_input("s3://bucket/key") == S3Uri("bucket", "key")
    with pytest.raises(ValueError, match="not an S3 URI or a file URI: write s3://bucket/key or f"):
        parse_input("https://host/key")
    with pytest.raises(ValueError, match="names no file"):
        parse_input("file://srv/")


@pytest.mark.usefixtures("files")
def test_a_job_may_name_an_input_of_another_kind() -> None:
    parsed = parse({"input": FILE, "job_id": "j", "output": "s3://results/calls/"})
    (job,) = parsed.jobs
    assert job.input == FileUri("/srv/calls/17.flac")
    assert str(job.output) == "s3://results/calls/"
    assert json.loads(JobRequest(input=job.input).body()) == {"input": FILE}
    found = job_schema()["properties"]["input"]
    assert found["pattern"] == "^s3://[^/]+/.+|^file:///.+"


@pytest.mark.usefixtures("files")
def test_an_input_without_a_bucket_needs_an_output() -> None:
    (failure,) = parse({"input": FILE, "job_id": "j"}).failures
    assert failure.error.code is ErrorCode.INVALID_JOB
    assert failure.error.message == (
        f"field 'output' is missing, and the input '{FILE}' has no bucket to write to: add the"
        " field, as s3://bucket/prefix/, or have the setting 'output' set"
    )
    assert (failure.job_id, failure.input, failure.output) == ("j", FILE, None)
    (job,) = parse({"input": FILE}, JobDefaults(output=S3Prefix("results", "all/"))).jobs
    assert job.output == S3Prefix("results", "all/")


@pytest.mark.usefixtures("files")
def test_the_list_of_buckets_is_for_inputs_and_outputs_that_have_one() -> None:
    defaults = JobDefaults(allowed_buckets=frozenset({"results"}))
    (job,) = parse({"input": FILE, "output": "s3://results/"}, defaults).jobs
    assert job.input == FileUri("/srv/calls/17.flac")
    (failure,) = parse({"input": FILE, "output": "s3://other/"}, defaults).failures
    assert failure.error.code is ErrorCode.BUCKET_NOT_ALLOWED


@pytest.mark.usefixtures("files")
def test_a_sender_who_waits_must_say_where_the_result_of_such_an_input_goes() -> None:
    (planned,) = plan([FILE], {}, output="s3://results/", fix_output=True)
    assert str(planned.request.input) == FILE
    assert planned.path is None
    (planned,) = plan([FILE], {})
    assert planned.output is None, "the worker's setting decides"
    with pytest.raises(SettingsError, match="field 'output' is missing"):
        plan([FILE], {}, fix_output=True)
