"""Sources: what is held goes back to where it came from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.sqs_strict import StrictSqs
from worker.aws.clients import make_clients
from worker.aws.source import Source, make_source
from worker.errors import LeaseLost


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictSqs]:
    with StrictSqs() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.endpoint)
        yield server


@pytest.fixture
def two(sqs: StrictSqs) -> tuple[Source, Source]:
    """Two queues, the second with a redrive policy, and a message on each."""
    clients = make_clients(visibility_timeout=30)
    sqs.create_queue("dead")
    arn = "arn:aws:sqs:us-east-1:123456789012:dead"
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 4}}'
    urls = sqs.create_queue("one"), sqs.create_queue("two", RedrivePolicy=policy)
    for url in urls:
        sqs.send(url, url)
    one, other = (make_source(clients, url, visibility_timeout=30) for url in urls)
    return one, other


def test_each_source_knows_its_own_redrive_policy(two: tuple[Source, Source]) -> None:
    assert [source.max_receive_count for source in two] == [None, 4]


def test_messages_end_at_the_queue_they_came_from(
    sqs: StrictSqs, two: tuple[Source, Source]
) -> None:
    one, other = two
    (mine,), (theirs,) = one.queue.receive(1, 0), other.queue.receive(1, 0)
    lease = one.hold(mine)
    lease.ensure()
    one.drop(mine)
    with pytest.raises(LeaseLost):
        lease.ensure()
    one.release([mine])
    assert other.dead_letter(theirs, job_id="j", code="not_media", reason="no media")
    assert other.delete([theirs]) == []
    assert sqs.bodies(one.queue.url) == [one.queue.url]
    assert sqs.bodies(other.queue.url) == []
    assert sqs.bodies(one.queue.url.replace("/one", "/dead")) == [other.queue.url]


def test_without_a_dead_letter_queue_nothing_is_copied(two: tuple[Source, Source]) -> None:
    one, _ = two
    (message,) = one.queue.receive(1, 0)
    assert not one.dead_letter(message, job_id="j", code="not_media", reason="no media")
