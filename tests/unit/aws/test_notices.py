from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from botocore.stub import Stubber
from structlog.testing import capture_logs

from tests.fakes.scripted import script_of, worker_clients
from worker.aws.notices import Notice, Notices, check_target, fifo_fields, is_topic
from worker.errors import SettingsError

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/done"
TOPIC = "arn:aws:sns:us-east-1:123456789012:done"
RESULT = "s3://out/job-1/transcript.json"
NOTICE = Notice("job-1", "completed", "s3://in/a.flac", RESULT, audio_seconds=9.5)


@pytest.fixture
def sqs() -> Stubber:
    return script_of(worker_clients().sqs)


@pytest.fixture
def sns() -> Stubber:
    return script_of(worker_clients().sns)


def notices(target: str | None) -> Notices:
    return Notices(worker_clients(), target)


def test_a_completed_job_s_notice_says_where_the_result_lies() -> None:
    assert json.loads(NOTICE.body()) == {
        "schema_version": 1,
        "job_id": "job-1",
        "status": "completed",
        "input": "s3://in/a.flac",
        "result": RESULT,
        "audio_seconds": 9.5,
    }


def test_a_failed_job_s_notice_says_why_and_leaves_out_what_is_not_known() -> None:
    notice = Notice("job-2", "failed", "s3://in/b", None, code="not_media")
    assert json.loads(notice.body()) == {
        "schema_version": 1,
        "job_id": "job-2",
        "status": "failed",
        "input": "s3://in/b",
        "code": "not_media",
    }


def test_a_queue_gets_the_body_and_nothing_else(sqs: Stubber) -> None:
    sqs.add_response(
        "send_message", {"MessageId": "m"}, {"QueueUrl": QUEUE, "MessageBody": NOTICE.body()}
    )
    assert notices(QUEUE).send(NOTICE)
    sqs.assert_no_pending_responses()


def test_a_topic_gets_the_body_and_nothing_else(sns: Stubber) -> None:
    sns.add_response("publish", {"MessageId": "m"}, {"TopicArn": TOPIC, "Message": NOTICE.body()})
    assert notices(TOPIC).send(NOTICE)
    sns.assert_no_pending_responses()


def test_a_fifo_queue_can_tell_a_repeated_notice_from_another() -> None:
    def identity(notice: Notice) -> str:
        return fifo_fields(notice)["MessageDeduplicationId"]

    assert identity(NOTICE) == identity(replace(NOTICE, audio_seconds=None))
    assert identity(NOTICE) != identity(replace(NOTICE, status="failed"))
    assert identity(NOTICE) != identity(replace(NOTICE, job_id="job-2"))
    assert identity(NOTICE) != identity(replace(NOTICE, result=None))


def test_a_fifo_queue_gets_group_and_deduplication_ids(sqs: Stubber) -> None:
    sqs.add_response(
        "send_message",
        {"MessageId": "m"},
        {"QueueUrl": f"{QUEUE}.fifo", "MessageBody": NOTICE.body(), **fifo_fields(NOTICE)},
    )
    assert notices(f"{QUEUE}.fifo").send(NOTICE)
    sqs.assert_no_pending_responses()


def test_a_fifo_topic_gets_group_and_deduplication_ids(sns: Stubber) -> None:
    sns.add_response(
        "publish",
        {"MessageId": "m"},
        {
            "TopicArn": f"{TOPIC}.fifo",
            "Message": NOTICE.body(),
            **fifo_fields(NOTICE),
        },
    )
    assert notices(f"{TOPIC}.fifo").send(NOTICE)
    sns.assert_no_pending_responses()


def test_a_job_s_own_target_comes_before_the_worker_s(sqs: Stubber, sns: Stubber) -> None:
    sqs.add_response(
        "send_message", {"MessageId": "m"}, {"QueueUrl": QUEUE, "MessageBody": NOTICE.body()}
    )
    assert notices(TOPIC).send(NOTICE, target=QUEUE)
    sqs.assert_no_pending_responses()


def test_without_any_target_nothing_is_sent_and_nothing_logged() -> None:
    with capture_logs() as logged:
        assert not notices(None).send(NOTICE)
    assert logged == []


@pytest.mark.parametrize(
    ("code", "status"), [("AccessDenied", 403), ("QueueDoesNotExist", 400), ("Unavailable", 503)]
)
def test_a_notice_that_can_t_be_sent_is_logged_and_no_error(
    sqs: Stubber, code: str, status: int
) -> None:
    sqs.add_client_error("send_message", code, "why", status)
    with capture_logs() as logged:
        assert not notices(QUEUE).send(NOTICE)
    (line,) = logged
    assert (line["event"], line["log_level"], line["job_id"]) == (
        "notice.failed",
        "warning",
        "job-1",
    )
    assert code in line["error"]


@pytest.mark.parametrize(
    ("target", "topic"),
    [
        (QUEUE, False),
        ("http://127.0.0.1:9324/queue/done", False),
        (TOPIC, True),
        ("arn:aws-cn:sns:cn-north-1:123456789012:done.fifo", True),
    ],
)
def test_queues_and_topics_are_targets(target: str, topic: bool) -> None:
    assert check_target(target) == target
    assert is_topic(target) is topic


@pytest.mark.parametrize(
    "target", ["done", "arn:aws:sqs:us-east-1:1:done", "https://", "ftp://x/y"]
)
def test_anything_else_is_a_wrong_setting_that_says_what_is_right(target: str) -> None:
    with pytest.raises(SettingsError, match=r"notify_url = .*SNS topic ARN.*SQS queue URL"):
        notices(target)


def test_a_fifo_target_gets_ids_of_ascii_whatever_names_the_job() -> None:
    fields = fifo_fields(replace(NOTICE, job_id="録音-1"))
    assert re.fullmatch("[0-9a-f]{64}", fields["MessageGroupId"])
    assert fields["MessageGroupId"] != fifo_fields(NOTICE)["MessageGroupId"] == "job-1"
