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
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
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

__all__ = ["DEATH_SECONDS", "START_SECONDS", "Child", "expect", "how_it_died", "kill"]

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
        folder: for its temporary files; removed when it has ended, because one that is killed
            can't. None: the system's.
    """

    def __init__(
        self,
        module: str,
        config: Frame,
        environment: Mapping[str, str],
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        self._folder = folder
        own = {"TMPDIR": folder.name} if folder is not None else {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, **own},
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
        expect(READY, self.read(seconds))

    def request(self, task: Frame, seconds: float = START_SECONDS) -> None:
        """Asks for a file, and blocks until the child knows of it.

        Raises:
            FrameError: the child was gone before it knew of the file.
            TimeoutError: it doesn't answer.
        """
        self.ask(task)
        expect(TAKEN, self.read(seconds))

    def ask(self, task: Frame) -> None:
        """Asks for a file. Raises FrameError: the child is gone."""
        try:
            write_frame(self._requests, *task)
        except BrokenPipeError as error:
            raise FrameError("the child is gone") from error

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

        def wait() -> None:
            if not self.wait(max(0.0, deadline - time.monotonic())):
                raise TimeoutError

        return self.read_as(wait)

    def read_as(self, wait: Callable[[], None]) -> Frame:
        """The next frame, waited for as the caller does it.

        Args:
            wait: returns once the child sends something, or ends (see `wait`); what it raises
                ends the reading, and no further frame can be read.

        Raises:
            FrameError: the child is gone, or sent what no child of ours sends.
        """
        frame = read_frame(lambda count: self._read_bytes(count, wait))
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
        status = self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        return status

    def _read_bytes(self, count: int, wait: Callable[[], None]) -> bytes:
        descriptor = self._replies.fileno()
        data = bytearray()
        while len(data) < count:
            wait()
            piece = os.read(descriptor, count - len(data))
            if not piece:
                raise FrameError("the child is gone")
            data += piece
        return bytes(data)


def expect(wanted: Frame, frame: Frame) -> None:
    """Checks that a frame is the one that has to come now.

    Args:
        wanted: `framing.READY` or `framing.TAKEN`.
        frame: what came.

    Raises:
        WorkerError: the child says why it can't go on.
        FrameError: it is another.
    """
    header, _ = frame
    if header.get("kind") == "error":
        raise read_error(header)
    if header != wanted[0]:
        raise FrameError(f"a child sent {header.get('kind')!r}, not {wanted[0]['kind']!r}")


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
