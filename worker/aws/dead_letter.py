"""Dead letters: a copy of each message that failed for good, with why it failed."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from worker.aws.faults import AWS_ERRORS, describe, ride_out
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
    """The dead-letter queue of one queue. Callable from any thread.

    Args:
        client: with short time-outs.
        queue: whose failed messages are kept; it knows where.
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
        """Copy a message to the dead-letter queue, with why it failed (see `dead_letter_entry`).

        A copy whose answer got lost is sent again: there may be two of it.

        Returns:
            Whether there is a copy; False where there is no dead-letter queue.

        Raises:
            TransientError: it could not be kept, whatever the cause. Don't delete the message:
                the redrive policy will keep it in the end.
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
            ride_out(
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
        """The dead-letter queue's MaximumMessageSize; the common one if it may not be asked."""
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

    The copy has the original body and string attributes `job_id` (the message's origin where
    no job id is known), `code`, `reason` and `message_id` (its origin, so that a copy which is
    sent back keeps its default job ids). Characters that SQS refuses become U+FFFD, and the
    reason ends after 1024 characters, the rest after 128.

    Body and attributes share the queue's limit. Where they don't fit, the reason is cut first,
    down to 64 characters, so that the body stays whole and can be sent back; only a body that
    leaves no room for that is cut, between characters, with its length in UTF-8 in attribute
    `original_bytes`.

    Args:
        message: what failed.
        job_id: the job that failed, if known.
        code: why, for programs.
        reason: why, for a person.
        max_bytes: the queue's limit on body and attributes together.
        fifo: the queue wants a group and a deduplication id.
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
    """`text` as a string attribute: allowed characters, bounded, never empty (SQS refuses '')."""
    return _NOT_ALLOWED.sub("\ufffd", text)[:characters] or "-"


def _bytes(text: str) -> int:
    return len(text.encode())


def _attributes_bytes(texts: Mapping[str, str]) -> int:
    """What attributes count for in a message's size: name, type and value."""
    return sum(_bytes(name) + len("String") + _bytes(text) for name, text in texts.items())


def _cut(text: str, max_bytes: int) -> str:
    """The longest beginning of `text` that has at most `max_bytes` in UTF-8."""
    return text.encode()[: max(max_bytes, 0)].decode(errors="ignore")
