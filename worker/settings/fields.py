"""The settings: name, type, default, bounds and description of each.

`Settings(...)` takes what it is given and reads nothing else; `worker.settings.reading` reads the
command line, the environment and the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, PrivateAttr, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from worker.jobs.languages import LANGUAGE_CODES, in_order
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from worker.speech.api import Options
    from worker.speech.config import EngineConfig

__all__ = ["DEFAULT", "ENV_PREFIX", "FILE_GROUPS", "Settings"]

ENV_PREFIX = "WORKER_"

QUEUE = "Queue and storage"
ENGINE = "Engine"
LIFE = "Life of the process"
LIMITS = "Limits"
OUTPUT = "Logs, metrics and notices"

FILE_GROUPS = (ENGINE, LIMITS, OUTPUT)
"""The groups with settings that mean something for local files, and so for `transcribe`."""

DEFAULT = "default"
"""The origin of a value that was set nowhere."""


def _comma_separated(value: object) -> object:
    """A list as people write it in one variable or flag: `a, b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _given(value: object) -> object:
    """A name or a path; the empty one would be the current directory."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("empty")
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("not an http or https URL")
    return value


def _s3_prefix(value: str) -> str:
    try:
        return str(S3Prefix.parse(value))
    except ValueError as error:
        raise PydanticCustomError("uri", "{why}", {"why": str(error)}) from None


def _topic_or_queue(value: str) -> str:
    if not value.startswith(("arn:aws", "http://", "https://")):
        raise ValueError("neither an ARN nor a URL")
    return value


def _languages(value: tuple[str, ...]) -> tuple[str, ...]:
    if any(code not in LANGUAGE_CODES for code in value):
        raise ValueError("not all Whisper language codes")
    return in_order(value)


def _positive_bytes(value: Any, parse: Any) -> ByteSize:
    size: ByteSize = parse(value)
    if size <= 0:
        raise ValueError("not above zero")
    return size


Name = Annotated[str, BeforeValidator(_given)]
LocalPath = Annotated[Path, BeforeValidator(_given)]
QueueUrl = Annotated[str, AfterValidator(_http_url)]
S3PrefixUrl = Annotated[str, AfterValidator(_s3_prefix)]
Notice = Annotated[str, AfterValidator(_topic_or_queue)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Languages = Annotated[Names, AfterValidator(_languages)]
Bytes = Annotated[ByteSize, WrapValidator(_positive_bytes)]


def _setting(
    default: Any,
    group: str,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    allowed: str | None = None,
) -> Any:
    """A field with its group and, where the type can't say it, what is allowed."""
    extra: dict[str, Any] = {"group": group} | ({"allowed": allowed} if allowed else {})
    finite = False if isinstance(default, float) else None
    return Field(
        default,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        allow_inf_nan=finite,
        json_schema_extra=extra,
    )


class Settings(BaseSettings):
    """Every setting of the worker; the field's description is its documentation.

    Built by `load`. Building it directly (in tests, or where the worker is a library) reads
    neither the environment nor a file.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        protected_namespaces=(),
    )

    queue_url: QueueUrl | None = _setting(
        None,
        QUEUE,
        "URL of the SQS queue to take messages from; `run` needs it",
        allowed="the http(s) URL of an SQS queue",
    )
    dead_letter_url: QueueUrl | None = _setting(
        None,
        QUEUE,
        "URL of the dead-letter queue; from the queue's RedrivePolicy if not set",
        allowed="the http(s) URL of an SQS queue",
    )
    output: S3PrefixUrl | None = _setting(
        None,
        QUEUE,
        "where results go if a job doesn't say; `s3://<input bucket>/transcripts/` if not set",
        allowed="an S3 prefix such as s3://bucket/transcripts/",
    )
    allowed_buckets: Names = _setting(
        (),
        QUEUE,
        "the only buckets that jobs may read and write; empty: any that the credentials reach",
        allowed="bucket names separated by commas",
    )
    visibility_timeout: int = _setting(
        120, QUEUE, "seconds that a message stays hidden without a heartbeat", ge=10, le=43200
    )
    download_threads: int = _setting(4, QUEUE, "objects fetched at the same time", ge=1, le=64)
    commit_threads: int = _setting(4, QUEUE, "results written at the same time", ge=1, le=64)
    max_failures: int = _setting(
        3, QUEUE, "recorded failures of a job after which it is given up", ge=1, le=100
    )

    model: Name = _setting(
        "large-v3",
        ENGINE,
        "a model's name (large-v3, turbo, base, ...) or its directory",
        allowed="a model's name or a directory",
    )
    model_dir: LocalPath | None = _setting(
        None,
        ENGINE,
        "where models are looked for before the hub, and kept",
        allowed="a directory",
    )
    device: Literal["auto", "cuda", "cpu"] = _setting(
        "auto", ENGINE, "`cuda` refuses to start without a GPU; `auto` says what it chose"
    )
    compute_type: Literal[
        "auto",
        "int8_float16",
        "int8_float32",
        "int8_bfloat16",
        "int8",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = _setting(
        "int8_float16",
        ENGINE,
        "type of the weights and of the arithmetic; what the device "
        "can't do falls back, and the log says so",
    )
    batch_size: int = _setting(
        64, ENGINE, "most 30 s windows in a batch; memory may allow fewer", ge=1, le=1024
    )
    beam_size: int = _setting(5, ENGINE, "width of the beam search", ge=1, le=32)
    transcriber: Literal["optimized", "standard"] = _setting(
        "optimized", ENGINE, "`standard` is stock WhisperX, one file at a time: the reference"
    )
    vad: Literal["silero", "pyannote"] = _setting("silero", ENGINE, "finds speech")
    word_times: Literal["aligned", "attention", "none"] = _setting(
        "aligned",
        ENGINE,
        "how words get their times: an alignment model, the decoder's attention, or not at all",
    )
    diarize_model: Name = _setting(
        "auto",
        ENGINE,
        "tells speakers apart where a job asks for that: `packaged` models, a pyannote pipeline's "
        "directory or its name on the hub, whose code is run; `auto`: "
        "pyannote/speaker-diarization-community-1 if it is here or a token of the hub is set, "
        "`packaged` if not",
        allowed="auto, packaged, a directory or a name on the hub such as owner/name",
    )
    context: Literal["full", "adaptive", "auto"] = _setting(
        "auto",
        ENGINE,
        "length of the encoder's windows: always 30 s, less where there is little speech, or "
        "(auto) that only while it proves itself",
    )
    carry_context: Literal["auto", "off", "on"] = _setting(
        "auto",
        ENGINE,
        "whether the decoder is told what was said before, if a job doesn't say: where that costs "
        "little, never, or always",
    )
    language_options: Languages = _setting(
        (),
        ENGINE,
        "languages that detection may choose from, if a job doesn't say; empty: any",
        allowed="Whisper language codes separated by commas, such as en,de,fr",
    )
    multilingual: bool = _setting(
        False,
        ENGINE,
        "whether each stretch of speech is written in its own language, if a job doesn't say",
    )
    num_workers: int = _setting(
        0,
        ENGINE,
        "child processes that decode and prepare audio; 0: two, or as many as keep the card busy",
        ge=0,
        le=64,
    )
    cpu_threads: int = _setting(
        0, ENGINE, "threads of the model on a CPU; 0: all cores", ge=0, le=1024
    )
    max_wait: float = _setting(
        0.5, ENGINE, "seconds that a window waits for others to share its batch", ge=0, le=60
    )
    held_seconds: float = _setting(
        0.0,
        ENGINE,
        "seconds of audio held at most before no more is taken in, 300 at least; 0: twelve full "
        "batches, and 1800 at least",
        ge=0,
    )
    self_test: bool = _setting(
        True, ENGINE, "known speech must be recognised at start; false for models without English"
    )

    idle_timeout: float = _setting(
        300.0, LIFE, "seconds without work after which the worker exits", ge=0
    )
    min_uptime: float = _setting(
        0.0, LIFE, "seconds that the worker stays up however idle it is", ge=0
    )
    on_idle: Literal["exit", "poweroff", "terminate"] = _setting(
        "exit", LIFE, "what idleness ends: the process, the machine, or the instance"
    )
    drain_timeout: float = _setting(
        90.0, LIFE, "seconds that a stopping worker may go on finishing what it holds", ge=0
    )
    watchdog_timeout: float = _setting(
        300.0,
        LIFE,
        "seconds without progress on the device after which the worker kills itself",
        ge=1,
    )
    work_dir: LocalPath | None = _setting(
        None,
        LIFE,
        "where fetched files live for as long as their job; a temporary directory if not set",
        allowed="a directory",
    )

    max_input_bytes: Bytes = _setting(
        ByteSize(4 * 2**30),
        LIMITS,
        "largest object taken",
        allowed="a number of bytes above zero, such as 500000 or 4GiB",
    )
    max_audio_seconds: float = _setting(43200.0, LIMITS, "longest audio taken, in seconds", gt=0)
    prepare_memory_bytes: Bytes = _setting(
        ByteSize(2 * 2**30),
        LIMITS,
        "address space of a child that decodes",
        allowed="a number of bytes above zero, such as 2147483648 or 2GiB",
    )
    prepare_stall_seconds: float = _setting(
        60.0, LIMITS, "seconds without progress after which a decoding child is ended", gt=0
    )

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = _setting("INFO", OUTPUT, "least severe level that is logged")
    log_format: Literal["text", "json"] = _setting(
        "text", OUTPUT, "lines for a person, or for a machine"
    )
    log_file: LocalPath | None = _setting(
        None,
        OUTPUT,
        "log to this file instead of stderr; it may be rotated at any time",
        allowed="a path",
    )
    metrics_port: int | None = _setting(
        None, OUTPUT, "port on 127.0.0.1 for Prometheus; not served if not set", ge=1, le=65535
    )
    metrics_emf: bool = _setting(
        False, OUTPUT, "write metrics to stdout in CloudWatch's embedded format"
    )
    price_per_hour: float = _setting(
        0.526, OUTPUT, "dollars an hour of this machine, for the cost of an hour of audio", ge=0
    )
    notify_url: Notice | None = _setting(
        None,
        OUTPUT,
        "SNS topic (ARN) or SQS queue (URL) that gets a notice of every result",
        allowed="the ARN of an SNS topic or the URL of an SQS queue",
    )
    vtt_word_times: bool = _setting(
        False, OUTPUT, "put the times of words into the vtt (`<00:00:01.000>`)"
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _unknown: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load` reads the other sources itself, to keep each origin."""
        return (init_settings,)

    @classmethod
    def build(
        cls, values: Mapping[str, Any], *, origins: Mapping[str, str], unknown: Sequence[str]
    ) -> Settings:
        """Settings that know where their values came from.

        Args:
            values: by setting; the others get their default.
            origins: where each of these values came from, as `origin` returns it.
            unknown: a sentence for each `WORKER_...` variable that is no setting.

        Raises:
            pydantic.ValidationError: some values are wrong.
        """
        settings = cls(**values)
        settings._origins = dict(origins)
        settings._unknown = tuple(unknown)
        return settings

    def origin(self, name: str) -> str:
        """Where the value of setting `name` came from, in words."""
        return self._origins.get(name, DEFAULT)

    @property
    def unknown_variables(self) -> tuple[str, ...]:
        """`WORKER_...` variables that are no setting, each with the nearest one that is."""
        return self._unknown

    def options(self) -> Options:
        """What is asked of the engine for a job that doesn't say."""
        from worker.speech.api import Options

        return Options(
            carry_context=self.carry_context,
            language_options=self.language_options,
            multilingual=self.multilingual,
        )

    def engine(self) -> EngineConfig:
        """What the engine is built from.

        Written out field by field, so that a type checker sees each; and EngineConfig is
        imported here, because reading settings must not cost the imports of the engine.
        """
        from worker.speech.config import EngineConfig

        return EngineConfig(
            model=self.model,
            model_dir=self.model_dir,
            device=self.device,
            compute_type=self.compute_type,
            batch_size=self.batch_size,
            batch_size_given=self.origin("batch_size") != DEFAULT,
            compute_type_given=self.origin("compute_type") != DEFAULT,
            beam_size=self.beam_size,
            transcriber=self.transcriber,
            vad=self.vad,
            word_times=self.word_times,
            word_times_given=self.origin("word_times") != DEFAULT,
            diarize_model=self.diarize_model,
            context=self.context,
            num_workers=self.num_workers,
            cpu_threads=self.cpu_threads,
            max_wait=self.max_wait,
            held_seconds=self.held_seconds,
            max_audio_seconds=self.max_audio_seconds,
            prepare_memory_bytes=self.prepare_memory_bytes,
            prepare_stall_seconds=self.prepare_stall_seconds,
            self_test=self.self_test,
        )
