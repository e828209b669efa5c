"""Fetches a job: does it need a run at all? Download its input, and decide how it may run."""

from __future__ import annotations

from collections.abc import Callable

from worker.aws.results import ResultStore
from worker.errors import ErrorCode, JobError
from worker.jobs.inputs import InputUri
from worker.jobs.message import Job
from worker.logs import get_logger
from worker.pipeline import record as records
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.checkpoint_store import CheckpointStore
from worker.pipeline.commit import Commit
from worker.pipeline.failures import FailedJob, Failures
from worker.pipeline.inputs import Inputs
from worker.pipeline.record import Run
from worker.pipeline.task import Task
from worker.pipeline.workdir import WorkDir
from worker.results import names

__all__ = ["Fetch"]

log = get_logger(__name__)


class Fetch:
    """Fetches jobs. Callable from any thread, for different jobs at the same time.

    Args:
        inputs: where files are fetched.
        results: asked for results that are there already.
        failures: asked whether the job has failed already.
        checkpoints: asked for the record of earlier runs.
        commit: answers a job that has its result already.
        work: where fetched files go.
        max_input_bytes: largest input that is fetched.
        max_failures: recorded failures after which a job is given up.
        draining: whether the worker has stopped beginning jobs.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        inputs: Inputs[InputUri],
        results: ResultStore,
        failures: Failures,
        checkpoints: CheckpointStore,
        commit: Commit,
        work: WorkDir,
        max_input_bytes: int,
        max_failures: int,
        draining: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._inputs = inputs
        self._results = results
        self._failures = failures
        self._checkpoints = checkpoints
        self._commit = commit
        self._work = work
        self._max_input_bytes = max_input_bytes
        self._max_failures = max_failures
        self._draining = draining
        self._clock = clock

    def fetch(self, task: Task) -> Outcome | None:
        """Bring the job's file into a folder of its own.

        Returns:
            None if the job is ready for the engine, else the answer that it has already.

        Raises:
            LeaseLost: the lease is lost.
            Interrupted: the worker stops.
            JobError: the job fails for good; among other causes, it is given up for its record.
            TransientError: it may go better later.
        """
        task.ensure_may_begin(self._draining())
        task.began = self._clock()
        answered = self._answered(task)
        if answered is not None:
            return answered
        self._download(task)
        self._judge(task)
        return None

    def _answered(self, task: Task) -> Outcome | None:
        """The answer of a job that needs no run."""
        job = task.job
        task.present = self._results.present(job.place)
        committed = self._results.committed(job.place, task.present)
        if committed is not None:
            return self._commit.already(task, committed, task.present)
        if self._failures.answered_before(FailedJob.of(task), task.present):
            return Outcome(Answer.FAILED)
        if job.from_event:
            reason = self._reason_to_drop(job)
            if reason is not None:
                log.info("job.dropped", message=f"No job: {reason}", job_id=job.job_id)
                return Outcome(Answer.DROPPED)
        return None

    def _reason_to_drop(self, job: Job) -> str | None:
        """Why the object of an event makes no job, if it is one of the worker's own."""
        found = self._inputs.head(job.input, version_id=job.version_id)
        if found is not None:
            return "the worker wrote this object" if found.ours else None
        # Some of what the worker writes is gone again before an event about it arrives.
        if job.input.name in names.WRITTEN:
            return "the object is gone, and by its name the worker wrote it"
        return None  # the download says what is wrong

    def _download(self, task: Task) -> None:
        job = task.job
        task.folder = self._work.new()
        fetched = self._inputs.fetch(
            job.input,
            task.input_file,
            etag=job.etag,
            version_id=job.version_id,
            max_bytes=self._max_input_bytes,
            check=lambda: task.ensure_may_begin(self._draining()),
        )
        task.fetch_seconds = self._clock() - task.began
        task.etag, task.size = fetched.etag, fetched.bytes

    def _judge(self, task: Task) -> None:
        """Decide by the record of earlier runs how the job may run.

        Raises:
            JobError: TOO_MANY_ATTEMPTS; it may not run again.
        """
        task.checkpoint = self._checkpoints.load(task)
        if task.checkpoint is not None:
            task.record = task.checkpoint.record.found()
        task.run = records.judge(task.record, max_failures=self._max_failures)
        if task.run is Run.GIVE_UP:
            failure = task.checkpoint.last_failure if task.checkpoint else None
            raise JobError(
                ErrorCode.TOO_MANY_ATTEMPTS,
                f"the job is given up after {task.message.receive_count} deliveries, "
                f"{task.record.failures} failures of its own and {task.record.deaths} deaths of "
                f"workers that had only this job; the last failure: {failure or 'such a death'}",
            )
        if task.run is Run.ALONE:
            log.warning(
                "job.suspect",
                message="A worker died while it had this job; it runs alone",
                job_id=task.job.job_id,
                failures=task.record.failures,
                deaths=task.record.deaths,
            )
