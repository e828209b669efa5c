"""What is kept of a failure, where, in which order, and how often."""

from __future__ import annotations

import pytest

from tests.unit.pipeline.conftest import Kit
from worker.errors import ErrorCode, JobError, TransientError
from worker.pipeline.failures import FailedJob

BAD = JobError(ErrorCode.NOT_MEDIA, "no decoder knows it")


def _failed(kit: Kit, *, count: int = 1, message_id: str = "m") -> FailedJob:
    message = kit.message(count, message_id)
    return FailedJob.of(kit.task(kit.job(metadata={"case": "1"}), message=message))


def test_an_error_says_what_a_sender_needs(kit: Kit) -> None:
    assert kit.failures.keep(_failed(kit, count=2), BAD)
    found = kit.read("error.json")
    assert found["failed_at"].endswith("+00:00")
    del found["failed_at"]
    assert found == {
        "schema_version": 1,
        "job_id": "job",
        "status": "failed",
        "input": "s3://audio/in/a",
        "code": "not_media",
        "message": "no decoder knows it",
        "attempts": 2,
        "metadata": {"case": "1"},
    }
    assert kit.stored("error.json").metadata["message-id"] == "m"


def test_the_dead_letter_is_sent_before_the_error_is_written(kit: Kit) -> None:
    with kit.sqs.refusing("send_message", code="ServiceUnavailable"), pytest.raises(TransientError):
        kit.failures.keep(_failed(kit), BAD)
    assert kit.names() == set(), "an error.json says that the copy was made"
    with kit.s3.refusing("put_object"), pytest.raises(TransientError):
        kit.failures.keep(_failed(kit), BAD)
    assert kit.dead_letters() == [("job", "not_media")]
    assert kit.sent_notices() == []


def test_a_failure_goes_to_the_dead_letters_of_the_queue_it_came_from(kit: Kit) -> None:
    kit.source = kit.make_source("other")
    kit.failures.keep(_failed(kit), BAD)
    assert kit.dead_letters("other") == [("job", "not_media")]
    assert kit.dead_letters("work") == []


def test_a_failure_without_a_place_is_a_dead_letter(kit: Kit) -> None:
    kit.s3.buckets.clear()
    assert kit.failures.keep(_failed(kit), BAD)
    assert kit.dead_letters() == [("job", "not_media")]


def test_a_failure_without_a_dead_letter_queue_is_an_error_file(kit: Kit) -> None:
    kit.source = kit.make_source("other", receives=None)
    assert kit.failures.keep(_failed(kit), BAD)
    assert kit.names() == {"error.json"}


def test_a_failure_that_can_be_kept_nowhere_says_so(kit: Kit) -> None:
    kit.source = kit.make_source("other", receives=None)
    kit.s3.buckets.clear()
    assert not kit.failures.keep(_failed(kit), BAD)


def test_a_message_is_answered_once_and_its_notice_is_sent_again(kit: Kit) -> None:
    kit.failures.keep(_failed(kit), BAD)
    assert kit.failures.answered_before(_failed(kit, count=2))
    assert kit.sent_notices() == [("job", "failed")] * 2


def test_a_first_delivery_was_never_answered_and_asks_nothing(kit: Kit) -> None:
    assert not kit.failures.answered_before(_failed(kit))
    assert kit.s3.requests == []


def test_another_message_s_error_is_no_answer(kit: Kit) -> None:
    kit.failures.keep(_failed(kit), BAD)
    assert not kit.failures.answered_before(_failed(kit, count=2, message_id="other"))


def test_an_error_written_before_a_last_run_is_no_answer(kit: Kit) -> None:
    kit.failures.foretell(_failed(kit, count=10))
    assert kit.read("error.json")["code"] == "too_many_attempts"
    assert not kit.failures.answered_before(_failed(kit, count=11))
    assert kit.dead_letters() == []
    assert kit.sent_notices() == []


def test_whether_a_message_was_answered_is_not_guessed(kit: Kit) -> None:
    with kit.s3.refusing("head_object"), pytest.raises(TransientError):
        kit.failures.answered_before(_failed(kit, count=2))
    with kit.s3.refusing("head_object", code="AccessDenied", status=403):
        assert not kit.failures.answered_before(_failed(kit, count=2))
