"""What measuring tools outside this repository may use, under names that stay.

Modules move; these names don't. Importing this module imports neither torch nor WhisperX.

| name | what it is |
|---|---|
| `packaged_weights`, `resolve` | directory of the packaged base model; of any model by name |
| `ARCHITECTURES`, `write_random_model`, `fixed_length` | models with random weights |
| `Dimensions`, `read_dimensions` | of the model in a directory |
| `Device`, `find_device`, `free_memory` | where a model runs, and what is free there |
| `WindowCost`, `window_cost`, `activation_bytes`, `window_bytes` | bytes that a window takes |
| `Budget`, `budget` | how many windows fit a batch |
| `TYPICAL_TOKENS`, `RESERVE_BYTES`, `ALIGN_BYTES` | constants of that arithmetic |
| `FULL_POSITIONS`, `SAMPLE_RATE` | a window of 30 s in encoder positions; Hz |
| `EngineConfig`, `load`, `Loaded` | a model loaded, sized and tested as the worker does it |
| `Whisper`, `Request`, `Decoded` | the loaded model, a window to decode, what it said |
| `FrontEnd`, `pad` | samples to log-mel features; features cut or padded to a length |
| `build`, `Engine`, `Options` | the whole engine, and what is asked of a file |
| `KnownSpeech`, `known_speech` | the recording of the self-test, with its words |
| `Plan`, `Spec`, `Ours`, `make` | the benchmark's contestants; `Plan.num_workers` is the caller's |
| `Load`, `make_loads`, `read_clips`, `read_folders` | the benchmark's files |
| `PeakMemory`, `card_bytes`, `resident_bytes` | memory while something runs |
| `normalize`, `errors_by_clip`, `word_error_rate`, `word_errors` | texts against what was said |
| `configure` | the worker's logging |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from worker.bench.contestants import Ours, make
from worker.bench.loads import Load, make_loads, read_clips, read_folders
from worker.bench.machine import PeakMemory, card_bytes, resident_bytes
from worker.bench.plan import Plan, Spec
from worker.bench.probe import fixed_length
from worker.bench.random_model import ARCHITECTURES, write_random_model
from worker.bench.wer import errors_by_clip, normalize, word_error_rate
from worker.errors import MachineError
from worker.logs import configure
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import Engine, build
from worker.speech.model import models
from worker.speech.model.choices import Device
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.device import find_device, free_memory
from worker.speech.model.loaded import Loaded, load
from worker.speech.model.memory import (
    ALIGN_BYTES,
    RESERVE_BYTES,
    TYPICAL_TOKENS,
    Budget,
    WindowCost,
    activation_bytes,
    budget,
    window_cost,
)
from worker.speech.model.models import resolve
from worker.speech.model.selftest import KnownSpeech, known_speech
from worker.speech.model.weights import Dimensions, read_dimensions
from worker.speech.model.whisper import Whisper
from worker.speech.prepare.features import FrontEnd, pad
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE

__all__ = [
    "ALIGN_BYTES",
    "ARCHITECTURES",
    "FULL_POSITIONS",
    "RESERVE_BYTES",
    "SAMPLE_RATE",
    "TYPICAL_TOKENS",
    "Budget",
    "Decoded",
    "Device",
    "Dimensions",
    "Engine",
    "EngineConfig",
    "FrontEnd",
    "KnownSpeech",
    "Load",
    "Loaded",
    "Options",
    "Ours",
    "PeakMemory",
    "Plan",
    "Request",
    "Spec",
    "Whisper",
    "WindowCost",
    "activation_bytes",
    "budget",
    "build",
    "card_bytes",
    "configure",
    "errors_by_clip",
    "find_device",
    "fixed_length",
    "free_memory",
    "known_speech",
    "load",
    "make",
    "make_loads",
    "normalize",
    "packaged_weights",
    "pad",
    "read_clips",
    "read_dimensions",
    "read_folders",
    "resident_bytes",
    "resolve",
    "window_bytes",
    "window_cost",
    "word_error_rate",
    "word_errors",
    "write_random_model",
]


def packaged_weights() -> Path:
    """The directory of the packaged base model's CTranslate2 weights.

    Raises:
        MachineError: the extra `demo`, which brings them, isn't installed.
    """
    directory = models.packaged_weights()
    if directory is None:
        raise MachineError("the base model's weights are not installed: install the extra 'demo'")
    return directory


def window_bytes(
    dimensions: Dimensions, *, positions: int, tokens: int, beam_size: int, compute_type: str
) -> int:
    """Bytes that a window takes if so many tokens are generated for it, by the arithmetic.

    `window_cost` reckons with `TYPICAL_TOKENS` for 30 s and fewer for shorter windows; a
    measurement with random weights fixes their number.

    Args:
        dimensions: of the model.
        positions: encoder positions of the window.
        tokens: generated for it.
        beam_size: width of the beam search.
        compute_type: one of CTranslate2's.
    """
    cost = window_cost(dimensions, beam_size=beam_size, compute_type=compute_type)
    return cost.bytes_written(positions, tokens)


def word_errors(references: Sequence[str], texts: Sequence[str]) -> float:
    """Word errors in a hundred reference words, clip by clip; NaN where there are no words.

    Args:
        references: what is said in each clip.
        texts: what was made of it.
    """
    words = [normalize(reference) for reference in references]
    errors = [
        sum(errors_by_clip([reference], normalize(text)))
        for reference, text in zip(words, texts, strict=True)
    ]
    return word_error_rate([len(reference) for reference in words], errors)
