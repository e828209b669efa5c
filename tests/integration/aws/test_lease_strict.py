"""Leases against a queue that is as strict about receipts and visibility as SQS."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.proxy import FlakyProxy, Mischief
from tests.fakes.sqs_strict import StrictSqs
from worker.aws.clients import Clients, make_clients
from worker.aws.lease import Heartbeat, LeaseTable
from worker.aws.queue import Message, Queue
from worker.errors import LeaseLost


@pytest.fixture
def sqs() -> Iterator[StrictSqs]:
    with StrictSqs() as server:
        yield server


def clients_of(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Clients:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", endpoint)
    return make_clients(visibility_timeout=10)


def queue_of(clients: Clients, url: str, visibility: int) -> Queue:
    return Queue(clients.sqs, url, visibility_timeout=visibility, poll_client=clients.sqs_poll)


@pytest.fixture
def clients(sqs: StrictSqs, monkeypatch: pytest.MonkeyPatch) -> Clients:
    return clients_of(monkeypatch, sqs.endpoint)


def test_a_stale_receipt_neither_deletes_nor_extends_nor_releases(
    sqs: StrictSqs, clients: Clients
) -> None:
    url = sqs.create_queue("q")
    sqs.send(url, "x")
    first = queue_of(clients, url, 1).receive(1, 0)
    second = queue_of(clients, url, 30).receive(1, 3)
    assert [m.receive_count for m in second] == [2]
    queue = queue_of(clients, url, 30)
    assert queue.extend(first, 30).lost == tuple(first)
    assert queue.delete(first) == first
    queue.release(first, 0)
    assert queue.extend(second, 30).confirmed == tuple(second)
    assert queue.receive(1, 0) == []
    garbage = [Message("m", "garbage", "b")]
    assert queue.extend(garbage, 30).lost == tuple(garbage)
    assert queue.delete(second) == []
    assert sqs.bodies(url) == []


def test_an_expired_receipt_is_lost_even_before_anybody_else_receives(
    sqs: StrictSqs, clients: Clients
) -> None:
    url = sqs.create_queue("q")
    sqs.send(url, "x")
    queue = queue_of(clients, url, 1)
    message = queue.receive(1, 0)
    time.sleep(1.1)
    assert queue.extend(message, 30).lost == tuple(message)


def test_beyond_the_ceiling_an_extension_is_refused_and_the_message_still_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with StrictSqs(max_hold_seconds=20) as server:
        clients = clients_of(monkeypatch, server.endpoint)
        url = server.create_queue("q")
        server.send(url, "x")
        queue = queue_of(clients, url, 15)
        message = queue.receive(1, 0)
        outcome = queue.extend(message, 30)
        assert outcome.failed == tuple(message)
        assert queue.extend(message, 15).confirmed == tuple(message)
        assert queue.delete(message) == []


def test_after_the_last_receive_a_message_moves_to_its_dead_letter_queue(
    sqs: StrictSqs, clients: Clients
) -> None:
    dead = sqs.create_queue("dead")
    policy = {
        "deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead",
        "maxReceiveCount": "2",
    }
    url = sqs.create_queue("q", RedrivePolicy=json.dumps(policy))
    sqs.send(url, "x")
    queue = queue_of(clients, url, 30)
    info = queue.describe()
    assert (info.dead_letter_url, info.max_receive_count) == (dead, 2)
    for count in (1, 2):
        received = queue.receive(1, 0)
        assert [m.receive_count for m in received] == [count]
        queue.release(received, 0)
    assert queue.receive(1, 0) == []
    assert sqs.bodies(dead) == ["x"]


def test_a_heartbeat_holds_messages_through_several_visibility_time_outs(
    sqs: StrictSqs, clients: Clients
) -> None:
    url = sqs.create_queue("q")
    for n in range(13):
        sqs.send(url, str(n))
    queue = queue_of(clients, url, 3)
    table = LeaseTable(3)
    lost: list[Message] = []
    heartbeat = Heartbeat(queue, table, on_lost=lost.append)
    heartbeat.start()
    try:
        leases = [table.add(m) for m in queue.receive(10, 0) + queue.receive(10, 0)]
        assert len(leases) == 13
        released = leases.pop()
        table.drop(released.message)
        queue.release([released.message], 0)
        deadline = time.monotonic() + 7
        taken = queue_of(clients, url, 60).receive(10, 2)
        assert [m.message_id for m in taken] == [released.message.message_id]
        while time.monotonic() < deadline:
            assert queue_of(clients, url, 60).receive(10, 1) == []
            for lease in leases:
                lease.ensure()
        assert queue.delete([lease.message for lease in leases]) == []
    finally:
        heartbeat.stop()
    assert lost == []
    assert heartbeat.failure is None
    calls = sqs.calls["ChangeMessageVisibilityBatch"]
    assert calls < 40, "ten messages a call"


def test_a_heartbeat_rides_out_a_bad_network(
    sqs: StrictSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create_queue("q")
    for n in range(10):
        sqs.send(url, str(n))
    with FlakyProxy(sqs.endpoint, share=0.4, seed=4, delay_seconds=0.3) as proxy:
        clients = clients_of(monkeypatch, proxy.endpoint)
        queue = queue_of(clients, url, 3)
        table = LeaseTable(3)
        heartbeat = Heartbeat(queue, table)
        proxy.share = 0
        received = queue.receive(10, 0)
        leases = [table.add(m) for m in received]
        proxy.share = 0.4
        heartbeat.start()
        try:
            time.sleep(4.5)
            for lease in leases:
                lease.ensure()
        finally:
            heartbeat.stop()
        assert heartbeat.failure is None
        assert sum(proxy.spoiled.values()) > 0
        assert queue.delete(received) == []
    assert sqs.bodies(url) == []


def test_an_outage_longer_than_the_visibility_loses_the_lease(
    sqs: StrictSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create_queue("q")
    sqs.send(url, "x")
    with FlakyProxy(sqs.endpoint, share=0, kinds=[Mischief.ERROR]) as proxy:
        clients = clients_of(monkeypatch, proxy.endpoint)
        queue = queue_of(clients, url, 2)
        table = LeaseTable(2)
        lost: list[Message] = []
        heartbeat = Heartbeat(queue, table, on_lost=lost.append)
        heartbeat.start()
        try:
            lease = table.add(queue.receive(1, 0)[0])
            proxy.share = 1
            assert lease.lost.wait(4)
            with pytest.raises(LeaseLost):
                lease.ensure()
            proxy.share = 0
            time.sleep(1)
            with pytest.raises(LeaseLost):
                lease.ensure()
        finally:
            heartbeat.stop()
    assert [m.message_id for m in lost] == [lease.message.message_id]
    assert heartbeat.failure is None


HOLDER = """
import sys
from worker.aws.clients import make_clients
from worker.aws.lease import Heartbeat, LeaseTable
from worker.aws.queue import Queue
from worker.errors import LeaseLost

clients = make_clients(visibility_timeout=2)
queue = Queue(clients.sqs, sys.argv[1], visibility_timeout=2)
table = LeaseTable(2)
Heartbeat(queue, table).start()
lease = table.add(queue.receive(1, 5)[0])
print("held", flush=True)
sys.stdin.readline()
# The first thing that runs after a SIGCONT may be this thread: no flag is set yet.
try:
    lease.ensure()
    print("committed", flush=True)
except LeaseLost:
    print("lost", flush=True)
"""


def test_a_stopped_process_knows_at_once_that_its_lease_is_lost(
    sqs: StrictSqs, clients: Clients
) -> None:
    url = sqs.create_queue("q")
    sqs.send(url, "x")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        mine = queue_of(clients, url, 60).receive(1, 10)
        assert [m.receive_count for m in mine] == [2]
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "lost\n"
        process.stdin.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    assert queue_of(clients, url, 60).extend(mine, 60).confirmed == tuple(mine)
