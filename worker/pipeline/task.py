"""A held message and its jobs: the state that the pipeline's steps share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from worker.aws.lease import Lease
from worker.aws.queue import Message
from worker.aws.results import UNKNOWN, Present, result_metadata
from worker.aws.source import Source
from worker.errors import Interrupted
from worker.jobs.message import Job
from worker.pipeline.answers import Answer
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.record import Record, Run, last_delivery
from worker.speech.api import Recognition, Submission

__all__ = ["Held", "Stage", "Task"]

_INPUT_FILE = "input"
"""The fetched file's name in the job's folder; nothing of a message goes into a local name."""


class Stage(Enum):
    """Where a job is on its way, and so which thread owns it.

    COMING: being fetched, by a download thread. WAITING: fetched, but may not enter the engine
    yet. RUNNING: in the engine. ENDING: its end is being written down, by a commit thread.
    """

    COMING = "coming"
    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"


@dataclass(slots=True, eq=False)
class Task:
    """One job of a held message, on its way. Only the thread that owns it changes it.

    Attributes:
        job: what is asked.
        message: the delivery that brought it.
        lease: the hold on that message.
        source: where that message came from.
        folder: its temporary files; None before they are there and after they are removed.
        began: monotonic clock when its fetch began.
        present: what lay at its place when its fetch began.
        fetch_seconds: how long the fetch took.
        etag: of the fetched object; empty until then.
        size: of the fetched object, in bytes; None until then.
        record: its earlier runs, as they stood when this run began.
        run: whether it runs beside other jobs or alone.
        marked: whether its checkpoint says that this run has begun.
        foretold: whether an error.json says that this run is the last.
        checkpoint: what is stored for it; None if nothing is.
        submission: its way through the engine; None until it is there.
        stage: where it is on its way; only `Holdings` changes it.
    """

    job: Job
    message: Message
    lease: Lease
    source: Source
    folder: Path | None = None
    began: float = 0.0
    present: Present = UNKNOWN
    fetch_seconds: float = 0.0
    etag: str = ""
    size: int | None = None
    record: Record = field(default_factory=Record)
    run: Run = Run.TOGETHER
    marked: bool = False
    foretold: bool = False
    checkpoint: Checkpoint | None = None
    submission: Submission | None = None
    stage: Stage = Stage.COMING

    @property
    def input_file(self) -> Path:
        """The fetched file. Raises ValueError before the fetch."""
        if self.folder is None:
            raise ValueError(f"job {self.job.job_id!r} has no folder")
        return self.folder / _INPUT_FILE

    @property
    def is_last_delivery(self) -> bool:
        """Whether the queue takes the message away if it is delivered once more."""
        return last_delivery(self.message.receive_count, self.source.max_receive_count)

    @property
    def object_metadata(self) -> dict[str, str]:
        """The metadata of every object that is written for the job."""
        return result_metadata(
            job_id=self.job.job_id,
            request_hash=self.job.request_hash,
            input_uri=str(self.job.input),
            etag=self.etag or None,
        )

    def ensure_may_begin(self, draining: bool) -> None:
        """Check that a job that has not begun may go on.

        Args:
            draining: whether the worker has stopped beginning jobs.

        Raises:
            LeaseLost: the lease is lost.
            Interrupted: the worker stops, or the lease nears its end.
        """
        self.lease.ensure()
        if draining or self.lease.expiring.is_set():
            raise Interrupted("the worker stops")

    def recognition(self) -> Recognition:
        """What the engine found, once it is done.

        Raises:
            JobError: the engine can't transcribe this file.
            EngineError: the engine broke; CancelledError: it was stopped.
            ValueError: the job was never in the engine.
        """
        return self._in_engine.future.result(timeout=0)

    @property
    def _in_engine(self) -> Submission:
        if self.submission is None:
            raise ValueError(f"job {self.job.job_id!r} was not submitted")
        return self.submission

    def on_engine_done(self, call: Callable[[], object]) -> None:
        """Have `call` called when the engine is done with the job, on a thread of the engine.

        At once, on this thread, if it is done already.

        Raises:
            ValueError: the job was never in the engine.
        """
        self._in_engine.future.add_done_callback(lambda _: call())

    def on_text_done(self, call: Callable[[], object]) -> None:
        """Have `call` called when nothing but who speaks is missing; see `Submission`.

        Raises:
            ValueError: the job was never in the engine.
        """
        self._in_engine.on_text_done(call)

    def cancel(self) -> None:
        """Stop the engine's work on the job, if it has any."""
        if self.submission is not None:
            self.submission.cancel()


@dataclass(slots=True, eq=False)
class Held:
    """A held message: how many answers it still needs, and those it has.

    Attributes:
        message: the delivery.
        lease: the hold on it.
        source: where it came from.
        tasks: its jobs.
        open: answers still to come.
        answers: those that have come.
        delay: seconds to hide the message if it is released: the longest that any of its jobs
            asked for.
    """

    message: Message
    lease: Lease
    source: Source
    tasks: tuple[Task, ...]
    open: int
    answers: list[Answer] = field(default_factory=list)
    delay: int = 0
