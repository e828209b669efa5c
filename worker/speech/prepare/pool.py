"""The prepare pool: child processes, each with a thread that feeds it and reads it.

`num_workers` children prepare at the same time. A child whose file has enough windows waiting for
the device is paused and another one works in its place, so that a short file never waits for long
ones to end; for that, a few more children than `num_workers` may exist.
A child that dies or falls silent fails the one file it holds and is replaced.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from worker.errors import ErrorCode, JobError, WorkerError
from worker.speech.children.framing import Frame, FrameError, read_error
from worker.speech.children.process import DEATH_SECONDS, Child, how_it_died, kill
from worker.speech.children.rules import child_environment
from worker.speech.prepare.frames import (
    LAST,
    TAKES_ROOM,
    PrepareConfig,
    PrepareTask,
    config_frame,
    task_frame,
)
from worker.threads import SupervisedThread

CHILD = "worker.speech.prepare.child"
"""The module that a child runs."""

PAUSED_CHILDREN = 8
"""Children beyond `num_workers` that may be paused at a time (90 MB each)."""


class Client(Protocol):
    """Who gets the frames of one file. Called on a pool thread, one call at a time.

    Attributes:
        task: the file, and what is wanted of it.
    """

    task: PrepareTask

    def wanted(self) -> bool:
        """False once the file is answered or cancelled."""
        ...

    def has_room(self) -> bool:
        """Whether another window may be taken now."""
        ...

    def wait_for_room(self) -> None:
        """Blocks until `has_room`, or not `wanted`."""
        ...

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        """Takes a frame: opened, window, samples, progress, end or surveyed (see `frames`).

        Raises:
            FrameError: no child of ours sends that.
        """
        ...

    def failed(self, error: WorkerError) -> None:
        """The file can't be prepared; no more frames come."""
        ...


class PreparePool:
    """Runs files through children, oldest first.

    Args:
        config: what all files have in common.
        workers: children that work at the same time.
        stall_seconds: a child that sends nothing for so long while it is read is killed.
        on_failure: called on a pool thread that can't go on, with what stopped it.
    """

    def __init__(
        self,
        config: PrepareConfig,
        *,
        workers: int,
        stall_seconds: float,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._config = config
        self._workers = workers
        self._stall = stall_seconds
        self._queue: queue.SimpleQueue[Client | None] = queue.SimpleQueue()
        self._places = threading.Semaphore(workers)
        self._lock = threading.Lock()
        self._threads: list[SupervisedThread] = []
        self._children: set[Child] = set()
        self._paused = 0
        self._stopping = False
        self._on_failure = on_failure

    def start(self) -> None:
        """Starts the children, so that no file pays for their imports."""
        with self._lock:
            for _ in range(self._workers):
                self._add_thread()

    def submit(self, client: Client) -> None:
        """Queues a file."""
        with self._lock:
            if self._stopping:
                raise RuntimeError("the prepare pool is stopped")
            self._queue.put(client)
            self._grow()

    def children(self) -> list[int]:
        """Process ids of the children that run."""
        with self._lock:
            return [child.pid for child in self._children]

    def stop(self) -> None:
        """Kills the children and joins the threads; clients must not be wanted any more."""
        with self._lock:
            self._stopping = True
            threads = list(self._threads)
            children = list(self._children)
        for child in children:
            kill(child.pid)
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join()

    def _grow(self) -> None:
        """Another child for files that wait behind paused ones. Call with the lock."""
        most = self._workers + min(self._paused, PAUSED_CHILDREN)
        if not self._queue.empty() and len(self._threads) < most and not self._stopping:
            self._add_thread()

    def _add_thread(self) -> None:
        thread = SupervisedThread(
            f"prepare-{len(self._threads)}", self._run, lambda _, error: self._on_failure(error)
        )
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        child: Child | None = None
        try:
            child = self._spawn()
            while (client := self._queue.get()) is not None:
                if not client.wanted():
                    continue
                with self._places:
                    child = self._hand_over(child, client.task)
                    child = self._serve(child, client)
        except BaseException:
            # Children that are killed by `stop` are no failure; anything else would strand files.
            if not self._stopping:
                raise
        finally:
            if child is not None:
                self._discard(child)

    def _serve(self, child: Child, client: Client) -> Child | None:
        """Runs one file that a child has taken; the child, or None if it did not survive."""
        try:
            for header, payload in self._frames(child):
                if header["kind"] == "error":
                    client.failed(read_error(header))
                    return child
                # Only windows take room; the end of a file may be what its last ones wait for.
                if header["kind"] in TAKES_ROOM and not client.has_room():
                    self._pause(client)
                if not client.wanted():
                    break
                client.frame(header, payload)
                if header["kind"] in LAST:
                    return child
        except TimeoutError:
            client.failed(
                JobError(
                    ErrorCode.DECODE_LIMIT,
                    f"Decoding stood still for prepare_stall_seconds = {self._stall:g}; "
                    "convert the file to WAV or FLAC.",
                )
            )
        except FrameError:
            status = self._discard(child, DEATH_SECONDS)
            if not self._stopping:
                client.failed(_death(status))
            return None
        self._discard(child)
        return None

    def _hand_over(self, child: Child | None, task: PrepareTask) -> Child:
        """A child that has taken the file: this one, or another if it died since its last.

        Raises:
            FrameError: a fresh child died before it knew of the file.
        """
        if child is not None:
            try:
                child.request(task_frame(task))
            except (FrameError, TimeoutError):
                self._discard(child)
            else:
                return child
        child = self._spawn()
        try:
            child.request(task_frame(task))
        except BaseException:
            self._discard(child)
            raise
        return child

    def _pause(self, client: Client) -> None:
        """Lets another thread prepare in this one's place until the file has room."""
        with self._lock:
            self._paused += 1
            self._grow()
        self._places.release()
        try:
            client.wait_for_room()
        finally:
            with self._lock:
                self._paused -= 1
            self._places.acquire()

    def _frames(self, child: Child) -> Iterator[Frame]:
        while True:
            yield child.read(self._stall)

    def _spawn(self) -> Child:
        child = Child(CHILD, config_frame(self._config), child_environment())
        with self._lock:
            self._children.add(child)
        try:
            child.wait_until_ready()
        except BaseException:
            self._discard(child)
            raise
        return child

    def _discard(self, child: Child, grace: float = 0.0) -> int:
        with self._lock:
            self._children.discard(child)
        return child.end(grace)


def _death(status: int) -> JobError:
    """What a child's exit status says about the file it held."""
    if status == -signal.SIGXCPU:
        return JobError(
            ErrorCode.DECODE_LIMIT,
            "Decoding took more CPU than any file of the allowed length needs; "
            "convert the file to WAV or FLAC.",
        )
    return JobError(
        ErrorCode.DECODE_CRASHED,
        f"The decoder died on this file ({how_it_died(status)}); convert it to WAV or FLAC.",
    )
