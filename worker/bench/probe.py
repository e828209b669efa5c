"""A CTranslate2 model that counts, records, or cuts what passes through it.

Every contestant ends in `encode` and `generate` of one `ctranslate2.models.Whisper`, so they
are all counted there, and the engine's calls are recorded there: `replay` makes the same calls
again with nothing around them, which is the floor that the engine's overhead is measured over.
Several threads may call at once, each encoding what it generates from.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import ctranslate2

__all__ = ["Call", "FixedResult", "Floor", "Probe", "fixed_length", "replay"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `generate`, with what was encoded for it.

    Attributes:
        features: float32 [windows, mels, frames]; None if the encoding before served again.
        prompts: a prompt for each window.
        options: everything else that the call was given.
        tokens: what came out, for each window.
    """

    features: NDArray[np.float32] | None
    prompts: Sequence[Sequence[int]]
    options: dict[str, Any]
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Floor:
    """The same calls, bare.

    Attributes:
        seconds: from the first call to the end of the last.
        calls: how many.
        windows: in all of them.
        same: windows whose tokens came out as they did for the engine (those sampled at a
            temperature need not).
    """

    seconds: float
    calls: int
    windows: int
    same: int


@dataclass(frozen=True, slots=True)
class FixedResult:
    """A generation result of a model with random weights, as libraries read it.

    It says that there was no speech and that the text is unlikely: the engine then takes it
    for silence and does not decode it again at higher temperatures, which would measure the
    quality checks instead of the machine.
    """

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float = 1.0


class Probe:
    """Stands in a `ctranslate2.models.Whisper`'s place; anything else is passed on to it.

    Args:
        model: the model.
        record: whether to keep every call, for `replay`.
        fixed_tokens: generate this many tokens for each window, whatever is said in it; for
            models that never end by themselves (see `random_model`).
    """

    def __init__(self, model: Any, *, record: bool = False, fixed_tokens: int | None = None):
        self.model = model
        self.record = record
        self.recorded_bytes = 0
        """Bytes of features held by what was recorded."""
        self.calls = 0
        """Calls of `generate`."""
        self.windows = 0
        """Windows in them."""
        self.recorded: list[Call] = []
        self._fixed_tokens = fixed_tokens
        self._lock = threading.Lock()
        self._encoded = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def reset(self) -> None:
        """Forgets counts and records."""
        self.calls = self.windows = self.recorded_bytes = 0
        self.recorded = []

    def encode(self, features: ctranslate2.StorageView, **options: Any) -> Any:
        """See `ctranslate2.models.Whisper.encode`."""
        if self.record:
            import ctranslate2

            if features.device != "cpu":
                features_here = features.to_device(ctranslate2.Device.cpu)
            else:  # a view, not a copy: the features of a window are a megabyte
                features_here = features
            self._encoded.features = np.asarray(features_here)
            with self._lock:
                self.recorded_bytes += self._encoded.features.nbytes
        return self.model.encode(features, **options)

    def generate(self, encoded: Any, prompts: Sequence[Sequence[int]], **options: Any) -> Any:
        """See `ctranslate2.models.Whisper.generate`."""
        if self._fixed_tokens is not None:
            length = max(len(prompt) for prompt in prompts)
            options["max_length"] = fixed_length(length, self._fixed_tokens)
        results = self.model.generate(encoded, prompts, **options)
        with self._lock:
            self.calls += 1
            self.windows += len(prompts)
            if self.record:
                features = getattr(self._encoded, "features", None)
                asked = [list(prompt) for prompt in prompts]
                self.recorded.append(Call(features, asked, options, _tokens(results)))
                self._encoded.features = None
        if self._fixed_tokens is None:
            return results
        return [FixedResult(result.sequences_ids, [-10.0]) for result in results]


def fixed_length(prompt: int, tokens: int) -> int:
    """The `max_length` with which CTranslate2 generates this many tokens after a prompt.

    It stops after min(max_length / 2, max_length - start) tokens, where the start is the
    prompt without its last token (src/models/whisper.cc, `WhisperReplica::generate`).
    """
    return max(2 * tokens, prompt - 1 + tokens)


def replay(model: Any, calls: Sequence[Call], lanes: int = 1) -> Floor:
    """Makes recorded calls again, bare, and times them.

    Args:
        model: the `ctranslate2.models.Whisper` that they were made on.
        calls: what a `Probe` recorded, in order.
        lanes: how many to make at once.
    """
    groups: list[list[Call]] = []
    for call in calls:
        if call.features is not None:
            groups.append([])
        groups[-1].append(call)
    began = time.perf_counter()
    with ThreadPoolExecutor(lanes) as pool:
        same = sum(pool.map(lambda group: _again(model, group), groups))
    seconds = time.perf_counter() - began
    return Floor(seconds, len(calls), sum(len(call.tokens) for call in calls), same)


def _again(model: Any, calls: Sequence[Call]) -> int:
    """Makes the calls that share one encoding; how many windows came out the same."""
    import ctranslate2

    same = 0
    encoded: Any = None
    for call in calls:
        if call.features is not None:
            encoded = model.encode(ctranslate2.StorageView.from_array(call.features))
        tokens = _tokens(model.generate(encoded, call.prompts, **call.options))
        same += sum(now == then for now, then in zip(tokens, call.tokens, strict=True))
    return same


def _tokens(results: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(result.sequences_ids[0]) for result in results)
