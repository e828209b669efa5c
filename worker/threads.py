"""Threads whose death is noticed: one that runs a loop, and a pool that runs tasks.

They are daemon threads on purpose: a call that hangs in a network library must not keep a
process alive that has decided to end.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic

from worker.logs import get_logger
from worker.trace import told, where

log = get_logger(__name__)

Died = Callable[[str, BaseException], None]
"""Told (thread's name, what killed it), on the dying thread."""


class Side:
    """One thread running one function to its end.

    Args:
        name: for logs and debuggers.
        target: what it runs; returning is a good end, raising a death.
        died: told of a death.
    """

    def __init__(self, name: str, target: Callable[[], object], died: Died) -> None:
        self._name = name
        self._target = target
        self._died = died
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> bool:
        """Wait for its end; whether it has ended. One that never started has."""
        if self._thread.ident is not None:
            self._thread.join(timeout=max(0.0, timeout))
        return not self.alive

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as error:  # noqa: BLE001  # handed on: the daemon drains and exits 1
            _log_death(self._name, error)
            self._died(self._name, error)


class Pool:
    """Some threads that take tasks in the order they were given.

    Tasks are expected to deal with their own errors; one that raises kills its thread, which
    is told, because then the bookkeeping of a job can no longer be trusted.
    """

    def __init__(self, name: str, threads: int, died: Died) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._sides = [Side(f"{name}-{n}", self._work, died) for n in range(1, threads + 1)]

    def start(self) -> None:
        """Start all threads."""
        for side in self._sides:
            side.start()

    def put(self, task: Callable[[], object]) -> None:
        """Have a task done."""
        self._tasks.put(task)

    def stop(self, timeout: float) -> bool:
        """End after the tasks already given; whether all threads ended in time (seconds)."""
        for _ in self._sides:
            self._tasks.put(None)
        deadline = monotonic() + timeout
        return all(side.join(deadline - monotonic()) for side in self._sides)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def _log_death(name: str, error: BaseException) -> None:
    log.error(
        "thread.died",
        message=f"The thread {name} died: {told(error)}",
        thread=name,
        error=type(error).__name__,
        where=where(error),
    )
