"""What S3 says happened to an object, in its two forms: notifications and EventBridge (pure).

The forms differ in names and in one trap: a notification's key is URL-encoded (`+` for a space),
EventBridge's is not. Both become an `ObjectEvent`, so that the same event makes the same job
whichever way it came.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from worker.errors import ErrorCode, JobError
from worker.jobs.ids import id_part, within
from worker.redact import quoted
from worker.uris import MAX_KEY_BYTES

__all__ = ["ObjectEvent", "from_eventbridge", "from_notification"]

_KEY_TAIL_LENGTH = 80
_HASH_DIGITS = 16
_HEADER_VALUE = re.compile(r"[!#-~]{1,1024}")
"""What an ETag or version id may hold: both go into HTTP requests."""


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One event about one object.

    Attributes:
        name: the event, such as ObjectCreated:Put or Object Deleted.
        bucket: as S3 wrote it; not checked.
        key: decoded; not checked.
        size: bytes, where the event says so.
        etag: without quotes.
        version_id: None in a bucket without versions.
        sequencer: orders the events of one key; tells them apart if nothing else does.
    """

    name: str
    bucket: str
    key: str
    size: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None

    @property
    def creates(self) -> bool:
        """Whether it says that an object was written."""
        return self.name.startswith(("ObjectCreated:", "Object Created"))

    @property
    def deletes(self) -> bool:
        """Whether it says that an object, or a version of one, was removed."""
        return self.name.startswith(("ObjectRemoved:", "LifecycleExpiration:", "Object Deleted"))

    @property
    def makes_folder(self) -> bool:
        """Whether the object is the empty one that consoles make to show a folder."""
        return self.key.endswith("/") and self.size == 0

    @property
    def uri(self) -> str:
        """The object's URI; not checked."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def job_id(self) -> str:
        """The same event gives the same id, an overwritten object another.

        A person reads the name in front; the hash of bucket, key and version id (else ETag)
        makes it unique.
        """
        version = self.version_id or self.etag or self.sequencer or ""
        named = "\0".join((self.bucket, self.key, version))
        digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
        name = self.key.rstrip("/").rpartition("/")[2]
        part = id_part(name[-MAX_KEY_BYTES:], keep="._").strip("-.")
        tail = within(part, characters=_KEY_TAIL_LENGTH, end=True)
        return f"{tail or 'object'}-{digest[:_HASH_DIGITS]}"


def from_notification(record: object) -> ObjectEvent:
    """One of an S3 notification's Records.

    Raises:
        JobError: `invalid_message`; the record is not S3's, or lacks what a job needs.
    """
    event = _object(record, "the event record")
    source = _text(event, "eventSource", "the event record")
    if source != "aws:s3":
        raise _invalid(f"the event comes from {quoted(source)}: only aws:s3 events become jobs")
    detail = _object(event.get("s3"), "'s3' of the event record")
    item = _object(detail.get("object"), "'s3.object' of the event record")
    bucket = _object(detail.get("bucket"), "'s3.bucket' of the event record")
    encoded = _text(item, "key", "'s3.object' of the event record")
    try:
        key = unquote_plus(encoded, errors="strict")
    except UnicodeDecodeError:
        raise _invalid(f"the event's key {quoted(encoded)} is not URL-encoded UTF-8") from None
    return ObjectEvent(
        name=_text(event, "eventName", "the event record").removeprefix("s3:"),
        bucket=_text(bucket, "name", "'s3.bucket' of the event record"),
        key=key,
        size=_size(item),
        etag=_header_value(item, "eTag"),
        version_id=_version_id(item, "versionId"),
        sequencer=_header_value(item, "sequencer"),
    )


def from_eventbridge(document: object) -> ObjectEvent:
    """An event as EventBridge delivers it.

    Raises:
        JobError: `invalid_message`; the event is not S3's, or lacks what a job needs.
    """
    event = _object(document, "the event")
    source = _text(event, "source", "the event")
    if source != "aws.s3":
        raise _invalid(f"the event comes from {quoted(source)}: only aws.s3 events become jobs")
    detail = _object(event.get("detail"), "'detail' of the event")
    item = _object(detail.get("object"), "'detail.object' of the event")
    bucket = _object(detail.get("bucket"), "'detail.bucket' of the event")
    return ObjectEvent(
        name=_text(event, "detail-type", "the event"),
        bucket=_text(bucket, "name", "'detail.bucket' of the event"),
        key=_text(item, "key", "'detail.object' of the event"),
        size=_size(item),
        etag=_header_value(item, "etag"),
        version_id=_version_id(item, "version-id"),
        sequencer=_header_value(item, "sequencer"),
    )


def _invalid(message: str) -> JobError:
    return JobError(ErrorCode.INVALID_MESSAGE, message)


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _invalid(f"{what} is missing or is not an object")
    return value


def _text(container: Mapping[str, object], name: str, what: str) -> str:
    value = container.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(f"{what} has no '{name}'")
    return value


def _size(item: Mapping[str, object]) -> int | None:
    value = item.get("size")
    return value if isinstance(value, int) else None


def _header_value(item: Mapping[str, object], name: str) -> str | None:
    value = item.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and _HEADER_VALUE.fullmatch(bare := value.strip('"')):
        return bare
    raise _invalid(f"the event's '{name}' is not one that S3 writes")


def _version_id(item: Mapping[str, object], name: str) -> str | None:
    value = _header_value(item, name)
    # With versioning suspended every version is "null": it doesn't tell them apart.
    return None if value == "null" else value
