"""Job: one request with nothing left open, and the envelopes it may come in (pure).

A message's body is one of

    {"input": "s3://bucket/key", ...}        a job
    {"jobs": [job, ...]} or [job, ...]       several
    {"Records": [...]}                       an S3 event notification
    {"Event": "s3:TestEvent", ...}           S3's test of a new notification
    {"detail-type": ..., "detail": {...}}    an S3 event from EventBridge
    {"Type": ..., "TopicArn": ...}           any of these wrapped by SNS (no raw delivery)

`parse_message` never raises. What is wrong comes back as `Rejected`, each with the error that its
`error.json` and its dead-letter copy carry; what is no job at all (the worker's own results,
deletions, tests) comes back as the reason for dropping it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from worker.errors import ErrorCode, JobError
from worker.jobs.events import ObjectEvent, from_eventbridge, from_notification
from worker.jobs.fields import JOB_FIELDS
from worker.jobs.ids import is_job_id
from worker.jobs.inputs import InputUri, parse_input
from worker.jobs.problems import described, kind_of, sentence, unknown_fields
from worker.jobs.request import (
    JobDefaults,
    JobRequest,
    job_schema,
    parse_request,
    valid_metadata,
)
from worker.redact import preview, quoted
from worker.uris import ResultPlace, S3Prefix, S3Uri

__all__ = [
    "Job",
    "JobDefaults",
    "JobRequest",
    "Parsed",
    "Rejected",
    "S3Prefix",
    "S3Uri",
    "job_schema",
    "parse_message",
    "parse_request",
]

_LOCATION_FIELDS = frozenset({"job_id", "output", "etag", "version_id", "notify"})
"""Fields that don't decide what a result says: which object it is of, where it lies, and where
its notice goes. They never enter `request_hash`."""

_ALWAYS_HASHED_FIELDS = frozenset(
    {"input", "language", "task", "formats", "words", "prompt", "hotwords", "metadata"}
)
"""The fields with which `request_hash` was first made; they enter it whatever their value.

Never add to this list: a result that exists carries the hash of its request, and a hash that
changes with a release turns each job that is delivered again into a `job_id_conflict`. A field
that is not listed enters the hash only where it differs from its default, and from what it is
where neither job nor setting says anything (`JobField.unset`)."""

_STEM_LENGTH = 120
"""Cut of a MessageId that gets a number after it, for the whole to stay a job id."""

_Where = TypeVar("_Where")


class Job(JobRequest):
    """One request, one input, one result.

    `etag` (without quotes) and `version_id` are what an event said of the object: the result is
    to be of that one. No sender writes them.
    """

    job_id: str
    output: S3Prefix
    etag: str | None = None
    version_id: str | None = None

    @property
    def request_hash(self) -> str:
        """SHA-256 (hex) of what was asked for: input, options and metadata.

        Of the same object, equal requests have equal results from equal workers. A default
        counts as if it had been written out; where the result lies does not count, nor do the
        worker's settings: a message that is delivered again after one was changed is still
        answered by the result that is there. A request keeps its hash in later releases,
        whatever fields jobs get there.
        """
        asked = self.model_dump(mode="json", include=set(_ALWAYS_HASHED_FIELDS))
        as_unset = {
            name
            for name, listed in JOB_FIELDS.items()
            if listed.unset is not None and getattr(self, name) == listed.unset
        }
        asked |= self.model_dump(
            mode="json",
            by_alias=True,
            exclude=as_unset | _ALWAYS_HASHED_FIELDS | _LOCATION_FIELDS,
            exclude_defaults=True,
        )
        canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def from_event(self) -> bool:
        """Whether an event about an object made it, and no sender."""
        return self.etag is not None or self.version_id is not None

    @property
    def place(self) -> ResultPlace:
        """Where everything written for this job lies: `<output><job_id>/`."""
        return self.output.place(self.job_id)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A job, or a whole message, that is wrong for good.

    Attributes:
        job_id: the job's own if it has a valid one, else the one it would have got by default.
        input: its input as far as it is known, safe to write and to log; else empty.
        output: its error.json belongs at `<output><job_id>/`; None where no place is known that
            may be written to.
        error: what is wrong, and the fix.
        metadata: the job's, if that is valid; echoed.
    """

    job_id: str | None
    input: str
    output: S3Prefix | None
    error: JobError
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a message holds. At least one of the three is not empty.

    Attributes:
        jobs: to be done; their ids differ.
        dropped: why a record makes no job and needs no answer, one text each.
        failures: to be answered with an error.
    """

    jobs: tuple[Job, ...] = ()
    dropped: tuple[str, ...] = ()
    failures: tuple[Rejected, ...] = ()


def parse_message(body: str, *, message_id: str, defaults: JobDefaults) -> Parsed:
    """The jobs in a message's body; never raises, whatever text the body is.

    Args:
        body: as received.
        message_id: the SQS MessageId (after a redrive: the one the message had at first).
            Jobs without an id get it.
        defaults: what the settings say about every job.
    """
    digest = hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()
    usable = message_id.isascii() and is_job_id(message_id)
    stem = message_id if usable else f"message-{digest[:32]}"
    reading = _Reading(stem, defaults)
    try:
        _check_size(body, defaults)
        reading.read(_load(body, "the message body"))
    except JobError as error:
        # Only faults of the message as a whole come here; a job's own stay with that job.
        return Parsed(failures=(Rejected(stem, "", defaults.output, error),))
    return Parsed(tuple(reading.jobs.values()), tuple(reading.dropped), tuple(reading.failures))


def _invalid_message(message: str) -> JobError:
    return JobError(ErrorCode.INVALID_MESSAGE, message)


class _NotJsonError(ValueError):
    """What Python's json would take although it is not JSON, or could mean two things."""


def _object_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _NotJsonError(f"{quoted(name, 40)} appears twice in one object")
        found[name] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise _NotJsonError(f"{name} is not a JSON number")


def _check_size(body: str, defaults: JobDefaults) -> None:
    size = len(body.encode("utf-8", "surrogatepass"))
    if size > defaults.max_body_bytes:
        raise _invalid_message(
            f"the message body has {size} bytes and may have {defaults.max_body_bytes}:"
            " send fewer jobs in a message"
        )


def _load(text: str, what: str) -> object:
    try:
        found: object = json.loads(
            text, object_pairs_hook=_object_once, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        why = f"{error.msg} at line {error.lineno} column {error.colno}"
    except RecursionError:
        why = "it is nested too deeply"
    except _NotJsonError as error:
        why = str(error)
    except ValueError:
        # The interpreter refuses to convert integers of thousands of digits.
        why = "a number in it has too many digits"
    else:
        return found
    raise _invalid_message(f"{what} is not valid JSON: {why}")


class _Reading:
    """One message being read: collects its jobs, and what is wrong with the others."""

    def __init__(self, stem: str, defaults: JobDefaults) -> None:
        self.stem = stem
        self.defaults = defaults
        self.jobs: dict[str, Job] = {}
        self.dropped: list[str] = []
        self.failures: list[Rejected] = []

    def read(self, document: object, *, wrapped: bool = False) -> None:
        """Read a body of any of the forms above. Raises JobError if it has none of them."""
        if isinstance(document, list):
            self._read_each(document, self._read_job)
        elif not isinstance(document, dict):
            raise _invalid_message(
                f"the message body is {kind_of(document)}: send a JSON object with an 'input'"
            )
        elif document.get("Event") == "s3:TestEvent":
            bucket = described(document.get("Bucket"))
            self.dropped.append(f"S3's test event for bucket {bucket}")
        elif "Records" in document:
            self._read_records(document["Records"])
        elif "Type" in document and "TopicArn" in document:
            self._read_sns(document, wrapped=wrapped)
        elif "detail-type" in document and "detail" in document:
            self._read_event(document, self.stem, from_eventbridge)
        elif "jobs" in document:
            self._read_jobs(document)
        else:
            self._read_job(document, self.stem)

    def _read_each(self, items: Sequence[object], read: Callable[[object, str], None]) -> None:
        if not items:
            raise _invalid_message("the message has an empty list of jobs: send at least one")
        if len(items) > self.defaults.max_jobs:
            raise _invalid_message(
                f"the message has {len(items)} jobs and may have {self.defaults.max_jobs}:"
                " send them in several messages"
            )
        for number, item in enumerate(items, 1):
            alone = len(items) == 1
            read(item, self.stem if alone else f"{self.stem[:_STEM_LENGTH]}-{number}")

    def _read_jobs(self, document: Mapping[str, object]) -> None:
        problems = unknown_fields([name for name in document if name != "jobs"], ["jobs"])
        if problems:
            raise _invalid_message(sentence(problems))
        jobs = document["jobs"]
        if not isinstance(jobs, list):
            raise _invalid_message(f"field 'jobs' is {kind_of(jobs)}: send a list of jobs")
        self._read_each(jobs, self._read_job)

    def _read_sns(self, envelope: Mapping[str, object], *, wrapped: bool) -> None:
        if envelope["Type"] != "Notification":
            raise _invalid_message(
                f"the message is SNS's {described(envelope['Type'])} for topic"
                f" {described(envelope['TopicArn'])}: confirm or remove the subscription"
            )
        if wrapped:
            raise _invalid_message("the message is wrapped by SNS twice: deliver it raw")
        inner = envelope.get("Message")
        if not isinstance(inner, str):
            raise _invalid_message("the SNS notification has no text in 'Message'")
        self.read(_load(inner, "the SNS notification's 'Message'"), wrapped=True)

    def _read_records(self, records: object) -> None:
        if not isinstance(records, list):
            raise _invalid_message(f"field 'Records' is {kind_of(records)}: S3 sends a list")
        if records:
            self._read_each(records, lambda r, own: self._read_event(r, own, from_notification))
        else:
            self.dropped.append("an event notification without records")

    def _read_event(
        self, record: object, default_id: str, parse: Callable[[object], ObjectEvent]
    ) -> None:
        """A job, a reason to drop it, or a failure from one event about one object."""
        try:
            event = parse(record)
        except JobError as error:
            self._reject({}, default_id, error)
            return
        reason = self._reason_to_drop(event)
        if reason is not None:
            self.dropped.append(f"{quoted(event.name)} of {quoted(event.uri, 200)}: {reason}")
            return
        raw = {"input": event.uri, "job_id": event.job_id}
        try:
            request = JobRequest(input=S3Uri(event.bucket, event.key), job_id=event.job_id)
            self._add(self._resolve(request, event.job_id, event), default_id)
        except ValueError as error:
            why = JobError(ErrorCode.INVALID_JOB, f"the event's object {error}")
            self._reject(raw, default_id, why)
        except JobError as error:
            self._reject(raw, default_id, error)

    def _reason_to_drop(self, event: ObjectEvent) -> str | None:
        if event.deletes:
            return "a deletion"
        if not event.creates:
            return "not the creation of an object"
        if event.makes_folder:
            return "an empty object that stands for a folder"
        if self.defaults.is_own_output(event.bucket, event.key):
            return "under the worker's own output prefix"
        return None

    def _read_job(self, raw: object, default_id: str) -> None:
        if not isinstance(raw, dict):
            what = f"the job is {kind_of(raw)}: send a JSON object with an 'input'"
            self._reject({}, default_id, JobError(ErrorCode.INVALID_JOB, what))
            return
        try:
            self._add(self._resolve(parse_request(raw, self.defaults), default_id), default_id)
        except JobError as error:
            self._reject(raw, default_id, error)

    def _resolve(
        self, request: JobRequest, default_id: str, event: ObjectEvent | None = None
    ) -> Job:
        """The request with nothing left open. Raises JobError for a forbidden bucket."""
        if not self.defaults.allows(request.input.bucket):
            raise _not_allowed("input", request.input.bucket)
        output = request.output or self.defaults.output_for(request.input)
        if not self.defaults.allows_output(output):
            raise _not_allowed("output", output.bucket)
        decided = {
            "job_id": request.job_id or default_id,
            "output": output,
            "etag": event.etag if event else None,
            "version_id": event.version_id if event else None,
        }
        return Job.model_validate(dict(request) | decided)

    def _add(self, job: Job, default_id: str) -> None:
        earlier = self.jobs.setdefault(job.job_id, job)
        if earlier is job:
            return
        if earlier == job:
            self.dropped.append(f"job '{job.job_id}': it stands in the message twice")
            return
        what = f"field 'job_id' is '{job.job_id}', as of another job here: give each its own"
        error = JobError(ErrorCode.JOB_ID_CONFLICT, what)
        # Not under the id it asked for: the other job's result lies there.
        self.failures.append(
            Rejected(default_id, str(job.input), job.output, error, dict(job.metadata))
        )

    def _reject(self, raw: Mapping[str, object], default_id: str, error: JobError) -> None:
        """Keep the error with all that is known of the job it belongs to."""
        job_id, named = raw.get("job_id"), raw.get("input")
        source = _parsed(parse_input, named)
        output = _parsed(S3Prefix.parse, raw.get("output"))
        if output is None or not self.defaults.allows_output(output):
            output = self._default_output(source) if source else None
        self.failures.append(
            Rejected(
                job_id=job_id if isinstance(job_id, str) and is_job_id(job_id) else default_id,
                input=str(source or (preview(named, 200) if isinstance(named, str) else "")),
                output=output or self.defaults.output,
                error=error,
                metadata=valid_metadata(raw.get("metadata"), self.defaults),
            )
        )

    def _default_output(self, source: InputUri) -> S3Prefix | None:
        """Where the error of a job with this input goes; None where nothing may be written."""
        if not self.defaults.allows(source.bucket):
            return None
        try:
            return self.defaults.output_for(source)
        except JobError:
            return None


def _parsed(parse: Callable[[str], _Where], text: object) -> _Where | None:
    try:
        return parse(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _not_allowed(name: str, bucket: str | None) -> JobError:
    return JobError(
        ErrorCode.BUCKET_NOT_ALLOWED,
        f"field '{name}' names bucket '{bucket}', which the setting 'allowed_buckets' does not"
        " list: use one that it lists, or have this one added",
    )
