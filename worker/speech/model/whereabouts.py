"""Where a model would come from, found out without fetching or making anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worker.errors import MachineError, SettingsError
from worker.speech.fetch import hub
from worker.speech.fetch.hosts import NotFetched
from worker.speech.fetch.places import hub_places, listed
from worker.speech.model import models

__all__ = ["Whereabouts", "find"]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a model would come from.

    Attributes:
        kind: a directory that was named, the packaged weights, a folder of the hub's models on this
            machine, or the hub itself, from which it would be fetched.
        place: the directory, or the hub's repository.
        bytes: of its files; None where nobody says.
    """

    kind: Literal["directory", "packaged", "cache", "hub"]
    place: str
    bytes: int | None


def find(name: str, model_dir: Path | None = None, *, hub_seconds: float = 3.0) -> Whereabouts:
    """Where `models.resolve` would take a model from.

    Args:
        name: a directory, a size (`large-v3`, `turbo`, `base`, ...) or a hub repository.
        model_dir: as for `models.resolve`.
        hub_seconds: how long each of two questions to the hub may take, where the model isn't on
            this machine.

    Raises:
        SettingsError: the name is none that exists anywhere.
        MachineError: it isn't on this machine, and the hub can't be asked.
    """
    if Path(name).expanduser().is_dir():
        directory = models.resolve(name)
        return Whereabouts("directory", str(directory), _size(directory))
    if (parts := models.packaged_parts(name)) is not None:
        return Whereabouts("packaged", str(parts[0].parent), sum(map(_size, parts)))

    from huggingface_hub.errors import HFValidationError

    repository = models.repository_of(name)
    folders = hub_places(model_dir)
    try:
        found = hub.find(repository, folders, models.complete)
    except HFValidationError as error:
        raise SettingsError(f"model = {name!r} is no directory and no hub name: {error}") from error
    if found is not None:
        return Whereabouts("cache", str(found), _size(found))
    try:
        return Whereabouts("hub", repository, _size_on_hub(repository, hub_seconds))
    except NotFetched as error:
        raise MachineError(
            f"{repository} is not in {listed(folders)}, and {error}. {hub.advice(hub.host())}, or"
            " give a directory of CTranslate2 weights as `model`."
        ) from error


def _size_on_hub(repository: str, seconds: float) -> int | None:
    """Bytes of the files that would be fetched. Raises NotFetched, SettingsError."""
    sizes = hub.sizes(repository, seconds)
    chosen = models.wanted(list(sizes))
    if not chosen:
        raise SettingsError(f"model: {repository} on {hub.host()} has no CTranslate2 weights")
    known = [size for name in chosen if (size := sizes[name]) is not None]
    return sum(known) if len(known) == len(chosen) else None


def _size(directory: Path) -> int:
    """Bytes of the files in a directory; links, such as a cache's, count as what they lead to."""
    return sum(entry.stat().st_size for entry in os.scandir(directory) if entry.is_file())
