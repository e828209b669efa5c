"""What lies where a demo writes: of an earlier demo and replaced, or somebody's and kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.cli.demo_aws import BUCKET
from worker.cli.demo_daemon import ERRORS_BEGIN, error_path
from worker.jobs.fields import DEFAULT_FORMATS
from worker.results.names import TRANSCRIPT, sibling
from worker.results.transcript import Transcript

__all__ = ["not_ours"]

_LOG_BEGINS = ("event=worker.starting ", f"/{BUCKET} ")
"""What stands in the first line of a demo's log: its event, and the end of its queue's URL."""


def not_ours(folders: Iterable[Path], log_path: Path) -> Path | None:
    """The first file that a demo would replace and that no demo has written; None if there is none.

    Args:
        folders: of the results.
        log_path: of the daemon's log, which has its errors beside it.
    """
    for folder in folders:
        there = [path for fmt in DEFAULT_FORMATS if os.path.lexists(path := folder / sibling(fmt))]
        if there and not _is_of_a_demo(folder / TRANSCRIPT):
            return there[0]
    errors = error_path(log_path)
    for path, begins in ((log_path, _LOG_BEGINS), (errors, (ERRORS_BEGIN,))):
        if os.path.lexists(path) and not _is_begun_by(path, begins):
            return path
    return None


def _is_of_a_demo(path: Path) -> bool:
    """Whether a transcript is of an object in the demo's bucket."""
    try:
        transcript = Transcript.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return transcript.input.uri.startswith(f"s3://{BUCKET}/in/")


def _is_begun_by(path: Path, parts: Sequence[str]) -> bool:
    """Whether a file is empty, or has all parts in its first line."""
    if not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(4096)
    except OSError:
        return False
    return not first or all(part in first for part in parts)
