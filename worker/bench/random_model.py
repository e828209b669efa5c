"""A Whisper model with random weights: its real cost on a card where its weights can't be had.

What a Whisper costs follows from its dimensions and from how many tokens it generates, not
from what the weights say. The embeddings of the end and of all other special tokens are zero
here, so that their logits are 0 while the best of the text tokens is far above it: such a
model never ends by itself, and how much it generates is the caller's choice
(`probe.fixed_length`).
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import SettingsError
from worker.speech.model.weights import DECODER_POSITIONS, LARGE_V3, Dimensions
from worker.speech.windows import FULL_POSITIONS

__all__ = ["ARCHITECTURES", "write_random_model"]

ARCHITECTURES = MappingProxyType(
    {
        "tiny": Dimensions(
            encoder_layers=4, decoder_layers=4, width=384, heads=6, mels=80, vocabulary=51865
        ),
        "turbo": Dimensions(
            encoder_layers=32, decoder_layers=4, width=1280, heads=20, mels=128, vocabulary=51866
        ),
        "large-v3": LARGE_V3,
    }
)
"""From the published configurations of openai/whisper-tiny, -large-v3-turbo and -large-v3."""

SCALE = 0.02
"""Standard deviation of the weights, as transformers initializes Whisper; activations stay far
below what float16 can hold."""

END = "<|endoftext|>"
"""The first special token: all that come after it are special too."""


def write_random_model(
    directory: Path, dimensions: Dimensions, tokenizer_from: Path, *, seed: int = 0
) -> None:
    """Writes a model that CTranslate2, faster-whisper and WhisperX load like any other.

    The weights are float16, the output projection is the embedding as in every Whisper, and
    `preprocessor_config.json` names the mel bands. large-v3 takes 3.1 GB of memory and disk.

    Args:
        directory: made if it isn't there; its files are overwritten.
        dimensions: of the model; `heads` must divide `width`.
        tokenizer_from: a model directory whose tokenizer is copied.
        seed: of the weights.

    Raises:
        SettingsError: there is no tokenizer, or it has more tokens than the model.
    """
    from ctranslate2.specs import whisper_spec

    source = tokenizer_from / "tokenizer.json"
    if not source.is_file():
        raise SettingsError(
            f"{tokenizer_from} has no tokenizer.json to copy: give the directory of a model that "
            "has one"
        )
    tokens = _vocabulary(source, dimensions.vocabulary)
    spec = whisper_spec.WhisperSpec(
        dimensions.encoder_layers, dimensions.heads, dimensions.decoder_layers, dimensions.heads
    )
    _fill(spec, dimensions, tokens.index(END), np.random.default_rng(seed))
    spec.register_vocabulary(tokens)
    spec.validate()
    # After `validate`, which takes a string for a value. This is how a spec writes an alias;
    # finding aliases by itself (`optimize`) would compare all weights with each other.
    spec.decoder.projection.weight = "decoder/embeddings/weight"
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [
        index for index, token in enumerate(tokens) if re.fullmatch(r"<\|[a-z]{2,3}\|>", token)
    ]
    # Heads of the last layer, for word times from attention; the real ones are no better here.
    last = dimensions.decoder_layers - 1
    spec.config.alignment_heads = [[last, head] for head in range(dimensions.heads)]
    directory.mkdir(parents=True, exist_ok=True)
    spec.save(str(directory))
    shutil.copyfile(source, directory / "tokenizer.json")
    (directory / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": dimensions.mels}) + "\n", encoding="utf-8"
    )


def _vocabulary(tokenizer: Path, size: int) -> list[str]:
    """The tokenizer's tokens in order, filled up with times and then with placeholders."""
    import tokenizers

    by_id = tokenizers.Tokenizer.from_file(str(tokenizer)).get_vocab(with_added_tokens=True)
    tokens = [token for token, _ in sorted(by_id.items(), key=lambda item: item[1])]
    if len(tokens) > size:
        raise SettingsError(f"{tokenizer} has {len(tokens)} tokens, more than the model's {size}")
    if END not in tokens:
        raise SettingsError(f"{tokenizer} is no Whisper tokenizer: it has no {END}")
    # Whisper's tokenizer files leave the times out: <|0.00|> to <|30.00|> in steps of 0.02.
    known = set(tokens)
    times = [time for step in range(1501) if (time := f"<|{step * 0.02:.2f}|>") not in known]
    tokens += times[: size - len(tokens)]
    return tokens + [f"<|placeholder_{index}|>" for index in range(size - len(tokens))]


def _fill(spec: Any, dimensions: Dimensions, end: int, random: np.random.Generator) -> None:
    """Gives every weight of a spec a value."""
    from ctranslate2.specs import model_spec

    def fill(part: Any, name: str, value: Any) -> None:
        leaf = name.rsplit("/", 1)[-1]
        # Optional variables are marked by a string; those that every Whisper has are these.
        if value is not None and not (isinstance(value, str) and leaf in ("bias", "encodings")):
            return
        if name == "decoder/projection/bias":
            return  # no Whisper has one
        weights = _weights(_shape(name, dimensions), leaf, random)
        if name == "decoder/embeddings/weight":
            weights[end:] = 0
        # A stand-in that passes `validate`; its alias is set after that.
        if name == "decoder/projection/weight":
            weights = np.zeros(1, dtype=np.float16)
        setattr(part, leaf, weights)

    model_spec.visit_spec(spec, fill)


def _weights(shape: tuple[int, ...], leaf: str, random: np.random.Generator) -> NDArray[np.float16]:
    if leaf == "gamma":
        return np.ones(shape, dtype=np.float16)
    if leaf in ("beta", "bias"):
        return np.zeros(shape, dtype=np.float16)
    # Uniform numbers of that deviation: several times faster than normal ones, and as random.
    values = random.random(shape, dtype=np.float32)
    values -= 0.5
    values *= SCALE * 12**0.5
    return values.astype(np.float16)


def _shape(name: str, dimensions: Dimensions) -> tuple[int, ...]:
    """The shape of a variable of a Whisper, by its name in a CTranslate2 model."""
    width = dimensions.width
    layer, leaf = name.rsplit("/", 1)
    outputs = width
    inputs: tuple[int, ...] = (width,)
    if leaf in ("gamma", "beta"):
        return (width,)
    match layer.split("/"):
        case ["encoder", "conv1"]:
            inputs = (dimensions.mels, 3)
        case ["encoder", "conv2"]:
            inputs = (width, 3)
        case ["encoder", "position_encodings"]:
            outputs = FULL_POSITIONS
        case ["decoder", "position_encodings"]:
            outputs = DECODER_POSITIONS
        case ["decoder", "embeddings" | "projection"]:
            outputs = dimensions.vocabulary
        case [*_, "ffn", "linear_0"]:
            outputs = 4 * width
        case [*_, "ffn", "linear_1"]:
            inputs = (4 * width,)
        case [*_, "self_attention", "linear_0"]:
            outputs = 3 * width  # queries, keys and values in one
        case [*_, "attention", "linear_1"]:
            outputs = 2 * width  # keys and values of the encoder's output in one
    return (outputs,) if leaf == "bias" else (outputs, *inputs)
