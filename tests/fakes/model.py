"""A model without weights: text that follows from a window alone, and failures on demand.

It takes the place of `Whisper` in `worker.speech.model.loaded.Loaded`, so that tests can show the
real engine memory that runs out, windows that fail, and a device that hangs or breaks.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from worker.jobs.languages import LANGUAGE_CODES
from worker.results.transcript import EngineInfo, Word
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.model.choices import Device
from worker.speech.model.decoding import Decoded, Listed, Request
from worker.speech.model.loaded import Loaded
from worker.speech.model.memory import Budget, WindowCost
from worker.speech.model.weights import Dimensions

PROBE = -1
"""Context of the window that is known to work."""


class FakeModel:
    """See the module. A prompt becomes one token, so that all windows can share a batch.

    Args:
        fits: more windows than these in one call run out of memory; a function of the temperature
            where that matters.
        stale: whether the call after one that ran out of memory fails with the echo of its error,
            as CTranslate2's on a card does.
        poison: the error that a window causes in any batch it is in, or None.
        broken_after: calls after which every call fails.
        language: the detected language of a window, and its probability.
        gate: called at the start of each call; it may wait, or raise.
        words_gate: called before the words of a window are read; it may wait, or raise.
        takes_samples: whether windows come as samples, as they do where a model is on a card.
    """

    mels = 80
    multilingual = True
    languages = frozenset(LANGUAGE_CODES)

    def __init__(
        self,
        *,
        fits: int | Callable[[float], int] | None = None,
        stale: bool = False,
        poison: Callable[[Request], Exception | None] = lambda _: None,
        broken_after: int | None = None,
        language: Callable[[Request], tuple[str, float]] = lambda _: ("en", 0.9),
        gate: Callable[[], object] = lambda: None,
        words_gate: Callable[[Request], object] = lambda _: None,
        takes_samples: bool = False,
    ) -> None:
        self.prepared_mels = 0 if takes_samples else self.mels
        self.encoder_calls = 0
        self.encoded_windows = 0
        self.calls: list[list[Request]] = []
        self.inside = threading.Event()
        self._fits = fits if callable(fits) or fits is None else lambda _: fits
        self._stale = stale
        self._echo = False
        self._poison = poison
        self._broken_after = broken_after
        self._language = language
        self._gate = gate
        self._words_gate = words_gate
        self._prompts: list[str] = []

    def check(self, options: Options) -> None:
        del options

    def context(self, options: Options) -> tuple[int, ...]:
        if options.prompt not in self._prompts:
            self._prompts.append(options.prompt or "")
        return (self._prompts.index(options.prompt or ""),)

    def listed(self, vocabulary: Sequence[str]) -> Listed:
        words = ([zlib.crc32(word.encode()) for word in phrase.split()] for phrase in vocabulary)
        return Listed(begins=0, blank=1, phrases=tuple(map(tuple, words)))

    def start_length(self) -> int:
        return 4

    def decode(
        self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
    ) -> list[Decoded]:
        del positions, beam_size
        self.inside.set()
        self._gate()
        self.encoder_calls += 1
        self.encoded_windows += len(requests)
        self.calls.append(list(requests))
        if self._broken_after is not None and self.encoder_calls > self._broken_after:
            raise RuntimeError("an illegal memory access was encountered")
        if self._echo:
            self._echo = False
            raise RuntimeError(
                "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
            )
        if self._fits is not None and len(requests) > self._fits(temperature):
            self._echo = self._stale
            raise RuntimeError("CUDA failed with error out of memory")
        for request in requests:
            if (error := self._poison(request)) is not None:
                raise error
        return [self._decoded(request) for request in requests]

    def _decoded(self, request: Request) -> Decoded:
        code, probability = self._language(request)
        others = ("la", "eo", "vo")
        ranking = ((code, probability), *((other, (1.0 - probability) / 3) for other in others))
        text = self.text_of(request)
        return Decoded(
            text=text,
            tokens=tuple(zlib.crc32(word.encode()) for word in text.split()),
            avg_logprob=-0.2,
            no_speech=0.0,
            language=request.language or code,
            languages=() if request.language else ranking,
            words=(),
            read_words=partial(self.words_of, request) if request.want_words else None,
        )

    def words_of(self, request: Request) -> list[Word]:
        """The words of the window's text, evenly spread; the text thread asks for them."""
        self._words_gate(request)
        words = self.text_of(request).split()
        step = request.seconds / len(words)
        return [
            Word(word=word, start=index * step, end=(index + 1) * step, score=0.5)
            for index, word in enumerate(words)
        ]

    @staticmethod
    def text_of(request: Request) -> str:
        """Three short words that follow from the window's sound alone.

        Too short for a sentence: one that is too short for its speech would be decoded in halves.
        """
        digest = hashlib.sha256(np.ascontiguousarray(request.sound).tobytes()).hexdigest()
        return f"is {digest[:8]} {request.seconds:.2f}"


def load_fake(
    config: EngineConfig, model: FakeModel, *, windows: int = 8, positions: int | None = None
) -> Loaded:
    """What `loaded.load` gives, around a fake model on a CPU."""
    return Loaded(
        config=config,
        model=model,
        device=Device("cpu", 0, "no processor in particular"),
        dimensions=Dimensions(6, 6, 512, 8, 80, 51_865),
        compute_type="float32",
        budget=Budget(windows, None, positions, WindowCost(per_position=1_000)),
        info=EngineInfo(
            model="fake",
            device="cpu",
            compute_type="float32",
            batch_size=windows,
            beam_size=config.beam_size,
            vad=config.vad,
            transcriber=config.transcriber,
            versions={"fake": "1"},
        ),
        fingerprint="fake",
        probe=Request(
            sound=np.zeros((80, 10), dtype=np.float32),
            seconds=0.1,
            language="en",
            task="transcribe",
            context=(PROBE,),
        ),
    )
