"""The steps of a job, for the daemon's threads to call: the face of this package.

    fetch      has the job its answer already? how may it run? download.      `fetch.Fetch`
    submit     hand the file to the engine.                                   `submit.Submit`
    finish     the engine is done: assemble, render, commit.                  `commit.Commit`
    interrupt  the worker ends first: keep the finished windows.              `endings.Endings`
    broken     the engine ended first.                                        `endings.Endings`
    lost       another worker may have the job.                               `endings.Endings`
    reject     a message, or a job in it, that is wrong from the start.       `endings.Endings`

Nothing here knows of threads: the daemon calls the steps, for one job from one thread at a time,
and acts on the message when all of a message's jobs have ended. No step raises: whatever happens
becomes an `Outcome`, so that each job gets one answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from worker.aws.notices import Notices
from worker.aws.results import ResultStore
from worker.errors import EngineError, Interrupted, JobError, TransientError
from worker.jobs.inputs import InputUri
from worker.jobs.message import Rejected
from worker.pipeline.answers import Outcome
from worker.pipeline.checkpoint_store import CheckpointStore
from worker.pipeline.commit import Commit
from worker.pipeline.endings import Endings
from worker.pipeline.failures import Failures
from worker.pipeline.fetch import Fetch
from worker.pipeline.inputs import Inputs
from worker.pipeline.submit import Submit
from worker.pipeline.task import Held, Task
from worker.pipeline.workdir import WorkDir
from worker.speech.api import Options, Recognition, Transcriber

__all__ = ["Limits", "Pipeline"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say about each job.

    Attributes:
        max_input_bytes: largest input that is fetched.
        max_failures: recorded failures after which a job is given up.
        vtt_word_times: whether vtt files carry the times of words where a job doesn't say.
        options: what the engine is asked for where a job doesn't say.
    """

    max_input_bytes: int
    max_failures: int = 3
    vtt_word_times: bool = False
    options: Options = field(default_factory=Options)


class Pipeline:
    """The steps of a job. Callable from any thread, for different jobs at the same time.

    Args:
        inputs: where files are fetched.
        results: where results, errors and checkpoints go.
        engine: a started one.
        notices: sent for every answer.
        work: where fetched files live.
        limits: what the settings say.
        draining: whether the worker has stopped beginning jobs.
        sleep: waits that many seconds between attempts at a commit.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        inputs: Inputs[InputUri],
        results: ResultStore,
        engine: Transcriber,
        notices: Notices,
        work: WorkDir,
        limits: Limits,
        draining: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        failures = Failures(results, notices)
        checkpoints = CheckpointStore(results, engine, limits.options)
        self._work = work
        self._commit = Commit(
            results=results,
            inputs=inputs,
            engine=engine,
            notices=notices,
            vtt_word_times=limits.vtt_word_times,
            sleep=sleep,
            clock=clock,
        )
        self._fetch = Fetch(
            inputs=inputs,
            results=results,
            failures=failures,
            checkpoints=checkpoints,
            commit=self._commit,
            work=work,
            max_input_bytes=limits.max_input_bytes,
            max_failures=limits.max_failures,
            draining=draining,
            clock=clock,
        )
        self._submit = Submit(
            engine=engine,
            failures=failures,
            checkpoints=checkpoints,
            options=limits.options,
            draining=draining,
        )
        self._endings = Endings(
            failures=failures, checkpoints=checkpoints, max_failures=limits.max_failures
        )

    def fetch(self, task: Task) -> Outcome | None:
        """Bring the input here; None if the job is ready for the engine, else how it ended."""
        try:
            return self._fetch.fetch(task)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._endings.end(task, error)

    def submit(self, task: Task) -> Outcome | None:
        """Hand a fetched job to the engine; None if it is there, else how it ended."""
        try:
            self._submit.submit(task)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._endings.end(task, error)
        return None

    def finish(self, task: Task) -> Outcome:
        """The engine is done with the job, well or not: answer it."""
        try:
            return self._commit.commit(task, _recognition(task))
        except (CancelledError, EngineError):
            return self._endings.broken(task)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._endings.end(task, error)

    def interrupt(self, task: Task) -> Outcome:
        """The worker ends before the job: keep its finished windows, release it."""
        return self._endings.end(task, Interrupted("the worker stops"))

    def broken(self, task: Task) -> Outcome:
        """The engine broke while the job was in it: note that, release the job."""
        return self._endings.broken(task)

    def lost(self, task: Task) -> Outcome:
        """The lease is lost: stop, commit nothing, leave everything as it is."""
        return self._endings.lost(task)

    def reject(self, held: Held, rejected: Rejected) -> Outcome:
        """Answer a message, or one job of it, that is wrong from the start."""
        return self._endings.reject(held, rejected)

    def discard(self, task: Task) -> None:
        """Remove the job's temporary files."""
        if task.folder is not None:
            self._work.remove(task.folder)
            task.folder = None


def _recognition(task: Task) -> Recognition:
    """See `Task.recognition`; where the file was removed under the engine's hands, no JobError."""
    try:
        return task.recognition()
    except JobError as error:
        if task.input_file.exists():
            raise
        raise TransientError(
            "somebody removed the job's file from work_dir while it was in use"
        ) from error
