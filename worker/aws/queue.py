"""The queue: receive, delete, release, extend, dead-letter.

Batch calls succeed in part, so every entry is looked for in `Successful`, not only in
`Failed`: botocore takes a JSON response that was cut off for an empty one, in which nothing
failed.

Order in FIFO queues: SQS holds back a group's later messages while an earlier one is in
flight. `receive` therefore asks a FIFO queue for one message a call, so that no two of one
group are ever held; releasing a failed one then makes its group wait for it by itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker import retry
from worker.aws.faults import (
    AWS_ERRORS,
    Fault,
    classify,
    describe,
    ride_out,
    transient,
)
from worker.errors import SettingsError, TransientError
from worker.logs import get_logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        MessageTypeDef,
        ReceiveMessageRequestTypeDef,
    )

__all__ = [
    "BATCH_SIZE",
    "MAX_VISIBILITY_SECONDS",
    "MAX_WAIT_SECONDS",
    "Depth",
    "Extension",
    "Message",
    "Queue",
    "QueueInfo",
    "dead_letter_entry",
]

log = get_logger(__name__)

MAX_VISIBILITY_SECONDS = 43200
"""SQS: no message stays invisible for longer than twelve hours from its receive."""
MAX_WAIT_SECONDS = 20
"""SQS: the longest long poll."""
BATCH_SIZE = 10
"""SQS: entries in one batch call, messages in one receive."""
_DEFAULT_MAX_MESSAGE_BYTES = 262_144
"""What every queue takes, unless somebody set it lower (newer ones take 1 MiB)."""
_MAX_REASON_CHARACTERS = 1024
_MAX_NAME_CHARACTERS = 128
_REASON_FLOOR_CHARACTERS = 64
"""A reason is cut down to this before a body is cut at all."""
_ROUNDS = 4
_RETRY_SECONDS = 0.4
_MAX_RETRY_SECONDS = 5.0
_ORIGIN_ATTRIBUTE = "message_id"
_ORIGIN = re.compile(r"[A-Za-z0-9._-]{1,128}")
# A receipt that no longer holds its message. SQS says InvalidParameterValue for those whose
# message went to another receiver, and, in another sentence, for visibility over the ceiling.
_STALE_CODES = frozenset({"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"})
# What SQS allows in bodies and string attributes: XML 1.0's characters.
_NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message. Equal deliveries have equal receipts.

    Attributes:
        message_id: as SQS gave it.
        receipt_handle: names this delivery, not the message.
        body: as sent.
        receive_count: deliveries so far, with this one (SQS calls it approximate).
        sent_at: epoch seconds.
        group_id: FIFO message group.
        received_at: clock seconds when the receive call had ended.
        requested_at: clock seconds when it began; visibility runs from a moment between.
        origin_id: what job ids default to. The MessageId under which the message failed first
            where this is a copy that came back from the dead-letter queue (a copy has another
            MessageId; `Queue.dead_letter` keeps the first), else `message_id`.
        attributes: the sender's string attributes.
    """

    message_id: str
    receipt_handle: str
    body: str
    receive_count: int = 1
    sent_at: float = 0.0
    group_id: str | None = None
    received_at: float = 0.0
    requested_at: float = 0.0
    origin_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """What the queue says of itself; `max_receive_count` is None without a redrive policy."""

    max_receive_count: int | None
    dead_letter_url: str | None
    fifo: bool


@dataclass(frozen=True, slots=True)
class Depth:
    """Approximate numbers of messages."""

    visible: int
    in_flight: int
    delayed: int


@dataclass(frozen=True, slots=True)
class Extension:
    """What became of an attempt to extend: every message is in exactly one of the three.

    Attributes:
        confirmed: visible again only after the time asked for.
        lost: SQS refuses the receipt; somebody else may hold the message.
        failed: no answer, or one that may change; the old visibility may still run.
    """

    confirmed: tuple[Message, ...] = ()
    lost: tuple[Message, ...] = ()
    failed: tuple[Message, ...] = ()


class Queue:
    """One SQS queue. Callable from any thread.

    Args:
        client: for everything but receiving; short time-outs.
        url: the queue's URL.
        visibility_timeout: seconds for which a receive hides a message.
        dead_letter_url: instead of the one in the queue's redrive policy.
        poll_client: for ReceiveMessage, its read time-out above `MAX_WAIT_SECONDS`.
        clock: monotonic seconds, the same as the lease table's.
        sleep: waits that many seconds between attempts.
    """

    def __init__(
        self,
        client: SQSClient,
        url: str,
        *,
        visibility_timeout: int,
        dead_letter_url: str | None = None,
        poll_client: SQSClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._poll_client = poll_client or client
        self.url = url
        self.visibility_timeout = visibility_timeout
        self._dead_letter_url = dead_letter_url
        self._clock = clock
        self._sleep = sleep
        self._info: QueueInfo | None = None
        self._dead_letter_max_bytes: int | None = None

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps the order of message groups (SQS: by its name)."""
        return self.url.endswith(".fifo")

    def describe(self) -> QueueInfo:
        """Ask the queue for its redrive policy; answered from memory after the first success.

        Raises:
            SettingsError: there is no such queue, or we may not ask.
            TransientError: no usable answer.
        """
        if self._info is None:
            attributes = self._attributes(self.url, ["RedrivePolicy"])
            policy = _redrive_policy(attributes.get("RedrivePolicy"))
            arn = policy.get("deadLetterTargetArn")
            count = policy.get("maxReceiveCount")
            self._info = QueueInfo(
                max_receive_count=int(count) if count is not None else None,
                dead_letter_url=self._dead_letter_url or (arn and _url_beside(self.url, arn)),
                fifo=self.fifo,
            )
        return self._info

    def depth(self) -> Depth:
        """Count the messages; SQS calls the numbers approximate.

        Raises:
            SettingsError: there is no such queue, or we may not ask.
            TransientError: no usable answer.
        """
        names = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        attributes = self._attributes(self.url, names)
        try:
            return Depth(*(int(attributes[name]) for name in names))
        except KeyError as error:
            raise TransientError(f"{self.url} did not say its {error}") from error

    def _attributes(self, url: str, names: Sequence[Any]) -> Mapping[str, str]:
        """GetQueueAttributes; `names` are literals that boto3-stubs lists one by one."""

        def ask() -> Mapping[str, str]:
            # QueueArn is always set: an answer without it was cut off (see above).
            answer = self._client.get_queue_attributes(
                QueueUrl=url, AttributeNames=[*names, "QueueArn"]
            ).get("Attributes", {})
            if "QueueArn" not in answer:
                raise ConnectionError("the answer was cut off")
            return {str(name): value for name, value in answer.items()}

        try:
            return ride_out(ask, f"read the attributes of {url}", sleep=self._sleep)
        except AWS_ERRORS as error:
            raise self._refused(error, "sqs:GetQueueAttributes", url) from error

    def _refused(self, error: BaseException, action: str, url: str) -> SettingsError:
        if classify(error) is Fault.NOT_FOUND:
            return SettingsError(
                f"there is no queue {url} in this account and region: correct the URL ({action})"
            )
        return SettingsError(
            f"{action} on {url} is refused: {describe(error)}; "
            "correct the URL or the permissions of the worker's role"
        )

    def receive(
        self, max_messages: int = BATCH_SIZE, wait_seconds: int = MAX_WAIT_SECONDS
    ) -> list[Message]:
        """Wait for messages and take them; each is hidden for `visibility_timeout`.

        Args:
            max_messages: 1 to 10. A FIFO queue is asked for one (see the module's docstring).
            wait_seconds: 0 to 20, how long an empty queue is waited for.

        Raises:
            SettingsError: there is no such queue, or we may not receive.
            TransientError: no usable answer. Messages that were on their way come back after
                one visibility time-out.
        """
        requested_at = self._clock()
        request: ReceiveMessageRequestTypeDef = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": 1 if self.fifo else min(max_messages, BATCH_SIZE),
            "WaitTimeSeconds": min(wait_seconds, MAX_WAIT_SECONDS),
            "VisibilityTimeout": self.visibility_timeout,
            "MessageSystemAttributeNames": [
                "ApproximateReceiveCount",
                "SentTimestamp",
                "MessageGroupId",
            ],
            "MessageAttributeNames": ["All"],
        }
        if self.fifo:
            # botocore's retry of a broken receive then gets the same messages again.
            request["ReceiveRequestAttemptId"] = uuid.uuid4().hex
        try:
            answer = self._poll_client.receive_message(**request)
        except AWS_ERRORS as error:
            if transient(error):
                raise TransientError(f"could not receive: {describe(error)}") from error
            raise self._refused(error, "sqs:ReceiveMessage", self.url) from error
        if "Messages" not in answer and _was_cut_off(answer["ResponseMetadata"]):
            raise TransientError("could not receive: the answer was cut off")
        received_at = self._clock()
        return [
            _message(raw, requested_at=requested_at, received_at=received_at)
            for raw in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> list[Message]:
        """Delete messages that are answered.

        Returns:
            Those that could not be deleted, after some attempts: they will be delivered again.
        """

        def call(batch: Sequence[Message]) -> Mapping[str, Any]:
            return self._client.delete_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message.receipt_handle}
                    for n, message in enumerate(batch)
                ],
            )

        outcome = self._in_batches(messages, call, rounds=_ROUNDS)
        kept = [*outcome.lost, *outcome.failed]
        if kept:
            log.warning(
                "queue.delete_failed",
                message=f"{len(kept)} message(s) could not be deleted and will come again",
                message_ids=[message.message_id for message in kept],
            )
        return kept

    def release(self, messages: Sequence[Message], delay_seconds: int = 0) -> None:
        """Give messages back, to be visible after `delay_seconds` (0 to 43200).

        Stale receipts are no error: the message is somebody else's already. Other failures are
        logged: the message comes back when its visibility ends. Drop the lease first, so that
        no heartbeat takes the message back.
        """
        now = self._clock()

        def call(batch: Sequence[Message]) -> Mapping[str, Any]:
            return self._client.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {
                        "Id": str(n),
                        "ReceiptHandle": message.receipt_handle,
                        "VisibilityTimeout": _below_ceiling(message, delay_seconds, now),
                    }
                    for n, message in enumerate(batch)
                ],
            )

        outcome = self._in_batches(messages, call, rounds=_ROUNDS)
        for event, phrase, left in (
            ("queue.release_stale", "was no longer held when it was released", outcome.lost),
            ("queue.release_failed", "could not be released; it comes back", outcome.failed),
        ):
            for message in left:
                log.warning(event, message=f"A message {phrase}", message_id=message.message_id)

    def extend(self, messages: Sequence[Message], seconds: int) -> Extension:
        """Hide messages for `seconds` (1 to 43200) from now. One attempt; the caller repeats."""

        def call(batch: Sequence[Message]) -> Mapping[str, Any]:
            return self._client.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {
                        "Id": str(n),
                        "ReceiptHandle": message.receipt_handle,
                        "VisibilityTimeout": seconds,
                    }
                    for n, message in enumerate(batch)
                ],
            )

        return self._in_batches(messages, call, rounds=1)

    def _in_batches(
        self,
        messages: Sequence[Message],
        call: Callable[[Sequence[Message]], Mapping[str, Any]],
        *,
        rounds: int,
    ) -> Extension:
        """Run a batch call over `messages`, again for entries whose failure may pass."""
        confirmed: list[Message] = []
        lost: list[Message] = []
        failed: list[Message] = list(messages)
        for attempt in range(rounds):
            if attempt:
                self._sleep(retry.full_jitter(attempt, base=_RETRY_SECONDS, cap=_MAX_RETRY_SECONDS))
            again: list[Message] = []
            for batch in _batches(failed):
                outcome = self._one_batch(batch, call)
                confirmed += outcome.confirmed
                lost += outcome.lost
                again += outcome.failed
            failed = again
            if not failed:
                break
        return Extension(tuple(confirmed), tuple(lost), tuple(failed))

    def _one_batch(
        self, batch: Sequence[Message], call: Callable[[Sequence[Message]], Mapping[str, Any]]
    ) -> Extension:
        try:
            answer = call(batch)
        except AWS_ERRORS as error:
            log.warning(
                "queue.call_failed",
                message="A call to the queue failed",
                error=describe(error),
                messages=len(batch),
            )
            return Extension(failed=tuple(batch))
        done = {entry["Id"] for entry in answer.get("Successful", [])}
        stale = {entry["Id"] for entry in answer.get("Failed", []) if _is_stale(entry)}
        return Extension(
            confirmed=tuple(m for n, m in enumerate(batch) if str(n) in done),
            lost=tuple(m for n, m in enumerate(batch) if str(n) in stale),
            failed=tuple(m for n, m in enumerate(batch) if str(n) not in done | stale),
        )

    def dead_letter(self, message: Message, *, job_id: str | None, code: str, reason: str) -> bool:
        """Copy a message to the dead-letter queue, with why it failed (see `dead_letter_entry`).

        A copy whose answer got lost is sent again: there may be two of it.

        Returns:
            Whether there is a copy; False where there is no dead-letter queue.

        Raises:
            TransientError: it could not be kept, whatever the cause. Don't delete the message:
                the redrive policy will keep it in the end.
        """
        try:
            url = self.describe().dead_letter_url
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
                max_bytes=self._dead_letter_limit(url),
                fifo=url.endswith(".fifo"),
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

    def _dead_letter_limit(self, url: str) -> int:
        """The dead-letter queue's MaximumMessageSize; the common one if it may not be asked."""
        if self._dead_letter_max_bytes is None:
            limit = _DEFAULT_MAX_MESSAGE_BYTES
            try:
                limit = int(self._attributes(url, ["MaximumMessageSize"])["MaximumMessageSize"])
            except (SettingsError, KeyError) as error:
                log.warning(
                    "queue.dead_letter_unknown",
                    message=f"The dead-letter queue does not say its limit; {limit} is assumed",
                    error=str(error),
                )
            self._dead_letter_max_bytes = limit
        return self._dead_letter_max_bytes


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
        _ORIGIN_ATTRIBUTE: _attribute_text(origin, _MAX_NAME_CHARACTERS),
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


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), BATCH_SIZE):
        yield messages[start : start + BATCH_SIZE]


def _below_ceiling(message: Message, seconds: int, now: float) -> int:
    """`seconds` of visibility, less where that would pass twelve hours from the receive."""
    left = math.floor(MAX_VISIBILITY_SECONDS - (now - message.requested_at))
    return max(0, min(seconds, left, MAX_VISIBILITY_SECONDS))


def _is_stale(entry: Mapping[str, Any]) -> bool:
    """Whether a batch's failed entry says that the receipt no longer holds the message."""
    code = str(entry.get("Code", "")).rsplit(".", 1)[-1]
    # Over the ceiling the message is still held: for as long as its last extension says.
    return code in _STALE_CODES and "VisibilityTimeout" not in str(entry.get("Message", ""))


def _was_cut_off(metadata: Mapping[str, Any]) -> bool:
    """Whether a receive without messages was meant to have some: an empty answer is short."""
    return int(metadata.get("HTTPHeaders", {}).get("content-length", 0)) > 64


def _redrive_policy(text: str | None) -> dict[str, Any]:
    policy = json.loads(text) if text else {}
    return policy if isinstance(policy, dict) else {}


def _url_beside(url: str, arn: str) -> str:
    """The URL of the queue `arn`; a dead-letter queue is in its source's account and region."""
    return f"{url.rsplit('/', 1)[0]}/{arn.rsplit(':', 1)[-1]}"


def _message(raw: MessageTypeDef, *, requested_at: float, received_at: float) -> Message:
    system = raw.get("Attributes", {})
    attributes = {
        name: value["StringValue"]
        for name, value in raw.get("MessageAttributes", {}).items()
        if "StringValue" in value
    }
    message_id = raw.get("MessageId", "")
    origin = attributes.get(_ORIGIN_ATTRIBUTE, "")
    return Message(
        message_id=message_id,
        receipt_handle=raw.get("ReceiptHandle", ""),
        body=raw.get("Body", ""),
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        sent_at=int(system.get("SentTimestamp", "0")) / 1000,
        group_id=system.get("MessageGroupId"),
        received_at=received_at,
        requested_at=requested_at,
        origin_id=origin if _ORIGIN.fullmatch(origin) else message_id,
        attributes=attributes,
    )
