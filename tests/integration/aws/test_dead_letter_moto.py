"""Dead letters against moto's SQS."""

from __future__ import annotations

from tests.conftest import Aws, Queues
from worker.aws.clients import Clients
from worker.aws.queue import Queue
from worker.aws.source import Source, make_source


def source_of(clients: Clients, queues: Queues) -> Source:
    return make_source(clients, queues.url, visibility_timeout=30)


def attributes_of(aws: Aws, queues: Queues) -> dict[str, str]:
    """The string attributes of the next dead letter, which stays visible."""
    (letter,) = aws.sqs.receive_message(
        QueueUrl=queues.dead_letter_url, MessageAttributeNames=["All"], VisibilityTimeout=0
    )["Messages"]
    return {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}


def test_a_dead_letter_that_is_sent_back_keeps_its_first_id(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    source = source_of(clients, queues)
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody='{"input": 3}')
    message = source.queue.receive(1, 0)[0]
    assert source.dead_letter(message, job_id="call-17", code="invalid_job", reason="not\x00 text")
    assert source.delete([message]) == []

    assert attributes_of(aws, queues) == {
        "job_id": "call-17",
        "code": "invalid_job",
        "reason": "not\ufffd text",
        "message_id": message.message_id,
    }
    dead = Queue(clients.sqs, queues.dead_letter_url, visibility_timeout=30).receive(1, 0)[0]
    assert dead.body == '{"input": 3}'
    assert dead.message_id != message.message_id
    assert dead.origin_id == message.message_id


def test_a_dead_letter_at_the_size_limit_fits(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues()
    aws.sqs.set_queue_attributes(
        QueueUrl=queues.dead_letter_url, Attributes={"MaximumMessageSize": "2048"}
    )
    source = source_of(clients, queues)
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody="x" * 2048)
    message = source.queue.receive(1, 0)[0]
    assert source.dead_letter(message, job_id="j", code="c", reason="r" * 3000)
    assert attributes_of(aws, queues)["original_bytes"] == "2048"
    dead = Queue(clients.sqs, queues.dead_letter_url, visibility_timeout=30).receive(1, 0)[0]
    assert message.body.startswith(dead.body)
    assert len(dead.body) > 1500


def test_a_fifo_dead_letter_keeps_its_group(aws: Aws, clients: Clients) -> None:
    queues = aws.make_queues(fifo=True)
    source = source_of(clients, queues)
    aws.sqs.send_message(
        QueueUrl=queues.url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d"
    )
    message = source.queue.receive(1, 0)[0]
    for _ in range(2):
        assert source.dead_letter(message, job_id="j", code="c", reason="r")
    dead = Queue(clients.sqs, queues.dead_letter_url, visibility_timeout=30)
    assert [m.group_id for m in dead.receive(1, 0)] == ["g"]
    assert dead.depth().visible == 0, "the second copy was taken for the first"
