"""Objects: fetch an input, commit a result once.

How a commit stays whole. `transcript.json` is the commit: written last, with
`If-None-Match: *`, so that of two writers one wins and the other is told (412). Each commit
carries a nonce in its objects' metadata; a writer that is told "exists" because its own first
request had arrived, though the answer got lost, finds its nonce there. The siblings are
written with `If-None-Match: *` too; one that is there already was left by a writer that died
before its commit, or belongs to a commit: only without `transcript.json` is it overwritten, and
then only as it was found (`If-Match`). What remains is two writers with valid leases that
interleave within one request; the lease is there to exclude that.

An ETag is a name for an object's state, compared for equality and nothing else. It is not the
MD5 of the content: multipart uploads and KMS encryption make it something else.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import FlexibleChecksumError, IncompleteReadError

from worker import retry
from worker.aws.faults import (
    AWS_ERRORS,
    Fault,
    classify,
    describe,
    error_code,
    ride_out,
    transient,
)
from worker.errors import ErrorCode, JobError, TransientError
from worker.logs import get_logger
from worker.redact import quoted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

__all__ = [
    "CHECKPOINT",
    "ERROR",
    "MARKER",
    "TRANSCRIPT",
    "Checkpoint",
    "CommitOutcome",
    "Committed",
    "Fetched",
    "ObjectInfo",
    "Store",
    "result_metadata",
]

log = get_logger(__name__)

MARKER = "transcription-worker"
"""Metadata key, with value "1", of every object that the worker writes."""
TRANSCRIPT = "transcript.json"
ERROR = "error.json"
CHECKPOINT = "checkpoint.json"

_NONCE = "commit-nonce"
_JSON = "application/json"
_CHUNK_BYTES = 256 * 1024
_MAX_CHECKPOINT_BYTES = 64 * 1024 * 1024
_ROUNDS = 5
_MAX_STALLS = 5
"""Attempts in a row that bring no byte, after which a download is given up."""
_MAX_ATTEMPTS = 200
"""Attempts in all: a server that breaks off after each few bytes is not waited for for ever."""
_RETRY_SECONDS = 0.2
_MAX_RETRY_SECONDS = 5.0
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+)")


def _no_check() -> None:
    """Nothing to check."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What the writes of one commit, or of one object, have in common."""

    bucket: str
    metadata: Mapping[str, str]
    check: Callable[[], None] = _no_check


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object that was downloaded; `metadata` is the user metadata, keys in lower case."""

    etag: str
    bytes: int
    metadata: Mapping[str, str]
    version_id: str | None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What S3 says of an object; the ETag without quotes."""

    etag: str
    bytes: int
    metadata: Mapping[str, str]
    version_id: str | None

    @property
    def ours(self) -> bool:
        """Whether the worker wrote it."""
        return self.metadata.get(MARKER) == "1"


@dataclass(frozen=True, slots=True)
class Committed:
    """What an existing transcript.json says of the request it answers.

    All fields are None where something else than the worker wrote it.
    """

    job_id: str | None
    request_hash: str | None
    input_hash: str | None
    etag: str | None
    nonce: str | None

    def answers(self, *, request_hash: str, input_uri: str, etag: str | None) -> bool:
        """Whether it is the result of this very request: then the job is done.

        Otherwise the job id was used before for something else (`job_id_conflict`).

        Args:
            request_hash: of the job.
            input_uri: s3://bucket/key.
            etag: of the input as it is now; None where the input is gone, and then only the
                rest is compared.
        """
        return (
            self.request_hash == request_hash
            and self.input_hash == _sha256(input_uri)
            and (etag is None or self.etag == _ascii(_unquoted(etag)))
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An unfinished job's saved state."""

    data: bytes
    metadata: Mapping[str, str]


class CommitOutcome(StrEnum):
    """How a commit ended."""

    COMMITTED = "committed"
    """This result exists now."""
    ALREADY = "already"
    """Another result was committed first; it was left alone."""


def result_metadata(
    *,
    job_id: str,
    request_hash: str | None = None,
    input_uri: str | None = None,
    etag: str | None = None,
) -> dict[str, str]:
    """The metadata of everything written for a job (pure).

    ASCII only, as S3 asks, and short (S3 takes 2 KB): URIs are hashed, the rest is
    percent-encoded.
    """
    metadata = {MARKER: "1", "job-id": _ascii(job_id)}
    if request_hash is not None:
        metadata["request-hash"] = _ascii(request_hash)
    if input_uri is not None:
        metadata["input-sha256"] = _sha256(input_uri)
    if etag is not None:
        metadata["input-etag"] = _ascii(_unquoted(etag))
    return metadata


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _ascii(text: str) -> str:
    return quote(text, safe=" !#$&'()*+,/:;=?@[]", errors="replace")


def _unquoted(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


class Store:
    """Reads inputs, reads and writes results. Callable from any thread.

    Args:
        client: shared, thread-safe.
        sleep: waits that many seconds between attempts.
    """

    def __init__(self, client: S3Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep

    # Inputs.

    def head(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectInfo | None:
        """Ask for an input object without its content; None if there is no such object.

        Raises:
            JobError: INPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        try:
            return self._head(bucket, key, version_id=version_id)
        except AWS_ERRORS as error:
            raise _input_error(error, bucket, key) from error

    def fetch(
        self,
        bucket: str,
        key: str,
        dest: Path,
        *,
        etag: str | None = None,
        version_id: str | None = None,
        max_bytes: int,
        check: Callable[[], None] = _no_check,
    ) -> Fetched:
        """Download an object. A broken download goes on where it broke, on the same ETag.

        Args:
            bucket: of the input.
            key: of the input.
            dest: created or overwritten; removed again if anything is raised.
            etag: take the object only in this state (with or without quotes).
            version_id: take this version.
            max_bytes: refuse an object with more, before its content is read.
            check: called before every request and every 256 KiB; what it raises
                (LeaseLost, Interrupted) ends the download.

        Raises:
            JobError: INPUT_NOT_FOUND, INPUT_FORBIDDEN, INPUT_CHANGED, INPUT_TOO_LARGE,
                EMPTY_FILE.
            TransientError: the network or S3 failed for too long, or the disk is full.
        """
        download = _Download(
            self._client,
            bucket=bucket,
            key=key,
            etag=etag and _unquoted(etag),
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

    # Results.

    def committed(self, bucket: str, prefix: str) -> Committed | None:
        """The commit under a job's result prefix (ends with a slash), if there is one.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        found = self._head_output(bucket, prefix + TRANSCRIPT)
        if found is None:
            return None
        metadata = found.metadata if found.ours else {}
        return Committed(
            job_id=metadata.get("job-id"),
            request_hash=metadata.get("request-hash"),
            input_hash=metadata.get("input-sha256"),
            etag=metadata.get("input-etag"),
            nonce=metadata.get(_NONCE),
        )

    def commit(
        self,
        bucket: str,
        prefix: str,
        files: Mapping[str, tuple[bytes, str]],
        transcript: bytes,
        metadata: Mapping[str, str],
        *,
        check: Callable[[], None] = _no_check,
    ) -> CommitOutcome:
        """Write a result, unless there is one (see the module's docstring for how).

        A committed result's checkpoint.json and error.json are removed; if that fails it is
        logged, for it can't undo the commit.

        Args:
            bucket: of the result.
            prefix: the job's result prefix, ends with a slash.
            files: the siblings: name to content and content type.
            transcript: what transcript.json holds.
            metadata: see `result_metadata`.
            check: called before every write (`Lease.ensure`); what it raises ends the commit.

        Returns:
            ALREADY where another result exists; compare it by `committed`.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer. The result may exist all the same; the next
                delivery will find it.
        """
        target = _Target(bucket, {**metadata, _NONCE: uuid.uuid4().hex}, check)
        for name, (data, content_type) in files.items():
            if not self._put_sibling(target, prefix, name, data, content_type):
                return CommitOutcome.ALREADY
        if self._put_once(target, prefix + TRANSCRIPT, transcript, _JSON) is not None:
            return CommitOutcome.ALREADY
        self.tidy(bucket, prefix)
        return CommitOutcome.COMMITTED

    def _put_sibling(
        self, target: _Target, prefix: str, name: str, data: bytes, content_type: str
    ) -> bool:
        """Write one sibling; False if a commit is found instead."""
        key = prefix + name
        for _ in range(_ROUNDS):
            found = self._put_once(target, key, data, content_type)
            if found is None:
                return True
            if self._head_output(target.bucket, prefix + TRANSCRIPT) is not None:
                return False
            if self._put(target, key, data, content_type, IfMatch=f'"{found.etag}"'):
                return True
        raise TransientError(f"could not write {_uri(target.bucket, key)}: it keeps changing")

    def tidy(self, bucket: str, prefix: str) -> None:
        """Remove the checkpoint.json and error.json of a committed job; failures are logged."""
        try:
            ride_out(
                lambda: self._remove(bucket, prefix, (CHECKPOINT, ERROR)),
                f"tidy {_uri(bucket, prefix)}",
                sleep=self._sleep,
            )
        except (*AWS_ERRORS, TransientError) as error:
            log.warning(
                "store.tidy_failed",
                message="A stale checkpoint.json or error.json may lie beside a result",
                prefix=_uri(bucket, prefix),
                error=str(error) if isinstance(error, TransientError) else describe(error),
            )

    def _remove(self, bucket: str, prefix: str, names: tuple[str, ...]) -> None:
        # Looked for first: deleting what isn't there leaves a delete marker in a bucket with
        # versions, two for every job.
        try:
            listed = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/")
            present = {item.get("Key") for item in listed.get("Contents", [])}
            keys = [prefix + name for name in names if prefix + name in present]
        except AWS_ERRORS as error:
            if classify(error) is not Fault.FORBIDDEN:
                raise
            keys = [prefix + name for name in names]
        for key in keys:
            self._client.delete_object(Bucket=bucket, Key=key)

    def put_error(
        self, bucket: str, prefix: str, document: bytes, metadata: Mapping[str, str]
    ) -> None:
        """Write error.json, over an earlier one.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        self._put(_Target(bucket, metadata), prefix + ERROR, document, _JSON)

    def delete_error(self, bucket: str, prefix: str) -> None:
        """Remove error.json if there is one. Raises JobError or TransientError."""
        self._delete(bucket, prefix + ERROR)

    def load_checkpoint(self, bucket: str, prefix: str) -> Checkpoint | None:
        """Read checkpoint.json; None if there is none, or one of an unreasonable size.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        key = prefix + CHECKPOINT

        def read() -> Checkpoint | None:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > _MAX_CHECKPOINT_BYTES:
                    log.warning(
                        "store.checkpoint_ignored",
                        message="A checkpoint is too large to be one of ours",
                        uri=_uri(bucket, key),
                        bytes=answer["ContentLength"],
                    )
                    return None
                return Checkpoint(data=body.read(), metadata=answer["Metadata"])

        try:
            return ride_out(read, f"read {_uri(bucket, key)}", sleep=self._sleep)
        except AWS_ERRORS as error:
            if classify(error) is Fault.NOT_FOUND:
                return None
            raise _output_error(error, bucket, key, "s3:GetObject") from error

    def save_checkpoint(
        self, bucket: str, prefix: str, data: bytes, metadata: Mapping[str, str]
    ) -> None:
        """Write checkpoint.json, over an earlier one. Raises JobError or TransientError."""
        self._put(_Target(bucket, metadata), prefix + CHECKPOINT, data, _JSON)

    def delete_checkpoint(self, bucket: str, prefix: str) -> None:
        """Remove checkpoint.json if there is one. Raises JobError or TransientError."""
        self._delete(bucket, prefix + CHECKPOINT)

    # Requests.

    def _put(
        self, target: _Target, key: str, data: bytes, content_type: str, **condition: str
    ) -> bool:
        """Write an object; False where the condition (IfMatch, IfNoneMatch) did not hold."""
        request: dict[str, Any] = {
            "Bucket": target.bucket,
            "Key": key,
            "Body": data,
            "ContentType": content_type,
            "Metadata": dict(target.metadata),
            **condition,
        }
        try:
            ride_out(
                lambda: self._client.put_object(**request),
                f"write {_uri(target.bucket, key)}",
                before=target.check,
                sleep=self._sleep,
            )
        except AWS_ERRORS as error:
            # If-Match on an object that is gone is 404 with S3.
            gone = "IfMatch" in condition and error_code(error) == "NoSuchKey"
            if gone or classify(error) is Fault.PRECONDITION:
                return False
            raise _output_error(error, target.bucket, key, "s3:PutObject") from error
        return True

    def _put_once(
        self, target: _Target, key: str, data: bytes, content_type: str
    ) -> ObjectInfo | None:
        """Write an object that must not exist; returns what exists if that isn't ours."""
        for _ in range(_ROUNDS):
            if self._put(target, key, data, content_type, IfNoneMatch="*"):
                return None
            found = self._head_output(target.bucket, key)
            if found is None:
                continue  # removed since
            ours = found.metadata.get(_NONCE) == target.metadata[_NONCE]
            return None if ours else found
        raise TransientError(f"could not write {_uri(target.bucket, key)}: it comes and goes")

    def _delete(self, bucket: str, key: str) -> None:
        prefix, _, name = key.rpartition("/")
        try:
            ride_out(
                lambda: self._remove(bucket, prefix + "/" if prefix else "", (name,)),
                f"delete {_uri(bucket, key)}",
                sleep=self._sleep,
            )
        except AWS_ERRORS as error:
            raise _output_error(error, bucket, key, "s3:DeleteObject") from error

    def _head(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectInfo | None:
        request: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if version_id:
            request["VersionId"] = version_id
        try:
            answer = ride_out(
                lambda: self._client.head_object(**request),
                f"look at {_uri(bucket, key)}",
                sleep=self._sleep,
            )
        except AWS_ERRORS as error:
            if classify(error) is Fault.NOT_FOUND:
                return None
            raise
        return ObjectInfo(
            etag=_unquoted(answer["ETag"]),
            bytes=answer["ContentLength"],
            metadata=answer["Metadata"],
            version_id=answer.get("VersionId"),
        )

    def _head_output(self, bucket: str, key: str) -> ObjectInfo | None:
        try:
            return self._head(bucket, key)
        except AWS_ERRORS as error:
            raise _output_error(error, bucket, key, "s3:GetObject") from error


class _Download:
    """One download in as many requests as it takes."""

    def __init__(
        self,
        client: S3Client,
        *,
        bucket: str,
        key: str,
        etag: str | None,
        version_id: str | None,
        max_bytes: int,
        check: Callable[[], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._pinned = etag is not None
        self._etag = etag
        self._version_id = version_id
        self._max_bytes = max_bytes
        self._check = check
        self._sleep = sleep
        self.received = 0

    def run(self, file: IO[bytes]) -> Fetched:
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
                    raise _input_error(error, self._bucket, self._key) from error
            stalls = 0 if self.received > before else stalls + 1
            if stalls == _MAX_STALLS:
                break
            self._sleep(retry.doubling(stalls + 1, base=_RETRY_SECONDS, cap=_MAX_RETRY_SECONDS))
        raise TransientError(
            f"could not download {_uri(self._bucket, self._key)}: {describe(last)}"
        ) from last

    def _must_restart(self, error: BaseException) -> bool:
        """Whether what was received so far is of no use."""
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

    def _attempt(self, file: IO[bytes]) -> Fetched:
        request: dict[str, Any] = {"Bucket": self._bucket, "Key": self._key}
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
        return Fetched(
            etag=_unquoted(answer["ETag"]),
            bytes=self.received,
            metadata=answer["Metadata"],
            version_id=answer.get("VersionId"),
        )

    def _begin(self, answer: GetObjectOutputTypeDef, file: IO[bytes]) -> int:
        """Check what is about to come; returns the object's size in bytes."""
        self._etag = _unquoted(answer["ETag"])
        part = _CONTENT_RANGE.fullmatch(answer.get("ContentRange") or "")
        if self.received and (part is None or int(part["start"]) != self.received):
            # The whole object, though a part was asked for: some servers do that.
            file.seek(0)
            file.truncate()
            self.received = 0
        total = int(part["total"]) if part else answer["ContentLength"]
        uri = _uri(self._bucket, self._key)
        if total == 0:
            raise JobError(ErrorCode.EMPTY_FILE, f"{uri} has no bytes: upload it again")
        if total > self._max_bytes:
            raise JobError(
                ErrorCode.INPUT_TOO_LARGE,
                f"{uri} has {total} bytes, more than max_input_bytes = {self._max_bytes}: "
                "send a shorter or compressed file",
            )
        return total


def _uri(bucket: str, key: str) -> str:
    return quoted(f"s3://{bucket}/{key}", 300)


def _input_error(error: BaseException, bucket: str, key: str) -> JobError | TransientError:
    """What a refused read of an input means for the job (pure)."""
    uri = _uri(bucket, key)
    fault = classify(error)
    if transient(error):
        return TransientError(f"could not read {uri}: {describe(error)}")
    if error_code(error) == "NoSuchBucket":
        return JobError(
            ErrorCode.INPUT_NOT_FOUND, f"there is no bucket {bucket!r}: correct the job's input"
        )
    if fault is Fault.NOT_FOUND:
        return JobError(
            ErrorCode.INPUT_NOT_FOUND, f"there is no object {uri}: correct the job's input"
        )
    if fault is Fault.PRECONDITION or error_code(error) == "InvalidRange":
        return JobError(
            ErrorCode.INPUT_CHANGED,
            f"{uri} was overwritten since the job was made: send a job for the new object",
        )
    if error_code(error) == "InvalidObjectState":
        return JobError(
            ErrorCode.INPUT_FORBIDDEN, f"{uri} is archived: restore it and send the job again"
        )
    if fault is Fault.FORBIDDEN:
        return JobError(
            ErrorCode.INPUT_FORBIDDEN,
            f"S3 refuses to show {uri} (403): either the worker's role lacks s3:GetObject on it, "
            "or there is no such object and the role lacks s3:ListBucket, without which S3 "
            "does not say so",
        )
    return JobError(ErrorCode.INPUT_FORBIDDEN, f"S3 refuses to read {uri}: {describe(error)}")


def _output_error(
    error: BaseException, bucket: str, key: str, action: str
) -> JobError | TransientError:
    """What a refused request on a result means for the job (pure)."""
    uri = _uri(bucket, key)
    if transient(error):
        return TransientError(f"{action} on {uri} failed: {describe(error)}")
    if error_code(error) == "NoSuchBucket":
        return JobError(
            ErrorCode.OUTPUT_FORBIDDEN, f"there is no bucket {bucket!r}: correct the job's output"
        )
    if classify(error) is Fault.FORBIDDEN:
        return JobError(
            ErrorCode.OUTPUT_FORBIDDEN,
            f"S3 refuses {action} on {uri} (403): give the worker's role {action} there, and "
            "s3:ListBucket on its bucket, without which S3 won't say that an object is missing",
        )
    return JobError(ErrorCode.OUTPUT_FORBIDDEN, f"S3 refuses {action} on {uri}: {describe(error)}")
