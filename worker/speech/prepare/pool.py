"""The prepare pool: child processes, each with a thread that feeds it and reads it.

`num_workers` children prepare at the same time. A child whose file has enough windows waiting for
the device is paused and another one works in its place, so that a short file never waits for long
ones to end; for that, a few more children than `num_workers` may exist.
A child that dies or falls silent fails the one file it holds and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

from worker.errors import ErrorCode, JobError
from worker.speech.prepare.child_rules import child_environment
from worker.speech.prepare.frames import (
    LAST,
    READY,
    TAKEN,
    TAKES_ROOM,
    Frame,
    FrameError,
    PrepareConfig,
    PrepareTask,
    config_frame,
    read_error,
    read_frame,
    task_frame,
    write_frame,
)
from worker.threads import SupervisedThread

PAUSED_CHILDREN = 8
"""Children beyond `num_workers` that may be paused at a time (90 MB each)."""

START_SECONDS = 60.0
"""Seconds a child may take to start: importing PyAV and onnxruntime is slow on a cold disk."""

DEATH_SECONDS = 1.0
"""Seconds that a child which closed its pipes gets to end: its exit status says why."""


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

    def failed(self, error: JobError) -> None:
        """The file can't be prepared; no more frames come."""
        ...


class Child:
    """One child process. Used by one thread."""

    def __init__(self, config: PrepareConfig) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.speech.prepare.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._replies = cast("BinaryIO", self._process.stdout)
        write_frame(self._requests, *config_frame(config))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Blocks until the child has loaded what it needs.

        Raises:
            FrameError: it did not come up.
            TimeoutError: it takes too long.
        """
        self._expect(READY, seconds)

    def request(self, task: PrepareTask, seconds: float = START_SECONDS) -> None:
        """Asks for a file, and blocks until the child knows of it.

        Raises:
            FrameError: the child was gone before it knew of the file.
            TimeoutError: it doesn't answer.
        """
        try:
            write_frame(self._requests, *task_frame(task))
        except BrokenPipeError as error:
            raise FrameError("the child is gone") from error
        self._expect(TAKEN, seconds)

    def read(self, seconds: float) -> Frame:
        """The next frame.

        Raises:
            TimeoutError: nothing came in time.
            FrameError: the child is gone, or sent what no child of ours sends.
        """
        deadline = time.monotonic() + seconds
        frame = read_frame(lambda count: self._read_bytes(count, deadline))
        assert frame is not None  # `_read_bytes` raises at the end of the stream
        return frame

    def end(self, grace: float = 0.0) -> int:
        """Kills the process if it lives; its exit status, negative for a signal.

        Args:
            grace: seconds that a child which has closed its pipes gets to end by itself, so
                that the status is its own.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        alive = self._process.poll() is None
        for stream in (self._requests, self._replies):
            # A pipe whose other end is dead may refuse its last flush.
            with contextlib.suppress(OSError):
                stream.close()
        if alive:
            self._process.kill()
        return self._process.wait()

    def _expect(self, wanted: Frame, seconds: float) -> None:
        header, _ = self.read(seconds)
        if header != wanted[0]:
            raise FrameError(f"a child sent {header.get('kind')!r}, not {wanted[0]['kind']!r}")

    def _read_bytes(self, count: int, deadline: float) -> bytes:
        descriptor = self._replies.fileno()
        data = bytearray()
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise TimeoutError
            piece = os.read(descriptor, count - len(data))
            if not piece:
                raise FrameError("the child is gone")
            data += piece
        return bytes(data)


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
            _kill(child.pid)
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
                child.request(task)
            except (FrameError, TimeoutError):
                self._discard(child)
            else:
                return child
        child = self._spawn()
        try:
            child.request(task)
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
        child = Child(self._config)
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
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return JobError(
        ErrorCode.DECODE_CRASHED,
        f"The decoder died on this file ({how}); convert it to WAV or FLAC.",
    )


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal.SIGKILL)
