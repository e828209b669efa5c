"""What the worker holds: messages, the jobs in them, and which jobs may enter the engine.

Bookkeeping under one lock; no I/O. A job is changed by one thread at a time: the one that fetches
it, then the engine's, then the one that ends it. At the end of the engine's part several threads
may want the job at once (its result is there, its lease is lost, the worker drains); the first
that claims it has it, and the others leave it alone.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

from worker.aws.queue import Message
from worker.pipeline.answers import Answer
from worker.pipeline.record import Run
from worker.pipeline.task import Held, Stage, Task

__all__ = ["Holdings", "unsized_seconds"]

UNFETCHED_SECONDS = 60.0
"""Seconds of audio that a job counts for until its file is here."""

BYTES_PER_SECOND = 16_000.0
"""Bytes of a second of audio, for a fetched file that the engine doesn't have yet: 128 kbit/s, a
usual MP3. A file with fewer counts for too little until the engine has it; the bound on held
messages limits what that can do."""


def unsized_seconds(size: int | None) -> float:
    """Seconds of audio that a job of unknown length counts for.

    Args:
        size: bytes of its file; None until it is fetched.
    """
    if size is None:
        return UNFETCHED_SECONDS
    return max(1.0, size / BYTES_PER_SECOND)


class Holdings:
    """Everything held. Callable from any thread.

    Attributes:
        changed: notified whenever there may be room for more.
        last_end: monotonic clock when the last message was settled.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._held: dict[str, Held] = {}
        self._coming: set[Task] = set()
        self._running: set[Task] = set()
        self._waiting: list[Task] = []
        self._text_done: set[Task] = set()
        self._draining = False
        self.last_end = time.monotonic()

    # -- messages -----------------------------------------------------------------------------

    def add(self, held: Held) -> bool:
        """Take a message in; False if the worker drains, and then it must be released."""
        with self.changed:
            if self._draining:
                return False
            self._held[held.message.receipt_handle] = held
            self._coming.update(held.tasks)
            return True

    def answer(self, held: Held, answer: Answer, delay: int = 0) -> bool:
        """Note the answer of one job; True if it was the last, and the message is to be settled.

        Args:
            held: the job's message.
            answer: the job's.
            delay: seconds to hide the message if it is released.
        """
        with self.changed:
            held.answers.append(answer)
            held.delay = max(held.delay, delay)
            held.open -= 1
            self.changed.notify_all()  # of the others maybe only the speakers are missing
            return held.open == 0

    def of(self, message: Message) -> Held | None:
        """The held message of this delivery; None once it is settled."""
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

        Jobs run beside each other. But a suspect enters only when no other job is being fetched
        or is in the engine, and nothing enters while it runs: if the process dies again, the
        suspect is the cause, and no other job is hurt.
        """
        with self.changed:
            self._coming.discard(task)
            task.stage = Stage.WAITING
            self._waiting.append(task)
            return self._admit()

    def claim(self, task: Task) -> bool:
        """Take a job out of the engine, or from those that wait; False if another thread has."""
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
        """Whether the job is in the engine, and no thread has claimed it."""
        with self.changed:
            return task.stage is Stage.RUNNING

    def running(self) -> list[Task]:
        """The jobs in the engine."""
        with self.changed:
            return [task for task in self._running if task.stage is Stage.RUNNING]

    def waiting(self) -> list[Task]:
        """The fetched jobs that may not enter yet: suspects, and those that came behind one."""
        with self.changed:
            return list(self._waiting)

    def text_done(self, task: Task) -> None:
        """Nothing but who speaks is missing of a job in the engine."""
        with self.changed:
            if task.stage is Stage.RUNNING:
                self._text_done.add(task)
                self.changed.notify_all()

    def only_speakers_left(self) -> int:
        """Messages of which nothing but who speaks is missing, in any job without an answer."""
        with self.changed:
            jobs = Counter(task.message.receipt_handle for task in self._text_done)
            held = ((self._held.get(handle), count) for handle, count in jobs.items())
            return sum(each is not None and each.open == count for each, count in held)

    def suspects(self) -> int:
        """How many suspects are held, waiting or running."""
        with self.changed:
            return sum(task.run is Run.ALONE for task in (*self._running, *self._waiting))

    def unsized_seconds(self) -> float:
        """Seconds of audio that the jobs before the engine count for; the engine counts its own."""
        with self.changed:
            sizes = [task.size for task in (*self._coming, *self._waiting)]
        return sum(unsized_seconds(size) for size in sizes)

    # -- drain --------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether the worker has stopped beginning jobs."""
        return self._draining

    def drain(self) -> None:
        """Take nothing in from now on. Wakes the threads that wait for room."""
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
        self._text_done.discard(task)
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
