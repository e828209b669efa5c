"""Deletions with real queues, leases and threads."""

from __future__ import annotations

import pytest

from tests.unit.daemon.conftest import Lane
from worker.aws.queue import Message
from worker.daemon.deletions import Deletions
from worker.pipeline.holdings import Holdings
from worker.pipeline.task import Held
from worker.threads import ThreadPool


class Place:
    """Messages that are held and answered, and a thread that has not begun."""

    def __init__(self) -> None:
        self.holdings = Holdings()
        self.deaths: list[str] = []
        self.pool = ThreadPool("commit", 1, lambda name, error: self.deaths.append(f"{error!r}"))
        self.deletions = Deletions(self.holdings, self.pool)

    def settle(self, lane: Lane, count: int) -> list[Message]:
        """Receive so many messages, and have them deleted."""
        lane.send(*(["{}"] * count))
        messages = [lane.receive() for _ in range(count)]
        for message in messages:
            held = Held(message, lane.source.hold(message), lane.source, (), open=0)
            assert self.holdings.add(held)
            self.deletions.put(held)
        return messages

    def work(self) -> None:
        """Let the thread do all that it was given."""
        self.pool.start()
        assert self.pool.stop(20)
        assert self.deaths == []


@pytest.mark.parametrize(("count", "requests"), [(1, 1), (10, 1), (11, 2), (23, 3)])
def test_what_waits_is_deleted_in_tens(lane: Lane, count: int, requests: int) -> None:
    place = Place()
    before = lane.server.calls["DeleteMessageBatch"]
    messages = place.settle(lane, count)
    assert (len(place.holdings), len(lane.source.leases)) == (count, count)
    assert lane.depth() == (0, count, 0)
    for message in messages:
        held = place.holdings.of(message)
        assert held is not None
        held.lease.ensure()
    place.work()
    assert lane.server.calls["DeleteMessageBatch"] - before == requests
    assert lane.depth() == (0, 0, 0)
    assert (len(place.holdings), len(lane.source.leases)) == (0, 0)


def test_each_is_deleted_from_the_queue_it_came_from(lane: Lane, other_lane: Lane) -> None:
    place = Place()
    place.settle(lane, 2)
    place.settle(other_lane, 12)
    place.settle(lane, 1)
    place.work()
    assert lane.depth() == other_lane.depth() == (0, 0, 0)
    assert len(place.holdings) == 0


def test_one_that_is_no_longer_held_spoils_nothing_for_the_others(lane: Lane) -> None:
    place = Place()
    first, *_ = place.settle(lane, 3)
    lane.source.release([first])
    place.work()
    assert lane.depth() == (1, 0, 0), "another worker finds its results"
    assert len(place.holdings) == 0


def test_what_is_settled_while_others_are_deleted_is_deleted_too(lane: Lane) -> None:
    place = Place()
    place.pool.start()
    for _ in range(25):
        place.settle(lane, 1)
    assert place.holdings.wait_empty(20)
    assert lane.depth() == (0, 0, 0)
    assert place.pool.stop(20)
    assert place.deaths == []


def test_what_a_drain_gives_back_meanwhile_comes_again_and_nothing_else_goes_wrong(
    lane: Lane,
) -> None:
    place = Place()
    first, second = place.settle(lane, 2)
    for message in (first, second):  # as `Dispatch.release_all` does, when a drain's time is up
        held = place.holdings.of(message)
        assert held is not None
        lane.source.drop(message)
        place.holdings.remove(held)
    lane.source.release([first, second])
    place.work()
    assert (len(place.holdings), len(lane.source.leases)) == (0, 0)
    visible, flying, _ = lane.depth()
    assert visible + flying in (0, 2), "deleted, or there for another worker: their jobs are done"


def test_a_lease_that_is_lost_while_a_deletion_waits_ends_nobody(lane: Lane) -> None:
    place = Place()
    (message,) = place.settle(lane, 1)
    held = place.holdings.of(message)
    assert held is not None
    held.lease.lost.set()
    place.work()
    assert len(place.holdings) == 0
