"""The aligner: texts and samples to words with times, batched over segments of any jobs.

One align thread calls `align`; any thread may ask `ready`, `request`, `why_not` and `cure`. Models
load on threads of their own, so that a slow disk or a network that never answers delays no
other language's words: whoever finds a model not ready uses the decoder's attention instead.

Results wait for a model that is being fetched only while bytes of it arrive. After a failure nobody
waits: the model is asked for again some minutes later, and used once it is there.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from worker.errors import WorkerError
from worker.results.transcript import Word
from worker.retry import MODELS_SECONDS
from worker.speech.windows import SAMPLE_RATE
from worker.speech.words.align_models import (
    ModelNotFetched,
    ModelNotHere,
    NoAlignModel,
    fetch_align_model,
    load_align_model,
)
from worker.speech.words.batches import MIN_SAMPLES, next_batch
from worker.speech.words.spelling import spell, words_at
from worker.speech.words.trellis import align_tokens, token_scores
from worker.threads import SupervisedThread

if TYPE_CHECKING:
    from worker.speech.words.wav2vec2 import AlignModel

__all__ = ["AlignItem", "Aligner", "AlignmentError"]

_MAX_ITEMS = 64
"""Segments aligned together: a full window with 400 characters holds 2.4 MB of scores."""

_CARD_SECONDS, _CPU_SECONDS = 30.0, 20.0
"""Audio in one forward pass. On a card a second takes 0.2 ms, and `model.memory.ALIGN_BYTES` is for
the activations of so many; on a CPU batching gains nothing."""


SILENCE_SECONDS = 20.0
"""Results don't wait for a download that has brought nothing for so long. It goes on; a large file
may come in pieces that take most of this on the slowest network that brings it in time."""


class AlignmentError(WorkerError):
    """These segments could not be aligned; their words need times from elsewhere."""


@dataclass(frozen=True, slots=True)
class AlignItem:
    """One segment to align.

    Attributes:
        samples: float32 mono at 16 kHz, [samples]: the sound from `start` to `end`.
        text: what was said in it.
        language: Whisper language code.
        start: in seconds; the words' times count from the same zero.
        end: in seconds, not before `start`.
    """

    samples: npt.NDArray[np.float32]
    text: str
    language: str
    start: float
    end: float


@dataclass(slots=True)
class _Attempt:
    """The loading of one language's model, under way or failed.

    Attributes:
        deadline: when results stop to wait for it.
        silent_at: the same, unless more of a download arrives before.
        error: why there is none, a sentence; None as long as there may be.
        cure: what a person can do about that, a sentence or nothing.
        again_at: when it may be tried anew after an error.
        over: set at the end.
    """

    deadline: float
    silent_at: float = math.inf
    error: str | None = None
    cure: str = ""
    again_at: float = math.inf
    over: threading.Event = field(default_factory=threading.Event)

    def awaited(self, now: float) -> bool:
        """Whether results may wait for it."""
        return self.error is None and now < min(self.deadline, self.silent_at)


Load = Callable[[str, str, Path | None], "AlignModel"]
"""(language, device, model directory) -> model; raises `ModelNotHere`."""

Fetch = Callable[[str, Path | None, Callable[[], None]], None]
"""(language, model directory, what to call as bytes arrive); raises `ModelNotFetched`."""


class Aligner:
    """Alignment models by language, and the words they find.

    Args:
        device: torch's name for it, such as `cuda` or `cpu`.
        cache_size: how many languages' models stay loaded; the least recently used goes. One
            takes 0.4 GB (base) to 3.9 GB (the largest), most 1.3 GB.
        model_dir: where WhisperX's models lie or are downloaded to, beside the caches of torch
            and of the hub.
        batch_seconds: of audio in one forward pass, padding included; None for 30 on a card and
            20 on a CPU. Activations take about 25 MB a second (512 channels x 3200 frames x
            4 bytes, four times). Halved when the device's memory runs out.
        load_timeout: seconds after which a model that has not loaded counts as not to be had.
            One that still comes later is used.
        load: loads a model from the disk; replaced in tests.
        fetch: brings its files there; replaced in tests.
    """

    def __init__(
        self,
        device: str,
        *,
        cache_size: int = 2,
        model_dir: Path | None = None,
        batch_seconds: float | None = None,
        load_timeout: float = 180.0,
        load: Load = load_align_model,
        fetch: Fetch = fetch_align_model,
    ) -> None:
        if cache_size < 1:
            raise ValueError(f"cache_size must be at least 1, not {cache_size}")
        self._device = device
        self._on_card = device.startswith("cuda")
        self._cache_size = cache_size
        self._model_dir = model_dir
        if batch_seconds is None:
            batch_seconds = _CARD_SECONDS if self._on_card else _CPU_SECONDS
        self._max_samples = int(batch_seconds * SAMPLE_RATE)
        self._load_timeout = load_timeout
        self._load = load
        self._fetch = fetch
        self._lock = threading.Lock()
        self._models: OrderedDict[str, AlignModel] = OrderedDict()
        self._attempts: dict[str, _Attempt] = {}
        self._had: set[str] = set()
        # One at a time, because a model passes through host memory. Downloads don't.
        self._disk = threading.Lock()

    def ready(self, language: str) -> bool | None:
        """Whether the language's model is loaded.

        Returns:
            True; False where it can't be had for now (see `why_not`); None where it is loading,
            was not yet asked for, or had to make room for another.
        """
        with self._lock:
            if language in self._models:
                self._models.move_to_end(language)
                return True
            attempt = self._attempts.get(language)
            return None if attempt is None or attempt.awaited(time.monotonic()) else False

    def request(self, language: str) -> None:
        """Start loading the language's model, unless it is loaded, loading or was refused.

        Returns at once. What could not be fetched is tried again after `retry.MODELS_SECONDS`; what
        failed otherwise is not, in this process; what had to make room for another may be.
        """
        now = time.monotonic()
        with self._lock:
            if language in self._models:
                return
            attempt = self._attempts.get(language)
            if attempt is None:
                attempt = self._attempts[language] = _Attempt(now + self._load_timeout)
            elif now < attempt.again_at:
                return
            attempt.again_at = math.inf
        SupervisedThread(f"align-load-{language}", lambda: self._obtain(language, attempt)).start()

    def why_not(self, language: str) -> str:
        """One sentence on why the language's model is not ready; empty where it is."""
        model = f"The alignment model for {language!r}"
        with self._lock:
            if language in self._models:
                return ""
            attempt = self._attempts.get(language)
            if attempt is None:
                return f"{model} was not asked for."
            now = time.monotonic()
            if attempt.awaited(now):
                return f"{model} is loading."
            if attempt.error is not None:
                return attempt.error
            if now >= attempt.deadline:
                return f"{model} did not load within {self._load_timeout:g} s."
            return f"{model} is being fetched, and nothing came for {SILENCE_SECONDS:g} s."

    def cure(self, language: str) -> str:
        """One sentence on what a person can do to have the language's model; or nothing."""
        with self._lock:
            attempt = self._attempts.get(language)
            return "" if attempt is None else attempt.cure

    def align(self, items: Sequence[AlignItem]) -> list[list[Word]]:
        """Find the words of segments, of any languages that are ready.

        Every word of a text gets times: inside its segment, never backwards, never
        overlapping. Where a text can't be aligned (no sound, more characters than frames) its
        words are spread over the segment and have no score.

        Returns:
            The words of each item, in order.

        Raises:
            AlignmentError: a model is not ready, has no memory even for one segment, or gives
                no numbers.
            RuntimeError: the device failed.
        """
        by_language: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            by_language.setdefault(item.language, []).append(index)
        results: list[list[Word]] = [[] for _ in items]
        for language, indices in by_language.items():
            model = self._await(language)
            for at in range(0, len(indices), _MAX_ITEMS):
                chosen = indices[at : at + _MAX_ITEMS]
                words = self._align(model, [items[index] for index in chosen])
                for index, found in zip(chosen, words, strict=True):
                    results[index] = found
        return results

    def close(self) -> None:
        """Drop the models and release their memory on the device."""
        with self._lock:
            self._models.clear()
        self._release_memory()

    def _obtain(self, language: str, attempt: _Attempt) -> None:
        """Have a model: from the disk if it is there, otherwise by way of the network."""
        try:
            try:
                model = self._load_one(language)
            except ModelNotHere:
                self._listen(attempt)
                self._fetch(language, self._model_dir, lambda: self._listen(attempt))
                with self._lock:
                    attempt.silent_at = math.inf
                model = self._load_one(language)
        except ModelNotFetched as error:
            with self._lock:
                attempt.error = (
                    f"The alignment model for {language!r} is not on this machine, and {error}."
                )
                attempt.cure = error.cure
                attempt.again_at = time.monotonic() + MODELS_SECONDS
        # Whatever the libraries raise means that there is no model; whoever asks learns why.
        except Exception as error:  # noqa: BLE001
            with self._lock:
                attempt.error = _reason(language, error)
        else:
            self._keep(language, model)
        finally:
            attempt.over.set()

    def _load_one(self, language: str) -> AlignModel:
        with self._disk:
            return self._load(language, self._device, self._model_dir)

    def _listen(self, attempt: _Attempt) -> None:
        """A download begins, or some of it has arrived."""
        with self._lock:
            attempt.silent_at = time.monotonic() + SILENCE_SECONDS

    def _keep(self, language: str, model: AlignModel) -> None:
        """Add a model to those loaded; the least recently used make room."""
        with self._lock:
            del self._attempts[language]
            self._models[language] = model
            self._had.add(language)
            crowded = len(self._models) > self._cache_size
            while len(self._models) > self._cache_size:
                self._models.popitem(last=False)
        if crowded:
            self._release_memory()

    def _release_memory(self) -> None:
        """Release torch's unused memory: CTranslate2 needs it on the card."""
        if self._on_card:
            import torch

            torch.cuda.empty_cache()

    def _await(self, language: str) -> AlignModel:
        """The language's model; one that made room since `ready` said True is awaited.

        Raises:
            AlignmentError: it can't be had.
        """
        deadline = time.monotonic() + self._load_timeout
        while True:
            with self._lock:
                model = self._models.get(language)
                attempt = self._attempts.get(language)
                if model is not None:
                    self._models.move_to_end(language)
                    return model
                had = language in self._had
            left = deadline - time.monotonic()
            if not had or left <= 0 or (attempt is not None and attempt.error is not None):
                raise AlignmentError(self.why_not(language))
            if attempt is None:
                self.request(language)
            else:
                attempt.over.wait(left)

    def _align(self, model: AlignModel, items: Sequence[AlignItem]) -> list[list[Word]]:
        """Align segments of one language."""
        spellings = [spell(item.text, model.dictionary, spaced=model.spaced) for item in items]
        sounding = [
            index
            for index, (spelling, item) in enumerate(zip(spellings, items, strict=True))
            if spelling.tokens and len(item.samples) >= MIN_SAMPLES
        ]
        scores = {
            index: token_scores(emission, spellings[index].tokens, model.blank)
            for index, emission in self._emissions(model, items, sounding)
        }
        spans = dict(zip(scores, align_tokens(list(scores.values())), strict=True))
        words: list[list[Word]] = []
        for index, (spelling, item) in enumerate(zip(spellings, items, strict=True)):
            seconds = len(item.samples) / SAMPLE_RATE
            frames = len(scores[index].blank) if index in scores else 1
            words.append(
                words_at(spelling, spans.get(index), seconds / frames, item.start, item.end)
            )
        return words

    def _emissions(
        self, model: AlignModel, items: Sequence[AlignItem], indices: Sequence[int]
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """The log-probabilities, float32 [frames, classes], of the items with these indices."""
        import torch  # as late as this: the module is imported before any model is wanted

        left = list(indices)
        while left:
            chosen, padded = next_batch(
                [len(items[index].samples) for index in left],
                max_samples=self._max_samples,
                paddable=model.paddable,
                bucketed=self._on_card,
            )
            batch = [left[at] for at in chosen]
            try:
                emissions = model.emissions([items[index].samples for index in batch], padded)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise AlignmentError(
                        f"The alignment model {model.name} has no memory for one segment of "
                        f"{padded / SAMPLE_RATE:.1f} s: use a smaller batch_size, or word_times "
                        "attention."
                    ) from error
                self._max_samples = padded * len(batch) // 2
                self._release_memory()
                continue
            for index, emission in zip(batch, emissions, strict=True):
                if np.isnan(emission).any():
                    raise AlignmentError(f"The alignment model {model.name} gave no numbers.")
                yield index, emission
            done = set(batch)
            left = [index for index in left if index not in done]


def _reason(language: str, error: Exception) -> str:
    """One sentence for a person; the first line of what the library said."""
    if isinstance(error, NoAlignModel):
        return str(error)
    lines = str(error).strip().splitlines()
    said = f": {lines[0][:200]}" if lines else ""
    return (
        f"The alignment model for {language!r} could not be loaded ({type(error).__name__}{said})."
    )
