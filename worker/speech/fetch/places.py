"""Where models may lie on this machine, and in which of these folders new ones can be kept.

A folder that is only mounted for reading (`-v /srv/models:/models:ro`) serves what lies in it; what
isn't there yet is kept in the next one that can be written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["NOWHERE", "cache_directory", "hub_places", "listed", "torch_places", "writable"]

NOWHERE = "none of the folders for models can be written"
"""Why nothing is fetched, as a clause."""


def cache_directory() -> Path:
    """The worker's own cache: `$XDG_CACHE_HOME/transcription-worker`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "transcription-worker"


def hub_places(model_dir: Path | None) -> tuple[Path, ...]:
    """Folders in the layout of the hub's cache, in the order in which they are looked through.

    Args:
        model_dir: the setting of that name.

    Returns:
        `model_dir` if given, the hub's own cache, and one in the worker's.
    """
    from huggingface_hub import constants

    return _distinct(model_dir, Path(constants.HF_HUB_CACHE), cache_directory() / "models")


def torch_places(model_dir: Path | None) -> tuple[Path, ...]:
    """The same for torchaudio's models, whose files lie flat in a folder.

    torch's own is where `torch.hub.get_dir` says, by the rule of its documentation: importing
    torch takes a second and 300 MB.
    """
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", os.path.join(base, "torch")))  # noqa: PTH118  # its rule
    checkpoints = home.expanduser() / "hub" / "checkpoints"
    return _distinct(model_dir, checkpoints, cache_directory() / "models")


def writable(places: Sequence[Path]) -> Path | None:
    """The first of the folders that can be written, or made; None if there is none."""
    return next((place for place in places if _can_write(place)), None)


def listed(places: Sequence[Path]) -> str:
    """The folders, for a sentence."""
    return ", ".join(map(str, places))


def _distinct(*places: Path | None) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(place for place in places if place is not None))


def _can_write(place: Path) -> bool:
    """Whether files can be made there; asked of the nearest folder that exists."""
    for folder in (place, *place.parents):
        if os.access(folder, os.F_OK):
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    return False
