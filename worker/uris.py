"""Where an input in S3 lies and where results go: s3:// URIs that have been checked (pure).

The rules are S3's: bucket names have 3 to 63 lower-case letters, digits, dots and hyphens and
don't look like an IP address; keys have 1 to 1024 bytes of UTF-8. Beyond them, keys with
control characters are refused: S3 takes them, but log lines, terminals and several S3-compatible
servers do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from worker.redact import quoted
from worker.results.names import CHECKPOINT

__all__ = [
    "MAX_JOB_ID",
    "MAX_KEY_BYTES",
    "MAX_PREFIX_BYTES",
    "ResultPlace",
    "S3Prefix",
    "S3Uri",
]

MAX_KEY_BYTES = 1024
MAX_JOB_ID = 128
"""Bytes of UTF-8."""
MAX_PREFIX_BYTES = MAX_KEY_BYTES - MAX_JOB_ID - len(f"/{CHECKPOINT}")
"""What a prefix may have so that the longest job id and file name still fit behind it."""

_SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRESIGNED = re.compile(r"[?&](x-amz-|awsaccesskeyid=|signature=)", re.IGNORECASE)


def _check_bucket(bucket: str, uri: str) -> None:
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _IP_ADDRESS.fullmatch(bucket):
        raise ValueError(
            f"{uri} does not name a possible bucket: use 3 to 63 lower-case letters, digits,"
            " dots and hyphens"
        )


def _check_key(key: str, uri: str, limit: int) -> None:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{uri} has half a surrogate pair: send valid Unicode") from None
    if size > limit:
        raise ValueError(f"{uri} has a key of {size} bytes: S3 leaves room for {limit}")
    if _CONTROL.search(key):
        raise ValueError(f"{uri} has a control character in its key: give the object another name")


def _split(text: str) -> tuple[str, str]:
    if not text.startswith(_SCHEME):
        raise ValueError(f"{quoted(text)} is not an S3 URI: write s3://bucket/key")
    if _PRESIGNED.search(text):
        raise ValueError(f"{quoted(text)} has a presigned query: give the plain s3://bucket/key")
    bucket, _, key = text[len(_SCHEME) :].partition("/")
    return bucket, key


@dataclass(frozen=True, slots=True)
class S3Uri:
    """One object: `s3://bucket/key`, the key as it is (not URL-encoded).

    A kind of input; see `worker.jobs.inputs`.

    Raises:
        ValueError: bucket or key break the rules above; the message says which and what to do.
    """

    bucket: str
    key: str

    scheme: ClassVar[str] = "s3"

    def __post_init__(self) -> None:
        uri = quoted(str(self))
        _check_bucket(self.bucket, uri)
        if not self.key:
            raise ValueError(f"{uri} names no object: write s3://bucket/key")
        _check_key(self.key, uri, MAX_KEY_BYTES)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The URI as a person writes it. Raises ValueError, also for a presigned query."""
        return cls(*_split(text))

    @property
    def name(self) -> str:
        """The last part of the key; empty if that ends with a slash."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """Where results go: `s3://bucket/prefix/`. The prefix is empty or ends with a slash.

    Raises:
        ValueError: bucket or prefix break the rules above; the message says which.
    """

    bucket: str
    prefix: str

    def __post_init__(self) -> None:
        uri = quoted(str(self))
        _check_bucket(self.bucket, uri)
        if self.prefix and not self.prefix.endswith("/"):
            raise ValueError(f"{uri} does not end with a slash: write s3://bucket/prefix/")
        _check_key(self.prefix, uri, MAX_PREFIX_BYTES)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The prefix as a person writes it; a missing slash at the end is added.

        Raises:
            ValueError: as above.
        """
        bucket, prefix = _split(text)
        return cls(bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")

    def place(self, job_id: str) -> ResultPlace:
        """Where the results of one job go: `<prefix><job_id>/`."""
        return ResultPlace(self.bucket, f"{self.prefix}{job_id}/")

    def holds(self, bucket: str, key: str) -> bool:
        """Whether an object, or everything under another prefix, lies under this prefix."""
        return bucket == self.bucket and key.startswith(self.prefix)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """To pydantic a prefix is a string, read by `parse` and written by `str`."""

        def read(value: Any) -> S3Prefix:
            if isinstance(value, S3Prefix):
                return value
            if not isinstance(value, str):
                raise PydanticCustomError("string_type", "must be text")
            try:
                return cls.parse(value)
            except ValueError as error:
                raise PydanticCustomError("uri", "{why}", {"why": str(error)}) from None

        return core_schema.no_info_plain_validator_function(
            read,
            json_schema_input_schema=core_schema.str_schema(pattern="^s3://[^/]+"),
            serialization=core_schema.to_string_ser_schema(),
        )


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """Where everything of one job lies: `s3://bucket/prefix/`. See `S3Prefix.place`.

    Attributes:
        bucket: not checked again.
        prefix: of the keys; ends with a slash.
    """

    bucket: str
    prefix: str

    def key(self, name: str) -> str:
        """The key of one of the job's files, such as `transcript.json`."""
        return f"{self.prefix}{name}"

    def uri(self, name: str) -> str:
        """The URI of one of the job's files."""
        return f"{_SCHEME}{self.bucket}/{self.key(name)}"

    def __str__(self) -> str:
        return self.uri("")
