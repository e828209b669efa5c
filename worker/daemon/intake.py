"""The intake: takes messages from the queue while there is room, and notices idleness.

One thread, for one source. It receives only while the worker may still act on what comes; what
a receive brings after that is released at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from worker import retry
from worker.aws.queue import Depth, Message
from worker.aws.source import Source
from worker.daemon.metrics import (
    MESSAGE_AGE,
    QUEUE_DELAYED,
    QUEUE_IN_FLIGHT,
    QUEUE_VISIBLE,
    Metrics,
)
from worker.daemon.policy import Idle, IdleClock
from worker.errors import TransientError
from worker.logs import get_logger
from worker.pipeline.holdings import Holdings

log = get_logger(__name__)

_DEPTH_SECONDS = 30.0
"""How often the queue's depth is asked for while there is work: for metrics only."""

_ROOM_SECONDS = 0.5
"""How often room is looked for again where nothing announces it (audio being decoded)."""

_MAX_PAUSE_SECONDS = 30.0

Accept = Callable[[Message, Source], bool]
"""Takes a message over; False if the worker drains."""


class Protection(Protocol):
    """What the intake asks of the instance: that nobody ends it while it may hold work."""

    def protect(self) -> None:
        """Take scale-in protection; cheap when held."""
        ...


class Intake:
    """The loop from the queue into the worker.

    Args:
        source: where messages come from.
        holdings: what is held; its condition wakes the loop.
        room: how many messages to ask for now.
        clock: decides when idleness ends the worker.
        instance: protected before every receive.
        metrics: where the queue's depth and the age of messages are noted.
        on_idle: called when the worker is idle for good, with the moment since which it is
            (monotonic seconds). None: it ends. Else it stays, and this is called again after so
            many seconds without work.
        poll_seconds: of one long poll, 0 to 20. A stop waits for it, so it is short.
    """

    def __init__(
        self,
        *,
        source: Source,
        holdings: Holdings,
        room: Callable[[], int],
        clock: IdleClock,
        instance: Protection,
        metrics: Metrics,
        on_idle: Callable[[float], float | None],
        poll_seconds: int = 5,
    ) -> None:
        self._source = source
        self._holdings = holdings
        self._room = room
        self._clock = clock
        self._instance = instance
        self._metrics = metrics
        self._on_idle = on_idle
        self._poll_seconds = poll_seconds
        self._asked_at = -_DEPTH_SECONDS
        self._failures = 0
        self._retry_lock = threading.Lock()
        self._retries: list[float] = []
        self._ended = threading.Event()
        self._ended.set()

    def released(self, delay: float) -> None:
        """A message was released and is visible again in `delay` seconds. From any thread."""
        with self._retry_lock:
            self._retries.append(time.monotonic() + delay)

    def wait_ended(self, timeout: float) -> bool:
        """Wait until `run` has ended, so that no receive is under way; whether it has.

        One that never ran has ended. Callable from any thread.
        """
        return self._ended.wait(timeout)

    def run(self, accept: Accept) -> None:
        """Receive until the worker drains or is idle. Call it once.

        Args:
            accept: takes a message over; if it won't, the message is released.

        Raises:
            SettingsError: the queue is gone, or we may no longer receive.
        """
        self._ended.clear()
        try:
            self._run(accept)
        finally:
            self._ended.set()

    def _run(self, accept: Accept) -> None:
        self._clock.work(time.monotonic())  # the model may have loaded for minutes
        while not self._holdings.draining:
            wanted = self._room()
            if wanted < 1:
                self._clock.work(time.monotonic())
                with self._holdings.changed:
                    if not self._holdings.draining:
                        self._holdings.changed.wait(_ROOM_SECONDS)
                continue
            self._instance.protect()
            if self._receive(wanted, accept) == 0 and self._idle():
                return

    def _receive(self, wanted: int, accept: Accept) -> int | None:
        """One long poll; how many messages came, None if it failed."""
        try:
            messages = self._source.queue.receive(wanted, self._poll_seconds)
        except TransientError as error:
            self._pause(error)
            return None
        self._failures = 0
        if messages:
            self._clock.work(time.monotonic())
        late = [message for message in messages if not accept(message, self._source)]
        if late:
            log.info(
                "intake.late",
                message="Messages that came while stopping are released",
                messages=len(late),
            )
            self._source.release(late)
        for message in messages:
            if message.sent_at:
                self._metrics.set(MESSAGE_AGE, max(0.0, time.time() - message.sent_at))
        return len(messages)

    def _pause(self, error: TransientError) -> None:
        """The queue can't be reached: wait, longer each time; what is held goes on."""
        self._failures += 1
        seconds = retry.doubling(self._failures, base=1.0, cap=_MAX_PAUSE_SECONDS)
        log.warning(
            "intake.paused",
            message=f"The queue does not answer: {error}",
            failures=self._failures,
            wait_seconds=seconds,
        )
        deadline = time.monotonic() + seconds
        with self._holdings.changed:
            while not self._holdings.draining and (left := deadline - time.monotonic()) > 0:
                self._holdings.changed.wait(left)

    def _idle(self) -> bool:
        """Nothing came: whether that ends the worker."""
        held = len(self._holdings)
        now = time.monotonic()
        if held and now - self._asked_at < _DEPTH_SECONDS:
            self._clock.work(now)
            return False
        depth = self._depth()
        with self._retry_lock:
            retries, self._retries = self._retries, []
        for due in retries:
            self._clock.retry(due)
        # Work that came and went between two looks counts as well.
        self._clock.work(self._holdings.last_end)
        now = time.monotonic()
        found = self._clock.observe(
            now,
            held=len(self._holdings),
            queued=None if depth is None else depth.visible + depth.delayed,
            in_flight=depth.in_flight if depth else 0,
        )
        if found is not Idle.END or self._holdings.draining:
            return False
        log.info(
            "worker.idle",
            message=f"Idle for {self._clock.idle_seconds(now):.0f} seconds",
            idle_seconds=self._clock.idle_seconds(now),
        )
        again = self._on_idle(self._clock.idle_since)
        if again is None:
            return True
        self._clock.retry(time.monotonic() + again)
        return False

    def _depth(self) -> Depth | None:
        try:
            depth = self._source.queue.depth()
        except TransientError as error:
            log.warning("intake.depth_failed", message=f"The queue does not answer: {error}")
            return None
        self._asked_at = time.monotonic()
        self._metrics.set(QUEUE_VISIBLE, depth.visible)
        self._metrics.set(QUEUE_IN_FLIGHT, depth.in_flight)
        self._metrics.set(QUEUE_DELAYED, depth.delayed)
        return depth
