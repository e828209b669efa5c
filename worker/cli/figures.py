"""The figures of a local run, and the file that `--stats` names for them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from worker.cli.targets import Taken
from worker.cli.writable import Directories, file_problem
from worker.errors import SettingsError

__all__ = ["Stats", "check_stats", "write_stats"]

_MOST_BYTES = 65_536
"""Figures have less than a thousand; what is longer is something else."""

_ALWAYS = frozenset({"files", "failed", "audio_seconds", "load_seconds", "seconds"})
"""Names that figures of any release have."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What `--stats` writes.

    Attributes:
        files: that were transcribed.
        failed: that were not.
        audio_seconds: of the files transcribed.
        load_seconds: imports, model load and warm-up; no part of `seconds`.
        seconds: from the first file opened to the last result written.
        windows: of those files.
        batches: calls of the decoder, the warm-up's left out.
        batch_slots: what these batches had room for, in windows.
        encoder_calls: calls of the encoder.
        second_attempts: windows decoded again because their text failed the checks.
    """

    files: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    load_seconds: float = 0.0
    seconds: float = 0.0
    windows: int = 0
    batches: int = 0
    batch_slots: int = 0
    encoder_calls: int = 0
    second_attempts: int = 0

    def to_json(self) -> str:
        """One JSON object, indented."""
        values = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return json.dumps(values, indent=2) + "\n"


def check_stats(path: Path, taken: Taken, output_dir: Path) -> None:
    """Whether the figures can be written; their directory must be there, or be that of the results.

    Args:
        path: of `--stats`.
        taken: places of inputs and results.
        output_dir: the directory of the results.

    Raises:
        SettingsError: they can't, or would overwrite an input, a result or anything else that isn't
            figures; says which.
    """
    if (problem := taken.problem(path)) is not None:
        raise SettingsError(f"--stats {path} {problem}")
    made = path.parent.resolve() == output_dir.resolve()
    problem = Directories().problem(path.parent, make=made) or file_problem(path)
    if problem is not None:
        raise SettingsError(f"--stats {path} can't be written: {problem}")
    # Only of a file something is lost: a pipe or /dev/null is written to.
    if path.is_file() and not _replaceable(path):
        raise SettingsError(
            f"--stats {path} is there and holds no figures of an earlier run: choose another name,"
            " or remove it"
        )


def write_stats(path: Path, stats: Stats) -> None:
    """Write the figures; raises OSError.

    The results' directory is made for the first result: there may be none. The file is not replaced
    but written, because it may be a pipe.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(stats.to_json(), encoding="utf-8")


def _replaceable(path: Path) -> bool:
    """Whether a file is empty, or holds figures."""
    try:
        with path.open("rb") as file:
            found = file.read(_MOST_BYTES + 1)
        if not found:
            return True
        values = json.loads(found) if len(found) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.keys() >= _ALWAYS
