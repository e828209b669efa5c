"""The fields of a job, in one list: what each is, its default, and its flag.

The model of a message (`worker.jobs.request`) takes defaults and descriptions from here; the
commands `submit` and `transcribe` take their flags. Plain data, because a command's `--help`
reads it and must not pay for importing pydantic.

A new field is an entry here, and its type and rules in `JobRequest`. If the engine must know it,
it gets an entry of the same name in `worker.speech.api.Options`, and reaches it by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from worker.jobs.inputs import input_forms
from worker.results.formats import FORMAT_NAMES, Format

__all__ = ["DEFAULT_FORMATS", "JOB_FIELDS", "Flag", "JobField"]

Command = Literal["submit", "transcribe"]

DEFAULT_FORMATS: tuple[Format, ...] = ("json", "srt", "vtt", "txt")


@dataclass(frozen=True, slots=True)
class Flag:
    """How a command line takes a field.

    Attributes:
        help: the text of `--help`.
        kind: one text; a whole number; a pair of switches `--x/--no-x`; names separated by
            commas; or NAME=VALUE, which may be repeated.
        commands: which commands have the flag.
    """

    help: str
    kind: Literal["text", "integer", "switch", "names", "pairs"] = "text"
    commands: tuple[Command, ...] = ("submit", "transcribe")


@dataclass(frozen=True, slots=True)
class JobField:
    """One field of a job.

    Attributes:
        description: for the JSON schema.
        default: a job without the field has this. `input` has none, and the model makes an
            empty `metadata` for each job.
        flag: None where no command has one; `input` and `output` are arguments of `submit`
            itself, which has more to decide about them.
    """

    description: str
    default: Any = None
    flag: Flag | None = None


JOB_FIELDS: Mapping[str, JobField] = MappingProxyType(
    {
        "input": JobField(f"{input_forms()} of the media file"),
        "job_id": JobField(
            "names the result; default the SQS MessageId, with -1, -2, ... after it in a message"
            " of several jobs"
        ),
        "output": JobField(
            "s3://bucket/prefix/ under which <job_id>/ is written; default the setting `output`,"
            " else s3://<input bucket>/transcripts/"
        ),
        "language": JobField(
            "Whisper language code; null detects it",
            flag=Flag("Whisper code of the language spoken; detected if not given."),
        ),
        "task": JobField(
            "translate writes English",
            default="transcribe",
            flag=Flag("transcribe, or translate (into English)."),
        ),
        "formats": JobField(
            "files to write; json is always written",
            default=DEFAULT_FORMATS,
            flag=Flag(
                f"Files to write, separated by commas: {', '.join(FORMAT_NAMES)}.", kind="names"
            ),
        ),
        "words": JobField(
            "whether words get times",
            default=True,
            flag=Flag("Include word timestamps.", kind="switch"),
        ),
        "prompt": JobField(
            "text taken as having been said before",
            flag=Flag("Text taken as having been said before."),
        ),
        "hotwords": JobField("words and names to favour", flag=Flag("Words and names to favour.")),
        "metadata": JobField(
            "echoed in the result",
            flag=Flag("Echoed in the result; may be repeated.", kind="pairs", commands=("submit",)),
        ),
        "notify": JobField(
            "ARN of an SNS topic, or URL of an SQS queue, told when the job is answered; default"
            " the setting `notify_url`"
        ),
    }
)
"""By name, in the order of the message's model."""
