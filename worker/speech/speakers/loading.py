"""The model that was chosen, loaded as pyannote's pipeline: one way for all kinds of it.

pyannote is given models and never names: what it doesn't get, it fetches, a PLDA even where nothing
uses one. Loading a model that isn't packaged runs its code, because pyannote unpickles weights.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from worker.errors import MachineError
from worker.speech.fetch.places import hub_places
from worker.speech.speakers import folders, packaged
from worker.speech.speakers.description import BrokenPipeline, Description, PartName

if TYPE_CHECKING:
    from pyannote.audio import Model
    from pyannote.audio.core.plda import PLDA
    from pyannote.audio.pipelines import SpeakerDiarization

    from worker.speech.speakers.choice import Chosen

__all__ = ["load_pipeline"]

_PACKAGED_PIPELINE = Description(
    parts=(),
    clustering="AgglomerativeClustering",
    exclude_overlap=True,
    step=None,
    numbers=MappingProxyType(
        {
            "segmentation": {"min_duration_off": 0.0},
            "clustering": {"method": "centroid", "min_cluster_size": 3, "threshold": 0.65},
        }
    ),
)
"""How the packaged models are put together. The clustering is what a pipeline of pyannote has to
have; for these models `Diarizer` takes its own (`clustering.py`)."""

CPU_STEP, CARD_STEP = 0.2, 0.1
"""From one chunk of 10 s to the next, in lengths of a chunk, where the pipeline doesn't say. The
second is pyannote's; the first takes half the time and loses nothing that shows."""


@dataclass(frozen=True, slots=True)
class _Models:
    """What a pipeline consists of; without a PLDA it gets one that does nothing."""

    segmentation: Model
    embedding: Model
    plda: PLDA | None = None


def load_pipeline(chosen: Chosen, device: str) -> SpeakerDiarization:
    """Load the pipeline; nothing is fetched, and nothing written to stdout.

    Takes seconds, most of them pyannote's import. `Pipeline.__call__` turns TF32 off for the
    whole process: this is for a process of its own.

    Args:
        chosen: which.
        device: torch's name for where the models go.

    Raises:
        MachineError: a file is missing, damaged or another than it should be; says which.
        RuntimeError: the device can't hold the models.
    """
    with _quiet():
        pipeline = (
            _packaged(chosen, device) if chosen.kind == "packaged" else _named(chosen, device)
        )
        import torch

        pipeline.to(torch.device(device))
    return pipeline


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pyannote prints, and warns at length that it couldn't read files, which it need not do."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*torchcodec is not installed")
        yield


def _packaged(chosen: Chosen, device: str) -> SpeakerDiarization:
    segmentation = packaged.load_segmentation(chosen.path)
    models = _Models(segmentation, packaged.load_embedding(chosen.path))
    return _assembled(_PACKAGED_PIPELINE, models, device)


def _named(chosen: Chosen, device: str) -> SpeakerDiarization:
    """A pipeline of a directory or of the hub. Raises MachineError."""
    try:
        description = folders.describe(chosen.path)
        files = folders.files_of(chosen.path, description, hub_places(chosen.model_dir))
    except BrokenPipeline as error:
        raise MachineError(f"diarize_model = {chosen.name!r} can't be used: {error}") from error
    for part in description.parts:
        if part.name not in files:
            raise MachineError(
                f"diarize_model = {chosen.name!r} can't be used: its {part.name}, {part.place}, "
                "is not on this machine"
            )
    models = _Models(
        _model(chosen, "segmentation", files["segmentation"]),
        _model(chosen, "embedding", files["embedding"]),
        _plda(chosen, files["plda"]) if "plda" in files else None,
    )
    with _told(chosen, chosen.path / folders.CONFIG):
        return _assembled(description, models, device)


def _assembled(description: Description, models: _Models, device: str) -> SpeakerDiarization:
    """Raises whatever pyannote makes of numbers that it doesn't know."""
    from pyannote.audio.pipelines import SpeakerDiarization

    step = description.step or (CPU_STEP if device == "cpu" else CARD_STEP)
    pipeline = SpeakerDiarization(
        segmentation=models.segmentation,
        segmentation_step=step,
        embedding=models.embedding,
        embedding_exclude_overlap=description.exclude_overlap,
        plda=models.plda or _no_plda(),
        clustering=description.clustering,
    )
    pipeline.instantiate(_plain(description.numbers))
    return pipeline


def _no_plda() -> PLDA:
    """A PLDA for a pipeline that uses none, and would fetch community-1's if it were given none."""
    from pyannote.audio.core.plda import PLDA

    class NoPlda(PLDA):
        def __init__(self) -> None:
            """It has nothing to load."""

    return NoPlda()


def _model(chosen: Chosen, name: PartName, files: tuple[Path, ...]) -> Model:
    """Raises MachineError."""
    from pyannote.audio import Model
    from pyannote.audio.core.task import Resolution

    (weights,) = files
    with _told(chosen, weights):
        model = Model.from_pretrained(weights, strict=False)
        assert model is not None  # only of a model of the hub
        # A segmentation says something of each frame, an embedding of a whole stretch.
        by_frame = getattr(model.specifications, "resolution", None) is Resolution.FRAME
        if by_frame != (name == "segmentation"):
            raise ValueError(f"it is no model for the {name}")
        return model


def _plda(chosen: Chosen, files: tuple[Path, ...]) -> PLDA:
    """Raises MachineError."""
    from pyannote.audio.core.plda import PLDA

    transform, plda = files
    with _told(chosen, transform.parent):
        return PLDA(transform, plda)


@contextlib.contextmanager
def _told(chosen: Chosen, path: Path) -> Iterator[None]:
    """Within, whatever goes wrong is said of a file, as a MachineError."""
    try:
        yield
    # Unpickling runs what the file says, so anything may come of a damaged one.
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise MachineError(
            f"diarize_model = {chosen.name!r} can't be used: {path} can't be loaded "
            f"({type(error).__name__}: {lines[0][:200]})"
        ) from error


def _plain(numbers: Any) -> Any:
    """Mappings as dictionaries, which is what pyannote takes."""
    if not hasattr(numbers, "items"):
        return numbers
    return {name: _plain(value) for name, value in numbers.items()}
