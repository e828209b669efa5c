"""JobRequest: a job as its sender writes it, and what the settings say about every job (pure).

The content of `prompt`, `hotwords`, `vocabulary`, `vocabulary_filter` and `metadata` is private: no
sentence quotes it, no repr shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from worker.errors import ErrorCode, JobError
from worker.jobs.fields import JOB_FIELDS
from worker.jobs.ids import JOB_ID_PATTERN, JOB_ID_RULE, is_job_id
from worker.jobs.inputs import InputUri, JobInput
from worker.jobs.languages import LANGUAGE_CODES, in_order, nearest_language
from worker.jobs.problems import (
    UNICODE_FIX,
    contains,
    explained,
    metadata_problems,
    sentence,
    unknown_fields,
)
from worker.jobs.speakers import (
    NEVER_TOGETHER,
    AudioStream,
    ChannelIdentification,
    ChannelLabels,
    SpeakerBound,
)
from worker.jobs.vocabulary import PhraseList, Vocabulary
from worker.redact import quoted
from worker.results.names import FORMAT_NAMES, Format
from worker.results.presentation import FilterMethod
from worker.results.transcript import (
    CueSeconds,
    LineCount,
    LineWidth,
    SegmentResolution,
    StartIndex,
    Task,
)
from worker.uris import S3Prefix

__all__ = [
    "DEFAULT_PREFIX",
    "MAX_PROMPT_CHARACTERS",
    "JobDefaults",
    "JobRequest",
    "job_schema",
    "parse_request",
    "valid_metadata",
]

DEFAULT_PREFIX = "transcripts/"
"""Where results go in the input's bucket when neither the job nor the settings name an output."""

MAX_PROMPT_CHARACTERS = 4096
"""Ample for the 223 tokens that Whisper's decoder takes; the engine counts those."""

_PRIVATE_FIELDS = frozenset({"prompt", "hotwords", "vocabulary", "vocabulary_filter", "metadata"})
_MAX_FORMATS = 20
"""Room for every format and some repeats; bounds the errors a hostile list can make."""

_NOTIFY = re.compile(r"arn:[a-z-]+:sns:\S{1,300}|https?://[^\s/?#@]+/[^\s?#]{1,300}")
"""The form of a topic's ARN or a queue's URL; whether the worker may write to it, AWS decides."""


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


PrivateText = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
LanguageCode = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LANGUAGE_CODES)})]
LanguageCodes = Annotated[
    tuple[LanguageCode, ...], Field(strict=False, max_length=len(LANGUAGE_CODES))
]


def _field(name: str, **rules: Any) -> Any:
    """A field that may be left out, with the default and description of the list of fields."""
    listed = JOB_FIELDS[name]
    return Field(default=listed.default, description=listed.description, **rules)


_BOTH_LANGUAGE_AND_MULTILINGUAL: JsonDict = {
    "required": ["language", "multilingual"],
    "properties": {"language": {"type": "string"}, "multilingual": {"const": True}},
}
"""What `_check_multilingual` refuses, as a JSON schema."""


class JobRequest(BaseModel):
    """One job of a message, as its sender writes it."""  # also the schema's description

    # Defaults, descriptions and flags stand in `worker.jobs.fields`; here is what values may be.

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        title="Job",
        json_schema_extra={"not": {"anyOf": [_BOTH_LANGUAGE_AND_MULTILINGUAL, *NEVER_TOGETHER]}},
    )

    input: JobInput = Field(description=JOB_FIELDS["input"].description)
    job_id: str | None = _field("job_id", json_schema_extra={"pattern": JOB_ID_PATTERN})
    output: S3Prefix | None = _field("output")
    language: str | None = _field("language", json_schema_extra={"enum": [*LANGUAGE_CODES, None]})
    task: Task = _field("task")
    formats: tuple[Format, ...] = _field("formats", strict=False, max_length=_MAX_FORMATS)
    words: bool = _field("words")
    prompt: PrivateText | None = _field("prompt", repr=False)
    hotwords: PrivateText | None = _field("hotwords", repr=False)
    carry_context: Literal["auto", "off", "on"] | None = _field("carry_context")
    language_options: LanguageCodes | None = _field("language_options")
    multilingual: bool | None = _field("multilingual")
    diarize: bool = _field("diarize")
    min_speakers: SpeakerBound = _field("min_speakers")
    max_speakers: SpeakerBound = _field("max_speakers")
    channel_identification: ChannelIdentification = _field("channel_identification")
    audio_stream: AudioStream = _field("audio_stream")
    channel_labels: ChannelLabels = _field("channel_labels")
    vocabulary: Vocabulary = _field("vocabulary", repr=False)
    vocabulary_filter: PhraseList = _field("vocabulary_filter", repr=False)
    vocabulary_filter_method: FilterMethod = _field("vocabulary_filter_method")
    segment_resolution: SegmentResolution = _field("segment_resolution")
    max_line_width: LineWidth = _field("max_line_width")
    max_line_count: LineCount = _field("max_line_count")
    max_cue_seconds: CueSeconds = _field("max_cue_seconds")
    highlight_words: bool = _field("highlight_words")
    vtt_word_times: bool | None = _field("vtt_word_times")
    output_start_index: StartIndex = _field("output_start_index")
    metadata: dict[str, str] = Field(
        default_factory=dict, repr=False, description=JOB_FIELDS["metadata"].description
    )
    notify: str | None = _field("notify")

    @field_validator("job_id")
    @classmethod
    def _check_job_id(cls, value: str | None) -> str | None:
        if value is not None and not is_job_id(value):
            raise PydanticCustomError("advice", JOB_ID_RULE)
        return value

    @field_validator("language")
    @classmethod
    def _check_language(cls, value: str | None) -> str | None:
        if value is None or value in LANGUAGE_CODES:
            return value
        near = nearest_language(value)
        hint = f"did you mean '{near}'?" if near else "leave it out, or send null, to detect it"
        raise PydanticCustomError("advice", f"it must be a Whisper language code; {hint}")

    @field_validator("language_options", mode="before")
    @classmethod
    def _bound_language_options(cls, value: object) -> object:
        # Before pydantic makes an error of each of a hostile list's items.
        if isinstance(value, list) and len(value) > len(LANGUAGE_CODES):
            raise PydanticCustomError("advice", "it must name each language once")
        return value

    @field_validator("language_options")
    @classmethod
    def _check_language_options(
        cls, value: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        if value is None:
            return None
        for code in value:
            if code not in LANGUAGE_CODES:
                near = nearest_language(code)
                hint = f"did you mean '{near}'?" if near else "leave it out"
                raise contains(f"{quoted(code, 40)} is no Whisper language code; {hint}")
        language = info.data.get("language")
        if value and language is not None and language not in value:
            raise contains(
                f"it has {', '.join(in_order(value))} and not '{language}', which is the job's"
                " 'language'; add it, or send only one of the two fields"
            )
        return in_order(value)

    @field_validator("multilingual")
    @classmethod
    def _check_multilingual(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        language = info.data.get("language")
        if value and language is not None:
            raise PydanticCustomError(
                "advice",
                f"the job's 'language' is '{language}', which is one for all of it: send only one"
                " of the two fields",
            )
        return value

    @field_validator("formats", mode="before")
    @classmethod
    def _bound_formats(cls, value: object) -> object:
        # Before pydantic makes an error of each of a hostile list's items.
        if isinstance(value, list) and len(value) > _MAX_FORMATS:
            raise PydanticCustomError("advice", "it must name each format once")
        if not isinstance(value, (list, tuple)):
            names = ", ".join(FORMAT_NAMES)
            raise PydanticCustomError("advice", f"it must be a list of any of {names}")
        return value

    @field_validator("formats")
    @classmethod
    def _order_formats(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        return tuple(name for name in FORMAT_NAMES if name == "json" or name in value)

    @field_validator("vocabulary_filter_method")
    @classmethod
    def _check_vocabulary_filter_method(
        cls, value: FilterMethod, info: ValidationInfo
    ) -> FilterMethod:
        if value == "tag" and info.data.get("words") is False:
            raise PydanticCustomError(
                "advice",
                "tags stand in words, and the job's 'words' is false: send 'mask' or 'remove', or"
                " leave 'words' out",
            )
        return value

    @field_validator("prompt", "hotwords")
    @classmethod
    def _check_text(cls, value: str | None) -> str | None:
        if value is not None and not _is_unicode(value):
            raise PydanticCustomError("advice", UNICODE_FIX)
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
            raise PydanticCustomError("advice", UNICODE_FIX)
        return value

    def body(self) -> str:
        """The job as a message body; fields that have their default are left out."""
        return self.model_dump_json(exclude_defaults=True, by_alias=True)


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

    def output_for(self, uri: InputUri) -> S3Prefix:
        """Where the results of an input go when its job names no output.

        Raises:
            JobError: `invalid_job`; the input has no bucket, and the settings name no output.
        """
        if self.output is not None:
            return self.output
        if uri.bucket is None:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"field 'output' is missing, and the input {quoted(str(uri))} has no bucket to"
                " write to: add the field, as s3://bucket/prefix/, or have the setting 'output'"
                " set",
            )
        return S3Prefix(uri.bucket, DEFAULT_PREFIX)

    def is_own_output(self, bucket: str, key: str) -> bool:
        """Whether an object is where results go by default: such an object is no input."""
        if self.output is None:
            return key.startswith(DEFAULT_PREFIX)
        return self.output.holds(bucket, key)

    def allows(self, bucket: str | None) -> bool:
        """Whether jobs may name the bucket. An input without one is none that may be forbidden."""
        return bucket is None or not self.allowed_buckets or bucket in self.allowed_buckets

    def metadata_problems(self, metadata: object) -> list[str]:
        """The sentences that refuse a job's metadata for its size."""
        return metadata_problems(
            metadata,
            max_entries=self.max_metadata_entries,
            max_bytes=self.max_metadata_bytes,
        )

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
    problems = unknown_fields(
        [name for name in raw if name not in known], list(JobRequest.model_fields)
    )
    problems += (defaults or JobDefaults()).metadata_problems(known.get("metadata"))
    try:
        request = JobRequest.model_validate(known)
    except ValidationError as error:
        problems += [
            explained(problem, private=_PRIVATE_FIELDS)
            for problem in error.errors(include_url=False)
        ]
    if problems:
        raise JobError(ErrorCode.INVALID_JOB, sentence(problems))
    return request


def valid_metadata(value: object, defaults: JobDefaults) -> dict[str, str]:
    """A JSON value as a job's metadata, or none of it if it may not be that."""
    if not isinstance(value, dict) or defaults.metadata_problems(value):
        return {}
    texts = (*value, *value.values())
    valid = all(isinstance(text, str) and _is_unicode(text) for text in texts)
    return dict(value) if valid else {}
