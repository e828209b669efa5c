"""Files that installed packages bring, found without importing the packages: that takes seconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

__all__ = ["package_folders", "pyannote_installed", "whisperx_installed"]


def package_folders(name: str) -> list[Path]:
    """Where a package's files lie; none if it isn't installed.

    Args:
        name: of a package at the top level. One of a namespace may have several folders.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        return []
    return [Path(folder) for folder in spec.submodule_search_locations or ()]


def whisperx_installed() -> bool:
    """Whether the extra `whisperx` is there: WhisperX, and torch, which it runs on."""
    specs = [importlib.util.find_spec(name) for name in ("whisperx", "torch")]
    # What a removal left behind is a folder without a module, and has no origin.
    return all(spec is not None and spec.origin is not None for spec in specs)


def pyannote_installed() -> bool:
    """Whether pyannote.audio is there, and torch, which it runs on.

    Either of the extras `speakers` and `whisperx` brings it.
    """
    torch = importlib.util.find_spec("torch")
    # pyannote is a package of several distributions: to look for a part of it would import it.
    audio = any((path / "audio" / "__init__.py").is_file() for path in package_folders("pyannote"))
    return audio and torch is not None and torch.origin is not None
