"""What the worker holds: messages, the jobs in them, and who may enter the engine.

Bookkeeping under one lock, no I/O. Each job has one owner at a time: the thread that brings
it to the engine, then the engine, then the thread that writes its end. The hand-over from
the engine is contested (a result, a lost lease and a drain may come at the same moment) and
goes to whoever claims the job first.
"""

from __future__ import annotations

import threading
import time

from worker.aws.queue import Message
from worker.pipeline.answers import Answer
from worker.pipeline.record import Run
from worker.pipeline.task import Held, Stage, Task

__all__ = ["Holdings", "unsized_seconds"]

UNFETCHED_SECONDS = 60.0
"""What a job counts, in seconds of audio, until its file is here."""

BYTES_PER_SECOND = 16_000.0
"""What a fetched file counts until the engine has it: 128 kbit/s, a usual MP3. Files packed
tighter count too little for a moment, which the bound on leases contains."""


def unsized_seconds(size: int | None) -> float:
    """Seconds of audio that a job of unknown length counts; `size` in bytes once fetched."""
    if size is None:
        return UNFETCHED_SECONDS
    return max(1.0, size / BYTES_PER_SECOND)


class Holdings:
    """Everything held, with a condition that is notified whenever there may be more room."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._held: dict[str, Held] = {}
        self._coming: set[Task] = set()
        self._running: set[Task] = set()
        self._waiting: list[Task] = []
        self._draining = False
        self.last_end = time.monotonic()
        """When the last message was settled."""

    # -- messages -----------------------------------------------------------------------------

    def add(self, held: Held) -> bool:
        """Take a message in. False: the worker drains, and it must be given back."""
        with self.changed:
            if self._draining:
                return False
            self._held[held.message.receipt_handle] = held
            self._coming.update(held.tasks)
            return True

    def answer(self, held: Held, answer: Answer, delay: int = 0) -> bool:
        """Note one answer; True with the last one, when the message is to be settled."""
        with self.changed:
            held.answers.append(answer)
            held.delay = max(held.delay, delay)
            held.open -= 1
            return held.open == 0

    def of(self, message: Message) -> Held | None:
        """The held message of this delivery."""
        with self.changed:
            return self._held.get(message.receipt_handle)

    def remove(self, held: Held) -> None:
        """Forget a settled message."""
        with self.changed:
            self._held.pop(held.message.receipt_handle, None)
            self.last_end = time.monotonic()
            self.changed.notify_all()

    def __len__(self) -> int:
        """Messages held."""
        with self.changed:
            return len(self._held)

    def all(self) -> list[Held]:
        """The messages held, oldest first."""
        with self.changed:
            return list(self._held.values())

    # -- jobs ---------------------------------------------------------------------------------

    def ready(self, task: Task) -> list[Task]:
        """A job is fetched; returns the jobs that may enter the engine now.

        Jobs run together, but a suspect enters only when nothing else is on its way or in the
        engine, and nothing enters while it runs: if it takes the process down again, that says
        something, and it hurts nobody else.
        """
        with self.changed:
            self._coming.discard(task)
            task.stage = Stage.WAITING
            self._waiting.append(task)
            return self._admit()

    def claim(self, task: Task) -> bool:
        """Take a job from the engine (or from before it); False if somebody else has."""
        with self.changed:
            if task.stage not in (Stage.RUNNING, Stage.WAITING):
                return False
            self._leave(task)
            return True

    def leave(self, task: Task) -> list[Task]:
        """A job is answered; returns those that may enter the engine now."""
        with self.changed:
            self._leave(task)
            self.changed.notify_all()
            return self._admit()

    def is_running(self, task: Task) -> bool:
        """Whether the job is the engine's, and nobody has claimed it."""
        with self.changed:
            return task.stage is Stage.RUNNING

    def running(self) -> list[Task]:
        """The jobs in the engine."""
        with self.changed:
            return [task for task in self._running if task.stage is Stage.RUNNING]

    def waiting(self) -> list[Task]:
        """The jobs that wait before the engine: suspects, and whoever came behind one."""
        with self.changed:
            return list(self._waiting)

    def suspects(self) -> int:
        """How many suspects are held, waiting or running."""
        with self.changed:
            return sum(task.run is Run.ALONE for task in (*self._running, *self._waiting))

    def unsized_seconds(self) -> float:
        """What the jobs before the engine count, in seconds of audio; it counts the rest."""
        with self.changed:
            sizes = [task.size for task in (*self._coming, *self._waiting)]
        return sum(unsized_seconds(size) for size in sizes)

    # -- drain --------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether nothing new may begin."""
        return self._draining

    def drain(self) -> None:
        """From now on nothing is taken in. Wakes whoever waits for room."""
        with self.changed:
            self._draining = True
            self.changed.notify_all()

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing is held, `timeout` seconds at most."""
        with self.changed:
            return self.changed.wait_for(lambda: not self._held, timeout)

    def _leave(self, task: Task) -> None:
        task.stage = Stage.ENDING
        self._coming.discard(task)
        self._running.discard(task)
        if task in self._waiting:
            self._waiting.remove(task)

    def _admit(self) -> list[Task]:
        if self._draining or any(task.run is Run.ALONE for task in self._running):
            return []
        admitted = [task for task in self._waiting if task.run is not Run.ALONE]
        if not admitted and not self._coming and not self._running:
            admitted = self._waiting[:1]
        for task in admitted:
            self._waiting.remove(task)
            task.stage = Stage.RUNNING
            self._running.add(task)
        return admitted
