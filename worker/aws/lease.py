"""Leases: which messages the worker holds and until when, and the heartbeat that keeps them.

A lease is the time for which SQS hides a message from everybody else. The heartbeat extends it
until the message is deleted or released.

Whether a lease still holds is decided by the clock. An extension counts from the moment before
its request was sent, because SQS starts counting somewhere between that and its answer. A
message whose last confirmed visibility has run out is lost, even if no thread of ours ran
meanwhile (a stopped process, a suspended machine), and even if SQS has not delivered it to
anybody else yet. A lost lease stays lost: another worker may already do its work.

SQS ends every lease twelve hours after the receive. Some minutes before, the lease is marked
`expiring`, so that its jobs can be checkpointed and released instead of lost.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from worker.aws.queue import BatchOutcome, Message, Queue
from worker.aws.sqs import MAX_VISIBILITY_SECONDS, MESSAGES_PER_CALL
from worker.errors import LeaseLost
from worker.logs import get_logger
from worker.threads import StoppableThread

__all__ = ["Heartbeat", "Lease", "LeaseTable"]

log = get_logger(__name__)

EXPIRING_SECONDS = 600.0
"""How long before the twelve-hour ceiling a lease is marked `expiring`."""
_CEILING_MARGIN_SECONDS = 5.0
_BEATS_PER_TIMEOUT = 3
_JITTER = 0.25
_EARLY = 0.25
"""When a batch is sent, messages due within this share of a beat are extended with it."""
_DROP_WAIT_SECONDS = 2.0


class Lease:
    """The worker's hold on one delivery of a message. Made by `LeaseTable.add`.

    Attributes:
        message: what is held.
        lost: set when the lease is lost, and never cleared.
        expiring: set shortly before SQS's limit of twelve hours: checkpoint and release now.
    """

    def __init__(self, message: Message, table: LeaseTable) -> None:
        self.message = message
        self.lost = threading.Event()
        self.expiring = threading.Event()
        self._table = table

    def ensure(self) -> None:
        """Check that the message is still held.

        Raises:
            LeaseLost: it is not: its visibility ran out, SQS refused to extend it, or it was
                dropped.
        """
        self._table.ensure(self)

    @property
    def expires_at(self) -> float:
        """Clock seconds at which the last confirmed visibility ends; -inf once dropped."""
        return self._table.expires_at(self.message)


class _Entry:
    """One lease in the table. Times in clock seconds."""

    __slots__ = ("ceiling_at", "due_at", "expires_at", "lease")

    def __init__(self, lease: Lease, *, expires_at: float, due_at: float, ceiling_at: float):
        self.lease = lease
        self.expires_at = expires_at
        self.due_at = due_at
        self.ceiling_at = ceiling_at


class LeaseTable:
    """The held messages of one queue, and when their visibility ends. No I/O.

    Callable from any thread. `add`, `drop` and `Lease.ensure` are for whoever works on a
    message, the rest is for the heartbeat.

    Args:
        visibility_timeout: seconds for which a receive or a heartbeat hides a message.
        clock: monotonic seconds; the queue must use the same clock.
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

        Its visibility time-out started at some moment between the request and the answer. The
        safe assumption is the request. After a long poll that would be far too early, so there
        the time counts from the answer, and the heartbeat extends the message at once.
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

        If an extension of it is under way, waits a moment for its end: an extension that
        overtook the release would hide the message again. Unknown messages are no error.
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
        """Whether the lease holds at `now`; marks it lost if not. Call with the lock."""
        if not entry.lease.lost.is_set() and now >= entry.expires_at:
            self._lose(entry)
        return not entry.lease.lost.is_set()

    def _lose(self, entry: _Entry) -> None:
        entry.lease.lost.set()
        self._unreported.append(entry.lease.message)
        self._changed.notify_all()

    # -- for the heartbeat --------------------------------------------------------------------

    def take_lost(self) -> list[Message]:
        """The messages whose leases were lost since the last call."""
        with self._changed:
            now = self.clock()
            for entry in self._entries.values():
                self._holds(entry, now)
            lost, self._unreported = self._unreported, []
            return lost

    def take_expiring(self) -> list[Message]:
        """The messages that came near twelve hours since the last call; marks their leases."""
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
        """The messages to extend now, and for how many seconds; the most urgent first.

        When one is due, those due shortly after are included, because one call extends ten.
        Near twelve hours the seconds get fewer; a message that can't be extended any further is
        left out.
        """
        with self._changed:
            now = self.clock()
            held = [entry for entry in self._entries.values() if self._holds(entry, now)]
            if not any(entry.due_at <= now for entry in held):
                return []
            early = now + self._beat_seconds * _EARLY
            due = []
            for entry in sorted(held, key=lambda entry: entry.expires_at):
                if entry.due_at > early:
                    continue
                left = math.floor(entry.ceiling_at - now)
                seconds = min(self.visibility_timeout, left)
                if left < self.visibility_timeout and now + left <= entry.expires_at:
                    entry.due_at = math.inf
                else:
                    due.append((entry.lease.message, seconds))
            return due

    def begin_extending(self, messages: Iterable[Message]) -> list[Message]:
        """Before a request: those of `messages` still held. `drop` waits for `end_extending`."""
        with self._changed:
            held = [m for m in messages if m.receipt_handle in self._entries]
            self._extending = frozenset(m.receipt_handle for m in held)
            return held

    def end_extending(self, outcome: BatchOutcome, *, sent_at: float, seconds: int) -> None:
        """After a request: record its outcome.

        Args:
            outcome: what SQS answered.
            sent_at: clock seconds just before the request.
            seconds: for which it asked.
        """
        with self._changed:
            now = self.clock()
            for message in outcome.confirmed:
                entry = self._entries.get(message.receipt_handle)
                # A confirmation that comes after the old visibility had ended is too late: the
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
        """Wait until a message is due or its lease ends, or `stopping` is set.

        May return early; the caller then finds nothing to do and waits again.
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
        """Seconds to a message's next beat: a third of the time-out, less a random part."""
        return self._beat_seconds * self._rng.uniform(1 - _JITTER, 1)


class Heartbeat(StoppableThread):
    """A thread that extends every held message each third of the visibility time-out.

    If SQS can't be reached it keeps trying, until the clock says that the lease is lost.

    Args:
        queue: the one that the messages came from.
        table: the messages held.
        on_lost: called for each lost lease, on the heartbeat's thread.
        on_expiring: called for each lease that comes near twelve hours, likewise.
    """

    def __init__(
        self,
        queue: Queue,
        table: LeaseTable,
        *,
        on_lost: Callable[[Message], None] | None = None,
        on_expiring: Callable[[Message], None] | None = None,
    ) -> None:
        super().__init__("heartbeat", self._run, _log_death)
        self._queue = queue
        self._table = table
        self._on_lost = on_lost
        self._on_expiring = on_expiring

    def stop(self, timeout: float = 10.0) -> bool:
        """Ask it to end and wait for a call under way; see `StoppableThread.stop`."""
        self.stopping.set()
        self._table.wake()
        return self.join(timeout)

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.beat()
            self._table.wait(self.stopping)

    def beat(self) -> None:
        """One round: report the lost and the expiring, extend what is due."""
        self._report()
        batches: dict[int, list[Message]] = {}
        for message, seconds in self._table.due():
            batches.setdefault(seconds, []).append(message)
        for seconds, messages in batches.items():
            for start in range(0, len(messages), MESSAGES_PER_CALL):
                if self.stopping.is_set():
                    return
                self._extend(messages[start : start + MESSAGES_PER_CALL], seconds)
        if batches:
            self._report()

    def _extend(self, messages: Sequence[Message], seconds: int) -> None:
        held = self._table.begin_extending(messages)
        sent_at = self._table.clock()
        outcome = BatchOutcome(failed=tuple(held))
        try:
            if held:
                outcome = self._queue.extend(held, seconds)
        finally:
            self._table.end_extending(outcome, sent_at=sent_at, seconds=seconds)

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
                message="A message comes near the twelve hours SQS allows; its job is released",
                message_id=message.message_id,
            )
            if self._on_expiring is not None:
                self._on_expiring(message)


def _log_death(_: str, error: BaseException) -> None:
    """The daemon sees `Heartbeat.failure` and drains."""
    log.critical("lease.heartbeat_died", message="The heartbeat died", error=repr(error))
