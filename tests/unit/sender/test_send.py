"""What `submit` makes of its arguments, before anything is sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SettingsError
from worker.jobs.ids import is_job_id
from worker.jobs.message import JobDefaults, parse_message
from worker.sender.plan import chunks, make_job_id, plan, read_lines, stable_id
from worker.sender.send import Answers, Failure


@given(st.text(max_size=300))
def test_any_name_gives_a_valid_job_id(name: str) -> None:
    assert is_job_id(make_job_id(name))


def test_job_ids_are_readable_and_differ() -> None:
    one, two = make_job_id("s3://b/in/Call 17.flac"), make_job_id("s3://b/in/Call 17.flac")
    assert one != two
    assert re.fullmatch(r"Call-17-[0-9a-f]{12}", one)
    assert re.fullmatch(r"日本語-[0-9a-f]{12}", make_job_id("s3://b/日本語"))
    assert re.fullmatch(r"job-[0-9a-f]{12}", make_job_id("s3://b/☎"))


@given(st.text(max_size=300))
def test_a_stable_id_is_valid_and_depends_on_the_name_alone(name: str) -> None:
    assert is_job_id(stable_id(name))
    assert stable_id(name) == stable_id(name)
    assert stable_id(name) != stable_id(f"{name}x")


def test_a_stable_id_is_the_stem_and_a_hash() -> None:
    assert stable_id("s3://b/in/Call 17.flac") == "Call-17-606aa8b8c8dcbe65"
    assert stable_id("s3://a/talk.wav") != stable_id("s3://b/talk.wav")


@given(st.lists(st.text()), st.integers(1, 9))
def test_chunks_keep_everything_in_order(inputs: list[str], size: int) -> None:
    found = list(chunks(inputs, size))
    assert [name for chunk in found for name in chunk] == inputs
    assert all(len(chunk) == size for chunk in found[:-1])
    assert all(0 < len(chunk) <= size for chunk in found)


def test_chunks_read_no_further_than_asked() -> None:
    inputs = iter("abcdef")
    assert next(chunks(inputs, 2)) == ["a", "b"]
    assert next(inputs) == "c"


def test_lines_of_a_list_are_stripped_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("one.wav\n\n  s3://b/two 2.wav \r\n\n")
    assert list(read_lines(str(path))) == ["one.wav", "s3://b/two 2.wav"]


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"--from-file .*list"):
        list(read_lines(str(path)))


def test_an_object_is_sent_as_it_is() -> None:
    (job,) = plan(["s3://bucket/in/a b.flac"], {"language": "en"}, new_id=lambda _: "id-1")
    assert job.path is None
    assert job.output is None
    body = json.loads(job.request.body())
    assert body["input"] == "s3://bucket/in/a b.flac"
    assert body["job_id"] == "id-1"
    assert body["language"] == "en"
    assert "output" not in body


def test_the_worker_reads_back_what_was_asked() -> None:
    fields = {
        "task": "translate",
        "formats": ["tsv"],
        "words": False,
        "prompt": "Dr. Löwe",
        "hotwords": "Löwe",
        "metadata": {"a": "b"},
    }
    (job,) = plan(["s3://bucket/k"], fields, output="s3://results/x")
    parsed = parse_message(job.request.body(), message_id="m", defaults=JobDefaults())
    assert not parsed.failures
    (read,) = parsed.jobs
    assert read.job_id == job.job_id
    assert str(read.output) == "s3://results/x/"
    assert (read.task, read.formats, read.words) == ("translate", ("json", "tsv"), False)
    assert (read.prompt, read.hotwords, read.metadata) == ("Dr. Löwe", "Löwe", {"a": "b"})


def test_who_waits_says_where_the_result_goes() -> None:
    (job,) = plan(["s3://bucket/k"], {}, fix_output=True)
    assert str(job.output) == "s3://bucket/transcripts/"
    assert json.loads(job.request.body())["output"] == "s3://bucket/transcripts/"


def test_local_files_are_uploaded_under_their_job_ids(tmp_path: Path) -> None:
    for name in ("talk.flac", "notes", "odd.sh;rm"):
        (tmp_path / name).write_text("x")
    inputs = [str(tmp_path / name) for name in ("talk.flac", "talk.flac", "notes", "odd.sh;rm")]
    ids = iter("abcd")
    jobs = plan(inputs, {}, upload_to="s3://bucket/in", new_id=lambda _: next(ids))
    assert [str(job.request.input) for job in jobs] == [
        "s3://bucket/in/a.flac",
        "s3://bucket/in/b.flac",
        "s3://bucket/in/c",
        "s3://bucket/in/d",
    ]
    assert [str(job.path) for job in jobs] == inputs


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    local = tmp_path / "talk.flac"
    local.write_text("x")
    with pytest.raises(SettingsError) as caught:
        plan([str(local), "missing.flac", "s3://bucket", "s3://bucket/ok"], {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        f"{local}: is a local file: say where it goes with --upload-to s3://bucket/prefix/"
    )
    assert lines[1].startswith("missing.flac: there is no such file")
    assert lines[2].startswith("s3://bucket: ")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"language": "english"}, "language"),
        ({"task": "summarize"}, "task"),
        ({"formats": ["doc"]}, "formats"),
        ({"metadata": {"a": "x" * 5000}}, "metadata"),
    ],
)
def test_a_wrong_field_is_refused_as_the_worker_would(fields: dict[str, object], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        plan(["s3://bucket/key"], fields)


@pytest.mark.parametrize("option", ["upload_to", "output"])
def test_a_wrong_prefix_is_refused(option: str) -> None:
    with pytest.raises(SettingsError, match="S3 URI"):
        plan(["s3://bucket/key"], {}, **{option: "bucket/prefix"})  # type: ignore[arg-type]  # by name


def test_what_is_reported_of_the_answers() -> None:
    complete = Answers(completed={"a": "s3://b/a"})
    assert complete.all_completed
    assert complete.problems(5) == []
    answers = Answers(
        failed=[Failure("b", "not_media", "No decoder knows it.")],
        waiting=("c",),
        forbidden="s3://b/c/transcript.json",
    )
    assert not answers.all_completed
    lines = answers.problems(5)
    assert lines[0] == "b: not_media: No decoder knows it."
    assert lines[1] == "no answer within 5 s from 1 job:"
    assert lines[2] == "  c"
    assert "s3:ListBucket" in lines[3]
