"""Leases: which messages are held, until when, and the heartbeat that keeps them.

The clock decides, not a flag alone. An extension counts from the moment before its request
was sent, since SQS starts counting somewhere between that and the answer; a message whose
last confirmed visibility has run out is lost, even if no thread of ours ran meanwhile (a
stopped process, a suspended machine) and even if SQS has not given it to anybody yet. Once
lost, a lease stays lost: its work may already be somebody else's.

SQS ends every hold twelve hours after the receive. Some minutes before, a lease is marked
`expiring`, so that its job is checkpointed and released rather than lost.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from worker.aws.queue import Extension, Message, Queue
from worker.aws.sqs import MAX_VISIBILITY_SECONDS, MESSAGES_PER_CALL
from worker.errors import LeaseLost
from worker.logs import get_logger
from worker.threads import SupervisedThread

__all__ = ["Heartbeat", "Lease", "LeaseTable"]

log = get_logger(__name__)

EXPIRING_SECONDS = 600.0
"""How long before the twelve-hour ceiling a lease is marked `expiring`."""
_CEILING_MARGIN_SECONDS = 5.0
_BEATS_PER_TIMEOUT = 3
_JITTER = 0.25
_COMPANY = 0.25
"""A message due within this share of the beat goes along in a batch that is sent anyway."""
_DROP_WAIT_SECONDS = 2.0


class Lease:
    """Our hold on one delivery of a message: what the pipeline carries along with its jobs.

    Made by `LeaseTable.add`.

    Attributes:
        message: what is held.
        lost: set once the lease is lost; it never clears.
        expiring: set near the twelve-hour ceiling: checkpoint and release now.
    """

    def __init__(self, message: Message, table: LeaseTable) -> None:
        self.message = message
        self.lost = threading.Event()
        self.expiring = threading.Event()
        self._table = table

    def ensure(self) -> None:
        """Check that the message is held.

        Raises:
            LeaseLost: it is not: its visibility ran out, SQS said so, or it was dropped.
        """
        self._table.ensure(self)

    @property
    def expires_at(self) -> float:
        """Clock seconds until which the last confirmed extension holds; -inf once dropped."""
        return self._table.expires_at(self.message)


class _Entry:
    """What the table knows of one lease."""

    __slots__ = ("ceiling_at", "due_at", "expires_at", "lease")

    def __init__(self, lease: Lease, *, expires_at: float, due_at: float, ceiling_at: float):
        self.lease = lease
        self.expires_at = expires_at
        self.due_at = due_at
        self.ceiling_at = ceiling_at


class LeaseTable:
    """Every held message and when its visibility ends. Callable from any thread; no I/O.

    Args:
        visibility_timeout: seconds for which a receive or a heartbeat hides a message.
        clock: monotonic seconds, the same as the queue's.
        rng: source of the jitter.
        max_hold_seconds: what SQS allows from the receive on.
    """

    def __init__(
        self,
        visibility_timeout: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        max_hold_seconds: float = MAX_VISIBILITY_SECONDS,
    ) -> None:
        self.visibility_timeout = visibility_timeout
        self.clock = clock
        self._rng = rng or random.Random()
        self._max_hold_seconds = max_hold_seconds
        self._expiring_seconds = min(EXPIRING_SECONDS, max_hold_seconds / 10)
        self._beat_seconds = visibility_timeout / _BEATS_PER_TIMEOUT
        # Receipts are the keys: the same message may be delivered here again while its old,
        # lost lease is still being wound up.
        self._entries: dict[str, _Entry] = {}
        self._unreported: list[Message] = []
        self._extending: frozenset[str] = frozenset()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many messages are held."""
        with self._changed:
            return len(self._entries)

    def add(self, message: Message) -> Lease:
        """Hold a message that was just received.

        Its visibility began between the request and the answer of the receive. A short call
        counts from its beginning; after a long poll that would be far too early, so it counts
        from its end and the heartbeat makes sure of it at once.
        """
        lease = Lease(message, self)
        long_poll = message.received_at - message.requested_at > self._beat_seconds
        since = message.received_at if long_poll else message.requested_at
        with self._changed:
            self._entries[message.receipt_handle] = _Entry(
                lease,
                expires_at=since + self.visibility_timeout,
                due_at=since if long_poll else since + self._next_beat(),
                ceiling_at=message.requested_at + self._max_hold_seconds - _CEILING_MARGIN_SECONDS,
            )
            self._changed.notify_all()
        return lease

    def drop(self, message: Message) -> None:
        """Stop holding a message that is about to be deleted or released, or that is lost.

        Waits a moment while an extension of it is under way: after a release that would take
        the message back. Unknown messages are no error.
        """
        handle = message.receipt_handle
        with self._changed:
            self._entries.pop(handle, None)
            self._changed.wait_for(
                lambda: handle not in self._extending, timeout=_DROP_WAIT_SECONDS
            )

    def ensure(self, lease: Lease) -> None:
        """See `Lease.ensure`."""
        with self._changed:
            entry = self._entries.get(lease.message.receipt_handle)
            if lease.lost.is_set() or (entry is not None and not self._holds(entry, self.clock())):
                raise LeaseLost(
                    f"the lease of message {lease.message.message_id} is lost: "
                    "its visibility ended, another worker may hold it"
                )
            if entry is None:
                raise LeaseLost(f"message {lease.message.message_id} is no longer held")

    def expires_at(self, message: Message) -> float:
        """See `Lease.expires_at`."""
        with self._changed:
            entry = self._entries.get(message.receipt_handle)
            return entry.expires_at if entry is not None else -math.inf

    def _holds(self, entry: _Entry, now: float) -> bool:
        """Whether the lease holds at `now`; flags it lost if not. Call with the lock."""
        if not entry.lease.lost.is_set() and now >= entry.expires_at:
            self._lose(entry)
        return not entry.lease.lost.is_set()

    def _lose(self, entry: _Entry) -> None:
        entry.lease.lost.set()
        self._unreported.append(entry.lease.message)
        self._changed.notify_all()

    # What follows is the heartbeat's side.

    def take_lost(self) -> list[Message]:
        """The leases found lost, by the clock or by SQS, since the last call."""
        with self._changed:
            now = self.clock()
            for entry in self._entries.values():
                self._holds(entry, now)
            lost, self._unreported = self._unreported, []
            return lost

    def take_expiring(self) -> list[Message]:
        """The leases that came near the ceiling since the last call; marks them."""
        with self._changed:
            now = self.clock()
            expiring = [
                entry.lease
                for entry in self._entries.values()
                if now >= entry.ceiling_at - self._expiring_seconds
                and not entry.lease.expiring.is_set()
            ]
            for lease in expiring:
                lease.expiring.set()
            return [lease.message for lease in expiring]

    def due(self) -> list[tuple[Message, int]]:
        """The messages to extend now and by how many seconds each, the most urgent first.

        As soon as one is due, those due shortly after go along: calls are per ten messages.
        At the ceiling seconds get fewer, and a message that can gain nothing more is left out.
        """
        with self._changed:
            now = self.clock()
            held = [entry for entry in self._entries.values() if self._holds(entry, now)]
            if not any(entry.due_at <= now for entry in held):
                return []
            company = now + self._beat_seconds * _COMPANY
            due = []
            for entry in sorted(held, key=lambda entry: entry.expires_at):
                if entry.due_at > company:
                    continue
                left = math.floor(entry.ceiling_at - now)
                seconds = min(self.visibility_timeout, left)
                if left < self.visibility_timeout and now + left <= entry.expires_at:
                    entry.due_at = math.inf
                else:
                    due.append((entry.lease.message, seconds))
            return due

    def begin(self, messages: Iterable[Message]) -> list[Message]:
        """Those of `messages` still held; `drop` waits for them until `settle`."""
        with self._changed:
            held = [m for m in messages if m.receipt_handle in self._entries]
            self._extending = frozenset(m.receipt_handle for m in held)
            return held

    def settle(self, outcome: Extension, *, sent_at: float, seconds: int) -> None:
        """Record what became of an extension by `seconds` that was sent at `sent_at`."""
        with self._changed:
            now = self.clock()
            for message in outcome.confirmed:
                entry = self._entries.get(message.receipt_handle)
                # An answer that came after the old visibility had ended mends nothing: the
                # job may have been stopped already.
                if entry is not None and self._holds(entry, now):
                    entry.expires_at = sent_at + seconds
                    entry.due_at = sent_at + self._next_beat()
            for message in outcome.lost:
                entry = self._entries.get(message.receipt_handle)
                if entry is not None and not entry.lease.lost.is_set():
                    self._lose(entry)
            for message in outcome.failed:
                entry = self._entries.get(message.receipt_handle)
                if entry is not None:
                    entry.due_at = now + self._next_beat() / 8
            self._extending = frozenset()
            self._changed.notify_all()

    def wait(self, stopping: threading.Event) -> None:
        """Return when something is to be done: a message is due or ends, or `stopping` is set.

        Also returns early; the caller looks again.
        """
        with self._changed:
            if stopping.is_set() or self._unreported:
                return
            self._changed.wait(timeout=self._seconds_to_next())

    def wake(self) -> None:
        """Make `wait` return."""
        with self._changed:
            self._changed.notify_all()

    def _seconds_to_next(self) -> float | None:
        """Seconds until the next thing to do, None if there is none. Call with the lock."""
        moments: list[float] = []
        for entry in self._entries.values():
            if entry.lease.lost.is_set():
                continue
            moments += (entry.due_at, entry.expires_at)
            if not entry.lease.expiring.is_set():
                moments.append(entry.ceiling_at - self._expiring_seconds)
        return max(0.0, min(moments) - self.clock()) if moments else None

    def _next_beat(self) -> float:
        """Seconds to the next beat: a third of the time-out, less jitter, never more."""
        return self._beat_seconds * self._rng.uniform(1 - _JITTER, 1)


class Heartbeat:
    """One thread that extends every held message at a third of the visibility time-out.

    While the network fails it keeps trying; what its failures cost is decided by the clock.

    Args:
        queue: where messages are extended.
        table: what is held.
        on_lost: called for each lost lease, from the heartbeat's thread.
        on_expiring: called for each lease that comes near the twelve-hour ceiling, likewise.
    """

    def __init__(
        self,
        queue: Queue,
        table: LeaseTable,
        *,
        on_lost: Callable[[Message], None] | None = None,
        on_expiring: Callable[[Message], None] | None = None,
    ) -> None:
        self._queue = queue
        self._table = table
        self._on_lost = on_lost
        self._on_expiring = on_expiring
        self._stopping = threading.Event()
        self._thread = SupervisedThread("heartbeat", self._run, self._died)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread; waits for a call under way, `timeout` seconds at most."""
        self._stopping.set()
        self._table.wake()
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.alive

    @property
    def failure(self) -> BaseException | None:
        """What killed the thread, if anything did."""
        return self._thread.failure

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.beat()
            self._table.wait(self._stopping)

    def _died(self, _: str, error: BaseException) -> None:
        """Log it; the daemon sees `failure` and drains."""
        log.critical("lease.heartbeat_died", message="The heartbeat died", error=repr(error))

    def beat(self) -> None:
        """One pass: report what is lost or expiring, extend what is due."""
        self._report()
        batches: dict[int, list[Message]] = {}
        for message, seconds in self._table.due():
            batches.setdefault(seconds, []).append(message)
        for seconds, messages in batches.items():
            for start in range(0, len(messages), MESSAGES_PER_CALL):
                if self._stopping.is_set():
                    return
                self._extend(messages[start : start + MESSAGES_PER_CALL], seconds)
        if batches:
            self._report()

    def _extend(self, messages: Sequence[Message], seconds: int) -> None:
        held = self._table.begin(messages)
        sent_at = self._table.clock()
        outcome = Extension(failed=tuple(held))
        try:
            if held:
                outcome = self._queue.extend(held, seconds)
        finally:
            self._table.settle(outcome, sent_at=sent_at, seconds=seconds)

    def _report(self) -> None:
        for message in self._table.take_lost():
            log.warning(
                "lease.lost",
                message="The lease of a message is lost; another worker may hold it",
                message_id=message.message_id,
                receive_count=message.receive_count,
            )
            if self._on_lost is not None:
                self._on_lost(message)
        for message in self._table.take_expiring():
            log.warning(
                "lease.expiring",
                message="A message comes near the twelve hours SQS allows; its job is given back",
                message_id=message.message_id,
            )
            if self._on_expiring is not None:
                self._on_expiring(message)
