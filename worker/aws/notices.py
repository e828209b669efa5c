"""Notices: a short message to an SNS topic or an SQS queue when a job has its answer.

A notice is sent after the result exists and before the job's message is deleted: if the worker
dies in between, the message is delivered again and the next worker sends the notice. So a
notice may come twice; readers compare job ids. A notice that can't be sent is only logged: the
job has its result all the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.aws.faults import AWS_ERRORS, describe
from worker.aws.sqs import fifo_id, is_fifo
from worker.errors import SettingsError
from worker.logs import get_logger

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["Notice", "Notices", "check_target", "fifo_fields", "is_topic"]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice says: JSON with these fields, without those that are None.

    Attributes:
        job_id: the job.
        status: completed or failed.
        input: the job's input URI.
        result: the URI of transcript.json or error.json.
        code: of a failure, as in error.json.
        audio_seconds: of a completed job, where this worker knows it.
    """

    job_id: str
    status: str
    input: str
    result: str | None
    code: str | None = None
    audio_seconds: float | None = None

    def body(self) -> str:
        """The notice as JSON. It holds no text of the transcript and no metadata of the job."""
        fields: dict[str, Any] = {
            "schema_version": 1,
            "job_id": self.job_id,
            "status": self.status,
            "input": self.input,
            "result": self.result,
            "code": self.code,
            "audio_seconds": self.audio_seconds,
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None})


def is_topic(target: str) -> bool:
    """Whether `target` is an SNS topic ARN (else it must be an SQS queue URL)."""
    return target.startswith("arn:") and ":sns:" in target


def check_target(target: str) -> str:
    """Return `target` if it looks like something that notices can be sent to.

    Raises:
        SettingsError: it is neither a topic's ARN nor a queue's URL.
    """
    if is_topic(target):
        return target
    parts = urlsplit(target)
    if parts.scheme in ("http", "https") and parts.netloc and parts.path.strip("/"):
        return target
    raise SettingsError(
        f"notify_url = {target!r} is neither an SNS topic ARN (arn:aws:sns:...) nor an SQS "
        "queue URL (https://sqs...)"
    )


def fifo_fields(notice: Notice) -> dict[str, str]:
    """What a FIFO queue or topic wants besides the body (pure).

    The same result has the same deduplication id, so a notice that is sent twice within five
    minutes is delivered once. Each job is a group of its own: jobs don't wait for one another.
    """
    named = "\0".join((notice.job_id, notice.status, notice.result or ""))
    return {
        "MessageGroupId": fifo_id(notice.job_id),
        "MessageDeduplicationId": hashlib.sha256(named.encode()).hexdigest(),
    }


class Notices:
    """Sends notices. Callable from any thread.

    Args:
        clients: boto3 clients.
        target: SNS topic ARN or SQS queue URL for the notices of every job; None: no notices,
            unless a job names a target of its own.

    Raises:
        SettingsError: `target` is neither.
    """

    def __init__(self, clients: Clients, target: str | None) -> None:
        self._clients = clients
        self._target = check_target(target) if target else None

    def send(self, notice: Notice, *, target: str | None = None) -> bool:
        """Send one notice.

        Args:
            notice: what to send.
            target: where, instead of the worker's own target.

        Returns:
            Whether it was sent. False without a target, or after a failure, which is logged.
        """
        to = target or self._target
        if to is None:
            return False
        try:
            self._publish(to, notice)
        except AWS_ERRORS as error:
            log.warning(
                "notice.failed",
                message="The notice of a result could not be sent; the result stands",
                job_id=notice.job_id,
                error=describe(error),
            )
            return False
        log.debug("notice.sent", message="Notice of a result sent", job_id=notice.job_id)
        return True

    def _publish(self, to: str, notice: Notice) -> None:
        body = notice.body()
        extra: dict[str, Any] = fifo_fields(notice) if is_fifo(to) else {}
        if is_topic(to):
            self._clients.sns.publish(TopicArn=to, Message=body, **extra)
        else:
            self._clients.sqs.send_message(QueueUrl=to, MessageBody=body, **extra)
