"""Every ending but success: what went wrong becomes the job's answer.

| what ended the job | answer | what is kept |
|---|---|---|
| the lease is lost | LOST | nothing is touched: the job is another worker's |
| the worker stops | RELEASED | finished windows |
| the engine broke | RELEASED | windows; a redelivered job becomes a suspect |
| a failure that may be temporary | RELEASED, with a growing delay | windows, the last failure |
| a defect of the worker | RELEASED, FAILED after some | a failure in the job's record |
| a failure for good | FAILED | error.json and a dead letter; windows, where they may be used |

On the last delivery that the queue allows, RELEASED becomes FAILED: the redrive policy would take
the message away, and whoever waits for a result would hear nothing.
"""

from __future__ import annotations

from worker import retry
from worker.aws.queue import Message
from worker.errors import (
    EngineError,
    ErrorCode,
    Interrupted,
    JobError,
    LeaseLost,
    TransientError,
)
from worker.jobs.message import Rejected
from worker.logs import get_logger
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.checkpoint_store import CheckpointStore
from worker.pipeline.failures import FailedJob, Failures
from worker.pipeline.record import Record
from worker.pipeline.task import Held, Task
from worker.redact import location, summary

__all__ = ["Endings"]

log = get_logger(__name__)

_OURS = frozenset({ErrorCode.ENGINE_FAILED, ErrorCode.OUT_OF_MEMORY, ErrorCode.DIARIZATION_FAILED})
"""A job that fails for good with one of these may be as good as any: the engine could not do it."""

_WORTH_SENDING_AGAIN = frozenset({ErrorCode.TOO_MANY_ATTEMPTS, ErrorCode.DIARIZATION_FAILED})
"""Who sends a job again after one of these may expect another end: its windows stay."""

_NEVER_KEPT_SECONDS = retry.MAX_RELEASE_SECONDS
"""How long a failed message rests if neither its error nor a copy can be kept anywhere."""


class Endings:
    """Ends jobs. No method raises. Callable from any thread, for different jobs at a time.

    Args:
        failures: keeps what fails for good.
        checkpoints: keeps windows and records.
        max_failures: recorded failures after which a job is given up.
    """

    def __init__(
        self, *, failures: Failures, checkpoints: CheckpointStore, max_failures: int
    ) -> None:
        self._failures = failures
        self._checkpoints = checkpoints
        self._max_failures = max_failures

    def end(self, task: Task, error: Exception) -> Outcome:
        """Answer a job by what went wrong with it."""
        try:
            return self._end(task, error)
        except LeaseLost:
            return self.lost(task)
        except Exception as second:  # noqa: BLE001  # every job gets an answer
            return _unwritten(task.message, task.job.job_id, second)

    def broken(self, task: Task) -> Outcome:
        """The engine broke while the job was in it: note that, release the job."""
        try:
            # A first delivery leaves no trace, exactly as if the process had died: if one job
            # broke the engine, the others that were in it need not run alone for that.
            return self._release(
                task,
                task.record.broke(task.run) if task.marked else task.record,
                failure="the engine broke while the job was in it",
                event="job.engine_broke",
                message="The engine broke while this job was in it; the job is released",
            )
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self.end(task, error)

    def lost(self, task: Task) -> Outcome:
        """The lease is lost: stop, commit nothing, leave everything as it is."""
        task.cancel()
        log.warning(
            "job.lost",
            message="The lease of this job's message was lost; another worker may have it",
            job_id=task.job.job_id,
            message_id=task.message.message_id,
        )
        return Outcome(Answer.LOST, ours=True)

    def reject(self, held: Held, rejected: Rejected) -> Outcome:
        """Answer a message, or one job of it, that is wrong from the start."""
        job = FailedJob.rejected(held, rejected)
        try:
            held.lease.ensure()
            kept = self._failures.answered_before(job) or self._failures.keep(job, rejected.error)
        except LeaseLost:
            return Outcome(Answer.LOST, ours=True)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return _unwritten(held.message, job.job_id, error)
        return Outcome(Answer.FAILED) if kept else Outcome(Answer.RELEASED, _NEVER_KEPT_SECONDS)

    def _end(self, task: Task, error: Exception) -> Outcome:
        match error:
            case LeaseLost():
                return self.lost(task)
            case Interrupted():
                return self._release(
                    task,
                    task.record.ended(),
                    event="job.interrupted",
                    message="The worker stops before this job is done; the job is released",
                )
            case EngineError():  # it broke before it took the job
                return self._release(
                    task,
                    task.record.ended(),
                    event="job.engine_broke",
                    message="The engine is broken; the job is released",
                )
            case JobError():
                return self._fail(task, error, ours=error.code in _OURS)
            case TransientError() | OSError():
                return self._release(
                    task,
                    task.record.ended(),
                    delay=retry.release_seconds(task.message.receive_count),
                    failure=summary(error),
                    event="job.released",
                    message=f"The job will be tried again: {summary(error)}",
                )
            case _:
                return self._defect(task, error)

    def _defect(self, task: Task, error: Exception) -> Outcome:
        """The worker itself failed on this job: record a failure, try it again alone."""
        log.error(
            "job.defect",
            message=f"The worker failed on this job: {summary(error)}",
            job_id=task.job.job_id,
            where=location(error),
        )
        record = task.record.failed()
        if record.failures >= self._max_failures:
            return self._fail(
                task,
                JobError(
                    ErrorCode.TOO_MANY_ATTEMPTS,
                    f"the job failed {record.failures} times, the last time with {summary(error)}",
                ),
                ours=True,
            )
        return self._release(
            task,
            record,
            delay=retry.release_seconds(task.message.receive_count),
            failure=summary(error),
            event="job.released",
            message="The job will be tried again, alone",
        )

    def _release(
        self,
        task: Task,
        record: Record,
        *,
        event: str,
        message: str,
        delay: int = 0,
        failure: str | None = None,
    ) -> Outcome:
        """Release the job for another delivery, with what is worth keeping of this run.

        On the last delivery it fails instead. With a `failure`, that is ours.
        """
        count = task.message.receive_count
        if task.is_last_delivery:
            why = failure or "the worker was stopped before it was done"
            return self._fail(
                task,
                JobError(
                    ErrorCode.TOO_MANY_ATTEMPTS,
                    f"the job was not done in {count} deliveries, which is all that the queue "
                    f"allows; the last time {why}",
                ),
                ours=failure is not None,
            )
        self._save(task, record, failure)
        task.cancel()
        log.info(
            event,
            message=message,
            job_id=task.job.job_id,
            message_id=task.message.message_id,
            receive_count=count,
            delay_seconds=delay,
        )
        return Outcome(Answer.RELEASED, delay, ours=failure is not None)

    def _fail(self, task: Task, error: JobError, *, ours: bool) -> Outcome:
        """The job fails for good: keep the reason, then let the message go."""
        task.lease.ensure()
        if not self._failures.keep(FailedJob.of(task), error):
            return Outcome(Answer.RELEASED, _NEVER_KEPT_SECONDS, ours=ours)
        if error.code in _WORTH_SENDING_AGAIN:
            # Who sends the job again means it: its record goes.
            self._save(task, task.record.forgiven())
        elif task.checkpoint is not None or task.marked:
            self._delete(task)
        task.cancel()
        return Outcome(Answer.FAILED, ours=ours)

    def _save(self, task: Task, record: Record, failure: str | None = None) -> None:
        """Store the checkpoint, or remove one that is worth nothing. Its loss costs only time."""
        if not task.etag:
            return  # not fetched yet: nothing is known, and no mark was written
        task.lease.ensure()
        try:
            self._checkpoints.save(task, record, failure)
        except (TransientError, JobError) as error:
            _warn_of_checkpoint(task, f"The checkpoint could not be written: {error}")

    def _delete(self, task: Task) -> None:
        try:
            self._checkpoints.delete(task)
        except (TransientError, JobError) as error:
            _warn_of_checkpoint(task, f"The checkpoint could not be removed: {error}")


def _warn_of_checkpoint(task: Task, message: str) -> None:
    log.warning("job.checkpoint_failed", message=message, job_id=task.job.job_id)


def _unwritten(message: Message, job_id: str, error: Exception) -> Outcome:
    """Even the end failed: the message is delivered again, and everything is tried again."""
    level = log.warning if isinstance(error, TransientError | OSError) else log.error
    level(
        "job.answer_failed",
        message=f"The job's end could not be written down; it comes again: {summary(error)}",
        job_id=job_id,
        message_id=message.message_id,
        where=location(error),
    )
    return Outcome(Answer.RELEASED, retry.release_seconds(message.receive_count), ours=True)
