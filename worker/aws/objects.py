"""What S3 says of an object: shared by reading inputs and writing results.

An ETag identifies the state of an object; the worker only ever compares two for equality. It
is not always the MD5 of the content: multipart uploads and KMS encryption make it something
else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.aws.faults import AWS_ERRORS, Fault, call_with_retries, classify
from worker.redact import quoted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

__all__ = ["MARKER", "ObjectInfo", "head_object", "no_check", "object_info", "shown", "unquoted"]

MARKER = "transcription-worker"
"""Metadata key, with value "1", of every object that the worker writes."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object without its content.

    Attributes:
        etag: without quotes.
        bytes: its size in bytes.
        metadata: the user metadata, keys in lower case.
    """

    etag: str
    bytes: int
    metadata: Mapping[str, str]

    @property
    def ours(self) -> bool:
        """Whether the worker wrote it."""
        return self.metadata.get(MARKER) == "1"


def no_check() -> None:
    """For callers that have nothing to check."""


def unquoted(etag: str) -> str:
    """An ETag without its quotes and without the W/ of a weak one."""
    return etag.removeprefix("W/").strip('"')


def shown(uri: object) -> str:
    """A URI as logs and error messages show it: quoted, without secrets, of bounded length."""
    return quoted(str(uri), 300)


def object_info(
    answer: HeadObjectOutputTypeDef | GetObjectOutputTypeDef, size: int | None = None
) -> ObjectInfo:
    """What an answer to HeadObject or GetObject says of the object.

    Args:
        answer: as boto3 returns it.
        size: of the whole object, in bytes, where the answer holds only a part of it.
    """
    return ObjectInfo(
        etag=unquoted(answer["ETag"]),
        bytes=answer["ContentLength"] if size is None else size,
        metadata=answer["Metadata"],
    )


def head_object(
    client: S3Client,
    bucket: str,
    key: str,
    *,
    version_id: str | None = None,
    sleep: Callable[[float], None],
) -> ObjectInfo | None:
    """Ask for an object without its content; None if there is no such object.

    Raises:
        TransientError: no usable answer.
        botocore.exceptions.ClientError: S3 refuses; what that means is for the caller to say.
    """
    request: dict[str, Any] = {"Bucket": bucket, "Key": key}
    if version_id:
        request["VersionId"] = version_id
    try:
        answer = call_with_retries(
            lambda: client.head_object(**request),
            f"look at {shown(f's3://{bucket}/{key}')}",
            sleep=sleep,
        )
    except AWS_ERRORS as error:
        if classify(error) is Fault.NOT_FOUND:
            return None
        raise
    return object_info(answer)
