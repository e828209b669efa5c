"""WhisperX's tables of alignment models, read from its source without importing it.

`whisperx.alignment` imports transformers, pandas and NLTK: 2.5 s, before it is even known whether
the language's model is on this machine. The tables are literals at the top of that file, so they
are read from its text. A version of WhisperX that has them elsewhere is an error that says so.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.speech.packages import package_folders

__all__ = ["AlignTables", "read_file", "read_tables"]

_KINDS: dict[str, type | tuple[type, ...]] = {
    "DEFAULT_ALIGN_MODELS_TORCH": dict,
    "DEFAULT_ALIGN_MODELS_HF": dict,
    "LANGUAGES_WITHOUT_SPACES": (list, tuple, set),
}
"""WhisperX's names of the tables, in the order of `AlignTables`, with their types."""


@dataclass(frozen=True, slots=True)
class AlignTables:
    """Which alignment model serves which language, by Whisper language code.

    Attributes:
        torchaudio: names of bundles in `torchaudio.pipelines`.
        hub: repositories on the Hugging Face hub, for languages that torchaudio doesn't have.
        without_spaces: languages of which every character counts as a word.
    """

    torchaudio: Mapping[str, str]
    hub: Mapping[str, str]
    without_spaces: frozenset[str]


@functools.cache
def read_tables() -> AlignTables:
    """The tables of the installed WhisperX.

    Raises:
        LookupError: WhisperX is not installed, or see `read_file`.
    """
    folders = package_folders("whisperx")
    if not folders:
        raise LookupError("WhisperX is not installed: reinstall the worker's requirements.")
    return read_file(folders[0] / "alignment.py")


def read_file(path: Path) -> AlignTables:
    """The tables in a copy of `whisperx/alignment.py`.

    Raises:
        LookupError: the file is missing, or has no such tables where WhisperX 3.8 has them.
    """
    try:
        found = _literals(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        found = {}
    wrong = [name for name, kind in _KINDS.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise LookupError(
            f"{path} has no tables {', '.join(wrong)}: install the version of WhisperX that "
            "config/requirements.lock names."
        )
    bundles, repositories, without_spaces = (found[name] for name in _KINDS)
    return AlignTables(bundles, repositories, frozenset(without_spaces))


def _literals(source: str) -> dict[str, Any]:
    """The values of the tables, where a module assigns them as literals.

    Raises:
        SyntaxError, ValueError: the source is not Python, or a table is not a literal.
    """
    found = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _KINDS:
                found[target.id] = ast.literal_eval(value)
    return found
