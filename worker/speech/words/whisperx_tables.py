"""WhisperX's tables of alignment models, read from its source without importing it.

`whisperx.alignment` imports transformers, pandas and NLTK: 2.5 s, before it is even known whether
the language's model is on this machine. The tables are literals at the top of that file, so they
are read from its text. A version of WhisperX that has them elsewhere is an error that says so.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["AlignTables", "read_tables"]

_NAMES = ("DEFAULT_ALIGN_MODELS_TORCH", "DEFAULT_ALIGN_MODELS_HF", "LANGUAGES_WITHOUT_SPACES")


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
        LookupError: WhisperX is not installed, or has no such tables where 3.8 has them.
    """
    spec = importlib.util.find_spec("whisperx")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise LookupError("WhisperX is not installed: reinstall the worker's requirements.")
    path = Path(places[0]) / "alignment.py"
    found = _literals(path.read_text(encoding="utf-8"))
    if missing := [name for name in _NAMES if name not in found]:
        raise LookupError(
            f"{path} has no {', '.join(missing)}: install a version of WhisperX that "
            "config/requirements.lock names."
        )
    bundles, repositories, without_spaces = (found[name] for name in _NAMES)
    return AlignTables(bundles, repositories, frozenset(without_spaces))


def _literals(source: str) -> dict[str, Any]:
    """The values of `_NAMES`, where a module assigns them as literals."""
    found = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id in _NAMES:
                    found[target.id] = ast.literal_eval(statement.value)
    return found
