"""What is kept of a job that fails for good: error.json, a dead letter, a notice.

The dead letter is sent first and `error.json` carries the message's id, so that where this
message's error.json lies, its copy was made too: a message that is delivered once more, for
another of its jobs or because it could not be deleted, adds nothing to an answer it has given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from worker.aws.notices import Notice, Notices
from worker.aws.queue import Message
from worker.aws.results import ResultStore
from worker.aws.source import Source
from worker.errors import ErrorCode, JobError
from worker.logs import get_logger
from worker.results.names import ERROR
from worker.results.transcript import ErrorDocument
from worker.uris import ResultPlace

log = get_logger(__name__)

_ANSWERED_MESSAGE = "message-id"
"""Metadata key of an error.json that answers a job of this message for good."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose failure it is.

    Attributes:
        message: the delivery that brought the job, or that is no job at all.
        source: where that message came from.
        job_id: the job's id, or the one it would have had.
        input: the input's URI; empty where none is known.
        place: where error.json belongs; None where that is not known.
        metadata: the sender's, echoed.
        object_metadata: of the objects written for it.
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

    @property
    def error_uri(self) -> str | None:
        """Where its error.json is or would be."""
        return self.place.uri(ERROR) if self.place else None


class Failures:
    """Keeps failures. Callable from any thread.

    Args:
        results: where error.json goes.
        notices: told of each.
    """

    def __init__(self, results: ResultStore, notices: Notices) -> None:
        self._results = results
        self._notices = notices

    def answered_before(self, subject: Subject) -> bool:
        """Whether an earlier delivery of this message has answered the job with an error.

        Then there is nothing to add, but its notice may not have been sent: it is sent again.

        Raises:
            TransientError: that can't be told now.
        """
        message = subject.message
        if message.receive_count < 2 or subject.place is None:
            return False
        try:
            found = self._results.error(subject.place)
        except JobError:
            return False  # it can't be read; what is wrong shows when it is written
        if found is None or found.metadata.get(_ANSWERED_MESSAGE) != message.message_id:
            return False
        log.info(
            "job.failed_before",
            message="The job has its error already; nothing to do",
            job_id=subject.job_id,
            message_id=message.message_id,
        )
        self._tell(subject, written=True, code=None)
        return True

    def keep(self, subject: Subject, error: JobError) -> bool:
        """Keep a failure wherever it can be kept.

        Returns:
            False if there is no place for it at all: then the message must not be deleted.

        Raises:
            TransientError: it can't be kept now; the message must not be deleted either.
        """
        message, code = subject.message, error.code.value
        copied = subject.source.dead_letter(
            message, job_id=subject.job_id, code=code, reason=error.message
        )
        written = self._write(
            subject, error, {**subject.object_metadata, _ANSWERED_MESSAGE: message.message_id}
        )
        if not (written or copied):
            log.error(
                "job.failure_unkept",
                message="A failure can be kept nowhere (no dead-letter queue, and no place for "
                "its error.json); the message stays on the queue",
                job_id=subject.job_id,
                message_id=message.message_id,
                code=code,
            )
            return False
        log.warning(
            "job.failed",
            message=f"The job failed: {error.message}",
            job_id=subject.job_id,
            message_id=message.message_id,
            code=code,
            attempts=message.receive_count,
        )
        self._tell(subject, written=written, code=code)
        return True

    def foretell(self, subject: Subject) -> None:
        """Write error.json before a job's last run: if the worker dies in it, nobody else will.

        A success removes it again, as it does any error.json. Raises TransientError.
        """
        error = JobError(
            ErrorCode.TOO_MANY_ATTEMPTS,
            f"this is the last of {subject.message.receive_count} deliveries that the queue "
            "allows; if no transcript takes the place of this file, the worker died in it too",
        )
        self._write(subject, error, subject.object_metadata)

    def _write(self, subject: Subject, error: JobError, metadata: Mapping[str, str]) -> bool:
        """Write error.json; False if there is no place that ever takes it."""
        if subject.place is None:
            return False
        document = ErrorDocument(
            job_id=subject.job_id,
            input=subject.input,
            code=error.code.value,
            message=error.message,
            attempts=subject.message.receive_count,
            failed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            metadata=dict(subject.metadata),
        )
        try:
            self._results.put_error(subject.place, document.model_dump_json().encode(), metadata)
        except JobError as refused:
            log.warning(
                "job.error_unwritten",
                message=f"error.json could not be written: {refused.message}",
                job_id=subject.job_id,
                code=refused.code.value,
            )
            return False
        return True

    def _tell(self, subject: Subject, *, written: bool, code: str | None) -> None:
        notice = Notice(
            job_id=subject.job_id,
            status="failed",
            input=subject.input,
            result=subject.error_uri if written else None,
            code=code,
        )
        self._notices.send(notice, target=subject.notify)
