"""Hands a fetched job to the engine, and writes down first what must survive the worker's death."""

from __future__ import annotations

from collections.abc import Callable

from worker.logs import get_logger
from worker.pipeline import record as records
from worker.pipeline.checkpoint_store import CheckpointStore
from worker.pipeline.failures import FailedJob, Failures
from worker.pipeline.options import engine_options
from worker.pipeline.record import Run
from worker.pipeline.task import Task
from worker.speech.api import Options, Transcriber

__all__ = ["Submit"]

log = get_logger(__name__)


class Submit:
    """Hands jobs to the engine. Callable from any thread.

    Args:
        engine: a started one.
        failures: where the error of a last delivery is written before it runs.
        checkpoints: where the mark of a run is written, and finished windows are found.
        options: what the engine is asked for where a job doesn't say.
        draining: whether the worker has stopped beginning jobs.
    """

    def __init__(
        self,
        *,
        engine: Transcriber,
        failures: Failures,
        checkpoints: CheckpointStore,
        options: Options,
        draining: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._failures = failures
        self._checkpoints = checkpoints
        self._options = options
        self._draining = draining

    def submit(self, task: Task) -> None:
        """Hand the job's file to the engine; `task.submission` is its way through it.

        Raises:
            LeaseLost: the lease is lost.
            Interrupted: the worker stops.
            EngineError: the engine is broken.
            JobError: the engine can't do what is asked, or the output is forbidden.
            TransientError: what must be written first can't be written now.
        """
        task.ensure_may_begin(self._draining())
        if task.is_last_delivery:
            task.foretold = True
            self._failures.foretell(FailedJob.of(task))
        if records.needs_mark(task.message.receive_count, task.record):
            self._checkpoints.save(task, task.record.begun(task.run))
            task.marked = True
        job = task.job
        resume = self._checkpoints.windows(task)
        task.submission = self._engine.submit(
            task.input_file,
            engine_options(job, self._options),
            name=job.job_id,
            resume=resume,
            alone=task.run is Run.ALONE,
            scratch=task.folder,
        )
        log.info(
            "job.started",
            message="Job handed to the engine",
            job_id=job.job_id,
            message_id=task.message.message_id,
            bytes=task.size,
            receive_count=task.message.receive_count,
            windows_kept=resume.finished if resume else 0,
        )
