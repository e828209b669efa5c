"""A held message and its jobs: the state that the pipeline's steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from worker.aws.lease import Lease
from worker.aws.queue import Message
from worker.aws.source import Source
from worker.jobs.message import Job
from worker.pipeline.answers import Answer
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.record import Record, Run
from worker.speech.api import Submission

__all__ = ["Held", "Stage", "Task"]


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
        fetch_seconds: how long the fetch took.
        etag: of the fetched object; empty until then.
        size: of the fetched object, in bytes; None until then.
        record: its earlier runs, as they stood when this run began.
        run: whether it runs beside other jobs or alone.
        marked: whether its checkpoint says that this run has begun.
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
    fetch_seconds: float = 0.0
    etag: str = ""
    size: int | None = None
    record: Record = field(default_factory=Record)
    run: Run = Run.TOGETHER
    marked: bool = False
    checkpoint: Checkpoint | None = None
    submission: Submission | None = None
    stage: Stage = Stage.COMING


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
