"""Results in S3: commit each one once; write its errors and checkpoints.

How a commit is atomic though it writes several objects:

- `transcript.json` is the commit. It is written last, with `If-None-Match: *`: of two writers
  one succeeds and the other gets status 412.
- Each commit has a nonce in the metadata of its objects. A writer whose first request arrived,
  but whose answer got lost, gets 412 on its retry and finds its own nonce there.
- The siblings (srt, vtt, ...) are written with `If-None-Match: *` too. One that exists already
  belongs to a commit, or was left by a writer that died before its commit. It is overwritten
  only if there is no `transcript.json`, and only in the state it was found in (`If-Match`).

What this can't exclude is two writers with valid leases whose requests interleave. That there
are never two is what the lease is for.

Most jobs have nothing at their place yet. One listing of it (`ResultStore.present`) says so for the
result, the checkpoint and the error at once, and what it did not find is not asked for again.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from worker.aws.faults import (
    AWS_ERRORS,
    Fault,
    call_with_retries,
    classify,
    describe,
    error_code,
    transient,
)
from worker.aws.objects import MARKER, ObjectInfo, head_object, no_check, shown, unquoted
from worker.errors import ErrorCode, JobError, TransientError
from worker.logs import get_logger
from worker.results.names import CHECKPOINT, ERROR, TRANSCRIPT
from worker.uris import ResultPlace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["UNKNOWN", "CommitOutcome", "Committed", "Present", "ResultStore", "result_metadata"]

log = get_logger(__name__)

_NONCE = "commit-nonce"
_JSON = "application/json"
_MAX_CHECKPOINT_BYTES = 64 * 1024 * 1024
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to write objects, with which metadata, and what to check before each write."""

    place: ResultPlace
    metadata: Mapping[str, str]
    check: Callable[[], None] = no_check


@dataclass(frozen=True, slots=True)
class Present:
    """Which objects lay at a job's place when it was listed.

    Attributes:
        names: theirs, without the place's prefix; None if that is not known, and then each may
            be there.
    """

    names: frozenset[str] | None

    def may_hold(self, *names: str) -> bool:
        """Whether any of these objects may be there."""
        return self.names is None or not self.names.isdisjoint(names)


UNKNOWN = Present(None)
"""Of a place that nobody has listed, or where S3 does not say what there is."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A result that exists: what its metadata says of the request it answers.

    All fields are None if another program wrote the object.
    """

    request_hash: str | None
    input_hash: str | None
    etag: str | None

    def answers(self, *, request_hash: str, input_uri: str, etag: str | None) -> bool:
        """Whether it is the result of this request, so that the job is done.

        If not, the job id was used before for another request (`job_id_conflict`).

        Args:
            request_hash: of the job.
            input_uri: of the job.
            etag: of the input as it is now; None if the input is gone, and then it is not
                compared.
        """
        return (
            self.request_hash == request_hash
            and self.input_hash == _sha256(input_uri)
            and (etag is None or self.etag == _ascii(unquoted(etag)))
        )


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
    """The metadata of every object written for a job (pure).

    S3 takes ASCII only and 2 KB at most: URIs are hashed, the rest is percent-encoded.
    """
    metadata = {MARKER: "1", "job-id": _ascii(job_id)}
    if request_hash is not None:
        metadata["request-hash"] = _ascii(request_hash)
    if input_uri is not None:
        metadata["input-sha256"] = _sha256(input_uri)
    if etag is not None:
        metadata["input-etag"] = _ascii(unquoted(etag))
    return metadata


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _ascii(text: str) -> str:
    return quote(text, safe=" !#$&'()*+,/:;=?@[]", errors="replace")


class ResultStore:
    """Reads and writes the objects at a job's `ResultPlace`. Callable from any thread.

    Args:
        client: shared, thread-safe.
        sleep: waits that many seconds between attempts.
    """

    def __init__(self, client: S3Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep

    def present(self, place: ResultPlace) -> Present:
        """Which objects are at a job's place; one request, whatever is there.

        Returns:
            UNKNOWN where the worker may not list, where the answer was cut off, or where there are
            more objects than one answer holds (1000), which a place of the worker's own never has.

        Raises:
            JobError: OUTPUT_FORBIDDEN; there is no such bucket.
            TransientError: no usable answer.
        """
        try:
            return call_with_retries(
                lambda: self._listed(place), f"list {shown(place)}", sleep=self._sleep
            )
        except AWS_ERRORS as error:
            raise _output_error(error, place, "", "s3:ListBucket") from error

    def committed(self, place: ResultPlace, present: Present = UNKNOWN) -> Committed | None:
        """The result of a job, if it exists.

        Args:
            place: of the job.
            present: what was found there; what was not is not asked for.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        found = self._head(place, TRANSCRIPT) if present.may_hold(TRANSCRIPT) else None
        if found is None:
            return None
        metadata = found.metadata if found.ours else {}
        return Committed(
            request_hash=metadata.get("request-hash"),
            input_hash=metadata.get("input-sha256"),
            etag=metadata.get("input-etag"),
        )

    def commit(
        self,
        place: ResultPlace,
        files: Mapping[str, tuple[bytes, str]],
        transcript: bytes,
        metadata: Mapping[str, str],
        *,
        check: Callable[[], None] = no_check,
    ) -> CommitOutcome:
        """Write a result, unless there is one already (see the module's docstring for how).

        Args:
            place: of the job.
            files: the siblings: name -> (content, content type).
            transcript: the content of transcript.json.
            metadata: see `result_metadata`.
            check: called before every write (`Lease.ensure`); if it raises, the commit ends with
                that.

        Returns:
            ALREADY if another result exists; `committed` says which.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer. The result may exist nevertheless; the next
                delivery of the job will find it.
        """
        target = _Target(place, {**metadata, _NONCE: uuid.uuid4().hex}, check)
        for name, (data, content_type) in files.items():
            if not self._put_sibling(target, name, data, content_type):
                return CommitOutcome.ALREADY
        if self._put_once(target, TRANSCRIPT, transcript, _JSON) is not None:
            return CommitOutcome.ALREADY
        return CommitOutcome.COMMITTED

    def _put_sibling(self, target: _Target, name: str, data: bytes, content_type: str) -> bool:
        """Write one sibling; False if there is a result already."""
        for _ in range(_ROUNDS):
            found = self._put_once(target, name, data, content_type)
            if found is None:
                return True
            if self._head(target.place, TRANSCRIPT) is not None:
                return False
            if self._put(target, name, data, content_type, IfMatch=f'"{found.etag}"'):
                return True
        raise TransientError(f"could not write {shown(target.place.uri(name))}: it keeps changing")

    def tidy(self, place: ResultPlace, present: Present | None = None) -> None:
        """Remove checkpoint.json and error.json beside a result. Failures are only logged.

        Args:
            place: of the job.
            present: what was found there just now; None to list it first.
        """
        try:
            call_with_retries(
                lambda: self._remove(place, present, CHECKPOINT, ERROR),
                f"tidy {shown(place)}",
                sleep=self._sleep,
            )
        except (*AWS_ERRORS, TransientError) as error:
            log.warning(
                "store.tidy_failed",
                message="A stale checkpoint.json or error.json may lie beside a result",
                prefix=shown(place),
                error=str(error) if isinstance(error, TransientError) else describe(error),
            )

    def put_error(self, place: ResultPlace, document: bytes, metadata: Mapping[str, str]) -> None:
        """Write error.json, replacing an earlier one.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        self._put(_Target(place, metadata), ERROR, document, _JSON)

    def error(self, place: ResultPlace, present: Present = UNKNOWN) -> ObjectInfo | None:
        """Look at error.json without its content; None if there is none.

        Args:
            place: of the job.
            present: what was found there; what was not is not asked for.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        return self._head(place, ERROR) if present.may_hold(ERROR) else None

    def load_checkpoint(self, place: ResultPlace, present: Present = UNKNOWN) -> bytes | None:
        """Read checkpoint.json; None if there is none, or if it is too large to be the worker's.

        Args:
            place: of the job.
            present: what was found there; what was not is not asked for.

        Raises:
            JobError: OUTPUT_FORBIDDEN.
            TransientError: no usable answer.
        """
        if not present.may_hold(CHECKPOINT):
            return None
        uri = shown(place.uri(CHECKPOINT))

        def read() -> bytes | None:
            answer = self._client.get_object(Bucket=place.bucket, Key=place.key(CHECKPOINT))
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > _MAX_CHECKPOINT_BYTES:
                    log.warning(
                        "store.checkpoint_ignored",
                        message="A checkpoint is too large to be one of ours",
                        uri=uri,
                        bytes=answer["ContentLength"],
                    )
                    return None
                return body.read()

        try:
            return call_with_retries(read, f"read {uri}", sleep=self._sleep)
        except AWS_ERRORS as error:
            if classify(error) is Fault.NOT_FOUND:
                return None
            raise _output_error(error, place, CHECKPOINT, "s3:GetObject") from error

    def save_checkpoint(self, place: ResultPlace, data: bytes, metadata: Mapping[str, str]) -> None:
        """Write checkpoint.json, replacing an earlier one. Raises JobError or TransientError."""
        self._put(_Target(place, metadata), CHECKPOINT, data, _JSON)

    def delete_checkpoint(self, place: ResultPlace) -> None:
        """Remove checkpoint.json if there is one. Raises JobError or TransientError."""
        try:
            call_with_retries(
                lambda: self._remove(place, None, CHECKPOINT),
                f"delete {shown(place.uri(CHECKPOINT))}",
                sleep=self._sleep,
            )
        except AWS_ERRORS as error:
            raise _output_error(error, place, CHECKPOINT, "s3:DeleteObject") from error

    # Requests.

    def _listed(self, place: ResultPlace) -> Present:
        try:
            listed = self._client.list_objects_v2(
                Bucket=place.bucket, Prefix=place.prefix, Delimiter="/"
            )
        except AWS_ERRORS as error:
            if classify(error) is not Fault.FORBIDDEN:
                raise
            return UNKNOWN
        # Said in every whole answer. An empty one would hide a result or a checkpoint.
        if listed.get("IsTruncated", True):
            return UNKNOWN
        keys = [item["Key"] for item in listed.get("Contents", [])]
        return Present(frozenset(key.rpartition("/")[2] for key in keys))

    def _remove(self, place: ResultPlace, present: Present | None, *names: str) -> None:
        # Only what exists: in a bucket with versions, deleting an object that doesn't exist
        # leaves a delete marker, and every job would leave two.
        present = present or self._listed(place)
        for name in names:
            if present.may_hold(name):
                self._client.delete_object(Bucket=place.bucket, Key=place.key(name))

    def _put(
        self, target: _Target, name: str, data: bytes, content_type: str, **condition: str
    ) -> bool:
        """Write an object; False if its condition (IfMatch, IfNoneMatch) was not met."""
        request: dict[str, Any] = {
            "Bucket": target.place.bucket,
            "Key": target.place.key(name),
            "Body": data,
            "ContentType": content_type,
            "Metadata": dict(target.metadata),
            **condition,
        }
        try:
            call_with_retries(
                lambda: self._client.put_object(**request),
                f"write {shown(target.place.uri(name))}",
                before=target.check,
                sleep=self._sleep,
            )
        except AWS_ERRORS as error:
            # If-Match on an object that is gone is 404 with S3.
            gone = "IfMatch" in condition and error_code(error) == "NoSuchKey"
            if gone or classify(error) is Fault.PRECONDITION:
                return False
            raise _output_error(error, target.place, name, "s3:PutObject") from error
        return True

    def _put_once(
        self, target: _Target, name: str, data: bytes, content_type: str
    ) -> ObjectInfo | None:
        """Write an object if none exists; returns the one of another writer that does."""
        for _ in range(_ROUNDS):
            if self._put(target, name, data, content_type, IfNoneMatch="*"):
                return None
            found = self._head(target.place, name)
            if found is None:
                continue  # removed since
            ours = found.metadata.get(_NONCE) == target.metadata[_NONCE]
            return None if ours else found
        raise TransientError(f"could not write {shown(target.place.uri(name))}: it comes and goes")

    def _head(self, place: ResultPlace, name: str) -> ObjectInfo | None:
        try:
            return head_object(self._client, place.bucket, place.key(name), sleep=self._sleep)
        except AWS_ERRORS as error:
            raise _output_error(error, place, name, "s3:GetObject") from error


def _output_error(
    error: BaseException, place: ResultPlace, name: str, action: str
) -> JobError | TransientError:
    """What a failed request for a result means for the job (pure)."""
    uri = shown(place.uri(name))
    if transient(error):
        return TransientError(f"{action} on {uri} failed: {describe(error)}")
    if error_code(error) == "NoSuchBucket":
        return JobError(
            ErrorCode.OUTPUT_FORBIDDEN,
            f"there is no bucket {place.bucket!r}: correct the job's output",
        )
    if classify(error) is Fault.FORBIDDEN:
        return JobError(
            ErrorCode.OUTPUT_FORBIDDEN,
            f"S3 refuses {action} on {uri} (403): give the worker's role {action} there, and "
            "s3:ListBucket on its bucket, without which S3 won't say that an object is missing",
        )
    return JobError(ErrorCode.OUTPUT_FORBIDDEN, f"S3 refuses {action} on {uri}: {describe(error)}")
