"""The dimensions of a Whisper model, read from the head of its CTranslate2 file.

CTranslate2 does not report the dimensions of a model it has loaded, and they decide how many
windows fit a card. The layout read here is the one that `ctranslate2.specs.ModelSpec`
writes (binary version 6): names and shapes, each followed by its data, which is skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.errors import MachineError

DECODER_POSITIONS = 448
"""Of every Whisper model: prompt and text together."""

_MAX_NAME = 1_000
"""Names are paths such as `decoder/layer_31/ffn/linear_0/weight`."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What decides the cost of a window.

    Attributes:
        encoder_layers: transformer layers of the encoder.
        decoder_layers: transformer layers of the decoder (32 in large-v3, 4 in turbo).
        width: size of the hidden state.
        heads: attention heads of an encoder layer.
        mels: mel bands of the input.
        vocabulary: tokens.
    """

    encoder_layers: int
    decoder_layers: int
    width: int
    heads: int
    mels: int
    vocabulary: int


LARGE_V3 = Dimensions(
    encoder_layers=32, decoder_layers=32, width=1280, heads=20, mels=128, vocabulary=51866
)
"""openai/whisper-large-v3, from its published configuration."""


def read_dimensions(directory: Path) -> Dimensions:
    """The dimensions of the model in a directory.

    Raises:
        MachineError: `model.bin` is not a Whisper model that CTranslate2 wrote.
    """
    path = directory / "model.bin"
    shapes: dict[str, tuple[int, ...]] = {}
    heads = 0
    try:
        with path.open("rb") as file:
            for name, shape, data in _variables(file):
                shapes[name] = shape
                if name == "encoder/num_heads":
                    heads = int.from_bytes(data, "little")
    except (OSError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise MachineError(f"{path} is no CTranslate2 model that can be read: {error}") from error
    try:
        width, mels, _kernel = shapes["encoder/conv1/weight"]
        vocabulary, _ = shapes["decoder/embeddings/weight"]
    except (KeyError, ValueError) as error:
        raise MachineError(f"{path} is no Whisper model: {error} is missing or odd") from error
    return Dimensions(
        encoder_layers=_layers(shapes, "encoder"),
        decoder_layers=_layers(shapes, "decoder"),
        width=width,
        heads=heads or max(1, width // 64),
        mels=mels,
        vocabulary=vocabulary,
    )


def end_of_variables(path: Path, *, absent: str) -> tuple[int, int, int]:
    """Where in a `model.bin` their number stands, that number, and where the last one ends.

    Args:
        path: the file.
        absent: the name of a variable that must not be there.

    Raises:
        OSError: it can't be read.
        ValueError: the variable is there, or the file has another layout than version 6.
    """
    try:
        with path.open("rb") as file:
            if _unpack(file, "<I") != (6,):
                raise ValueError(f"{path} is not of binary version 6")
            _string(file)
            _unpack(file, "<I")
            counted = file.tell()
            (count,) = _unpack(file, "<I")
            file.seek(0)
            if any(name == absent for name, _, _ in _variables(file)):
                raise ValueError(f"{path} has a {absent} already")
            return counted, count, file.tell()
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CTranslate2 model: {error}") from error


def _variables(file: BinaryIO) -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    """(name, shape, data) of every variable; data only of those under 16 bytes."""
    (version,) = _unpack(file, "<I")
    if not 4 <= version <= 6:
        raise ValueError(f"binary version {version} is unknown")
    _string(file)
    _unpack(file, "<I")
    (count,) = _unpack(file, "<I")
    for _ in range(count):
        name = _string(file)
        (rank,) = _unpack(file, "<B")
        shape = _unpack(file, f"<{rank}I")
        _unpack(file, "<B")
        (size,) = _unpack(file, "<I")
        data = b""
        if size < 16:
            data = file.read(size)
        else:
            file.seek(size, 1)
        yield name, shape, data


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<H")
    if not 0 < length <= _MAX_NAME:
        raise ValueError(f"a name of {length} bytes")
    return file.read(length)[:-1].decode("utf-8")


def _layers(shapes: dict[str, tuple[int, ...]], part: str) -> int:
    prefix = f"{part}/layer_"
    found = {name[len(prefix) :].split("/")[0] for name in shapes if name.startswith(prefix)}
    return sum(layer.isdigit() for layer in found)  # not `layer_norm`
