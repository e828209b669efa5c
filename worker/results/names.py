"""The formats of a transcript, and the names of the files that the worker writes for a job (pure).

They stand nowhere else, and apart from the renderers: a command's `--help` reads them.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "CHECKPOINT",
    "ERROR",
    "FORMAT_NAMES",
    "SHAPE_NAMES",
    "TRANSCRIPT",
    "WRITTEN",
    "Format",
    "ending",
    "shape_in",
    "sibling",
]

Format = Literal["json", "srt", "vtt", "tsv", "txt", "html", "whisperx", "openai", "transcribe"]
FORMAT_NAMES: tuple[Format, ...] = get_args(Format)

SHAPE_NAMES: tuple[Format, ...] = ("whisperx", "openai", "transcribe")
"""The shapes of others, which are json too: their names stand before that in their files' names."""

TRANSCRIPT = "transcript.json"
"""The result. It is written last: where it exists, the result is complete."""

ERROR = "error.json"
"""Why the job failed, in the result's place."""

CHECKPOINT = "checkpoint.json"
"""What an unfinished job has so far; a commit removes it."""


def ending(name: Format) -> str:
    """What a file's name ends with in a format: `srt` -> `.srt`, `openai` -> `.openai.json`."""
    return f".{name}.json" if name in SHAPE_NAMES else f".{name}"


def shape_in(file_name: str) -> Format | None:
    """The shape of others that a file is in by its name, in any case; None if it is in none."""
    return next((name for name in SHAPE_NAMES if file_name.lower().endswith(ending(name))), None)


def sibling(name: Format) -> str:
    """The file name of the transcript in a format: `srt` -> `transcript.srt`."""
    return f"transcript{ending(name)}"


WRITTEN = frozenset({TRANSCRIPT, ERROR, CHECKPOINT, *map(sibling, FORMAT_NAMES)})
"""Every name that the worker writes."""
