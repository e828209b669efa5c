"""What is kept of a job that fails for good: error.json, a dead letter, a notice.

The dead letter is sent first, and `error.json` carries the message's id. So where an error.json
names a message, the copy of that message was made too. A message may be delivered once more after
that, for another of its jobs or because it could not be deleted; then a job that has its error
already gets no second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from worker.aws.notices import Notice, Notices
from worker.aws.queue import Message
from worker.aws.results import UNKNOWN, Present, ResultStore, result_metadata
from worker.aws.source import Source
from worker.errors import ErrorCode, JobError
from worker.jobs.message import Rejected
from worker.logs import get_logger
from worker.pipeline.task import Held, Task
from worker.results.names import ERROR
from worker.results.transcript import ErrorDocument
from worker.uris import ResultPlace

log = get_logger(__name__)

_ANSWERED_MESSAGE = "message-id"
"""Metadata key of an error.json that answers a job of this message for good."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """The job that fails, or the message that holds no job at all.

    Attributes:
        message: the delivery that brought the job, or that is no job at all.
        source: where that message came from.
        job_id: the job's id, or the one it would have had.
        input: the input's URI; empty where none is known.
        place: where error.json belongs; None where that is not known.
        metadata: what the sender wants to find in the answer.
        object_metadata: of the S3 objects written for it.
        notify: where its notice goes instead of the worker's own target.
    """

    message: Message
    source: Source
    job_id: str
    input: str
    place: ResultPlace | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    object_metadata: Mapping[str, str] = field(default_factory=dict)
    notify: str | None = None

    @classmethod
    def of(cls, task: Task) -> Self:
        """From a job on its way."""
        job = task.job
        return cls(
            message=task.message,
            source=task.source,
            job_id=job.job_id,
            input=str(job.input),
            place=job.place,
            metadata=job.metadata,
            object_metadata=task.object_metadata,
            notify=job.notify,
        )

    @classmethod
    def rejected(cls, held: Held, rejected: Rejected) -> Self:
        """From a message, or one job of it, that is wrong from the start."""
        job_id = rejected.job_id or held.message.origin_id
        return cls(
            message=held.message,
            source=held.source,
            job_id=job_id,
            input=rejected.input,
            place=rejected.output.place(job_id) if rejected.output else None,
            metadata=rejected.metadata,
            object_metadata=result_metadata(job_id=job_id, input_uri=rejected.input),
        )

    @property
    def error_uri(self) -> str | None:
        """Where its error.json is or would be."""
        return self.place.uri(ERROR) if self.place else None


class Failures:
    """Keeps failures. Callable from any thread.

    Args:
        results: where error.json goes.
        notices: sent for each.
    """

    def __init__(self, results: ResultStore, notices: Notices) -> None:
        self._results = results
        self._notices = notices

    def answered_before(self, job: FailedJob, present: Present = UNKNOWN) -> bool:
        """Whether an earlier delivery of this message has answered the job with an error.

        Then there is nothing to add, but its notice may not have been sent: it is sent again.

        Args:
            job: the job, or what is wrong from the start.
            present: what lies at its place.

        Raises:
            TransientError: S3 gives no usable answer now.
        """
        message = job.message
        if message.receive_count < 2 or job.place is None:
            return False
        try:
            found = self._results.error(job.place, present)
        except JobError:
            return False  # it can't be read; what is wrong shows when it is written
        if found is None or found.metadata.get(_ANSWERED_MESSAGE) != message.message_id:
            return False
        log.info(
            "job.failed_before",
            message="The job has its error already; nothing to do",
            job_id=job.job_id,
            message_id=message.message_id,
        )
        self._send_notice(job, written=True, code=None)
        return True

    def keep(self, job: FailedJob, error: JobError) -> bool:
        """Keep a failure wherever it can be kept.

        Returns:
            False if there is no place for it at all: then the message must not be deleted.

        Raises:
            TransientError: it can't be kept now; the message must not be deleted either.
        """
        message, code = job.message, error.code.value
        copied = job.source.dead_letter(message, job_id=job.job_id, code=code, reason=error.message)
        written = self._write(
            job, error, {**job.object_metadata, _ANSWERED_MESSAGE: message.message_id}
        )
        if not (written or copied):
            log.error(
                "job.failure_unkept",
                message="A failure can be kept nowhere (no dead-letter queue, and no place for "
                "its error.json); the message stays on the queue",
                job_id=job.job_id,
                message_id=message.message_id,
                code=code,
            )
            return False
        log.warning(
            "job.failed",
            message=f"The job failed: {error.message}",
            job_id=job.job_id,
            message_id=message.message_id,
            code=code,
            attempts=message.receive_count,
        )
        self._send_notice(job, written=written, code=code)
        return True

    def foretell(self, job: FailedJob) -> None:
        """Write error.json before a job's last run, because nobody could after a death in it.

        A success of that run removes it again.

        Raises:
            TransientError: it can't be written now.
        """
        error = JobError(
            ErrorCode.TOO_MANY_ATTEMPTS,
            f"this is the last of {job.message.receive_count} deliveries that the queue "
            "allows; if no transcript takes the place of this file, the worker died in it too",
        )
        self._write(job, error, job.object_metadata)

    def _write(self, job: FailedJob, error: JobError, metadata: Mapping[str, str]) -> bool:
        """Write error.json; False if there is no place that ever takes it."""
        if job.place is None:
            return False
        document = ErrorDocument(
            job_id=job.job_id,
            input=job.input,
            code=error.code.value,
            message=error.message,
            attempts=job.message.receive_count,
            failed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            metadata=dict(job.metadata),
        )
        try:
            self._results.put_error(job.place, document.model_dump_json().encode(), metadata)
        except JobError as refused:
            log.warning(
                "job.error_unwritten",
                message=f"error.json could not be written: {refused.message}",
                job_id=job.job_id,
                code=refused.code.value,
            )
            return False
        return True

    def _send_notice(self, job: FailedJob, *, written: bool, code: str | None) -> None:
        notice = Notice(
            job_id=job.job_id,
            status="failed",
            input=job.input,
            result=job.error_uri if written else None,
            code=code,
        )
        self._notices.send(notice, target=job.notify)
