"""The formats of a transcript, and the names of the files that the worker writes for a job (pure).

They stand nowhere else, and apart from the renderers: a command's `--help` reads them.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["CHECKPOINT", "ERROR", "FORMAT_NAMES", "TRANSCRIPT", "WRITTEN", "Format", "sibling"]

Format = Literal["json", "srt", "vtt", "tsv", "txt", "html"]
FORMAT_NAMES: tuple[Format, ...] = get_args(Format)

TRANSCRIPT = "transcript.json"
"""The result. It is written last: where it exists, the result is complete."""

ERROR = "error.json"
"""Why the job failed, in the result's place."""

CHECKPOINT = "checkpoint.json"
"""What an unfinished job has so far; a commit removes it."""


def sibling(name: Format) -> str:
    """The file name of the transcript in a format: `srt` -> `transcript.srt`."""
    return f"transcript.{name}"


WRITTEN = frozenset({TRANSCRIPT, ERROR, CHECKPOINT, *map(sibling, FORMAT_NAMES)})
"""Every name that the worker writes."""
