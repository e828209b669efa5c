"""A child process as its parent has it: pipes, deadlines, its end.

A child is a module that is started with a configuration, says that it is ready, and is then asked
for one file after the other; see `framing`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import BinaryIO, cast

from worker.speech.children.framing import (
    READY,
    TAKEN,
    Frame,
    FrameError,
    read_error,
    read_frame,
    write_frame,
)

__all__ = ["DEATH_SECONDS", "START_SECONDS", "Child", "how_it_died", "kill"]

START_SECONDS = 60.0
"""Seconds a child may take to start: importing PyAV and onnxruntime is slow on a cold disk."""

DEATH_SECONDS = 1.0
"""Seconds that a child which closed its pipes gets to end: its exit status says why."""


class Child:
    """One child process. Used by one thread.

    Args:
        module: what it runs.
        config: the first frame that it gets.
        environment: all of its variables.
    """

    def __init__(self, module: str, config: Frame, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._replies = cast("BinaryIO", self._process.stdout)
        # One that is dead already is noticed by whoever waits for it.
        with contextlib.suppress(BrokenPipeError):
            write_frame(self._requests, *config)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Blocks until the child has loaded what it needs.

        Raises:
            FrameError: it did not come up.
            TimeoutError: it takes too long.
            WorkerError: it says why it can't come up.
        """
        self._expect(READY, seconds)

    def request(self, task: Frame, seconds: float = START_SECONDS) -> None:
        """Asks for a file, and blocks until the child knows of it.

        Raises:
            FrameError: the child was gone before it knew of the file.
            TimeoutError: it doesn't answer.
        """
        self.ask(task)
        self.wait_until_taken(seconds)

    def ask(self, task: Frame) -> None:
        """Asks for a file. Raises FrameError: the child is gone."""
        try:
            write_frame(self._requests, *task)
        except BrokenPipeError as error:
            raise FrameError("the child is gone") from error

    def wait_until_taken(self, seconds: float = START_SECONDS) -> None:
        """Blocks until the child knows of the file that it was asked for.

        Raises:
            FrameError: it was gone before.
            TimeoutError: it doesn't answer.
        """
        self._expect(TAKEN, seconds)

    def wait(self, seconds: float) -> bool:
        """Whether it sends something, or ends, within so many seconds."""
        return bool(select.select([self._replies.fileno()], [], [], seconds)[0])

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

    def ended(self, grace: float = 0.0) -> int | None:
        """Its exit status, negative for a signal; None if it runs.

        Args:
            grace: seconds that a child which has closed its pipes gets to end.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        return self._process.poll()

    def end(self, grace: float = 0.0) -> int:
        """Kills the process if it lives; its exit status, negative for a signal.

        Args:
            grace: seconds that a child which has closed its pipes gets to end by itself, so
                that the status is its own.
        """
        alive = self.ended(grace) is None
        for stream in (self._requests, self._replies):
            # A pipe whose other end is dead may refuse its last flush.
            with contextlib.suppress(OSError):
                stream.close()
        if alive:
            self._process.kill()
        return self._process.wait()

    def _expect(self, wanted: Frame, seconds: float) -> None:
        header, _ = self.read(seconds)
        if header.get("kind") == "error":
            raise read_error(header)
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


def how_it_died(status: int) -> str:
    """An exit status, negative for a signal, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal has no name
        return f"signal {-status}"


def kill(pid: int) -> None:
    """Kills a child from another thread than the one that uses it, which then finds it gone."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal.SIGKILL)
