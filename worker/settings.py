"""One tree of settings: command line over environment over file over default.

`load` is the only way in that looks outside; `Settings(...)` itself takes what it is given
and nothing else. Where each value came from is kept, because a wrong value is only mended by
someone who knows which of the four places to look in.
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    PrivateAttr,
    ValidationError,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from worker.errors import SettingsError
from worker.redact import redact
from worker.uris import S3Prefix

__all__ = [
    "ENGINE_GROUPS",
    "ENV_PREFIX",
    "Described",
    "Settings",
    "allowed",
    "default_text",
    "flag",
    "load",
    "table",
]

ENV_PREFIX = "WORKER_"

QUEUE = "Queue and storage"
ENGINE = "Engine"
LIFE = "Life of the process"
LIMITS = "Limits"
OUTPUT = "Logs, metrics and notices"

ENGINE_GROUPS = (ENGINE, LIMITS)
"""The groups whose settings reach the engine, and so the command `transcribe` as well."""

DEFAULT = "default"
"""The origin of a value that nothing said."""


def _comma_separated(value: object) -> object:
    """A list as people write it in one variable or flag: `a, b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("not an http or https URL")
    return value


def _s3_prefix(value: str) -> str:
    return str(S3Prefix.parse(value))


def _topic_or_queue(value: str) -> str:
    if not value.startswith(("arn:aws", "http://", "https://")):
        raise ValueError("neither an ARN nor a URL")
    return value


def _positive_bytes(value: Any, parse: Any) -> ByteSize:
    size: ByteSize = parse(value)
    if size <= 0:
        raise ValueError("not above zero")
    return size


QueueUrl = Annotated[str, AfterValidator(_http_url)]
S3PrefixUrl = Annotated[str, AfterValidator(_s3_prefix)]
Notice = Annotated[str, AfterValidator(_topic_or_queue)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
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

    model: str = _setting(
        "large-v3",
        ENGINE,
        "a model's name (large-v3, turbo, base, ...) or its directory",
        allowed="a model's name or a directory",
    )
    model_dir: Path | None = _setting(
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
    context: Literal["full", "adaptive", "auto"] = _setting(
        "auto",
        ENGINE,
        "length of the encoder's windows: always 30 s, as long as the speech in them, or (auto) "
        "that only while it proves itself",
    )
    num_workers: int = _setting(
        2, ENGINE, "child processes that decode and prepare audio", ge=1, le=64
    )
    cpu_threads: int = _setting(
        0, ENGINE, "threads of the model on a CPU; 0: all cores", ge=0, le=1024
    )
    max_wait: float = _setting(
        0.5, ENGINE, "seconds that a window waits for others to share its batch", ge=0, le=60
    )
    held_seconds: float = _setting(
        1800.0, ENGINE, "seconds of audio held at most before no more is taken in", gt=0
    )
    self_test: bool = _setting(
        True, ENGINE, "known speech must be heard at start; false for models without English"
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
    work_dir: Path | None = _setting(
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
    log_file: Path | None = _setting(
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
        "SNS topic (ARN) or SQS queue (URL) told of every result",
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
        """Only what is passed: `load` asks the other sources itself, to know who said what."""
        return (init_settings,)

    def origin(self, name: str) -> str:
        """Where the value of setting `name` came from, as a person would say it."""
        return self._origins.get(name, DEFAULT)

    @property
    def unknown_variables(self) -> tuple[str, ...]:
        """`WORKER_...` variables that are no setting, each with the nearest one that is."""
        return self._unknown

    def describe(self) -> list[Described]:
        """Every setting as a person may see it: secrets in URLs hidden."""
        return [
            Described(name, redact(_text(getattr(self, name))), self.origin(name), _group(field))
            for name, field in type(self).model_fields.items()
        ]


@dataclass(frozen=True, slots=True)
class Described:
    """One setting, its value with secrets hidden, where that came from, and its group."""

    name: str
    value: str
    origin: str
    group: str


class _Environment(EnvSettingsSource):
    """pydantic-settings' reading of variables, of a mapping that is passed in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items() if value}


def load(
    cli_values: Mapping[str, Any] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force.

    Args:
        cli_values: what flags said, by setting; None means that the flag was not given.
        config: a TOML file whose keys are settings.
        environ: the environment; `os.environ` if None.

    Raises:
        SettingsError: some values are wrong; the message lists all of them, each with its
            setting, value, origin and what is allowed.
    """
    environ = os.environ if environ is None else environ
    flags = {name: value for name, value in (cli_values or {}).items() if value is not None}
    variables = _Environment(environ)()
    file = _read(config) if config is not None else {}

    origins = {name: str(config) for name in file}
    origins |= {name: f"environment variable {ENV_PREFIX}{name.upper()}" for name in variables}
    origins |= {name: f"command line {flag(name)}" for name in flags}
    merged = file | variables | flags
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise SettingsError(_explain(error, merged, origins)) from None
    settings._origins.update(origins)
    settings._unknown = _unknown_variables(environ)
    return settings


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def _read(config: Path) -> dict[str, Any]:
    if not config.is_file():
        raise SettingsError(f"--config {config}: there is no such file")
    try:
        return dict(TomlConfigSettingsSource(Settings, toml_file=config)())
    except (OSError, TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {config}: not readable as TOML: {error}") from error


def _explain(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """Every wrong value in one message, in the order of the settings."""
    problems: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0])
        origin = origins.get(name, DEFAULT)
        if detail["type"] == "extra_forbidden":
            problems[name] = f"{name} ({origin}): no such setting{_nearest(name)}"
        else:
            value = redact(repr(values.get(name)))
            field = Settings.model_fields[name]
            problems[name] = f"{name} = {value} ({origin}): must be {allowed(field)}"
    many = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
    return "\n  ".join([f"{many}:", *problems.values()])


def _nearest(name: str) -> str:
    near = get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Told, not refused: an orchestrator may set variables of that prefix for its own ends."""
    names = (
        name
        for name in sorted(environ)
        if name.upper().startswith(ENV_PREFIX)
        and name.upper().removeprefix(ENV_PREFIX).lower() not in Settings.model_fields
    )
    return tuple(
        f"{name} is no setting{_nearest(name.upper().removeprefix(ENV_PREFIX).lower())}"
        for name in names
    )


def allowed(field: FieldInfo) -> str:
    """What a setting may be, in words: from its own note, or from its type and bounds."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    annotation = _without_none(field.annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if annotation is bool:
        return "true or false"
    kind = "a whole number" if annotation is int else "a number"
    return kind + _bounds(field)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


def _bounds(field: FieldInfo) -> str:
    low = high = above = below = None
    for bound in field.metadata:
        if isinstance(bound, Ge):
            low = bound.ge
        elif isinstance(bound, Le):
            high = bound.le
        elif isinstance(bound, Gt):
            above = bound.gt
        elif isinstance(bound, Lt):
            below = bound.lt
    if low is not None and high is not None:
        return f" from {low} to {high}"
    parts = [
        f"{word} {bound}"
        for word, bound in (
            ("at least", low),
            ("at most", high),
            ("above", above),
            ("below", below),
        )
        if bound is not None
    ]
    return " " + " and ".join(parts) if parts else ""


def _group(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def _text(value: object) -> str:
    """A value as it could be written in a variable; `none` where there is none."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value)) or "none"
        case ByteSize() if value >= 2**30 and value % 2**30 == 0:
            return f"{value // 2**30}GiB"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def default_text(field: FieldInfo) -> str:
    """A setting's default as it would be written in a variable."""
    return _text(field.default)


def table() -> str:
    """The settings as Markdown tables, one a group, for the README."""
    head = "| setting | default | allowed | meaning |\n|---|---|---|---|"
    tables: dict[str, list[str]] = {}
    for name, field in Settings.model_fields.items():
        rows = tables.setdefault(_group(field), [])
        rows.append(
            f"| `{name}` | `{default_text(field)}` | {allowed(field)} | {field.description} |"
        )
    return "\n\n".join(
        "\n".join([f"**{group}**", "", head, *rows]) for group, rows in tables.items()
    )
