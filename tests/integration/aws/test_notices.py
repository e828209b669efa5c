from __future__ import annotations

import json

import boto3
import pytest

from tests.conftest import REGION, Aws
from worker.aws.clients import Clients
from worker.aws.notices import Notice, Notices
from worker.errors import SettingsError

NOTICE = Notice("job-1", "completed", "s3://b/in", "s3://b/out/job-1/transcript.json", None, 9.5)


def _received(aws: Aws, url: str) -> list[str]:
    answer = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
    return [message["Body"] for message in answer.get("Messages", [])]


def test_a_notice_reaches_a_queue(server: tuple[Aws, Clients]) -> None:
    aws, clients = server
    queue = aws.make_queues()
    assert Notices(clients, queue.url).send(NOTICE)
    (body,) = _received(aws, queue.url)
    assert json.loads(body) == {
        "schema_version": 1,
        "job_id": "job-1",
        "status": "completed",
        "input": "s3://b/in",
        "result": "s3://b/out/job-1/transcript.json",
        "audio_seconds": 9.5,
    }


def test_a_notice_reaches_a_topic_s_subscribers(server: tuple[Aws, Clients]) -> None:
    aws, clients = server
    queue = aws.make_queues()
    arn = aws.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
    sns = boto3.client("sns", endpoint_url=aws.endpoint, region_name=REGION)
    topic = sns.create_topic(Name="results")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
    failed = Notice("job-2", "failed", "s3://b/x", None, "not_media")
    assert Notices(clients, topic).send(failed)
    (body,) = _received(aws, queue.url)
    notice = json.loads(json.loads(body)["Message"])
    assert notice["code"] == "not_media"
    assert "result" not in notice


def test_the_same_notice_twice_is_one_on_a_fifo_queue(server: tuple[Aws, Clients]) -> None:
    aws, clients = server
    queue = aws.make_queues(fifo=True)
    notices = Notices(clients, queue.url)
    assert notices.send(NOTICE)
    assert notices.send(NOTICE)
    assert len(_received(aws, queue.url)) == 1


def test_a_notice_that_can_t_be_sent_is_no_error(server: tuple[Aws, Clients]) -> None:
    aws, clients = server
    assert not Notices(clients, f"{aws.endpoint}/123456789012/nowhere").send(NOTICE)
    assert not Notices(clients, "arn:aws:sns:us-east-1:123456789012:nobody").send(NOTICE)


def test_without_a_target_nothing_is_sent(server: tuple[Aws, Clients]) -> None:
    aws, clients = server
    assert not Notices(clients, None).send(NOTICE)
    queue = aws.make_queues()
    assert Notices(clients, None).send(NOTICE, target=queue.url)


@pytest.mark.parametrize("target", ["results", "arn:aws:s3:::bucket", "https://", "ftp://x/y"])
def test_a_target_that_is_neither_is_a_wrong_setting(
    server: tuple[Aws, Clients], target: str
) -> None:
    _, clients = server
    with pytest.raises(SettingsError, match="notify_url"):
        Notices(clients, target)
