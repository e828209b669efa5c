"""The queue: receive, delete, release and extend messages.

Batch calls may succeed in part. An entry counts as done only where the answer lists it under
`Successful`; that it isn't under `Failed` proves nothing, because botocore reads a JSON
response that was cut off as an empty one.

Order in FIFO queues: SQS delivers no message of a group while an earlier one of that group is
in flight. `receive` asks a FIFO queue for one message a call, so that the worker never holds
two of one group. When a failed message is released, its group waits for it.
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker import retry
from worker.aws.faults import (
    AWS_ERRORS,
    Fault,
    Forbidden,
    call_with_retries,
    classify,
    describe,
    transient,
)
from worker.aws.sqs import (
    MAX_VISIBILITY_SECONDS,
    MAX_WAIT_SECONDS,
    MESSAGES_PER_CALL,
    is_fifo,
)
from worker.errors import SettingsError, TransientError
from worker.logs import get_logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef, ReceiveMessageRequestTypeDef

__all__ = [
    "ORIGIN_ATTRIBUTE",
    "BatchOutcome",
    "Depth",
    "Message",
    "Queue",
    "QueueInfo",
    "ask_attributes",
    "queue_attributes",
    "queue_info",
    "refusal",
]

log = get_logger(__name__)

ORIGIN_ATTRIBUTE = "message_id"
"""Attribute of a dead-letter copy: the id of the message that failed first."""
_ROUNDS = 4
_ORIGIN = re.compile(r"[A-Za-z0-9._-]{1,128}")
# A receipt that no longer holds its message. SQS says InvalidParameterValue for those whose
# message went to another receiver, and, in another sentence, for visibility over the ceiling.
_STALE_CODES = frozenset({"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"})


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message.

    Attributes:
        message_id: as SQS gave it.
        receipt_handle: identifies this delivery; the next one of the message has another.
        body: as sent.
        receive_count: deliveries so far, this one included (SQS calls it approximate).
        sent_at: epoch seconds.
        group_id: message group, of a FIFO queue.
        received_at: clock seconds when the receive call had ended.
        requested_at: clock seconds when it began. The visibility time-out started in between.
        origin_id: what job ids default to. Usually `message_id`. A copy that was sent back from
            the dead-letter queue has a new message id; its origin is the id under which it
            failed first, which `DeadLetters` wrote on it.
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


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """What the queue says of itself.

    Attributes:
        max_receive_count: deliveries that its redrive policy allows; None without one.
        dead_letter_url: where copies of failed messages go; None without such a queue.
    """

    max_receive_count: int | None
    dead_letter_url: str | None


@dataclass(frozen=True, slots=True)
class Depth:
    """Approximate numbers of messages."""

    visible: int
    in_flight: int
    delayed: int


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The outcome of a batch call, for each message: in exactly one of the three.

    Attributes:
        confirmed: SQS did what was asked.
        lost: SQS refuses the receipt; another worker may hold the message.
        failed: no answer, or a failure that may be temporary. Nothing has changed, as far as we
            know.
    """

    confirmed: tuple[Message, ...] = ()
    lost: tuple[Message, ...] = ()
    failed: tuple[Message, ...] = ()


def queue_info(attributes: Mapping[str, str], url: str, dead_letter_url: str | None) -> QueueInfo:
    """What a queue's attributes say of its dead letters (pure).

    Args:
        attributes: with `RedrivePolicy`, if the queue has one.
        url: the queue's.
        dead_letter_url: instead of the one in the policy.
    """
    policy = _redrive_policy(attributes.get("RedrivePolicy"))
    arn = policy.get("deadLetterTargetArn")
    count = policy.get("maxReceiveCount")
    return QueueInfo(
        max_receive_count=int(count) if count is not None else None,
        dead_letter_url=dead_letter_url or (arn and _url_beside(url, arn)),
    )


class Queue:
    """One SQS queue. Callable from any thread.

    Args:
        client: for everything but receiving; short time-outs.
        url: the queue's URL.
        visibility_timeout: seconds for which a receive hides a message.
        dead_letter_url: instead of the one in the queue's redrive policy.
        poll_client: for ReceiveMessage, with a read time-out above `MAX_WAIT_SECONDS`; None:
            `client`.
        clock: monotonic seconds; the lease table must use the same clock.
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

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue, which keeps the order of each message group."""
        return is_fifo(self.url)

    def describe(self) -> QueueInfo:
        """Ask the queue for its redrive policy; the first answer is remembered.

        Raises:
            SettingsError: there is no such queue, or we may not ask.
            TransientError: no usable answer.
        """
        if self._info is None:
            attributes = queue_attributes(
                self._client, self.url, ["RedrivePolicy"], sleep=self._sleep
            )
            self._info = queue_info(attributes, self.url, self._dead_letter_url)
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
        attributes = queue_attributes(self._client, self.url, names, sleep=self._sleep)
        try:
            return Depth(*(int(attributes[name]) for name in names))
        except KeyError as error:
            raise TransientError(f"{self.url} did not say its {error}") from error

    def receive(
        self, max_messages: int = MESSAGES_PER_CALL, wait_seconds: int = MAX_WAIT_SECONDS
    ) -> list[Message]:
        """Receive messages; each is then hidden from others for `visibility_timeout`.

        Args:
            max_messages: 1 to 10. A FIFO queue is asked for one (see the module's docstring).
            wait_seconds: 0 to 20, how long to wait if there are none.

        Raises:
            SettingsError: there is no such queue, or we may not receive.
            TransientError: no usable answer. Messages in an answer that got lost are delivered
                again after one visibility time-out.
        """
        requested_at = self._clock()
        request: ReceiveMessageRequestTypeDef = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": 1 if self.fifo else min(max_messages, MESSAGES_PER_CALL),
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
            raise refusal(error, "sqs:ReceiveMessage", self.url) from error
        if "Messages" not in answer and _was_cut_off(answer["ResponseMetadata"]):
            raise TransientError("could not receive: the answer was cut off")
        received_at = self._clock()
        return [
            _message(raw, requested_at=requested_at, received_at=received_at)
            for raw in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> list[Message]:
        """Delete messages. What fails is logged, after some attempts.

        Returns:
            Those that could not be deleted: they will be delivered again.
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
        """Release messages: they become visible to everybody after `delay_seconds`.

        Drop their leases first, or the heartbeat may hide them again. What fails is only
        logged: a message with a stale receipt is already another worker's, and any other one
        becomes visible when its visibility time-out ends.

        Args:
            messages: held ones.
            delay_seconds: 0 to 43200.
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

    def extend(self, messages: Sequence[Message], seconds: int) -> BatchOutcome:
        """Hide messages for `seconds` (1 to 43200) from now. One attempt; the caller retries."""

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
    ) -> BatchOutcome:
        """Call for ten messages at a time; what failed and isn't lost is tried again."""
        confirmed: list[Message] = []
        lost: list[Message] = []
        failed: list[Message] = list(messages)
        for attempt in range(rounds):
            if attempt:
                self._sleep(
                    retry.full_jitter(
                        attempt + 1, base=retry.CALL_SECONDS, cap=retry.CALL_CAP_SECONDS
                    )
                )
            again: list[Message] = []
            for batch in _batches(failed):
                outcome = self._one_batch(batch, call)
                confirmed += outcome.confirmed
                lost += outcome.lost
                again += outcome.failed
            failed = again
            if not failed:
                break
        return BatchOutcome(tuple(confirmed), tuple(lost), tuple(failed))

    def _one_batch(
        self, batch: Sequence[Message], call: Callable[[Sequence[Message]], Mapping[str, Any]]
    ) -> BatchOutcome:
        try:
            answer = call(batch)
        except AWS_ERRORS as error:
            log.warning(
                "queue.call_failed",
                message="A call to the queue failed",
                error=describe(error),
                messages=len(batch),
            )
            return BatchOutcome(failed=tuple(batch))
        done = {entry["Id"] for entry in answer.get("Successful", [])}
        stale = {entry["Id"] for entry in answer.get("Failed", []) if _is_stale(entry)}
        return BatchOutcome(
            confirmed=tuple(m for n, m in enumerate(batch) if str(n) in done),
            lost=tuple(m for n, m in enumerate(batch) if str(n) in stale),
            failed=tuple(m for n, m in enumerate(batch) if str(n) not in done | stale),
        )


def queue_attributes(
    client: SQSClient,
    url: str,
    names: Sequence[Any],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, str]:
    """Ask a queue for its attributes (GetQueueAttributes).

    Args:
        client: with short time-outs.
        url: the queue's.
        names: of the attributes; literals that boto3-stubs lists one by one.
        sleep: waits that many seconds between attempts.

    Raises:
        SettingsError: there is no such queue, or we may not ask (then it is a Forbidden).
        TransientError: no usable answer.
    """
    try:
        return call_with_retries(
            lambda: ask_attributes(client, url, names),
            f"read the attributes of {url}",
            sleep=sleep,
        )
    except AWS_ERRORS as error:
        raise refusal(error, "sqs:GetQueueAttributes", url) from error


def ask_attributes(client: SQSClient, url: str, names: Sequence[Any]) -> Mapping[str, str]:
    """The same once, for who decides otherwise what a failure means.

    Raises:
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, ConnectionError: no
            usable answer (see `worker.aws.faults.AWS_ERRORS`).
    """
    # QueueArn is always set: an answer without it was cut off (see above).
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=[*names, "QueueArn"]).get(
        "Attributes", {}
    )
    if "QueueArn" not in answer:
        raise ConnectionError("the answer was cut off")
    return {str(name): value for name, value in answer.items()}


def refusal(error: BaseException, action: str, url: str) -> SettingsError:
    """What a request about a queue that no other attempt mends is to the operator.

    Args:
        error: what boto3 raised.
        action: the permission that it takes.
        url: the queue's.
    """
    fault = classify(error)
    if fault is Fault.NOT_FOUND:
        return SettingsError(
            f"there is no queue {url} in this account and region: correct the URL ({action})"
        )
    kind = Forbidden if fault is Fault.FORBIDDEN else SettingsError
    return kind(
        f"{action} on {url} is refused: {describe(error)}; "
        "correct the URL or the permissions of the worker's role"
    )


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), MESSAGES_PER_CALL):
        yield messages[start : start + MESSAGES_PER_CALL]


def _below_ceiling(message: Message, seconds: int, now: float) -> int:
    """`seconds`, or fewer where SQS's limit of twelve hours from the receive is nearer."""
    left = math.floor(MAX_VISIBILITY_SECONDS - (now - message.requested_at))
    return max(0, min(seconds, left, MAX_VISIBILITY_SECONDS))


def _is_stale(entry: Mapping[str, Any]) -> bool:
    """Whether a batch's failed entry says that the receipt no longer holds the message."""
    code = str(entry.get("Code", "")).rsplit(".", 1)[-1]
    # Over the ceiling the message is still held: for as long as its last extension says.
    return code in _STALE_CODES and "VisibilityTimeout" not in str(entry.get("Message", ""))


def _was_cut_off(metadata: Mapping[str, Any]) -> bool:
    """Whether an answer without messages had some that got lost: a truly empty one is short."""
    return int(metadata.get("HTTPHeaders", {}).get("content-length", 0)) > 64


def _redrive_policy(text: str | None) -> dict[str, Any]:
    policy = json.loads(text) if text else {}
    return policy if isinstance(policy, dict) else {}


def _url_beside(url: str, arn: str) -> str:
    """The URL of the queue `arn`; a dead-letter queue is in its source's account and region."""
    return f"{url.rsplit('/', 1)[0]}/{arn.rsplit(':', 1)[-1]}"


def _message(raw: MessageTypeDef, *, requested_at: float, received_at: float) -> Message:
    system = raw.get("Attributes", {})
    message_id = raw.get("MessageId", "")
    sent_back = raw.get("MessageAttributes", {}).get(ORIGIN_ATTRIBUTE)
    origin = sent_back.get("StringValue", "") if sent_back else ""
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
    )
