"""Download a job's input from S3, continuing a download that broke.

A download is always of one state of the object, identified by its ETag, so that a file is
never put together from two contents.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import FlexibleChecksumError, IncompleteReadError

from worker import retry
from worker.aws.faults import (
    AWS_ERRORS,
    Fault,
    classify,
    describe,
    error_code,
    transient,
)
from worker.aws.objects import (
    ObjectInfo,
    head_object,
    no_check,
    object_info,
    shown,
    unquoted,
)
from worker.errors import ErrorCode, JobError, TransientError
from worker.uris import S3Uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

    from worker.aws.clients import Clients

__all__ = ["S3Inputs", "open_inputs"]

_CHUNK_BYTES = 256 * 1024
_MAX_STALLS = 5
"""Attempts in a row without a single byte, after which a download is given up."""
_MAX_ATTEMPTS = 200
"""Attempts in all, for a server that breaks off after a few bytes each time."""
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+)")


class S3Inputs:
    """Reads inputs from S3. Callable from any thread.

    Args:
        client: shared, thread-safe.
        sleep: waits that many seconds between attempts.
    """

    def __init__(self, client: S3Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep

    def head(self, uri: S3Uri, *, version_id: str | None = None) -> ObjectInfo | None:
        """Look at an input without its content; None if there is no such object.

        Raises:
            JobError: INPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        try:
            return head_object(
                self._client, uri.bucket, uri.key, version_id=version_id, sleep=self._sleep
            )
        except AWS_ERRORS as error:
            raise _input_error(error, uri) from error

    def fetch(
        self,
        uri: S3Uri,
        dest: Path,
        *,
        etag: str | None = None,
        version_id: str | None = None,
        max_bytes: int,
        check: Callable[[], None] = no_check,
    ) -> ObjectInfo:
        """Download an input. One that breaks is continued where it broke, on the same ETag.

        Args:
            uri: of the input.
            dest: created or overwritten; removed again if anything is raised.
            etag: download the object only in this state (with or without quotes); None: as it
                is now.
            version_id: download this version; None: the latest.
            max_bytes: a larger object is refused before its content is read.
            check: called before every request and every 256 KiB; if it raises (LeaseLost,
                Interrupted), the download ends with that.

        Returns:
            What S3 says of the downloaded object.

        Raises:
            JobError: INPUT_NOT_FOUND, INPUT_FORBIDDEN, INPUT_CHANGED, INPUT_TOO_LARGE,
                EMPTY_FILE.
            TransientError: the network or S3 failed for too long, or the disk is full.
        """
        download = _Download(
            self._client,
            uri,
            etag=etag and unquoted(etag),
            version_id=version_id,
            max_bytes=max_bytes,
            check=check,
            sleep=self._sleep,
        )
        try:
            with dest.open("wb") as file:
                return download.run(file)
        except OSError as error:
            dest.unlink(missing_ok=True)
            raise TransientError(
                f"could not write an input of {download.received} bytes or more to disk: "
                f"{error.strerror or error}"
            ) from error
        except BaseException:
            dest.unlink(missing_ok=True)
            raise


def open_inputs(clients: Clients) -> S3Inputs:
    """The reader of `s3://` inputs, as `worker.jobs.inputs.KINDS` names it."""
    return S3Inputs(clients.s3)


class _Download:
    """One download, in as many requests as it needs."""

    def __init__(
        self,
        client: S3Client,
        uri: S3Uri,
        *,
        etag: str | None,
        version_id: str | None,
        max_bytes: int,
        check: Callable[[], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._uri = uri
        self._pinned = etag is not None
        self._etag = etag
        self._version_id = version_id
        self._max_bytes = max_bytes
        self._check = check
        self._sleep = sleep
        self.received = 0

    def run(self, file: IO[bytes]) -> ObjectInfo:
        stalls = 0
        for _ in range(_MAX_ATTEMPTS):
            self._check()
            before = self.received
            try:
                return self._attempt(file)
            except AWS_ERRORS as error:
                last = error
                if self._must_restart(error):
                    self._restart(file)
                elif not transient(error):
                    raise _input_error(error, self._uri) from error
            stalls = 0 if self.received > before else stalls + 1
            if stalls == _MAX_STALLS:
                break
            self._sleep(
                retry.doubling(stalls + 1, base=retry.CALL_SECONDS, cap=retry.CALL_CAP_SECONDS)
            )
        raise TransientError(f"could not download {shown(self._uri)}: {describe(last)}") from last

    def _must_restart(self, error: BaseException) -> bool:
        """Whether what was received so far can't be used."""
        changed = classify(error) is Fault.PRECONDITION or error_code(error) == "InvalidRange"
        if changed and self._pinned:
            return False
        return changed or isinstance(error, FlexibleChecksumError)

    def _restart(self, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        self.received = 0
        if not self._pinned:
            self._etag = None

    def _attempt(self, file: IO[bytes]) -> ObjectInfo:
        request: dict[str, Any] = {"Bucket": self._uri.bucket, "Key": self._uri.key}
        if self._version_id:
            request["VersionId"] = self._version_id
        if self._etag:
            request["IfMatch"] = f'"{self._etag}"'
        if self.received:
            request["Range"] = f"bytes={self.received}-"
        answer = self._client.get_object(**request)
        with closing(answer["Body"]) as body:
            total = self._begin(answer, file)
            # Read to the very end, where botocore compares length and checksum.
            while chunk := body.read(_CHUNK_BYTES):
                file.write(chunk)
                self.received += len(chunk)
                self._check()
        if self.received != total:
            raise IncompleteReadError(actual_bytes=self.received, expected_bytes=total)
        return object_info(answer, self.received)

    def _begin(self, answer: GetObjectOutputTypeDef, file: IO[bytes]) -> int:
        """Check an answer before its body is read; returns the whole object's size in bytes."""
        self._etag = unquoted(answer["ETag"])
        part = _CONTENT_RANGE.fullmatch(answer.get("ContentRange") or "")
        if self.received and (part is None or int(part["start"]) != self.received):
            # Some servers send the whole object though a part was asked for.
            file.seek(0)
            file.truncate()
            self.received = 0
        total = int(part["total"]) if part else answer["ContentLength"]
        uri = shown(self._uri)
        if total == 0:
            raise JobError(ErrorCode.EMPTY_FILE, f"{uri} has no bytes: upload it again")
        if total > self._max_bytes:
            raise JobError(
                ErrorCode.INPUT_TOO_LARGE,
                f"{uri} has {total} bytes, more than max_input_bytes = {self._max_bytes}: "
                "send a shorter or compressed file",
            )
        return total


def _input_error(error: BaseException, uri: S3Uri) -> JobError | TransientError:
    """What a failed read of an input means for the job (pure)."""
    name = shown(uri)
    fault = classify(error)
    if transient(error):
        return TransientError(f"could not read {name}: {describe(error)}")
    if error_code(error) == "NoSuchBucket":
        return JobError(
            ErrorCode.INPUT_NOT_FOUND, f"there is no bucket {uri.bucket!r}: correct the job's input"
        )
    if fault is Fault.NOT_FOUND:
        return JobError(
            ErrorCode.INPUT_NOT_FOUND, f"there is no object {name}: correct the job's input"
        )
    if fault is Fault.PRECONDITION or error_code(error) == "InvalidRange":
        return JobError(
            ErrorCode.INPUT_CHANGED,
            f"{name} was overwritten since the job was made: send a job for the new object",
        )
    if error_code(error) == "InvalidObjectState":
        return JobError(
            ErrorCode.INPUT_FORBIDDEN, f"{name} is archived: restore it and send the job again"
        )
    if fault is Fault.FORBIDDEN:
        return JobError(
            ErrorCode.INPUT_FORBIDDEN,
            f"S3 refuses to show {name} (403): either the worker's role lacks s3:GetObject on it, "
            "or there is no such object and the role lacks s3:ListBucket, without which S3 "
            "does not say so",
        )
    return JobError(ErrorCode.INPUT_FORBIDDEN, f"S3 refuses to read {name}: {describe(error)}")
