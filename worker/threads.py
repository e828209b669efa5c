"""Threads whose death is noticed: one function, a loop that can be stopped, a pool.

Every thread of the worker is a `SupervisedThread`, so there is one way to watch one. They are
daemon threads on purpose: a call that hangs in a network library must not keep a process alive
that has decided to end.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic

from worker.logs import get_logger
from worker.redact import location, summary

__all__ = ["OnDeath", "StoppableThread", "SupervisedThread", "ThreadPool"]

log = get_logger(__name__)

OnDeath = Callable[[str, BaseException], None]
"""Called with (thread's name, what killed it), on the dying thread."""


class SupervisedThread:
    """One thread that runs one function to its end.

    Args:
        name: for logs and debuggers.
        target: what it runs; returning is a good end, raising a death.
        on_death: called at a death, after it is logged; None only logs it.
    """

    def __init__(
        self, name: str, target: Callable[[], object], on_death: OnDeath | None = None
    ) -> None:
        self._name = name
        self._target = target
        self._on_death = on_death
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """What killed it, if anything did."""
        return self._failure

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end, `timeout` seconds at most; whether it has ended.

        One that never started has ended.
        """
        if self._thread.ident is not None:
            self._thread.join(timeout=None if timeout is None else max(0.0, timeout))
        return not self.alive

    def _supervise(self) -> None:
        try:
            self._target()
        except BaseException as error:  # noqa: BLE001  # kept and reported, never swallowed
            self._failure = error
            log.error(
                "thread.died",
                message=f"The thread {self._name} died: {summary(error)}",
                thread=self._name,
                error=type(error).__name__,
                where=location(error),
            )
            if self._on_death is not None:
                self._on_death(self._name, error)


class StoppableThread(SupervisedThread):
    """A thread that works until it is asked to stop.

    Args:
        name: for logs and debuggers.
        target: what it runs; it must return soon after `stopping` is set.
        on_death: see `SupervisedThread`.

    Attributes:
        stopping: set once the thread is to end.
    """

    def __init__(
        self, name: str, target: Callable[[], object], on_death: OnDeath | None = None
    ) -> None:
        super().__init__(name, target, on_death)
        self.stopping = threading.Event()

    def stop(self, timeout: float = 5.0) -> bool:
        """Ask it to end and wait `timeout` seconds at most; whether it has ended.

        Safe if it never started.
        """
        self.stopping.set()
        return self.join(timeout)


class ThreadPool:
    """Some threads that take tasks in the order they were given.

    Tasks are expected to deal with their own errors. One that raises kills its thread, and that
    is reported: the bookkeeping of a job can no longer be trusted then.

    Args:
        name: of the threads, followed by their number.
        threads: how many.
        on_death: see `SupervisedThread`.
    """

    def __init__(self, name: str, threads: int, on_death: OnDeath) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._threads = [
            SupervisedThread(f"{name}-{n}", self._work, on_death) for n in range(1, threads + 1)
        ]

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def put(self, task: Callable[[], object]) -> None:
        """Have a task done."""
        self._tasks.put(task)

    def stop(self, timeout: float) -> bool:
        """End after the tasks already given; whether all threads ended within `timeout` seconds."""
        for _ in self._threads:
            self._tasks.put(None)
        deadline = monotonic() + timeout
        return all(thread.join(deadline - monotonic()) for thread in self._threads)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
