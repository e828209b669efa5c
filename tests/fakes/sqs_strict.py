"""A small SQS over HTTP that is strict where moto is not: about receipts and visibility.

It speaks the JSON protocol that boto3 uses, on 127.0.0.1 and a free port. What it enforces:

- a message is hidden for its visibility time-out and comes back, with a new receipt, after it;
- a receipt holds its message only while that is hidden by the very receive that gave it:
  a stale one is refused (InvalidParameterValue), garbage is ReceiptHandleIsInvalid.
  For deletion AWS is laxer with standard queues (it answers 200 and may not delete):
  `stale_delete="ignore"` does that;
- no message is hidden for longer than `max_hold_seconds` (twelve hours) from its receive:
  a request beyond is refused, not clamped;
- after `maxReceiveCount` receives a message moves to its dead-letter queue, with its id.

FIFO queues are not covered (moto's are).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

ACCOUNT = "123456789012"
REGION = "us-east-1"
MAX_BATCH = 10


class SkippingClock:
    """Monotonic seconds, some of which a test skips: nothing but the queue sees them go by."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class SqsError(Exception):
    """An error answer."""

    def __init__(self, code: str, message: str, legacy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        # What clients of the older query protocol saw, and boto3 still reports.
        self.legacy = legacy or code


@dataclass(eq=False)
class StoredMessage:
    """A message and the one delivery that may hold it."""

    message_id: str
    body: str
    attributes: dict[str, Any]
    sent_at: float
    visible_at: float
    receive_count: int = 0
    first_received_at: float = 0.0
    received_at: float = 0.0
    receipt: str | None = None
    deleted: bool = False
    version: int = 0


@dataclass
class StoredQueue:
    """A queue: what is visible, in order, and what is hidden, by when that ends."""

    name: str
    url: str
    attributes: dict[str, str]
    visible: deque[StoredMessage] = field(default_factory=deque)
    hidden: list[tuple[float, int, int, StoredMessage]] = field(default_factory=list)
    receipts: dict[str, StoredMessage] = field(default_factory=dict)
    held: int = 0
    delayed: int = 0
    most_held: int = 0

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    def number(self, name: str, default: int) -> int:
        return int(self.attributes.get(name, default))


class StrictSqs:
    """The server. Use it as a context manager; ask it for what the wire does not say.

    Args:
        stale_delete: what deleting with a stale receipt does.
        max_hold_seconds: SQS's twelve hours, or less to see them end.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        stale_delete: Literal["reject", "ignore"] = "reject",
        max_hold_seconds: float = 43200,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stale_delete = stale_delete
        self._max_hold_seconds = max_hold_seconds
        self._clock = clock
        self._queues: dict[str, StoredQueue] = {}
        self._sequence = itertools.count()
        self._changed = threading.Condition()
        self._closing = False
        self.calls: Counter[str] = Counter()
        """Requests by action."""
        self.refused: Counter[str] = Counter()
        """Refused receipts by action."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def endpoint(self) -> str:
        """For `AWS_ENDPOINT_URL_SQS`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def create_queue(self, name: str, **attributes: str) -> str:
        """Make a queue; returns its URL. Attributes as in SQS."""
        with self._changed:
            queue = self._queues.get(name)
            if queue is None:
                url = f"{self.endpoint}/{ACCOUNT}/{name}"
                queue = self._queues[name] = StoredQueue(name, url, {})
            queue.attributes |= attributes
            return queue.url

    def send(self, url: str, body: str) -> str:
        """Put a message; returns its id. The same as over the wire, only faster."""
        return str(self._action_send_message({"QueueUrl": url, "MessageBody": body})["MessageId"])

    def bodies(self, url: str) -> list[str]:
        """All messages that were not deleted, visible or not."""
        with self._changed:
            queue = self._find(url)
            self._advance(queue)
            return [m.body for m in queue.visible if not m.deleted] + [
                m.body
                for _, _, version, m in queue.hidden
                if not m.deleted and version == m.version
            ]

    def most_held(self, url: str) -> int:
        """The most messages that were ever in flight at a time."""
        with self._changed:
            return self._find(url).most_held

    # The protocol.

    def act(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; raises SqsError."""
        self.calls[action] += 1
        method = getattr(self, "_action_" + _snake(action), None)
        if method is None:
            raise SqsError("UnsupportedOperation", f"{action} is not part of this fake")
        answer: dict[str, Any] = method(request)
        return answer

    def _find(self, url: str) -> StoredQueue:
        queue = self._queues.get(url.rsplit("/", 1)[-1])
        if queue is None:
            raise SqsError(
                "com.amazonaws.sqs#QueueDoesNotExist",
                "The specified queue does not exist.",
                "AWS.SimpleQueueService.NonExistentQueue",
            )
        return queue

    def _advance(self, queue: StoredQueue) -> None:
        """Make visible what is due. Call with the lock."""
        now = self._clock()
        while queue.hidden and queue.hidden[0][0] <= now:
            _, _, version, message = heapq.heappop(queue.hidden)
            if message.deleted or version != message.version:
                continue
            self._unhold(queue, message)
            message.version += 1
            queue.visible.append(message)

    def _unhold(self, queue: StoredQueue, message: StoredMessage) -> None:
        if message.receipt is not None:
            queue.held -= 1
            message.receipt = None
        else:
            queue.delayed -= 1

    def _hide(self, queue: StoredQueue, message: StoredMessage, visible_at: float) -> None:
        message.visible_at = visible_at
        message.version += 1
        heapq.heappush(queue.hidden, (visible_at, next(self._sequence), message.version, message))

    def _held_by(self, queue: StoredQueue, receipt: str, action: str) -> StoredMessage:
        """The message that `receipt` holds. Call with the lock."""
        self._advance(queue)
        message = queue.receipts.get(receipt)
        if message is None:
            self.refused[action] += 1
            raise SqsError(
                "com.amazonaws.sqs#ReceiptHandleIsInvalid",
                f'The input receipt handle "{receipt}" is not a valid receipt handle.',
                "ReceiptHandleIsInvalid",
            )
        if message.receipt != receipt or message.deleted:
            self.refused[action] += 1
            raise SqsError(
                "InvalidParameterValue",
                f"Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does "
                "not exist or is not available for visibility timeout change.",
            )
        return message

    def _action_create_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "QueueUrl": self.create_queue(request["QueueName"], **request.get("Attributes", {}))
        }

    def _action_get_queue_url(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            return {"QueueUrl": self._find(request["QueueName"]).url}

    def _action_list_queues(self, request: dict[str, Any]) -> dict[str, Any]:
        prefix = request.get("QueueNamePrefix", "")
        with self._changed:
            return {
                "QueueUrls": [q.url for q in self._queues.values() if q.name.startswith(prefix)]
            }

    def _action_set_queue_attributes(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            self._find(request["QueueUrl"]).attributes |= request["Attributes"]
        return {}

    def _action_get_queue_attributes(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            queue = self._find(request["QueueUrl"])
            self._advance(queue)
            known = {
                "VisibilityTimeout": "30",
                "MaximumMessageSize": "262144",
                **queue.attributes,
                "QueueArn": queue.arn,
                "ApproximateNumberOfMessages": str(sum(not m.deleted for m in queue.visible)),
                "ApproximateNumberOfMessagesNotVisible": str(queue.held),
                "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
            }
        names = request.get("AttributeNames", [])
        wanted = known if "All" in names else {n: known[n] for n in names if n in known}
        return {"Attributes": wanted}

    def _action_purge_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            queue = self._find(request["QueueUrl"])
            for message in (*queue.visible, *(entry[3] for entry in queue.hidden)):
                message.deleted = True
            queue.visible.clear()
            queue.hidden.clear()
            queue.held = queue.delayed = 0
        return {}

    def _action_send_message(self, request: dict[str, Any]) -> dict[str, Any]:
        body: str = request["MessageBody"]
        attributes: dict[str, Any] = request.get("MessageAttributes", {})
        with self._changed:
            queue = self._find(request["QueueUrl"])
            size = len(body.encode()) + sum(
                len(name.encode())
                + len(value["DataType"].encode())
                + len(value.get("StringValue", "").encode())
                for name, value in attributes.items()
            )
            limit = queue.number("MaximumMessageSize", 262144)
            if not body or size > limit:
                raise SqsError(
                    "InvalidParameterValue",
                    f"One or more parameters are invalid. Reason: Message must be shorter than "
                    f"{limit} bytes.",
                )
            for name, value in attributes.items():
                if value["DataType"] == "String" and not value.get("StringValue"):
                    raise SqsError(
                        "InvalidParameterValue",
                        f"Message (user) attribute '{name}' must contain a non-empty value",
                    )
            now = self._clock()
            delay = int(request.get("DelaySeconds", queue.attributes.get("DelaySeconds", 0)))
            message = StoredMessage(
                str(uuid.uuid4()), body, attributes, sent_at=time.time(), visible_at=now
            )
            if delay:
                queue.delayed += 1
                self._hide(queue, message, now + delay)
            else:
                queue.visible.append(message)
            self._changed.notify_all()
        return {
            "MessageId": message.message_id,
            "MD5OfMessageBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        }

    def _action_receive_message(self, request: dict[str, Any]) -> dict[str, Any]:
        deadline = self._clock() + float(request.get("WaitTimeSeconds", 0))
        with self._changed:
            while True:
                queue = self._find(request["QueueUrl"])
                taken = self._take(queue, request)
                left = deadline - self._clock()
                if taken or left <= 0 or self._closing:
                    return {"Messages": taken} if taken else {}
                soonest = queue.hidden[0][0] - self._clock() if queue.hidden else left
                self._changed.wait(min(left, max(0.001, soonest)))

    def _take(self, queue: StoredQueue, request: dict[str, Any]) -> list[dict[str, Any]]:
        self._advance(queue)
        seconds = int(
            request.get("VisibilityTimeout", queue.attributes.get("VisibilityTimeout", 30))
        )
        wanted = int(request.get("MaxNumberOfMessages", 1))
        if not 1 <= wanted <= MAX_BATCH:
            raise SqsError("InvalidParameterValue", f"MaxNumberOfMessages {wanted} is invalid")
        policy = json.loads(queue.attributes.get("RedrivePolicy", "{}"))
        taken: list[dict[str, Any]] = []
        while queue.visible and len(taken) < wanted:
            message = queue.visible.popleft()
            if message.deleted:
                continue
            if policy and message.receive_count >= int(policy["maxReceiveCount"]):
                self._move(message, policy["deadLetterTargetArn"])
                continue
            now = self._clock()
            message.receive_count += 1
            message.first_received_at = message.first_received_at or time.time()
            message.received_at = now
            message.receipt = f"{queue.name}-{uuid.uuid4().hex}"
            queue.receipts[message.receipt] = message
            queue.held += 1
            queue.most_held = max(queue.most_held, queue.held)
            self._hide(queue, message, now + seconds)
            taken.append(_delivery(message))
        return taken

    def _move(self, message: StoredMessage, arn: str) -> None:
        target = self._queues[arn.rsplit(":", 1)[-1]]
        message.receive_count = 0
        message.version += 1
        target.visible.append(message)
        self._changed.notify_all()

    def _action_delete_message(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            queue = self._find(request["QueueUrl"])
            try:
                message = self._held_by(queue, request["ReceiptHandle"], "DeleteMessage")
            except SqsError as error:
                if self._stale_delete == "ignore" and error.code == "InvalidParameterValue":
                    return {}
                raise
            message.deleted = True
            self._unhold(queue, message)
        return {}

    def _action_change_message_visibility(self, request: dict[str, Any]) -> dict[str, Any]:
        seconds = int(request["VisibilityTimeout"])
        with self._changed:
            queue = self._find(request["QueueUrl"])
            message = self._held_by(queue, request["ReceiptHandle"], "ChangeMessageVisibility")
            now = self._clock()
            if now + seconds > message.received_at + self._max_hold_seconds:
                raise SqsError(
                    "InvalidParameterValue",
                    f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total "
                    "VisibilityTimeout for the message is beyond the limit "
                    f"[{self._max_hold_seconds:.0f} seconds].",
                )
            if seconds:
                self._hide(queue, message, now + seconds)
            else:
                self._unhold(queue, message)
                message.version += 1
                queue.visible.append(message)
            self._changed.notify_all()
        return {}

    def _action_send_message_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._batch(request, self._action_send_message)

    def _action_delete_message_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._batch(request, self._action_delete_message)

    def _action_change_message_visibility_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._batch(request, self._action_change_message_visibility)

    def _batch(
        self, request: dict[str, Any], single: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        entries = request["Entries"]
        if not 1 <= len(entries) <= MAX_BATCH:
            raise SqsError(
                "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10.",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            )
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry in entries:
            try:
                answer = single({**entry, "QueueUrl": request["QueueUrl"]})
                done.append({"Id": entry["Id"], **answer})
            except SqsError as error:
                failed.append(
                    {
                        "Id": entry["Id"],
                        "Code": error.legacy,
                        "Message": error.message,
                        "SenderFault": True,
                    }
                )
        return {"Successful": done, "Failed": failed}


def _delivery(message: StoredMessage) -> dict[str, Any]:
    return {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "MD5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "Attributes": {
            "ApproximateReceiveCount": str(message.receive_count),
            "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
            "SentTimestamp": str(int(message.sent_at * 1000)),
        },
        "MessageAttributes": message.attributes,
    }


def _snake(action: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in action).lstrip("_")


def _handler(server: StrictSqs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Without this the second packet of an answer waits 40 ms for an acknowledgement.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            action = self.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1]
            headers = {"Content-Type": "application/x-amz-json-1.0"}
            try:
                status, answer = 200, server.act(action, request)
            except SqsError as error:
                status, answer = 400, {"__type": error.code, "message": error.message}
                headers["x-amzn-query-error"] = f"{error.legacy};Sender"
            body = json.dumps(answer).encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("x-amzn-RequestId", uuid.uuid4().hex)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # a killed client; its messages come back

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # inherited name
            pass

    return Handler
