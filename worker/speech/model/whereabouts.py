"""Where a model would come from, found out without fetching or making anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worker.speech.fetch import hub
from worker.speech.fetch.download import bytes_in
from worker.speech.model import models

__all__ = ["Whereabouts", "find"]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a model would come from.

    Attributes:
        kind: a directory that was named, the packaged weights, a folder of the hub's models on this
            machine, or the hub itself, from which it would be fetched.
        place: the directory, the first of the packages, or the hub's repository.
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
    here = models.find_here(name, model_dir)
    if here is not None:
        return Whereabouts(here.kind, str(here.folders[0]), sum(map(bytes_in, here.folders)))
    repository = models.repository_of(name)
    with models.explained(name, model_dir):
        return Whereabouts("hub", repository, hub.total(repository, models.wanted, hub_seconds))
