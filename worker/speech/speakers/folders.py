"""A pipeline's folder, and the files of its parts: found on this machine, or fetched to it.

pyannote would fetch what it misses by itself, with other rules for when to stay off the network, no
end to its attempts, and messages on stdout. So it is given files alone, and what isn't here is
fetched before, as other models are (see `fetch.hub`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from worker.speech.fetch import hub
from worker.speech.fetch.download import OnDownload
from worker.speech.speakers.description import (
    FILES,
    HERE,
    BrokenPipeline,
    Description,
    Part,
    PartName,
    parse,
)

__all__ = [
    "CONFIG",
    "complete",
    "describe",
    "fetch",
    "files_of",
    "find",
    "is_hub_name",
    "missing",
    "size",
]

CONFIG = "config.yaml"

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""`owner/name`."""

_WANTED = frozenset({CONFIG, *(name for names in FILES.values() for name in names)})

_HUB_SECONDS = 10.0
"""How long the hub may take to answer: no speaker is told apart before the model is there."""


def is_hub_name(name: str) -> bool:
    """Whether a repository of the hub may be meant."""
    return _HUB_NAME.fullmatch(name) is not None


def describe(folder: Path) -> Description:
    """What a folder's config.yaml says.

    Raises:
        BrokenPipeline: it isn't there, can't be read, or is of a pipeline that can't be used here.
    """
    import yaml

    path = folder / CONFIG
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BrokenPipeline(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BrokenPipeline(f"{path} can't be read ({type(error).__name__})") from error
    try:
        return parse(config)
    except BrokenPipeline as error:
        raise BrokenPipeline(f"{path} can't be used: {error}") from error


def files_of(
    folder: Path, description: Description, places: Sequence[Path]
) -> dict[PartName, tuple[Path, ...]]:
    """The files of a pipeline's parts; the network is not asked.

    Args:
        folder: of the pipeline.
        description: what `describe` returned for it.
        places: folders in the layout of the hub's cache, for parts that are named as on the hub.

    Returns:
        By part, in the order of `description.FILES`; without the parts that are on the hub alone.

    Raises:
        BrokenPipeline: a file is missing that can't come from the hub.
    """
    found: dict[PartName, tuple[Path, ...]] = {}
    for part in description.parts:
        if _is_on_hub(part, folder):
            for snapshot in hub.snapshots(part.place, places):
                paths = _files(part, snapshot)
                if all(map(_readable, paths)):
                    found[part.name] = paths
                    break
        else:
            found[part.name] = _files(part, folder / part.place.removeprefix(HERE))
            for path in found[part.name]:
                if not _readable(path):
                    raise BrokenPipeline(f"{path} is missing")
    return found


def find(repository: str, places: Sequence[Path]) -> Path | None:
    """The folder of a pipeline of the hub that is on this machine with all its parts.

    Args:
        repository: `owner/name`.
        places: folders in the layout of the hub's cache.

    Raises:
        huggingface_hub.errors.HFValidationError: no repository can have such a name.
    """
    snapshots = hub.snapshots(repository, places)
    return next((path for path in snapshots if _is_whole(path, places)), None)


def fetch(repository: str, places: Sequence[Path], begins: OnDownload | None = None) -> Path:
    """Fetch a pipeline of the hub with all its parts; what is here already isn't fetched again.

    Args:
        repository: `owner/name`.
        places: folders in the layout of the hub's cache; the first that can be written gets them.
        begins: called before each download.

    Returns:
        The pipeline's folder.

    Raises:
        hub.Unsuitable: it is no pipeline, or names a part that has no such files.
        NotFetched: it can't be had from the hub (`hub.Gated`: without an account that may).
        BrokenPipeline: what was fetched can't be used here.
    """
    folder = hub.fetch(repository, places, _pipeline_files, _HUB_SECONDS, begins)
    complete(folder, places, begins)
    return folder


def complete(folder: Path, places: Sequence[Path], begins: OnDownload | None = None) -> None:
    """Fetch the parts of a pipeline that its folder names as on the hub and that aren't here.

    Args:
        folder: of the pipeline.
        places: as for `fetch`.
        begins: as for `fetch`.

    Raises:
        hub.Unsuitable, NotFetched, BrokenPipeline: as for `fetch`.
    """
    for part in missing(folder, places):
        needed = [path.as_posix() for path in _files(part, Path())]

        def choose(names: Sequence[str], needed: Sequence[str] = needed) -> Sequence[str]:
            return needed if set(needed) <= set(names) else ()

        hub.fetch(part.place, places, choose, _HUB_SECONDS, begins)


def missing(folder: Path, places: Sequence[Path]) -> list[Part]:
    """The parts of a pipeline that would have to be fetched.

    Args:
        folder: of the pipeline.
        places: as for `files_of`.

    Raises:
        BrokenPipeline: it can't be used, whatever is fetched.
    """
    description = describe(folder)
    here = files_of(folder, description, places)
    return [part for part in description.parts if part.name not in here]


def size(repository: str, seconds: float) -> int | None:
    """Bytes that would be fetched of a pipeline or a part of one; None where the hub doesn't say.

    Args:
        repository: `owner/name`.
        seconds: how long each of two questions to the hub may take.

    Raises:
        hub.Unsuitable: it has no such files.
        NotFetched: the hub can't be reached, or doesn't have it.
    """
    return hub.total(repository, _wanted, seconds)


def _is_whole(snapshot: Path, places: Sequence[Path]) -> bool:
    try:
        return not missing(snapshot, places)
    except BrokenPipeline:
        return False  # what a download left that broke off


def _wanted(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.rpartition("/")[2] in _WANTED]


def _pipeline_files(names: Sequence[str]) -> list[str]:
    """Of a repository's files, those to fetch; none if it is no pipeline."""
    return _wanted(names) if CONFIG in names else []


def _is_on_hub(part: Part, folder: Path) -> bool:
    """Whether a part is named as on the hub: a path that is there is none of its names."""
    return is_hub_name(part.place) and not (folder / part.place).exists()


def _files(part: Part, place: Path) -> tuple[Path, ...]:
    """A part's files, below a place or the place itself."""
    if place.is_file():
        return (place,)
    return tuple(place / part.folder / name for name in FILES[part.name])


def _readable(path: Path) -> bool:
    # A link whose file is missing is what a download leaves that broke off.
    return path.is_file() and os.access(path, os.R_OK)
