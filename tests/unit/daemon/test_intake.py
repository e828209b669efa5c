"""The intake with a real queue, real holdings and a real clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import boto3
import pytest
from botocore.config import Config

from tests.unit.daemon.conftest import Lane, wait_for
from worker.aws.dead_letter import DeadLetters
from worker.aws.lease import LeaseTable
from worker.aws.queue import Message, Queue
from worker.aws.source import Source
from worker.daemon.intake import Intake
from worker.daemon.metrics import (
    MESSAGE_AGE,
    QUEUE_DELAYED,
    QUEUE_IN_FLIGHT,
    QUEUE_VISIBLE,
    Metrics,
)
from worker.daemon.policy import IdleClock
from worker.errors import ExitCode, SettingsError
from worker.pipeline.holdings import Holdings
from worker.threads import SupervisedThread


class Instance:
    """Notes how often it was protected."""

    def __init__(self) -> None:
        self.protected = 0

    def protect(self) -> None:
        self.protected += 1


class Place:
    """An intake on a thread of its own."""

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        *,
        room: Callable[[], int] = lambda: 10,
        accepts: bool = True,
        stays: bool = False,
        idle_timeout: float = 600.0,
        poll_seconds: int = 0,
    ) -> None:
        self.source = source
        self.holdings = Holdings()
        self.instance = Instance()
        self.accepts = accepts
        self.stays = stays
        self.taken: list[Message] = []
        self.asked: list[int] = []
        self.idle_at: list[float] = []
        self.idle_since: list[float] = []
        self._room = room
        self.deaths: list[BaseException] = []
        self.intake = Intake(
            source=source,
            holdings=self.holdings,
            room=self._wanted,
            clock=IdleClock(time.monotonic(), idle_timeout=idle_timeout, visibility_timeout=30),
            instance=self.instance,
            metrics=metrics,
            on_idle=self._idle,
            poll_seconds=poll_seconds,
        )
        self.thread = SupervisedThread(
            "intake",
            lambda: self.intake.run(self._accept),
            lambda _, error: self.deaths.append(error),
        )
        self.began = time.monotonic()

    def _wanted(self) -> int:
        self.asked.append(self._room())
        return self.asked[-1]

    def _accept(self, message: Message, source: Source) -> bool:
        assert source is self.source
        if self.accepts:
            self.taken.append(message)
        return self.accepts

    def _idle(self, since: float) -> float | None:
        self.idle_since.append(since)
        self.idle_at.append(time.monotonic())
        return 0.4 if self.stays else None

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.holdings.drain()
        assert self.thread.join(20)


def test_it_takes_what_comes_while_there_is_room(lane: Lane, counted: Metrics) -> None:
    room = 3
    place = Place(lane.source, counted, room=lambda: room - len(place.taken))
    lane.send(*"abcde")
    place.start()
    wait_for(lambda: len(place.taken) == 3)
    time.sleep(0.1)
    assert lane.depth() == (2, 3, 0), "without room nothing is received"
    room = 5
    with place.holdings.changed:
        place.holdings.changed.notify_all()
    wait_for(lambda: len(place.taken) == 5)
    place.stop()
    assert sorted(message.body for message in place.taken) == list("abcde")
    assert place.instance.protected >= 2, "before each receive"


def test_what_comes_after_the_drain_began_is_released_at_once(lane: Lane, counted: Metrics) -> None:
    place = Place(lane.source, counted, accepts=False)
    lane.send("late")
    place.start()
    wait_for(lambda: place.instance.protected)
    place.stop()
    assert place.taken == []
    assert lane.depth() == (1, 0, 0)


def test_a_stop_waits_for_the_receive_under_way(lane: Lane, counted: Metrics) -> None:
    place = Place(lane.source, counted, poll_seconds=1)
    assert place.intake.wait_ended(0), "one that never ran has ended"
    place.start()
    wait_for(lambda: place.instance.protected)
    place.holdings.drain()
    assert not place.intake.wait_ended(0)
    assert place.intake.wait_ended(20)
    assert place.thread.join(20)


def test_idleness_ends_it(lane: Lane, counted: Metrics) -> None:
    place = Place(lane.source, counted, idle_timeout=0.3)
    place.start()
    assert place.thread.join(20)
    (ended,) = place.idle_at
    assert ended - place.began >= 0.3
    assert place.deaths == []


def test_if_it_is_to_stay_it_works_on_and_ends_later(lane: Lane, counted: Metrics) -> None:
    place = Place(lane.source, counted, idle_timeout=0.1, stays=True)
    place.start()
    wait_for(lambda: place.idle_at)
    lane.send("meanwhile")
    wait_for(lambda: place.taken)
    (taken,) = place.taken
    lane.client.delete_message(QueueUrl=lane.url, ReceiptHandle=taken.receipt_handle)
    wait_for(lambda: len(place.idle_at) == 3)
    place.stop()
    first, second = place.idle_at[:2]
    assert second - first >= 0.4
    assert taken.body == "meanwhile"
    assert place.idle_since[0] < place.idle_since[1] == place.idle_since[2], "work alone begins one"


def test_what_was_released_with_a_delay_is_waited_for(lane: Lane, counted: Metrics) -> None:
    place = Place(lane.source, counted, idle_timeout=0.1)
    place.intake.released(0.8)
    place.start()
    assert place.thread.join(20)
    (ended,) = place.idle_at
    assert ended - place.began >= 0.75


def test_a_drain_is_never_taken_for_idleness(lane: Lane, counted: Metrics) -> None:
    place = Place(lane.source, counted, idle_timeout=0.0, stays=True)
    place.holdings.drain()
    place.start()
    assert place.thread.join(20)
    assert place.idle_at == []
    assert place.instance.protected == 0


def test_a_drain_during_the_last_poll_is_never_taken_for_idleness(
    lane: Lane, counted: Metrics
) -> None:
    place = Place(lane.source, counted, idle_timeout=0.0, stays=True, poll_seconds=1)
    place.start()
    wait_for(lambda: place.instance.protected)
    place.stop()
    assert place.idle_at == []


def test_what_is_seen_of_the_queue_is_noted(lane: Lane, counted: Metrics) -> None:
    lane.send("a", "b")
    lane.receive()
    place = Place(lane.source, counted)
    place.start()
    wait_for(lambda: counted.snapshot()[QUEUE_IN_FLIGHT] == 2)
    place.stop()
    now = counted.snapshot()
    assert (now[QUEUE_VISIBLE], now[QUEUE_DELAYED]) == (0, 0)
    age = now[MESSAGE_AGE]
    assert age is not None
    assert 0 <= age < 20


def test_a_queue_that_does_not_answer_is_tried_again_and_a_stop_is_not_kept_waiting(
    lane: Lane, counted: Metrics
) -> None:
    unreachable = boto3.client(
        "sqs",
        endpoint_url="http://127.0.0.1:9",  # the discard port: nobody listens
        region_name="us-east-1",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    queue = Queue(lane.client, lane.url, visibility_timeout=30, poll_client=unreachable)
    place = Place(
        Source(queue, DeadLetters(lane.client, queue), LeaseTable(30)), counted, idle_timeout=0.0
    )
    place.start()
    wait_for(lambda: place.instance.protected >= 2)
    assert place.idle_at == [], "nobody knows whether there is work"
    began = time.monotonic()
    place.stop()
    assert time.monotonic() - began < 1.5, "the second pause lasts two seconds"


def test_a_queue_that_is_gone_is_a_wrong_setting(lane: Lane, counted: Metrics) -> None:
    gone = Queue(lane.client, f"{lane.url}-gone", visibility_timeout=30)
    source = Source(gone, DeadLetters(lane.client, gone), LeaseTable(30))
    place = Place(source, counted)
    place.start()
    assert place.thread.join(20)
    (death,) = place.deaths
    assert isinstance(death, SettingsError)
    assert death.exit_code is ExitCode.SETTINGS
    assert place.intake.wait_ended(0)


@pytest.mark.parametrize("changes", [True, False])
def test_room_that_nobody_announces_is_found_all_the_same(
    lane: Lane, counted: Metrics, changes: bool
) -> None:
    full = threading.Event()
    full.set()
    place = Place(lane.source, counted, room=lambda: 0 if full.is_set() else 1)
    lane.send("a")
    place.start()
    wait_for(lambda: len(place.asked) >= 2)
    assert place.taken == []
    full.clear()
    if changes:
        with place.holdings.changed:
            place.holdings.changed.notify_all()
    wait_for(lambda: place.taken)
    place.stop()
