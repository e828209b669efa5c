from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.testing import capture_logs

from worker.aws.lease import Heartbeat, Lease, LeaseTable
from worker.aws.queue import BatchOutcome, Message
from worker.errors import LeaseLost

VISIBILITY = 120


class Clock:
    def __init__(self, now: float = 5000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def message(name: str, clock: Clock, took: float = 0.0) -> Message:
    return Message(
        name, f"receipt-{name}", "b", received_at=clock.now, requested_at=clock.now - took
    )


def table_of(clock: Clock, visibility: int = VISIBILITY, **options: float) -> LeaseTable:
    return LeaseTable(visibility, clock=clock, rng=random.Random(1), **options)


class ScriptedQueue:
    """Extends as its script says; remembers what it was asked."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: list[tuple[list[str], int]] = []
        self.lost: set[str] = set()
        self.failing = False
        self.takes = 0.0
        self.breaks = False

    def extend(self, messages: Sequence[Message], seconds: int) -> BatchOutcome:
        self.calls.append(([m.message_id for m in messages], seconds))
        self.clock.now += self.takes
        if self.breaks:
            raise ValueError("a defect")
        if self.failing:
            return BatchOutcome(failed=tuple(messages))
        return BatchOutcome(
            confirmed=tuple(m for m in messages if m.message_id not in self.lost),
            lost=tuple(m for m in messages if m.message_id in self.lost),
        )


def heartbeat_of(queue: ScriptedQueue, table: LeaseTable) -> tuple[Heartbeat, list[str], list[str]]:
    lost: list[str] = []
    expiring: list[str] = []
    heartbeat = Heartbeat(
        queue,  # type: ignore[arg-type]  # the one method that a heartbeat uses
        table,
        on_lost=lambda m: lost.append(m.message_id),
        on_expiring=lambda m: expiring.append(m.message_id),
    )
    return heartbeat, lost, expiring


def test_a_lease_holds_until_the_clock_says_it_is_over() -> None:
    clock = Clock()
    table = table_of(clock)
    lease = table.add(message("a", clock))
    clock.now += VISIBILITY - 1
    lease.ensure()
    assert not lease.lost.is_set()
    clock.now += 1
    with pytest.raises(LeaseLost):
        lease.ensure()
    assert lease.lost.is_set()
    assert table.take_lost() == [lease.message]
    clock.now -= VISIBILITY
    with pytest.raises(LeaseLost):
        lease.ensure()


def test_a_stopped_process_loses_its_leases_before_anything_runs() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    lease = table.add(message("a", clock))
    clock.now += 3600
    heartbeat.beat()
    assert lost == ["a"]
    assert queue.calls == [], "what is lost is not extended: somebody else may hold it"
    with pytest.raises(LeaseLost):
        lease.ensure()


def test_a_dropped_lease_does_not_hold() -> None:
    clock = Clock()
    table = table_of(clock)
    lease = table.add(message("a", clock))
    table.drop(lease.message)
    table.drop(lease.message)
    assert len(table) == 0
    assert lease.expires_at == -math.inf
    with pytest.raises(LeaseLost, match="no longer held"):
        lease.ensure()
    assert table.take_lost() == []


def test_a_short_receive_counts_from_its_request_a_long_poll_from_its_answer() -> None:
    clock = Clock()
    table = table_of(clock)
    short = table.add(message("short", clock, took=10))
    long = table.add(message("long", clock, took=100))
    assert short.expires_at == clock.now - 10 + VISIBILITY
    assert long.expires_at == clock.now + VISIBILITY
    assert [m.message_id for m, _ in table.due()] == ["long"], "made sure of at once"


def test_beats_come_at_a_third_with_jitter_and_never_later() -> None:
    clock = Clock()
    table = table_of(clock)
    for n in range(200):
        table.add(message(str(n), clock))
    clock.now += VISIBILITY / 3 * 0.75 * 0.74
    assert table.due() == []
    clock.now = 5000 + VISIBILITY / 3
    assert len(table.due()) == 200


def test_messages_are_extended_in_tens_from_before_the_request() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    leases = [table.add(message(str(n), clock)) for n in range(25)]
    clock.now += VISIBILITY / 3
    sent_at = clock.now
    queue.takes = 4
    heartbeat.beat()
    assert [len(ids) for ids, _ in queue.calls] == [10, 10, 5]
    assert {seconds for _, seconds in queue.calls} == {VISIBILITY}
    assert [lease.expires_at for lease in leases[:10]] == [sent_at + VISIBILITY] * 10
    assert leases[24].expires_at == sent_at + 8 + VISIBILITY
    assert lost == []


def test_what_sqs_refuses_is_lost_once() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    gone, kept = table.add(message("gone", clock)), table.add(message("kept", clock))
    queue.lost = {"gone"}
    clock.now += VISIBILITY / 3
    heartbeat.beat()
    clock.now += VISIBILITY / 3
    heartbeat.beat()
    assert lost == ["gone"]
    assert gone.lost.is_set()
    assert [ids for ids, _ in queue.calls] == [["gone", "kept"], ["kept"]]
    kept.ensure()


def test_a_failing_network_is_tried_again_until_the_clock_decides() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    lease = table.add(message("a", clock))
    queue.failing = True
    while not lost:
        clock.now += 1
        heartbeat.beat()
        assert lost or clock.now < 5000 + VISIBILITY
    assert clock.now == 5000 + VISIBILITY
    assert len(queue.calls) > 10
    assert lease.lost.is_set()


def test_the_network_comes_back_in_time() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    lease = table.add(message("a", clock))
    queue.failing = True
    for _ in range(VISIBILITY - 10):
        clock.now += 1
        heartbeat.beat()
    queue.failing = False
    for _ in range(10 * VISIBILITY):
        clock.now += 1
        heartbeat.beat()
        lease.ensure()
    assert lost == []


def test_a_confirmation_that_comes_too_late_mends_nothing() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    table.add(message("a", clock))
    clock.now += VISIBILITY - 1
    queue.takes = 2
    heartbeat.beat()
    assert lost == ["a"]


def test_near_twelve_hours_a_lease_is_marked_and_never_extended_beyond() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, lost, expiring = heartbeat_of(queue, table)
    began = clock.now
    lease = table.add(message("a", clock))
    marked_at = 0.0
    while not lost:
        clock.now += 5
        before = len(queue.calls)
        heartbeat.beat()
        for _, seconds in queue.calls[before:]:
            assert clock.now + seconds <= began + 43200
        if expiring and not marked_at:
            marked_at = clock.now
    assert expiring == ["a"]
    assert lease.expiring.is_set()
    assert 43200 - 610 <= marked_at - began <= 43200 - 595
    assert 43200 - 10 <= clock.now - began <= 43200, "held for as long as SQS allows"


def test_a_drop_waits_for_the_extension_under_way() -> None:
    clock = Clock()
    table = table_of(clock)
    lease, other = table.add(message("a", clock)), table.add(message("b", clock))
    assert table.begin_extending([lease.message]) == [lease.message]
    table.drop(other.message)
    dropping = threading.Thread(target=table.drop, args=(lease.message,))
    dropping.start()
    dropping.join(0.2)
    assert dropping.is_alive(), "else a release could be overtaken by the extension"
    table.end_extending(
        BatchOutcome(confirmed=(lease.message,)), sent_at=clock.now, seconds=VISIBILITY
    )
    dropping.join(5)
    assert not dropping.is_alive()
    assert len(table) == 0
    assert table.begin_extending([lease.message]) == []


def test_a_defect_kills_the_heartbeat_and_is_kept() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    queue.breaks = True
    table.add(message("a", clock, took=100))
    heartbeat, _, _ = heartbeat_of(queue, table)
    with capture_logs() as logged:
        heartbeat.start()
        deadline = time.monotonic() + 10
        while heartbeat.alive:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert isinstance(heartbeat.failure, ValueError)
    assert "lease.heartbeat_died" in [line["event"] for line in logged]
    heartbeat.stop()


def test_the_thread_beats_wakes_for_new_messages_and_stops() -> None:
    clock = Clock()
    table = table_of(clock)
    queue = ScriptedQueue(clock)
    heartbeat, _, _ = heartbeat_of(queue, table)
    heartbeat.start()
    lease = table.add(message("a", clock, took=100))
    for _ in range(500):
        if queue.calls:
            break
        lease.lost.wait(0.01)
    assert queue.calls[0] == (["a"], VISIBILITY)
    assert heartbeat.alive
    heartbeat.stop(5)
    assert not heartbeat.alive
    assert heartbeat.failure is None


def test_a_heartbeat_that_never_started_can_be_stopped() -> None:
    clock = Clock()
    heartbeat, _, _ = heartbeat_of(ScriptedQueue(clock), table_of(clock))
    heartbeat.stop()


@given(
    visibility=st.integers(10, 43200),
    steps=st.lists(st.floats(0.1, 60), min_size=1, max_size=40),
    seed=st.integers(0, 10**6),
)
def test_a_beat_on_time_never_loses_a_lease(visibility: int, steps: list[float], seed: int) -> None:
    clock = Clock()
    table = LeaseTable(visibility, clock=clock, rng=random.Random(seed))
    queue = ScriptedQueue(clock)
    heartbeat, lost, _ = heartbeat_of(queue, table)
    lease = table.add(message("a", clock))
    for step in steps:
        # The thread would wake at the latest when something is due.
        clock.now += min(step, visibility / 4)
        heartbeat.beat()
        lease.ensure()
        assert lease.expires_at > clock.now
    assert lost == []


class SqsModel(RuleBasedStateMachine):
    """Against a model of SQS's own clock: we never believe in a lease longer than SQS does."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.table = LeaseTable(30, clock=self.clock, rng=random.Random(7))
        self.hidden_until: dict[str, float] = {}
        self.leases: dict[str, Lease] = {}
        self.latency = 0.0
        self.failing = False
        self.count = 0
        self.heartbeat = Heartbeat(self, self.table)  # type: ignore[arg-type]  # see `extend`

    def extend(self, messages: Sequence[Message], seconds: int) -> BatchOutcome:
        self.clock.now += self.latency / 2
        confirmed, lost = [], []
        for m in messages:
            if self.failing:
                continue
            if self.hidden_until[m.message_id] > self.clock.now:
                self.hidden_until[m.message_id] = self.clock.now + seconds
                confirmed.append(m)
            else:
                lost.append(m)
        self.clock.now += self.latency / 2
        failed = [m for m in messages if m not in confirmed and m not in lost]
        return BatchOutcome(tuple(confirmed), tuple(lost), tuple(failed))

    @rule(wait=st.floats(0, 9.9))
    def receive(self, wait: float) -> None:
        name = str(self.count)
        self.count += 1
        requested_at = self.clock.now
        self.clock.now += wait
        self.hidden_until[name] = self.clock.now + 30
        m = Message(name, f"r{name}", "b", received_at=self.clock.now, requested_at=requested_at)
        self.leases[name] = self.table.add(m)

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def beat(self) -> None:
        self.heartbeat.beat()

    @rule(latency=st.floats(0, 20), failing=st.booleans())
    def network_changes(self, latency: float, failing: bool) -> None:
        self.latency, self.failing = latency, failing

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.leases)))
        self.table.drop(self.leases.pop(name).message)

    @invariant()
    def never_believes_longer_than_sqs(self) -> None:
        for name, lease in self.leases.items():
            try:
                lease.ensure()
            except LeaseLost:
                assert lease.lost.is_set()
            else:
                assert self.hidden_until[name] > self.clock.now


TestSqsModel = SqsModel.TestCase
TestSqsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
