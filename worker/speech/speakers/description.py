"""What a pipeline's config.yaml says: its parts, where each comes from, its numbers (pure).

The rules are pyannote's, less what can't be had here: only its speaker diarization, with the two
ways of clustering that find the number of speakers by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FILES", "HERE", "BrokenPipeline", "Description", "Part", "PartName", "parse"]

PartName = Literal["segmentation", "embedding", "plda"]

FILES: Mapping[PartName, tuple[str, ...]] = {
    "segmentation": ("pytorch_model.bin",),
    "embedding": ("pytorch_model.bin",),
    "plda": ("xvec_transform.npz", "plda.npz"),
}
"""The files of each part, in its folder."""

HERE = "$model/"
"""How the path of a part begins that lies in the pipeline's own folder."""

_PIPELINES = (
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
)
_VBX = "VBxClustering"
_CLUSTERINGS = (_VBX, "AgglomerativeClustering")


class BrokenPipeline(ValueError):
    """A pipeline's folder can't be used; says why in a clause."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part of a pipeline comes from.

    Attributes:
        name: what it is.
        place: as it stands in the configuration: a path, which may be relative to the pipeline's
            folder, or `owner/name` on the hub.
        folder: below that; empty if its files lie there directly.
    """

    name: PartName
    place: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """A pipeline, as its config.yaml describes it.

    Attributes:
        parts: segmentation, embedding, and a PLDA if the clustering needs one.
        clustering: a name of pyannote's.
        exclude_overlap: whether embeddings are of what a speaker says alone.
        step: from one chunk of audio to the next, in lengths of a chunk; None if it isn't said.
        numbers: thresholds and the like, as `Pipeline.instantiate` takes them.
    """

    parts: tuple[Part, ...]
    clustering: str
    exclude_overlap: bool
    step: float | None
    numbers: Mapping[str, Any]


def parse(config: object) -> Description:
    """What a configuration says.

    Args:
        config: what YAML makes of the file.

    Raises:
        BrokenPipeline: it is none, or of a pipeline that can't be used here.
    """
    whole = _mapping(config, "it")
    pipeline = _mapping(whole.get("pipeline"), "pipeline")
    if (kind := pipeline.get("name")) not in _PIPELINES:
        raise BrokenPipeline(f"its pipeline is {kind!r}, not {_PIPELINES[0]}")
    params = _mapping(pipeline.get("params") or {}, "pipeline.params")
    clustering = params.get("clustering", _VBX)
    if clustering not in _CLUSTERINGS:
        raise BrokenPipeline(f"its clustering is {clustering!r}, not {' or '.join(_CLUSTERINGS)}")
    names: list[PartName] = ["segmentation", "embedding"]
    if clustering == _VBX:
        names.append("plda")
    return Description(
        parts=tuple(_part(name, params.get(name)) for name in names),
        clustering=clustering,
        exclude_overlap=bool(params.get("embedding_exclude_overlap", False)),
        step=_step(params.get("segmentation_step")),
        numbers=_mapping(whole.get("params") or {}, "params"),
    )


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise BrokenPipeline(f"{what} is no mapping")


def _part(name: PartName, value: object) -> Part:
    """A part as a path, as a hub's name, or as both apart (`checkpoint`, `subfolder`)."""
    folder: object = ""
    if isinstance(value, Mapping):
        folder = value.get("subfolder") or ""
        value = value.get("checkpoint")
    if not value:
        raise BrokenPipeline(f"it names no {name}")
    if not isinstance(value, str) or not isinstance(folder, str):
        raise BrokenPipeline(f"its {name} is no path and no name")
    if "@" in value:
        raise BrokenPipeline(f"its {name} is {value!r}: a revision can't be asked for")
    return Part(name, value, folder)


def _step(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 < value <= 1:
        raise BrokenPipeline(f"its segmentation_step is {value!r}, not above 0 and at most 1")
    return float(value)
