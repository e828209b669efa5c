"""The queue against moto's SQS."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Aws, Queues
from worker.aws.clients import Clients
from worker.aws.queue import Queue
from worker.errors import SettingsError


def queue_of(clients: Clients, queues: Queues, *, visibility: int = 30) -> Queue:
    return Queue(
        clients.sqs, queues.url, visibility_timeout=visibility, poll_client=clients.sqs_poll
    )


def test_a_queue_says_what_it_is(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues(max_receives=7)
    queue = queue_of(clients, queues)
    info = queue.describe()
    assert (info.max_receive_count, info.dead_letter_url) == (7, queues.dead_letter_url)
    assert not queue.fifo


def test_a_setting_comes_before_the_redrive_policy(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    other = aws.make_queues().url
    queue = Queue(clients.sqs, queues.url, visibility_timeout=30, dead_letter_url=other)
    assert queue.describe().dead_letter_url == other


def test_a_queue_without_a_redrive_policy(aws: Aws, clients: Clients) -> None:
    queue = Queue(clients.sqs, aws.make_queues().dead_letter_url, visibility_timeout=30)
    info = queue.describe()
    assert (info.max_receive_count, info.dead_letter_url) == (None, None)


def test_a_queue_that_is_not_there_is_a_wrong_setting(aws: Aws, clients: Clients) -> None:
    url = aws.make_queues().url + "-gone"
    queue = Queue(clients.sqs, url, visibility_timeout=30)
    for call in (queue.describe, queue.depth, lambda: queue.receive(1, 0)):
        with pytest.raises(SettingsError, match=r"there is no queue .*-gone"):
            call()


def test_messages_come_with_all_that_is_needed(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    queue = queue_of(clients, queues)
    for n in range(12):
        aws.sqs.send_message(QueueUrl=queues.url, MessageBody=f"body {n} ä")
    received = queue.receive(10, 0) + queue.receive(10, 0)
    assert sorted(m.body for m in received) == sorted(f"body {n} ä" for n in range(12))
    first = received[0]
    assert first.receive_count == 1
    assert first.origin_id == first.message_id
    assert first.sent_at > 1.6e9
    assert first.requested_at <= first.received_at
    depth = queue.depth()
    assert (depth.visible, depth.in_flight, depth.delayed) == (0, 12, 0)
    assert queue.delete(received) == []
    assert queue.depth().in_flight == 0


def test_released_messages_come_back_counted(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    queue = queue_of(clients, queues)
    for n in range(12):
        aws.sqs.send_message(QueueUrl=queues.url, MessageBody=str(n))
    queue.release(queue.receive(10, 0) + queue.receive(10, 0), 0)
    again = queue.receive(10, 0) + queue.receive(10, 0)
    assert len(again) == 12
    assert {m.receive_count for m in again} == {2}
    queue.release(again, 600)
    assert queue.receive(10, 0) == []


def test_extending_is_confirmed(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    queue = queue_of(clients, queues, visibility=1)
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody="x")
    received = queue.receive(10, 0)
    outcome = queue.extend(received, 60)
    assert outcome.confirmed == tuple(received)
    assert queue.receive(10, 2) == []


def test_fifo_groups_keep_their_order_through_a_failure(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues(fifo=True)
    queue = queue_of(clients, queues)
    for group in ("a", "b"):
        for n in range(3):
            aws.sqs.send_message(
                QueueUrl=queues.url,
                MessageBody=f"{group}{n}",
                MessageGroupId=group,
                MessageDeduplicationId=f"{group}{n}",
            )
    held = queue.receive(10, 0) + queue.receive(10, 0)
    assert sorted(m.body for m in held) == ["a0", "b0"], "one of each group"
    assert queue.receive(10, 0) == [], "the rest wait for them"
    assert {m.group_id for m in held} == {"a", "b"}
    failed = next(m for m in held if m.body == "a0")
    queue.release([failed], 0)
    assert [m.body for m in queue.receive(10, 0)] == ["a0"], "the group waits for it"


def test_a_malformed_body_is_only_text_here(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    queue = queue_of(clients, queues)
    body = json.dumps({"input": "s3://b/k\u2028"}) + "\n\ttrailing {"
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody=body)
    assert queue.receive(1, 0)[0].body == body
