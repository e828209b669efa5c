"""Dead letters: a copy of each message that failed for good, with the reason.

SQS moves a message to the dead-letter queue by itself only after it has been received many
times, and without a word. The worker copies a message there as soon as it knows that a job in
it can't succeed, with attributes that say which job failed and why.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from worker.aws.faults import AWS_ERRORS, call_with_retries, describe
from worker.aws.queue import ORIGIN_ATTRIBUTE, Message, Queue, queue_attributes
from worker.aws.sqs import is_fifo
from worker.errors import SettingsError, TransientError
from worker.logs import get_logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

__all__ = ["DeadLetters", "dead_letter_entry"]

log = get_logger(__name__)

_DEFAULT_MAX_MESSAGE_BYTES = 262_144
"""What every queue takes, unless somebody set it lower (newer ones take 1 MiB)."""
_MAX_REASON_CHARACTERS = 1024
_MAX_NAME_CHARACTERS = 128
_REASON_FLOOR_CHARACTERS = 64
"""A reason is cut down to this before a body is cut at all."""
# What SQS allows in bodies and string attributes: XML 1.0's characters.
_NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class DeadLetters:
    """Copies failed messages of one queue to its dead-letter queue. Callable from any thread.

    Args:
        client: with short time-outs.
        queue: the one that the messages came from; it knows its dead-letter queue.
        sleep: waits that many seconds between attempts.
    """

    def __init__(
        self, client: SQSClient, queue: Queue, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._queue = queue
        self._sleep = sleep
        self._max_bytes: int | None = None

    def send(self, message: Message, *, job_id: str | None, code: str, reason: str) -> bool:
        """Copy a message to the dead-letter queue, with the reason (see `dead_letter_entry`).

        If SQS's answer gets lost, the copy is sent again: there may be two.

        Returns:
            Whether there is a copy; False where there is no dead-letter queue.

        Raises:
            TransientError: there is no copy, whatever the cause. Don't delete the message: the
                redrive policy keeps it in the end.
        """
        try:
            url = self._queue.describe().dead_letter_url
            if url is None:
                log.error(
                    "queue.no_dead_letter",
                    message="A failed message is not kept: there is no dead-letter queue",
                    message_id=message.message_id,
                    job_id=job_id,
                    code=code,
                )
                return False
            entry = dead_letter_entry(
                message,
                job_id=job_id,
                code=code,
                reason=reason,
                max_bytes=self._limit(url),
                fifo=is_fifo(url),
            )
            call_with_retries(
                lambda: self._send(url, entry),
                "copy a message to its dead-letter queue",
                sleep=self._sleep,
            )
        except (*AWS_ERRORS, SettingsError) as error:
            raise TransientError(
                "could not copy a message to its dead-letter queue: "
                + (str(error) if isinstance(error, SettingsError) else describe(error))
            ) from error
        return True

    def _send(self, url: str, entry: Mapping[str, Any]) -> None:
        answer = self._client.send_message(QueueUrl=url, **entry)
        if not answer.get("MessageId"):
            raise ConnectionError("the answer was cut off")

    def _limit(self, url: str) -> int:
        """Bytes that the dead-letter queue takes; the usual limit if it can't be asked."""
        if self._max_bytes is None:
            limit = _DEFAULT_MAX_MESSAGE_BYTES
            try:
                attributes = queue_attributes(
                    self._client, url, ["MaximumMessageSize"], sleep=self._sleep
                )
                limit = int(attributes["MaximumMessageSize"])
            except (SettingsError, KeyError) as error:
                log.warning(
                    "queue.dead_letter_unknown",
                    message=f"The dead-letter queue does not say its limit; {limit} is assumed",
                    error=str(error),
                )
            self._max_bytes = limit
        return self._max_bytes


def dead_letter_entry(
    message: Message, *, job_id: str | None, code: str, reason: str, max_bytes: int, fifo: bool
) -> dict[str, Any]:
    """The arguments of SendMessage for a failed message's copy (pure).

    The copy has the original body and four string attributes: `job_id` (the message's origin id
    where no job id is known), `code`, `reason`, and `message_id`, the origin id, so that the
    default job ids stay the same if the copy is sent back to the queue. Characters that SQS
    refuses become U+FFFD. The reason is cut to 1024 characters, the other attributes to 128.

    Body and attributes together may not exceed the queue's limit. If they do, the reason is cut
    first, to 64 characters at least, so that the body stays whole and can be sent back. If that
    isn't enough, the body is cut, between characters, and the attribute `original_bytes` gives
    its full length in UTF-8.

    Args:
        message: what failed.
        job_id: the job that failed; None if not known.
        code: why, for programs.
        reason: why, for people.
        max_bytes: the queue's limit on body and attributes together.
        fifo: whether the queue needs a group and a deduplication id.

    Returns:
        Everything but the queue's URL.
    """
    origin = message.origin_id or message.message_id
    texts = {
        "job_id": _attribute_text(job_id or origin, _MAX_NAME_CHARACTERS),
        "code": _attribute_text(code, _MAX_NAME_CHARACTERS),
        "reason": _attribute_text(reason, _MAX_REASON_CHARACTERS),
        ORIGIN_ATTRIBUTE: _attribute_text(origin, _MAX_NAME_CHARACTERS),
    }
    body = _NOT_ALLOWED.sub("\ufffd", message.body)
    over = _bytes(body) + _attributes_bytes(texts) - max_bytes
    if over > 0:
        reason_bytes = max(_bytes(texts["reason"]) - over, _REASON_FLOOR_CHARACTERS)
        texts["reason"] = _cut(texts["reason"], reason_bytes)
    if _bytes(body) + _attributes_bytes(texts) > max_bytes:
        texts["original_bytes"] = str(_bytes(body))
        body = _cut(body, max_bytes - _attributes_bytes(texts))
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        name: {"DataType": "String", "StringValue": text} for name, text in texts.items()
    }
    entry: dict[str, Any] = {"MessageBody": body, "MessageAttributes": attributes}
    if fifo:
        identity = "\0".join((message.message_id, texts["job_id"], texts["code"]))
        entry["MessageGroupId"] = message.group_id or origin
        entry["MessageDeduplicationId"] = hashlib.sha256(identity.encode()).hexdigest()
    return entry


def _attribute_text(text: str, characters: int) -> str:
    """`text` as SQS takes it for an attribute: allowed characters, cut, never empty."""
    return _NOT_ALLOWED.sub("\ufffd", text)[:characters] or "-"


def _bytes(text: str) -> int:
    return len(text.encode())


def _attributes_bytes(texts: Mapping[str, str]) -> int:
    """What attributes add to a message's size: name, type and value."""
    return sum(_bytes(name) + len("String") + _bytes(text) for name, text in texts.items())


def _cut(text: str, max_bytes: int) -> str:
    """The longest start of `text` that has at most `max_bytes` in UTF-8."""
    return text.encode()[: max(max_bytes, 0)].decode(errors="ignore")
