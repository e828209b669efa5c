from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.response import StreamingBody

from tests.fakes.scripted import s3_client, script_of
from worker.aws.inputs import S3Inputs
from worker.errors import ErrorCode, JobError, TransientError
from worker.uris import S3Uri

if TYPE_CHECKING:
    pass

URI = S3Uri("inputs", "call.flac")


class Stubbed:
    """Inputs whose client answers from a script."""

    def __init__(self) -> None:
        self.client = s3_client()
        self.script = script_of(self.client)
        self.inputs = S3Inputs(self.client, sleep=lambda _: None)

    def done(self) -> None:
        self.script.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "status", "expected", "says"),
    [
        ("NoSuchKey", 404, ErrorCode.INPUT_NOT_FOUND, "no object"),
        ("NoSuchBucket", 404, ErrorCode.INPUT_NOT_FOUND, "no bucket"),
        ("NoSuchVersion", 404, ErrorCode.INPUT_NOT_FOUND, "no object"),
        ("MethodNotAllowed", 405, ErrorCode.INPUT_NOT_FOUND, "no object"),
        ("AccessDenied", 403, ErrorCode.INPUT_FORBIDDEN, "s3:GetObject.*or there is no such"),
        ("InvalidObjectState", 403, ErrorCode.INPUT_FORBIDDEN, "archived"),
        ("PreconditionFailed", 412, ErrorCode.INPUT_CHANGED, "overwritten"),
        ("KeyTooLongError", 400, ErrorCode.INPUT_FORBIDDEN, "KeyTooLongError"),
    ],
)
def test_a_refused_input_is_the_jobs_failure(
    tmp_path: Path, code: str, status: int, expected: ErrorCode, says: str
) -> None:
    stubbed = Stubbed()
    stubbed.script.add_client_error("get_object", code, http_status_code=status)
    dest = tmp_path / "input"
    with pytest.raises(JobError, match=says) as caught:
        stubbed.inputs.fetch(URI, dest, etag="e", max_bytes=10)
    assert caught.value.code is expected
    assert not dest.exists()


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SlowDown"])
def test_an_input_that_may_be_readable_later_is_transient(tmp_path: Path, code: str) -> None:
    stubbed = Stubbed()
    for _ in range(5):
        stubbed.script.add_client_error("get_object", code, http_status_code=403)
    with pytest.raises(TransientError, match=code):
        stubbed.inputs.fetch(URI, tmp_path / "input", max_bytes=10)
    stubbed.done()


def body(data: bytes, length: int | None = None) -> StreamingBody:
    return StreamingBody(io.BytesIO(data), len(data) if length is None else length)


def get(stubbed: Stubbed, answer: dict[str, Any], **expected: Any) -> None:
    stubbed.script.add_response(
        "get_object",
        {"Metadata": {}, **answer},
        {"Bucket": "inputs", "Key": "call.flac", **expected},
    )


def fetch(stubbed: Stubbed, dest: Path, **options: Any) -> bytes:
    stubbed.inputs.fetch(URI, dest, max_bytes=100, **options)
    return dest.read_bytes()


def test_a_server_that_ignores_the_range_starts_the_file_anew(tmp_path: Path) -> None:
    stubbed = Stubbed()
    get(stubbed, {"Body": body(b"abc", 6), "ContentLength": 6, "ETag": '"e"'})
    get(
        stubbed,
        {"Body": body(b"abcdef"), "ContentLength": 6, "ETag": '"e"'},
        IfMatch='"e"',
        Range="bytes=3-",
    )
    assert fetch(stubbed, tmp_path / "input") == b"abcdef"


def test_a_part_shorter_than_asked_for_is_not_the_end(tmp_path: Path) -> None:
    stubbed = Stubbed()
    get(stubbed, {"Body": body(b"abc", 6), "ContentLength": 6, "ETag": '"e"'})
    for start, data in ((3, b"d"), (4, b"ef")):
        get(
            stubbed,
            {
                "Body": body(data),
                "ContentLength": len(data),
                "ContentRange": f"bytes {start}-{start + len(data) - 1}/6",
                "ETag": '"e"',
            },
            IfMatch='"e"',
            Range=f"bytes={start}-",
        )
    assert fetch(stubbed, tmp_path / "input") == b"abcdef"


def test_an_object_overwritten_midway_is_fetched_anew(tmp_path: Path) -> None:
    stubbed = Stubbed()
    get(stubbed, {"Body": body(b"abc", 6), "ContentLength": 6, "ETag": '"e"'})
    stubbed.script.add_client_error("get_object", "PreconditionFailed", http_status_code=412)
    get(stubbed, {"Body": body(b"xy"), "ContentLength": 2, "ETag": '"f"'})
    assert fetch(stubbed, tmp_path / "input") == b"xy"
    stubbed.done()


def test_a_pinned_object_overwritten_midway_is_not(tmp_path: Path) -> None:
    stubbed = Stubbed()
    get(stubbed, {"Body": body(b"abc", 6), "ContentLength": 6, "ETag": '"e"'}, IfMatch='"e"')
    stubbed.script.add_client_error("get_object", "PreconditionFailed", http_status_code=412)
    with pytest.raises(JobError) as caught:
        fetch(stubbed, tmp_path / "input", etag='"e"')
    assert caught.value.code is ErrorCode.INPUT_CHANGED
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_nobodys_fault_and_leaves_nothing(tmp_path: Path) -> None:
    stubbed = Stubbed()
    get(stubbed, {"Body": body(b"x" * 100), "ContentLength": 100, "ETag": '"e"'})
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    link = tmp_path / "input"
    link.symlink_to(full)
    with pytest.raises(TransientError, match="No space left"):
        fetch(stubbed, link)
    assert list(tmp_path.iterdir()) == []
