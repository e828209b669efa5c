"""What a sender does with S3 and SQS: list inputs, upload, send, wait for the answers.

What to send is decided in `plan`, before anything here is imported. Imports boto3, and nothing
of speech.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from boto3.exceptions import S3UploadFailedError

from worker.aws.faults import AWS_ERRORS, Fault, Forbidden, classify, describe, transient
from worker.aws.sqs import MESSAGES_PER_CALL, fifo_id, is_fifo
from worker.errors import SettingsError, TransientError
from worker.results.names import ERROR, TRANSCRIPT
from worker.results.plural import counted
from worker.sender.plan import Planned
from worker.uris import S3Prefix, S3Uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

__all__ = [
    "Answers",
    "Failure",
    "ask_first",
    "list_objects",
    "places",
    "send",
    "upload_each",
    "wait",
]

MAX_BATCH_BYTES = 262_144
"""Most bytes that SendMessageBatch takes in all (newer queues take more)."""

POLL_SECONDS = 2.0

PATIENCE = 10
"""Rounds of polling that may fail in a row before waiting is given up."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed for good, as its error.json says."""

    job_id: str
    code: str
    message: str


@dataclass(slots=True)
class Answers:
    """What became of the jobs waited for.

    Attributes:
        completed: job id -> URI of its transcript.json.
        failed: in the order they failed.
        waiting: job ids without an answer when the time was up.
        forbidden: the URI of a result that these credentials may not see, if there was one.
    """

    completed: dict[str, str] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)
    waiting: tuple[str, ...] = ()
    forbidden: str | None = None

    @property
    def all_completed(self) -> bool:
        """Whether every job was answered, and none failed."""
        return not self.failed and not self.waiting

    @property
    def count(self) -> int:
        """How many jobs are answered."""
        return len(self.completed) + len(self.failed)

    def summary(self, jobs: Sequence[Planned]) -> str:
        """How many of the jobs that were waited for succeeded, and where the results lie."""
        parts = [f"{len(self.completed)} succeeded"]
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{len(self.waiting)} unanswered"] if self.waiting else []
        told = f"{counted(len(jobs), 'job')}: {', '.join(parts)}"
        if len(self.completed) == 1:
            return f"{told}; its result: {next(iter(self.completed.values()))}"
        return f"{told}; results: {places(jobs)}" if self.completed else told

    def problems(self, timeout: float) -> list[str]:
        """What went wrong, in lines for a person; `timeout` is how long was waited, in seconds."""
        lines = [f"{failure.job_id}: {failure.code}: {failure.message}" for failure in self.failed]
        if self.waiting:
            lines.append(
                f"no answer within {timeout:g} s from {counted(len(self.waiting), 'job')}:"
            )
            lines += [f"  {job_id}" for job_id in self.waiting]
            if self.forbidden:
                lines.append(
                    f"{self.forbidden} may not be read, or isn't there yet: these credentials"
                    " need s3:GetObject on results and s3:ListBucket on their bucket"
                )
        return lines


def places(jobs: Sequence[Planned]) -> str:
    """Where the results of jobs that say so go, for people."""
    return ", ".join(
        f"{prefix}<job id>/" for prefix in dict.fromkeys(str(job.output) for job in jobs)
    )


def list_objects(s3: S3Client, prefix: S3Prefix) -> Iterator[str]:
    """URIs of the objects below a prefix; without folder markers and empty objects.

    Raises:
        SettingsError: the bucket can't be listed.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.prefix)
    try:
        for page in pages:
            for item in page.get("Contents", []):
                if item["Size"] and not item["Key"].endswith("/"):
                    yield f"s3://{prefix.bucket}/{item['Key']}"
    except AWS_ERRORS as error:
        raise SettingsError(f"--prefix {prefix} can't be listed: {describe(error)}") from error


def upload_each(s3: S3Client, jobs: Iterable[Planned]) -> Iterator[Planned]:
    """Each job, once its local file (if it has one) is where its input says.

    Raises:
        TransientError: a file could not be uploaded.
    """
    for job in jobs:
        if job.path is not None:
            # A local file always becomes an object.
            _upload(s3, job.path, S3Uri.parse(str(job.request.input)))
        yield job


def _upload(s3: S3Client, path: Path, target: S3Uri) -> None:
    try:
        s3.upload_file(str(path), target.bucket, target.key)
    except (S3UploadFailedError, OSError, *AWS_ERRORS) as error:
        raise TransientError(f"{path} was not uploaded to {target}: {error}") from error


def ask_first(sqs: SQSClient, queue_url: str) -> str:
    """Ask whether there is such a queue, before anything is uploaded for it.

    Whoever may send need not be allowed to ask; that they may not is no answer.

    Args:
        sqs: with short time-outs: a person waits.
        queue_url: the queue's.

    Returns:
        Why there was no answer, for a person; sending may succeed all the same. Empty if nothing
        speaks against it.

    Raises:
        TransientError: there is no such queue.
    """
    from worker.aws.probes import ask_queue

    try:
        ask_queue(sqs, queue_url)
    except Forbidden:
        return ""
    except SettingsError as error:
        raise TransientError(f"{queue_url} took no message: {error}") from error
    except TransientError as error:
        return str(error)
    return ""


def send(sqs: SQSClient, queue_url: str, jobs: Iterable[Planned]) -> Iterator[Planned]:
    """Send one message a job, and yield each job that the queue has accepted.

    Raises:
        TransientError: the queue refused messages; those yielded before are on it.
    """
    for batch in _batches(jobs):
        entries = [_entry(str(n), job, queue_url) for n, job in enumerate(batch)]
        try:
            answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
        except AWS_ERRORS as error:
            raise TransientError(f"{queue_url} took no message: {describe(error)}") from error
        refused = {entry["Id"]: entry for entry in answer.get("Failed", [])}
        yield from (job for n, job in enumerate(batch) if str(n) not in refused)
        if refused:
            why = next(iter(refused.values()))
            raise TransientError(
                f"{queue_url} refused {len(refused)} of {counted(len(batch), 'message')}:"
                f" {why['Code']}: {why.get('Message', '')}"
            )


def _entry(name: str, planned: Planned, queue_url: str) -> SendMessageBatchRequestEntryTypeDef:
    entry: SendMessageBatchRequestEntryTypeDef = {"Id": name, "MessageBody": planned.request.body()}
    if is_fifo(queue_url):
        # A group of its own: jobs don't wait for one another.
        job = fifo_id(planned.job_id)
        entry |= {"MessageGroupId": job, "MessageDeduplicationId": job}
    return entry


def _batches(jobs: Iterable[Planned]) -> Iterator[list[Planned]]:
    batch: list[Planned] = []
    size = 0
    for job in jobs:
        more = len(job.request.body().encode())
        if batch and (len(batch) == MESSAGES_PER_CALL or size + more > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += more
    if batch:
        yield batch


def wait(
    s3: S3Client,
    jobs: Sequence[Planned],
    *,
    timeout: float,
    on_round: Callable[[Answers], None] = lambda answers: None,
    poll_seconds: float = POLL_SECONDS,
) -> Answers:
    """Look for every job's transcript.json or error.json until all are there.

    Args:
        s3: client that may read the results.
        jobs: with their `output`.
        timeout: seconds.
        on_round: called with what is answered so far, each time that all were looked for.
        poll_seconds: between one round and the next.

    Raises:
        TransientError: S3 could not be asked, round after round.
    """
    answers = Answers()
    left = list(jobs)
    ends = time.monotonic() + timeout
    failures = 0
    while left:
        try:
            left = [job for job in left if not _answered(s3, job, answers)]
            failures = 0
        except AWS_ERRORS as error:
            left = [job for job in left if not _known(job, answers)]
            failures += 1
            if failures >= PATIENCE or not transient(error):
                raise TransientError(f"results can't be looked for: {describe(error)}") from error
        on_round(answers)
        if not left or time.monotonic() + poll_seconds > ends:
            break
        time.sleep(poll_seconds)
    answers.waiting = tuple(job.job_id for job in left)
    return answers


def _known(job: Planned, answers: Answers) -> bool:
    return job.job_id in answers.completed or any(f.job_id == job.job_id for f in answers.failed)


def _answered(s3: S3Client, job: Planned, answers: Answers) -> bool:
    """Whether the job is answered by now; the answer is added to `answers`."""
    output = job.output
    if output is None:
        raise ValueError(f"{job.job_id} doesn't say where its result goes")
    place = output.place(job.job_id)
    if _read(s3, place.bucket, place.key(TRANSCRIPT), answers, body=False) is not None:
        answers.completed[job.job_id] = place.uri(TRANSCRIPT)
        return True
    error = _read(s3, place.bucket, place.key(ERROR), answers)
    if error is None:
        return False
    document = json.loads(error)
    answers.failed.append(Failure(job.job_id, str(document["code"]), str(document["message"])))
    return True


def _read(
    s3: S3Client, bucket: str, key: str, answers: Answers, *, body: bool = True
) -> bytes | None:
    """The object (or b"" without `body`); None if it isn't there, or may not be seen."""
    try:
        if body:
            return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.head_object(Bucket=bucket, Key=key)
    except AWS_ERRORS as error:
        fault = classify(error)
        if fault is Fault.FORBIDDEN:
            # Without s3:ListBucket, S3 says so of a key that is only not there yet.
            answers.forbidden = f"s3://{bucket}/{key}"
            return None
        if fault is Fault.NOT_FOUND and "NoSuchBucket" not in describe(error):
            return None
        raise
    return b""
