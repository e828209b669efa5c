"""The process that tells speakers apart, as its parent has it: a thread, a queue, one child.

The thread feeds the child one file after the other and reads what it finds. Nothing that becomes of
the child reaches further than the file it has: one that dies, stands still or sends nonsense is
killed, the file gets a second child, on the CPU, and the next file another.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Protocol

from worker.errors import ErrorCode, JobError, TransientError, WorkerError
from worker.logs import get_logger
from worker.redact import location, summary
from worker.speech.children.framing import READY, TAKEN, Frame, FrameError, read_error
from worker.speech.children.process import (
    DEATH_SECONDS,
    START_SECONDS,
    Child,
    expect,
    how_it_died,
    kill,
)
from worker.speech.speakers.attempts import CPU
from worker.speech.speakers.environment import models_environment
from worker.speech.speakers.frames import (
    Found,
    SpeakersConfig,
    SpeakersTask,
    config_frame,
    read_found,
    read_progress,
    task_frame,
)
from worker.threads import SupervisedThread

__all__ = ["LOAD_SECONDS", "STALL_SECONDS", "Client", "SpeakersProcess", "start_child"]

log = get_logger(__name__)

CHILD = "worker.speech.speakers.child"
"""The module that the child runs."""

LOAD_SECONDS = 300.0
"""Seconds that loading the models may take while nothing else needs the cores: torch and pyannote
are imported in 20 s where a cold disk is slow, and models may lie on a disk of the network."""

STALL_SECONDS = 300.0
"""Seconds without a whole word after which a child that could work is killed.
It speaks up after each call of the models, which takes seconds, and while it groups what it found.
The longest that it says nothing is while pyannote clusters for a model other than the packaged
ones: at most 4 000 embeddings, however long the file is, seconds on a core of its own."""

LOOK_SECONDS = 0.5
"""How often it is looked whether the file is still wanted."""

_NOT_LOADED = "the models that tell speakers apart can't be loaded"

_MORE_MEMORY = "use a machine with more memory, or send the job without diarize"
_AGAIN = "send the job again, or without diarize"


class Client(Protocol):
    """Who gets what is found in one file. Called on the speakers' thread, one call at a time.

    Attributes:
        task: the file, and what is wanted of it.
    """

    task: SpeakersTask

    def wanted(self) -> bool:
        """False once the file is answered or cancelled."""
        ...

    def begins(self) -> None:
        """It is the file's turn."""
        ...

    def progress(self, share: float) -> None:
        """So much of it is done, from 0 to 1."""
        ...

    def found(self, found: Found) -> None:
        """It is known who speaks."""
        ...

    def failed(self, error: WorkerError) -> None:
        """It can't be told who speaks."""
        ...


def start_child(config: SpeakersConfig, threads: int) -> Child:
    """A child that begins to load the models.

    Args:
        config: what all files have in common.
        threads: of the models.

    Raises:
        OSError, MemoryError: the machine is short of what a process needs.
    """
    # torch leaves a module there, which only a process removes that ends by itself.
    folder = TemporaryDirectory(prefix="speakers-child-", ignore_cleanup_errors=True)
    try:
        return Child(CHILD, config_frame(config), models_environment(threads), folder)
    except BaseException:
        folder.cleanup()
        raise


class SpeakersProcess:
    """See the module.

    Args:
        config: what all files have in common.
        start: starts a child.
        load_seconds: see `LOAD_SECONDS`.
        stall_seconds: see `STALL_SECONDS`.
        taken_seconds: how long a child that has its models may take to know of a file.

    Attributes:
        tick: called again and again while the child is waited for; returns whether that counts: a
            child that gets no core, because text has them all, isn't standing still.
        broken: called with what ended the thread, if a defect did: no file gets an answer any more.
    """

    def __init__(
        self,
        config: SpeakersConfig,
        *,
        start: Callable[[SpeakersConfig], Child],
        load_seconds: float = LOAD_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        taken_seconds: float = START_SECONDS,
    ) -> None:
        self._config = config
        self._start_child = start
        self._load_seconds = load_seconds
        self._stall_seconds = stall_seconds
        self._taken_seconds = taken_seconds
        self._queue: queue.SimpleQueue[Client | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._device = config.device
        self._stopping = False
        self._loaded: Future[None] = Future()
        self._thread = SupervisedThread("speakers", self._run, self._ended)
        self.tick: Callable[[], bool] = lambda: True
        self.broken: Callable[[BaseException], object] = lambda _: None

    def start(self) -> None:
        """Starts the thread, and the child, which begins to load the models."""
        self._thread.start()

    def wait_until_loaded(self) -> None:
        """Blocks until the first child has loaded the models.

        Raises:
            TransientError: it can't now: the machine is too slow, or short of something: memory
                too, where the kernel killed the child.
            WorkerError: it can't.
            CancelledError: it was stopped before.
        """
        self._loaded.result()

    def submit(self, client: Client) -> None:
        """Queues a file."""
        self._queue.put(client)

    def children(self) -> list[int]:
        """Process ids of the children that run."""
        with self._lock:
            return [self._child.pid] if self._child is not None else []

    def stop(self) -> None:
        """Kills the child and ends the thread; clients must not be wanted any more."""
        with self._lock:
            self._stopping = True
            if self._child is not None:
                kill(self._child.pid)
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._load_first()
            while (client := self._queue.get()) is not None:
                if client.wanted():
                    self._serve(client)
        finally:
            self._loaded.cancel()
            self._discard()

    def _ended(self, name: str, error: BaseException) -> None:
        del name
        self.broken(error)

    def _load_first(self) -> None:
        """Loads the models before a file wants them; where that fails, the first file tries."""
        try:
            self._spawn(self._config)
        except Exception as error:  # noqa: BLE001  # whoever waits for it learns it
            self._discard()
            if self._stopping:
                self._loaded.cancel()
                return
            told = _not_loaded(error)
            log.warning("speakers.not_loaded", message=str(told))
            self._loaded.set_exception(told)
        else:
            self._loaded.set_result(None)

    def _serve(self, client: Client) -> None:
        """One file, in a first child or in a second."""
        try:
            client.begins()
            lost = self._attempt(client, self._config)
            if lost is not None:
                on_cpu = replace(self._config, device=CPU)
                log.warning("speakers.again", message=f"Telling speakers apart begins anew: {lost}")
                said = f"Speakers were told apart at the second attempt: at the first, {lost}."
                again = self._attempt(client, on_cpu, said)
                if again is not None:
                    client.failed(again.error())
        except Exception as error:  # noqa: BLE001  # a defect here costs one file
            log.error(
                "speakers.defect",
                message=f"Telling speakers apart failed: {summary(error)}",
                where=location(error),
            )
            self._discard()
            client.failed(_failed(summary(error), _AGAIN))

    def _attempt(
        self, client: Client, config: SpeakersConfig, note: str | None = None
    ) -> _Lost | None:
        """Runs a file in a child; how that was lost, if it was before it had an answer."""
        try:
            child = self._hand_over(client, config)
            answered = self._read(child, client, note)
        except WorkerError as error:
            client.failed(error)
            answered = False
        except (_Lost, FrameError, TimeoutError) as error:
            lost = error if isinstance(error, _Lost) else self._lost(error)
            return None if self._stopping else lost
        # Where it had to leave the card for the CPU, another begins on the card.
        if not answered or self._device != self._config.device:
            self._discard()
        return None

    def _hand_over(self, client: Client, config: SpeakersConfig) -> Child:
        """A child that has taken the file: this one, or another if it died since its last."""
        if self._child is not None:
            try:
                self._ask(self._child, client)
            except (FrameError, TimeoutError):
                self._discard()
            else:
                return self._child
        child = self._spawn(config)
        self._ask(child, client)
        return child

    def _ask(self, child: Child, client: Client) -> None:
        """Asks a child for a file, and blocks until it knows of it, or nobody wants it any more."""
        child.ask(task_frame(client.task))
        frame = self._next(child, self._taken_seconds, client.wanted)
        if frame is not None:
            expect(TAKEN, frame)

    def _read(self, child: Child, client: Client, note: str | None) -> bool:
        """Passes on what a child says of a file; False if it has no use after that.

        Raises:
            FrameError: it died, or sent what no child of ours sends.
            TimeoutError: it stands still.
        """
        while (frame := self._next(child, self._stall_seconds, client.wanted)) is not None:
            header, payload = frame
            kind = header.get("kind")
            if kind == "progress":
                client.progress(read_progress(header))
            elif kind == "found":
                found = read_found(header, payload)
                self._device = found.device
                client.found(replace(found, notes=(*found.notes, note)) if note else found)
                return True
            elif kind == "error":
                client.failed(read_error(header))
                return False
            else:
                raise FrameError(f"a child sent {kind!r}")
        return False

    def _next(self, child: Child, seconds: float, wanted: Callable[[], bool]) -> Frame | None:
        """The next frame; None if nobody wants it any more.

        Raises:
            FrameError: the child died, or sent what no child of ours sends.
            TimeoutError: it could have said something for so many seconds.
        """
        silent, last = 0.0, time.monotonic()

        def wait() -> None:
            # Also in the middle of a frame: who speaks for hours is more than a pipe holds, and its
            # writer waits for a core.
            nonlocal silent, last
            while wanted():
                if child.wait(LOOK_SECONDS):
                    return
                counts, now = self.tick(), time.monotonic()
                silent += now - last if counts else 0.0
                last = now
                if silent >= seconds:
                    raise TimeoutError
            raise _Unwanted

        try:
            frame = child.read_as(wait)
        except _Unwanted:
            return None
        self.tick()
        return frame

    def _spawn(self, config: SpeakersConfig) -> Child:
        """A child that has loaded the models.

        Raises:
            TransientError: the machine is short of what a process needs.
            WorkerError: the child says why it can't.
            _Lost: it came to an end.
        """
        try:
            child = self._start_child(config)
        except (OSError, MemoryError) as error:
            raise TransientError(
                f"the process that tells speakers apart can't be started: {error}"
            ) from error
        with self._lock:
            self._child = child
            self._device = config.device
            if self._stopping:
                kill(child.pid)
        try:
            frame = self._next(child, self._load_seconds, lambda: True)
            assert frame is not None  # it is wanted
            expect(READY, frame)
        except WorkerError:
            self._discard()
            raise
        except (FrameError, TimeoutError) as error:
            raise self._lost(error, loading=True) from error
        return child

    def _lost(self, error: Exception, *, loading: bool = False) -> _Lost:
        """Ends the child; what became of it."""
        with self._lock:
            # First: once it is waited for, its process id may be another process's.
            child, self._child = self._child, None
        status = child.ended(DEATH_SECONDS) if child is not None else None
        if child is not None:
            child.end()
        if status is not None:
            return _Lost(f"its process died ({how_it_died(status)})", status, loading=loading)
        if not isinstance(error, TimeoutError):
            return _Lost(f"its process broke ({error})", loading=loading)
        if loading:
            return _Lost(f"loading took more than {self._load_seconds:g} s", loading=True)
        return _Lost("its process stood still", loading=False)

    def _discard(self) -> None:
        """Ends the child, if there is one."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.end()


class _Unwanted(Exception):
    """Nobody wants to know any more what a child is read for."""


class _Lost(Exception):
    """A child came to an end, or had to, before it had an answer; says how in a clause.

    Args:
        how: the clause.
        status: its exit status, negative for a signal; None: it was ended.
        loading: whether it was still loading the models, which no file has to do with.
    """

    def __init__(self, how: str, status: int | None = None, *, loading: bool) -> None:
        super().__init__(how)
        self.status = status
        self.loading = loading

    @property
    def killed(self) -> bool:
        """Whether it was killed by another than its parent: by a kernel whose memory ends."""
        return self.status == -signal.SIGKILL

    def error(self) -> WorkerError:
        """What a file is told that gets no further child."""
        if self.loading:
            return TransientError(f"{_NOT_LOADED}: {self}")
        return _failed(str(self), _MORE_MEMORY if self.killed else _AGAIN)


def _not_loaded(error: Exception) -> WorkerError:
    """What is told of models that can't be loaded before there is a file."""
    if isinstance(error, WorkerError):
        return error
    if isinstance(error, _Lost) and (error.status is None or error.killed):
        # Slow, or without memory, perhaps for once.
        return TransientError(f"{_NOT_LOADED}: {error}")
    return WorkerError(f"{_NOT_LOADED}: {error if isinstance(error, _Lost) else summary(error)}")


def _failed(why: str, fix: str) -> JobError:
    return JobError(
        ErrorCode.DIARIZATION_FAILED,
        f"Speakers could not be told apart in this audio: {why}; {fix}.",
    )
