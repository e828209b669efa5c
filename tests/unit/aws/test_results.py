from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import ANY
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.fakes.scripted import s3_client, script_of
from worker.aws.results import CommitOutcome, Committed, ResultStore, result_metadata
from worker.errors import ErrorCode, JobError, LeaseLost, TransientError
from worker.uris import ResultPlace

if TYPE_CHECKING:
    pass

URI = "s3://in/call.flac"
PLACE = ResultPlace("out", "p/")


def committed(metadata: dict[str, str]) -> Committed:
    return Committed(
        request_hash=metadata.get("request-hash"),
        input_hash=metadata.get("input-sha256"),
        etag=metadata.get("input-etag"),
    )


@given(job_id=st.text(max_size=128), uri=st.text(max_size=1100), etag=st.text(max_size=64))
def test_metadata_is_short_ascii_and_answers_its_own_request(
    job_id: str, uri: str, etag: str
) -> None:
    metadata = result_metadata(job_id=job_id[:40], request_hash="a" * 64, input_uri=uri, etag=etag)
    assert all(text.isascii() and text.isprintable() for text in metadata.values())
    assert sum(len(name) + len(text) for name, text in metadata.items()) < 2048
    assert metadata["transcription-worker"] == "1"
    assert committed(metadata).answers(request_hash="a" * 64, input_uri=uri, etag=etag)


def test_a_commit_answers_the_same_request_only() -> None:
    record = committed(result_metadata(job_id="j", request_hash="h", input_uri=URI, etag='"abc-2"'))
    assert record.answers(request_hash="h", input_uri=URI, etag="abc-2")
    assert record.answers(request_hash="h", input_uri=URI, etag=None), "the input may be gone"
    assert not record.answers(request_hash="other", input_uri=URI, etag="abc-2")
    assert not record.answers(request_hash="h", input_uri="s3://in/other", etag="abc-2")
    assert not record.answers(request_hash="h", input_uri=URI, etag="changed")
    foreign = committed({})
    assert not foreign.answers(request_hash="h", input_uri=URI, etag="abc-2")


class Stubbed:
    """A store whose client answers from a script."""

    def __init__(self) -> None:
        self.client = s3_client()
        self.script = script_of(self.client)
        self.store = ResultStore(self.client, sleep=lambda _: None)

    def put(self, key: str, **expected: Any) -> None:
        self.script.add_response("put_object", {}, self._put(key, **expected))

    def put_fails(self, code: str, status: int, key: str = "p/transcript.json") -> None:
        self.script.add_client_error(
            "put_object",
            code,
            http_status_code=status,
            expected_params=self._put(key, IfNoneMatch="*"),
        )

    def _put(self, key: str, **expected: Any) -> dict[str, Any]:
        return {
            "Bucket": "out",
            "Key": key,
            "Body": ANY,
            "ContentType": ANY,
            "Metadata": ANY,
            **expected,
        }

    def commit(self, **files: tuple[bytes, str]) -> CommitOutcome:
        named = {f"transcript.{name}": file for name, file in files.items()}
        return self.store.commit(PLACE, named, b"{}", {"transcription-worker": "1"})

    def done(self) -> None:
        self.script.assert_no_pending_responses()


def test_siblings_come_first_and_the_transcript_last() -> None:
    stubbed = Stubbed()
    stubbed.put("p/transcript.srt", IfNoneMatch="*")
    stubbed.put("p/transcript.txt", IfNoneMatch="*")
    stubbed.put("p/transcript.json", IfNoneMatch="*")
    outcome = stubbed.commit(srt=(b"1", "text/plain"), txt=(b"2", "text/plain"))
    assert outcome is CommitOutcome.COMMITTED
    stubbed.done()


def test_a_conflicting_write_is_tried_again() -> None:
    stubbed = Stubbed()
    stubbed.put_fails("ConditionalRequestConflict", 409)
    stubbed.put_fails("SlowDown", 503)
    stubbed.put("p/transcript.json", IfNoneMatch="*")
    assert stubbed.commit() is CommitOutcome.COMMITTED
    stubbed.done()


def test_what_vanishes_between_write_and_look_is_written_again() -> None:
    stubbed = Stubbed()
    stubbed.put_fails("PreconditionFailed", 412)
    stubbed.script.add_client_error("head_object", "404", http_status_code=404)
    stubbed.put("p/transcript.json", IfNoneMatch="*")
    assert stubbed.commit() is CommitOutcome.COMMITTED
    stubbed.done()


def test_failing_to_tidy_is_only_logged() -> None:
    stubbed = Stubbed()
    for _ in range(5):
        stubbed.script.add_client_error("list_objects_v2", "SlowDown", http_status_code=503)
    with capture_logs() as lines:
        stubbed.store.tidy(PLACE)
    assert [line["event"] for line in lines if line["log_level"] == "warning"][-1:] == [
        "store.tidy_failed"
    ]
    stubbed.done()


@pytest.mark.parametrize("answer", [{}, {"IsTruncated": True, "Contents": []}])
def test_a_place_that_is_not_listed_whole_is_not_known(answer: dict[str, Any]) -> None:
    stubbed = Stubbed()
    stubbed.script.add_response("list_objects_v2", answer)
    assert stubbed.store.present(PLACE).may_hold("transcript.json")
    stubbed.done()


def test_a_listing_of_a_bucket_that_is_not_there_is_the_job_s_failure() -> None:
    stubbed = Stubbed()
    stubbed.script.add_client_error("list_objects_v2", "NoSuchBucket", http_status_code=404)
    with pytest.raises(JobError, match="no bucket 'out'"):
        stubbed.store.present(PLACE)


def test_without_list_bucket_checkpoint_and_error_are_deleted_unseen() -> None:
    stubbed = Stubbed()
    stubbed.script.add_client_error("list_objects_v2", "AccessDenied", http_status_code=403)
    for name in ("checkpoint.json", "error.json"):
        stubbed.script.add_response("delete_object", {}, {"Bucket": "out", "Key": f"p/{name}"})
    stubbed.store.tidy(PLACE)
    stubbed.done()


def test_a_lost_lease_ends_a_commit_between_two_writes() -> None:
    stubbed = Stubbed()
    stubbed.put("p/transcript.srt", IfNoneMatch="*")
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        stubbed.store.commit(
            PLACE, {"transcript.srt": (b"1", "text/plain")}, b"{}", {}, check=check
        )
    stubbed.done()


@pytest.mark.parametrize(
    ("code", "status", "names"),
    [("AccessDenied", 403, "s3:PutObject"), ("NoSuchBucket", 404, "no bucket 'out'")],
)
def test_a_refused_write_is_the_jobs_failure(code: str, status: int, names: str) -> None:
    stubbed = Stubbed()
    stubbed.put_fails(code, status)
    with pytest.raises(JobError, match=names) as caught:
        stubbed.commit()
    assert caught.value.code is ErrorCode.OUTPUT_FORBIDDEN


def test_throttling_that_goes_on_is_a_transient_error() -> None:
    stubbed = Stubbed()
    for _ in range(5):
        stubbed.put_fails("SlowDown", 503)
    with pytest.raises(TransientError, match=r"s3://out/p/transcript\.json"):
        stubbed.commit()


def test_a_refused_look_at_results_names_the_permissions() -> None:
    stubbed = Stubbed()
    stubbed.script.add_client_error("head_object", "403", http_status_code=403)
    with pytest.raises(JobError, match="s3:ListBucket") as caught:
        stubbed.store.committed(PLACE)
    assert caught.value.code is ErrorCode.OUTPUT_FORBIDDEN
