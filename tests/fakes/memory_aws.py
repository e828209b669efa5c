"""S3 and SQS in memory, behind boto3's calls.

For unit tests that choose which request fails and how, and look at the requests that were made.
It has the operations that the worker calls and no others. That the worker uses the real protocols
correctly is tested against servers.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from worker.aws.clients import Clients


class _Refusing:
    """Answers requests, and refuses those that a test wants refused."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        """(operation, last part of the key or URL), in order."""
        self._refused: dict[tuple[str, str], tuple[str, int]] = {}

    @contextmanager
    def refusing(
        self, operation: str, name: str = "", *, code: str = "SlowDown", status: int = 503
    ) -> Iterator[None]:
        """Refuse an operation, on keys that end with `name`."""
        self._refused[operation, name] = (code, status)
        yield
        del self._refused[operation, name]

    def _note(self, operation: str, key: str) -> None:
        self.requests.append((operation, key.rpartition("/")[2]))
        for (refused, name), (code, status) in self._refused.items():
            if refused == operation and key.endswith(name):
                raise _error(operation, code, status)


@dataclass
class Stored:
    """An object."""

    body: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    content_type: str = ""

    @property
    def etag(self) -> str:
        return hashlib.md5(self.body, usedforsecurity=False).hexdigest()

    @property
    def quoted_etag(self) -> str:
        return f'"{self.etag}"'

    @property
    def answer(self) -> dict[str, Any]:
        """What S3 says of it."""
        return {
            "ETag": self.quoted_etag,
            "ContentLength": len(self.body),
            "Metadata": self.metadata,
        }


class MemoryS3(_Refusing):
    """Buckets without versions. What `objects` holds may be changed by tests as they like."""

    def __init__(self, *buckets: str) -> None:
        super().__init__()
        self.buckets = set(buckets)
        self.objects: dict[tuple[str, str], Stored] = {}

    @property
    def client(self) -> S3Client:
        return cast("S3Client", self)

    def put_object(self, **request: Any) -> dict[str, Any]:
        place = self._place("put_object", request)
        found = self.objects.get(place)
        taken = "IfNoneMatch" in request and found is not None
        changed = "IfMatch" in request and (
            found is None or request["IfMatch"] != found.quoted_etag
        )
        if taken or changed:
            raise _error("put_object", "PreconditionFailed", 412)
        self.objects[place] = Stored(request["Body"], request["Metadata"], request["ContentType"])
        return {}

    def head_object(self, **request: Any) -> dict[str, Any]:
        return self._found("head_object", "404", request).answer

    def get_object(self, **request: Any) -> dict[str, Any]:
        found = self._found("get_object", "NoSuchKey", request)
        if request.get("IfMatch", found.quoted_etag) != found.quoted_etag:
            raise _error("get_object", "PreconditionFailed", 412)
        return found.answer | {"Body": io.BytesIO(found.body)}

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        prefix = request["Prefix"]
        wanted, _ = self._place("list_objects_v2", request | {"Key": prefix})
        keys = [key for bucket, key in self.objects if bucket == wanted and key.startswith(prefix)]
        inside = [key for key in keys if request["Delimiter"] not in key[len(prefix) :]]
        return {"IsTruncated": False, "Contents": [{"Key": key} for key in inside]}

    def delete_object(self, **request: Any) -> dict[str, Any]:
        self.objects.pop(self._place("delete_object", request), None)
        return {}

    def _place(self, operation: str, request: Mapping[str, Any]) -> tuple[str, str]:
        bucket, key = request["Bucket"], request["Key"]
        self._note(operation, key)
        if bucket not in self.buckets:
            raise _error(operation, "NoSuchBucket", 404)
        return bucket, key

    def _found(self, operation: str, code: str, request: Mapping[str, Any]) -> Stored:
        found = self.objects.get(self._place(operation, request))
        if found is None:
            raise _error(operation, code, 404)
        return found


class MemorySqs(_Refusing):
    """Queues that take messages. Each has a dead-letter queue of its name with `-dead` behind."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, list[dict[str, Any]]] = {}
        """What was sent, by the queue's name."""
        self.max_receives: dict[str, int | None] = {}
        """What a queue's redrive policy allows, where that is not 10; None without a policy."""

    @property
    def client(self) -> SQSClient:
        return cast("SQSClient", self)

    @property
    def clients(self) -> Clients:
        """For what sends notices to queues."""
        return cast("Clients", SimpleNamespace(sqs=self))

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        name = self._queue("get_queue_attributes", request)
        attributes = {"QueueArn": _arn(name), "MaximumMessageSize": "262144"}
        receives = self.max_receives.get(name, 10)
        if receives is not None:
            policy = {"deadLetterTargetArn": _arn(f"{name}-dead"), "maxReceiveCount": receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        wanted = request["AttributeNames"]
        return {"Attributes": {key: value for key, value in attributes.items() if key in wanted}}

    def send_message(self, **request: Any) -> dict[str, Any]:
        name = self._queue("send_message", request)
        self.sent.setdefault(name, []).append(request)
        return {"MessageId": f"{name}-{len(self.sent[name])}"}

    def _queue(self, operation: str, request: Mapping[str, Any]) -> str:
        name: str = request["QueueUrl"].rpartition("/")[2]
        self._note(operation, name)
        return name


def _arn(name: str) -> str:
    return f"arn:aws:sqs:us-east-1:123456789012:{name}"


def _error(operation: str, code: str, status: int) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "as the test wants"},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]  # the part that is read
        },
        operation,
    )
