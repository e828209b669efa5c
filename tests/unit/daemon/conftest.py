from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.fakes.sqs_strict import StrictSqs
from worker.aws.dead_letter import DeadLetters
from worker.aws.lease import LeaseTable
from worker.aws.queue import Message, Queue
from worker.aws.source import Source
from worker.daemon.metrics import Metrics
from worker.speech.api import EngineStats

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stats() -> EngineStats:
    return EngineStats()


@pytest.fixture
def counted(stats: EngineStats, clock: Clock) -> Metrics:
    return Metrics(stats=lambda: stats, held=lambda: (3, 125.0), price_per_hour=0.5, clock=clock)


class Lane:
    """A source whose queue is a strict server's, and a look at that server."""

    def __init__(self, server: StrictSqs, client: SQSClient, name: str) -> None:
        self.server = server
        self.client = client
        self.url = server.create_queue(name)
        queue = Queue(client, self.url, visibility_timeout=30)
        self.source = Source(queue, DeadLetters(client, queue), LeaseTable(30))

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.server.send(self.url, body)

    def receive(self) -> Message:
        (message,) = self.source.queue.receive(1, 0)
        return message

    def depth(self) -> tuple[int, int, int]:
        """(visible, in flight, delayed) messages."""
        depth = self.source.queue.depth()
        return depth.visible, depth.in_flight, depth.delayed


@pytest.fixture(scope="session")
def strict_sqs() -> Iterator[StrictSqs]:
    with StrictSqs() as server:
        yield server


@pytest.fixture(scope="session")
def sqs_client(strict_sqs: StrictSqs) -> SQSClient:
    return boto3.client(
        "sqs",
        endpoint_url=strict_sqs.endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def lane(strict_sqs: StrictSqs, sqs_client: SQSClient) -> Lane:
    return Lane(strict_sqs, sqs_client, f"queue-{uuid.uuid4().hex}")


@pytest.fixture
def other_lane(strict_sqs: StrictSqs, sqs_client: SQSClient) -> Lane:
    return Lane(strict_sqs, sqs_client, f"queue-{uuid.uuid4().hex}")


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)
