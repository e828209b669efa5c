"""Tokens that are never to be written, told to a card's model by its weights.

Whisper has some 90 of them: 82 symbols that belong in no text, and a few special tokens.
On a card CTranslate2 takes them out of the logits at every step, by a list it keeps in order on the
host: that costs the square of the rows of a batch (`include/ctranslate2/decoding_utils.h`,
`DisableTokens::add`). On an H200, a step of 107 short windows with five beams took 66.7 ms with the
list, and 17.8 ms without. The same comes of a bias of the output projection, which costs nothing;
no Whisper has one, and CTranslate2 takes it from the file if it is there. So the symbols are put
into a copy of the weights, and the few special tokens stay in the list: what they are held against
(the probability that there is no speech) is read from the same logits.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from worker.logs import get_logger
from worker.speech.fetch.places import cache_directory
from worker.speech.model import models
from worker.speech.model.choices import Device
from worker.speech.model.weights import end_of_variables, read_dimensions
from worker.speech.model.whole_folders import made_whole

log = get_logger(__name__)

__all__ = ["BY_LIST", "Prepared", "add_bias", "prepare", "prepare_for"]

BY_LIST = (-1,)
"""CTranslate2's word for the model's whole list."""

PENALTY = -1e4
"""Added to the logit of a token that must not be written: its probability is 0 in every float type,
and float16 can hold the sum, which it could not of -65504 and a negative logit."""

NAME = "decoder/projection/bias"

ROOM = 1 << 30
"""Bytes of disk that a copy must leave free."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Weights to load, and the tokens that are still to be suppressed by list.

    Attributes:
        directory: of the weights.
        tokens: for CTranslate2's `suppress_tokens`.
    """

    directory: Path
    tokens: tuple[int, ...] = BY_LIST


def prepare_for(device: Device, directory: Path) -> Prepared:
    """See `prepare`; on a CPU the weights as they are.

    There CTranslate2 writes the list straight into the logits, which costs nothing, and the copy's
    bias would cost one more pass over them.
    """
    return prepare(directory) if device.is_card else Prepared(directory)


def prepare(directory: Path) -> Prepared:
    """Weights that suppress symbols by themselves: a copy, made once, beside the packaged ones.

    Where that can't be made, the weights as they are, and a warning.
    """
    symbols, special = _suppressed(directory)
    if not symbols:
        return Prepared(directory)
    target = cache_directory() / f"suppressing-{models.identity(directory)}"
    if not (target / "model.bin").is_file():
        try:
            _copy(directory, target, symbols)
        except (OSError, ValueError) as error:
            log.warning(
                "model.not_copied",
                message="The weights could not be copied with the tokens that are never written: "
                "large batches are slower",
                directory=str(target),
                error=str(error),
            )
            return Prepared(directory)
    return Prepared(target, special)


def add_bias(source: Path, target: Path, tokens: Sequence[int], vocabulary: int) -> None:
    """Copies a `model.bin` and adds the bias to it.

    Args:
        source: the file, of binary version 6.
        target: the file to write.
        tokens: that must not be written.
        vocabulary: tokens in all.

    Raises:
        OSError: a file can't be read or written.
        ValueError: it has such a bias already, or another layout.
    """
    bias = np.zeros(vocabulary, dtype=np.float32)
    bias[list(tokens)] = PENALTY
    name = NAME.encode() + b"\0"
    float32 = 0  # of ctranslate2.specs.model_spec's types
    added = struct.pack("<H", len(name)) + name
    added += struct.pack("<BIBI", 1, vocabulary, float32, bias.nbytes) + bias.tobytes()
    counted, count, end = end_of_variables(source, absent=NAME)
    with source.open("rb") as file, target.open("wb") as out:
        _pass_on(file, out, counted)
        out.write(struct.pack("<I", count + 1))
        file.seek(struct.calcsize("<I"), 1)
        _pass_on(file, out, end - file.tell())
        out.write(added)
        shutil.copyfileobj(file, out)


def _suppressed(directory: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The symbols, and the special tokens, of a model's list; none if it can't be read."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
        tokens = [int(token) for token in config.get("suppress_ids", ())]
        added = {token["content"]: int(token["id"]) for token in tokenizer["added_tokens"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("model.no_list", message="No list of tokens to suppress", error=repr(error))
        return (), ()
    end = added.get("<|endoftext|>")
    if end is None:
        return (), ()
    return (
        tuple(token for token in tokens if 0 <= token < end),
        tuple(token for token in tokens if token > end),
    )


def _copy(directory: Path, target: Path, symbols: Sequence[int]) -> None:
    """Writes the copy beside its place and moves it there, whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    needed = (directory / "model.bin").stat().st_size + ROOM
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise OSError(f"{free >> 20} MiB are free and {needed >> 20} MiB needed")
    with made_whole(target, marker="model.bin") as copy:
        for path in directory.iterdir():
            if path.is_file() and path.name != "model.bin":
                shutil.copyfile(path, copy / path.name)
        vocabulary = read_dimensions(directory).vocabulary
        add_bias(directory / "model.bin", copy / "model.bin", symbols, vocabulary)


def _pass_on(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copies so many bytes from one open file to another."""
    while count > 0:
        block = source.read(min(count, 1 << 24))
        if not block:
            raise ValueError("the file ends too early")
        target.write(block)
        count -= len(block)
