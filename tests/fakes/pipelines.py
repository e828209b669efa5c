"""pyannote's pipelines as folders: the real layout, names and shapes, random numbers in them.

The hub gives community-1 and its parts to registered accounts alone, so the code that loads them is
tried on models of the same architecture. Who speaks is not to be learned from them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

COMMUNITY_CONFIG = """\
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""
"""Of pyannote/speaker-diarization-community-1."""

OLDER_CONFIG = """\
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: {embedding}
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    segmentation: {segmentation}
    segmentation_batch_size: 32
params:
  clustering:
    method: centroid
    min_cluster_size: 12
    threshold: 0.7045654963945799
  segmentation:
    min_duration_off: 0.0
"""
"""Of pyannote/speaker-diarization-3.1, where the parts are named as on the hub."""

SEGMENTATION = "pyannote/segmentation-3.0"
WESPEAKER = "pyannote/wespeaker-voxceleb-resnet34-LM"
"""The parts of 3.1."""

EMPTY = {
    "segmentation/pytorch_model.bin": b"segmentation",
    "embedding/pytorch_model.bin": b"embedding",
    "plda/xvec_transform.npz": b"transform",
    "plda/plda.npz": b"plda",
}
"""Files of community-1 that are there, and no more than that."""


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files below a folder; the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def wespeaker(path: Path) -> None:
    """Writes a WeSpeaker ResNet34 with random weights, as pyannote saves one: 27 MB."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    torch.manual_seed(0)
    model = WeSpeakerResNet34()
    specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0
    )
    saved = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": "2.0.0",
        "pyannote.audio": {
            "versions": {"torch": "2.0.0", "pyannote.audio": "4.0.0"},
            "architecture": {
                "module": "pyannote.audio.models.embedding",
                "class": "WeSpeakerResNet34",
            },
            "specifications": specifications,
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(saved, path)


def plda(folder: Path) -> None:
    """Writes a random PLDA from 256 numbers to 128, in community-1's two files."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "xvec_transform.npz",
        mean1=random.normal(size=256),
        mean2=random.normal(size=128),
        lda=random.normal(size=(256, 128)),
    )
    transform, _ = np.linalg.qr(random.normal(size=(128, 128)))
    np.savez(
        folder / "plda.npz",
        mu=random.normal(size=128),
        tr=transform,
        psi=np.linspace(5.0, 0.1, 128),
    )
