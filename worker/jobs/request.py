"""JobRequest: a job as its sender writes it, and the sentences that refuse a wrong one (pure).

Pydantic finds what is wrong; the sentences here name the field, its value and the fix. The
content of `prompt`, `hotwords` and `metadata` is private: no sentence quotes it, no repr shows it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from worker.errors import ErrorCode, JobError
from worker.jobs.fields import JOB_FIELDS
from worker.jobs.languages import LANGUAGE_CODES, nearest_language
from worker.redact import quoted
from worker.results.formats import FORMAT_NAMES, Format
from worker.uris import MAX_JOB_ID, S3Prefix, S3Uri

__all__ = [
    "DEFAULT_PREFIX",
    "MAX_PROMPT_CHARACTERS",
    "JobDefaults",
    "JobRequest",
    "described",
    "is_job_id",
    "job_schema",
    "kind_of",
    "parse_request",
    "sentence",
    "unknown_fields",
    "valid_metadata",
]

DEFAULT_PREFIX = "transcripts/"
"""Where results go in the input's bucket when neither the job nor the settings name an output."""

MAX_PROMPT_CHARACTERS = 4096
"""Ample for the 223 tokens that Whisper's decoder takes; the engine counts those."""

_JOB_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_JOB_ID}}}")
_PRIVATE_FIELDS = frozenset({"prompt", "hotwords", "metadata"})
_PROBLEMS_NAMED = 3
_MAX_FORMATS = 20
"""Room for every format and some repeats; bounds the errors a hostile list can make."""

_UNICODE_FIX = "it must be valid Unicode, without half a surrogate pair"


def is_job_id(text: str) -> bool:
    """Whether `text` may name a job: 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor .. alone."""
    return _JOB_ID.fullmatch(text) is not None and text not in (".", "..")


_NOTIFY = re.compile(r"arn:[a-z-]+:sns:\S{1,300}|https?://[^\s/?#@]+/[^\s?#]{1,300}")
"""The form of a topic's ARN or a queue's URL; whether the worker may write to it, AWS decides."""


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


PrivateText = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]


def _field(name: str, **rules: Any) -> Any:
    """A field that may be left out, with the default and description of the list of fields."""
    listed = JOB_FIELDS[name]
    return Field(default=listed.default, description=listed.description, **rules)


class JobRequest(BaseModel):
    """One job of a message, as its sender writes it."""  # also the schema's description

    # Defaults, descriptions and flags stand in `worker.jobs.fields`; here is what values may be.

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, title="Job"
    )

    input: S3Uri = Field(description=JOB_FIELDS["input"].description)
    job_id: str | None = _field("job_id", json_schema_extra={"pattern": f"^{_JOB_ID.pattern}$"})
    output: S3Prefix | None = _field("output")
    language: str | None = _field("language", json_schema_extra={"enum": [*LANGUAGE_CODES, None]})
    task: Literal["transcribe", "translate"] = _field("task")
    formats: tuple[Format, ...] = _field("formats", strict=False, max_length=_MAX_FORMATS)
    words: bool = _field("words")
    prompt: PrivateText | None = _field("prompt", repr=False)
    hotwords: PrivateText | None = _field("hotwords", repr=False)
    metadata: dict[str, str] = Field(
        default_factory=dict, repr=False, description=JOB_FIELDS["metadata"].description
    )
    notify: str | None = _field("notify")

    @field_validator("job_id")
    @classmethod
    def _check_job_id(cls, value: str | None) -> str | None:
        if value is not None and not is_job_id(value):
            raise PydanticCustomError(
                "advice", f"use 1 to {MAX_JOB_ID} of A-Z a-z 0-9 . _ - and not . or .. alone"
            )
        return value

    @field_validator("language")
    @classmethod
    def _check_language(cls, value: str | None) -> str | None:
        if value is None or value in LANGUAGE_CODES:
            return value
        near = nearest_language(value)
        hint = f"did you mean '{near}'?" if near else "leave it out, or send null, to detect it"
        raise PydanticCustomError("advice", f"it must be a Whisper language code; {hint}")

    @field_validator("formats", mode="before")
    @classmethod
    def _bound_formats(cls, value: object) -> object:
        # Before pydantic makes an error of each of a hostile list's items.
        if isinstance(value, list) and len(value) > _MAX_FORMATS:
            raise PydanticCustomError("advice", "it must name each format once")
        return value

    @field_validator("formats")
    @classmethod
    def _order_formats(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        return tuple(name for name in FORMAT_NAMES if name == "json" or name in value)

    @field_validator("prompt", "hotwords")
    @classmethod
    def _check_text(cls, value: str | None) -> str | None:
        if value is not None and not _is_unicode(value):
            raise PydanticCustomError("advice", _UNICODE_FIX)
        return value if value and not value.isspace() else None

    @field_validator("notify")
    @classmethod
    def _check_notify(cls, value: str | None) -> str | None:
        if value is not None and not _NOTIFY.fullmatch(value):
            raise PydanticCustomError(
                "advice",
                "it must be an SNS topic's ARN (arn:aws:sns:...) or an SQS queue's URL"
                " (https://sqs....)",
            )
        return value

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(map(_is_unicode, (*value, *value.values()))):
            raise PydanticCustomError("advice", _UNICODE_FIX)
        return value

    def body(self) -> str:
        """The job as a message body; fields that have their default are left out."""
        return self.model_dump_json(exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What the settings decide for every job.

    Attributes:
        output: where results go if the job names no output; None is
            s3://<input bucket>/transcripts/.
        allowed_buckets: buckets that jobs may name; empty allows any.
        max_body_bytes: largest message body, in bytes of UTF-8.
        max_jobs: most jobs in a message: they share its lease.
        max_metadata_bytes: most bytes of a job's metadata, names and values together.
        max_metadata_entries: most entries of a job's metadata.
    """

    output: S3Prefix | None = None
    allowed_buckets: frozenset[str] = frozenset()
    max_body_bytes: int = 262_144
    max_jobs: int = 100
    max_metadata_bytes: int = 2048
    max_metadata_entries: int = 64

    def output_for(self, bucket: str) -> S3Prefix:
        """Where the results of an input in `bucket` go when its job names no output."""
        return self.output or S3Prefix(bucket, DEFAULT_PREFIX)

    def is_own_output(self, bucket: str, key: str) -> bool:
        """Whether an object is where results go by default: such an object is no input."""
        if self.output is None:
            return key.startswith(DEFAULT_PREFIX)
        return self.output.holds(bucket, key)

    def allows(self, bucket: str) -> bool:
        """Whether jobs may name the bucket."""
        return not self.allowed_buckets or bucket in self.allowed_buckets

    def allows_output(self, output: S3Prefix) -> bool:
        """Whether results may go there: an allowed bucket, or under the operator's `output`."""
        chosen = self.output is not None and self.output.holds(output.bucket, output.prefix)
        return chosen or self.allows(output.bucket)


def job_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of one job in a message."""
    return JobRequest.model_json_schema(mode="validation")


def parse_request(raw: Mapping[str, object], defaults: JobDefaults | None = None) -> JobRequest:
    """A job as a sender writes it; buckets are not checked against `allowed_buckets` here.

    Raises:
        JobError: `invalid_job`, naming each wrong field, its value and the fix.
    """
    known = {name: value for name, value in raw.items() if name in JobRequest.model_fields}
    problems = unknown_fields([name for name in raw if name not in known])
    problems += _metadata_problems(known.get("metadata"), defaults or JobDefaults())
    try:
        request = JobRequest.model_validate(known)
    except ValidationError as error:
        problems += [_explained(problem) for problem in error.errors(include_url=False)]
    if problems:
        raise JobError(ErrorCode.INVALID_JOB, sentence(problems))
    return request


def valid_metadata(value: object, defaults: JobDefaults) -> dict[str, str]:
    """A JSON value as a job's metadata, or none of it if it may not be that."""
    if not isinstance(value, dict) or _metadata_problems(value, defaults):
        return {}
    texts = (*value, *value.values())
    valid = all(isinstance(text, str) and _is_unicode(text) for text in texts)
    return dict(value) if valid else {}


def unknown_fields(
    names: Sequence[str], known: Sequence[str] = tuple(JobRequest.model_fields)
) -> list[str]:
    """The sentences that refuse fields, each with the nearest known one."""
    # No field name is as long as 40; difflib's time grows with the square of the length.
    problems = []
    named = len(names) if len(names) <= _PROBLEMS_NAMED else _PROBLEMS_NAMED - 1
    for name in names[:named]:
        likeness = {
            field: difflib.SequenceMatcher(None, name[:40].lower(), field).ratio()
            for field in known
        }
        nearest = max(known, key=likeness.__getitem__)
        problems.append(
            f"field {quoted(name, 40)} is unknown; the nearest known one is '{nearest}'"
        )
    if len(names) > named:
        problems.append(f"{len(names)} fields in all are unknown")
    return problems


def sentence(problems: Sequence[str]) -> str:
    """The first few problems as one sentence."""
    more = len(problems) - _PROBLEMS_NAMED
    return "; ".join(problems[:_PROBLEMS_NAMED]) + (f"; and {more} more" if more > 0 else "")


def kind_of(value: object) -> str:
    """The kind of a JSON value, in words; shows nothing of its content."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def described(value: object) -> str:
    """A JSON value as an error message shows it: text shortened; of others only the kind."""
    return quoted(value) if isinstance(value, str) else kind_of(value)


_FIXES = {
    "bool_type": "it must be true or false",
    "dict_type": "it must be an object whose values are text",
    "string_type": "it must be text",
    "string_unicode": _UNICODE_FIX,
    "tuple_type": f"it must be a list of any of {', '.join(FORMAT_NAMES)}",
}
"""The fix that a message names, by pydantic's error type."""


def _explained(problem: ErrorDetails) -> str:
    """One of pydantic's errors as a sentence that names field, value and fix."""
    field, *inside = problem["loc"]
    name = f"field '{field}'" + "".join(
        f" {quoted(item, 40)}" if isinstance(item, str) else f" item {item + 1}"
        for item in inside
        if item != "[key]"  # how pydantic says that an entry's name is wrong, not its value
    )
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    shown_value = kind_of(value) if field in _PRIVATE_FIELDS else described(value)
    match kind:
        case "missing":
            return f"{name} is missing: add it, as s3://bucket/key"
        case "uri":
            return f"{name}: {context['why']}"
        case "string_too_long":
            return (
                f"{name} has {len(value)} characters and may have {context['max_length']}:"
                " shorten it"
            )
        case "literal_error":
            fix = f"it must be {context['expected']}"
        case _:
            fix = _FIXES.get(kind, problem["msg"])
    return f"{name} is {shown_value}: {fix}"


def _metadata_problems(metadata: object, defaults: JobDefaults) -> list[str]:
    """What is wrong with the size of a job's metadata; pydantic checks what it holds."""
    if not isinstance(metadata, dict):
        return []
    problems = []
    if len(metadata) > defaults.max_metadata_entries:
        problems.append(
            f"field 'metadata' has {len(metadata)} entries and may have"
            f" {defaults.max_metadata_entries}: send fewer"
        )
    size = sum(
        len(text.encode("utf-8", "surrogatepass"))
        for text in (*metadata, *metadata.values())
        if isinstance(text, str)
    )
    if size > defaults.max_metadata_bytes:
        problems.append(
            f"field 'metadata' has {size} bytes of names and values and may have"
            f" {defaults.max_metadata_bytes}: shorten it"
        )
    return problems
