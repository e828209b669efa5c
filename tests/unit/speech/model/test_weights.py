"""Dimensions from the head of a model's file, and nothing but an error from anything else."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.fakes.tiny_model import TINY, base_model
from worker.errors import MachineError
from worker.speech.model.weights import Dimensions, read_dimensions


def test_a_model_of_128_bands(tiny_model: Path) -> None:
    assert read_dimensions(tiny_model) == TINY


def test_the_packaged_base_model() -> None:
    assert read_dimensions(base_model()) == Dimensions(
        encoder_layers=6, decoder_layers=6, width=512, heads=8, mels=80, vocabulary=51865
    )


@pytest.mark.parametrize("keep", [0, 3, 20, 100, 0.5])
def test_a_model_that_breaks_off(tiny_model: Path, tmp_path: Path, keep: float) -> None:
    data = (tiny_model / "model.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(MachineError, match=r"model\.bin"):
        read_dimensions(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"not a model at all, but text that is long enough to be read as one" * 9,
        struct.pack("<I", 99) + b"\0" * 100,
        struct.pack("<IH", 6, 0xFFFF) + b"x" * 70_000,
        # A well-formed model of no variables: no Whisper.
        struct.pack("<IH", 6, 5) + b"Spec\0" + struct.pack("<II", 3, 0),
    ],
)
def test_no_model(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    with pytest.raises(MachineError, match=r"model\.bin"):
        read_dimensions(tmp_path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"model\.bin"):
        read_dimensions(tmp_path)
