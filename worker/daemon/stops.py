"""Reasons to stop: what they are, where they come from, and where they wait.

| reason | found by | what follows |
|---|---|---|
| SIGTERM, SIGINT, `Daemon.stop` | main thread | what is held may finish within `drain_timeout` |
| spot notice | instance watcher | the same, cut to the time that is left |
| rebalance recommendation | instance watcher | what is held may finish, however long it takes |
| the group ends the instance | instance watcher | as on SIGTERM |
| a thread died | that thread, or the main thread | what is held may finish; exit code 1 |
| the engine broke or hangs | main thread | everything held is released at once; exit code 1 |
| idle (`idle_end.py`) | intake | nothing is held; what `on_idle` names ends too |

Whoever finds one puts a `Stop` into `Stops`, where the main thread waits. A second signal ends
the process at once.
"""

from __future__ import annotations

import faulthandler
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from worker.aws.imds import SpotNotice
from worker.daemon import policy
from worker.errors import ExitCode, MachineError, SettingsError
from worker.logs import get_logger
from worker.redact import summary

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stop:
    """A reason to end.

    Attributes:
        event: its name in the log.
        message: the same for people.
        code: with which the process then exits.
        seconds: how long running jobs may go on; None: the setting `drain_timeout`.
        idle: nothing is held, and what the setting `on_idle` names is being ended.
        engine_lost: the engine is dead or hung: its jobs can't finish.
        hung: it may hold its threads and locks for ever: end the process the hard way.
    """

    event: str
    message: str
    code: ExitCode = ExitCode.OK
    seconds: float | None = None
    idle: bool = False
    engine_lost: bool = False
    hung: bool = False


class Stops:
    """Where reasons to stop wait for the main thread. Callable from any thread.

    Args:
        drain_timeout: seconds that a drain may take at most, also on a spot notice.
    """

    def __init__(self, *, drain_timeout: float) -> None:
        self._drain_timeout = drain_timeout
        self._waiting: queue.SimpleQueue[Stop] = queue.SimpleQueue()
        self._signals = 0

    def next(self, seconds: float) -> Stop | None:
        """Wait for a reason, `seconds` at most; None if there is none."""
        try:
            return self._waiting.get(timeout=seconds)
        except queue.Empty:
            return None

    @property
    def signalled(self) -> bool:
        """Whether a signal has come."""
        return self._signals > 0

    def asked(self) -> None:
        """The program around the daemon wants it to stop."""
        self._waiting.put(Stop("drain.asked", "Asked to stop"))

    def idle(self) -> None:
        """There is nothing to do, and has not been for long enough."""
        self._waiting.put(Stop("drain.idle", "Nothing to do: the worker ends", idle=True))

    def cannot_end(self, error: SettingsError | MachineError) -> None:
        """There is nothing to do, and what `on_idle` names can't be ended: that needs a person."""
        self._waiting.put(Stop("drain.cannot_end", str(error), code=error.exit_code))

    def thread_died(self, name: str, error: BaseException) -> None:
        """A thread died that the worker can't do without."""
        code = getattr(error, "exit_code", ExitCode.FAILURE)
        self._waiting.put(Stop("drain.thread_died", f"The thread {name} died", code=code))

    def spot_notice(self, notice: SpotNotice) -> None:
        """EC2 takes the instance back."""
        seconds = policy.drain_seconds(self._drain_timeout, notice.seconds_left())
        self._waiting.put(
            Stop(
                "drain.spot",
                f"The instance will {notice.action}: {seconds:.0f} seconds to finish what is held",
                seconds=seconds,
            )
        )

    def rebalance(self) -> None:
        """EC2 may take the instance back soon.

        No deadline: what is held may finish, but nothing new begins on a machine that is likely
        to go. The group replaces it; `on_idle` has no part in this.
        """
        self._waiting.put(
            Stop("drain.rebalance", "Rebalance recommended: no new work", seconds=math.inf)
        )

    def terminating(self) -> None:
        """The Auto Scaling group ends the instance."""
        self._waiting.put(Stop("drain.terminating", "The group ends this instance"))

    @contextmanager
    def handling_signals(self, before_exit: Callable[[], None]) -> Iterator[None]:
        """SIGTERM and SIGINT become reasons to stop; a second one ends the process.

        Python allows this on a process's main thread only; elsewhere signals stay as they are.

        Args:
            before_exit: called before a second signal ends the process.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: FrameType | None) -> None:
            # It may interrupt the main thread anywhere, so nothing here takes a lock that thread
            # could hold: SimpleQueue.put is made for this.
            self._signals += 1
            if self._signals > 1:
                before_exit()
                os._exit(ExitCode.FAILURE)
            name = signal.Signals(number).name
            self._waiting.put(Stop("drain.signal", f"{name}: finishing what is held"))

        # A crash in native code leaves its Python frames on stderr, where there is one.
        with suppress(OSError, RuntimeError, ValueError):
            faulthandler.enable()
        before = {name: signal.signal(name, handle) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


class Device(Protocol):
    """What the watchdog asks of the engine."""

    def failure(self) -> BaseException | None:
        """What killed one of the engine's own threads, if anything did."""
        ...

    def last_progress(self) -> float | None:
        """When the device last finished something (monotonic); None while it has no work."""
        ...


class Watched(Protocol):
    """A thread that must live."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What killed it, if anything did."""
        ...


class Watchdog:
    """Looks for a broken or hung engine and for dead threads. Callable from any thread.

    Args:
        engine: whose failure and progress are looked at.
        threads: those that must live, each with its name.
        hung_after: seconds without progress on the device, while it has work.
        seconds_without: how long running jobs may go on without one of the threads.
        clock: monotonic seconds, the same as the engine's.
    """

    def __init__(
        self,
        engine: Device,
        threads: Iterable[tuple[str, Watched]],
        *,
        hung_after: float,
        seconds_without: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._threads = tuple(threads)
        self._hung_after = hung_after
        self._seconds_without = seconds_without
        self._clock = clock

    def engine_works(self) -> bool:
        """Whether the engine is neither broken nor hung."""
        return self._engine.failure() is None and not self.hung()

    def hung(self) -> bool:
        """Whether the device makes no progress though it has work."""
        return policy.hung(self._clock(), self._engine.last_progress(), timeout=self._hung_after)

    def check(self) -> Stop | None:
        """Whether something is wrong that ends the worker."""
        failure = self._engine.failure()
        if failure is not None:
            return Stop(
                "engine.failed",
                f"The engine broke: {summary(failure)}",
                code=ExitCode.FAILURE,
                engine_lost=True,
            )
        if self.hung():
            return Stop(
                "engine.hung",
                f"The device has finished nothing for {self._hung_after:.0f} "
                "seconds while it has work; the process ends",
                code=ExitCode.FAILURE,
                engine_lost=True,
                hung=True,
            )
        for name, thread in self._threads:
            if not thread.alive:
                died = thread.failure
                return Stop(
                    "drain.thread_died",
                    f"The thread {name} died" + (f": {summary(died)}" if died else ""),
                    code=ExitCode.FAILURE,
                    seconds=self._seconds_without,
                )
        return None
