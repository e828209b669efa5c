"""Tell a topic or a queue that a job is answered, and where its result lies.

A notice is sent after the result exists and before the message is deleted: a worker that
dies in between leaves the message, and the next one sends the notice. So a notice may come
twice, and readers go by its job_id. A notice that can't be sent is logged, and the result
stands: nothing here raises on a job's way.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.aws.faults import AWS_ERRORS, describe
from worker.aws.sqs import is_fifo
from worker.errors import SettingsError
from worker.logs import get_logger

if TYPE_CHECKING:
    from worker.aws.clients import Clients

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told: JSON with these fields, None ones left out.

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
        """The notice as JSON; no text of the transcript, no metadata of the job."""
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
    """The target, if notices can be sent to something that looks like it.

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


class Notices:
    """Sends notices, if anybody asked for them.

    Args:
        clients: boto3 clients.
        target: SNS topic ARN or SQS queue URL for every job; None for none.
    """

    def __init__(self, clients: Clients, target: str | None) -> None:
        self._clients = clients
        self._target = check_target(target) if target else None

    def send(self, notice: Notice, *, target: str | None = None) -> bool:
        """Send one; `target` instead of the worker's own. False: not sent (logged if asked)."""
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
        extra: dict[str, Any] = {}
        if is_fifo(to):
            # Same result, same notice: one that comes twice within minutes is dropped there.
            key = "\0".join((notice.job_id, notice.status, notice.result or ""))
            extra = {
                "MessageGroupId": notice.job_id,
                "MessageDeduplicationId": hashlib.sha256(key.encode()).hexdigest(),
            }
        if is_topic(to):
            self._clients.sns.publish(TopicArn=to, Message=body, **extra)
        else:
            self._clients.sqs.send_message(QueueUrl=to, MessageBody=body, **extra)
