"""Decoding that survives errors: halve a batch for memory, split it to find a bad window.

Running out of memory in CTranslate2 is an error of one call, and the process can go on; after
other CUDA errors every call fails. So a batch that runs out of memory is halved and the lower size
remembered (`limits`). The call after it may fail with an error that is the old one's echo: it is
made again. One that fails otherwise is split until the window that causes it is alone. If then a
window that is known to work fails as well, the device is broken, and not the window; if it works,
the window gets one more try before its job fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from worker.errors import EngineError, ErrorCode, JobError
from worker.logs import get_logger
from worker.speech.engine.limits import Kind, Limits
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.loaded import Model
from worker.speech.model.memory import Budget, is_out_of_memory, is_stale

log = get_logger(__name__)

Tag = TypeVar("Tag")

OUT_OF_MEMORY_ADVICE = (
    "Not even one window fits the device's memory: use compute_type = int8_float16, "
    "model = turbo or medium, a smaller beam_size, or end other processes on the card."
)


class Decoder:
    """Decodes batches of windows. Thread-safe: every device thread calls it.

    Args:
        model: the loaded model.
        budget: how much a batch may hold by arithmetic.
        beam_size: for temperature 0.
        probe: decodes a window that is known to work; raises RuntimeError if that fails.
        taken: bytes of the budget's that something else has by now; asked after each batch.

    Attributes:
        out_of_memory: how often it did.
    """

    def __init__(
        self,
        model: Model,
        budget: Budget,
        *,
        beam_size: int,
        probe: Callable[[], object],
        taken: Callable[[], int] = lambda: 0,
    ) -> None:
        self.out_of_memory = 0
        self._budget = budget
        self._limits = Limits()
        self._model = model
        self._beam_size = beam_size
        self._probe = probe
        self._ask_taken = taken
        self._taken = 0
        self._lock = threading.Lock()

    def capacity(self, positions: int, prompt: int, temperature: float) -> int:
        """How many windows share a batch now; at least one.

        Args:
            positions: encoder length of each.
            prompt: tokens before the text of each.
            temperature: of sampling; 0 is beam search.
        """
        kind = Kind(positions, prompt, sampled=temperature > 0)
        with self._lock:
            fit = self._budget.capacity(positions, prompt, sampled=kind.sampled, taken=self._taken)
            return self._limits.most(kind, fit)

    def decode(
        self,
        pairs: Sequence[tuple[Tag, Request]],
        *,
        positions: int,
        prompt: int = 0,
        temperature: float,
    ) -> list[tuple[Tag, Decoded | JobError]]:
        """Decodes windows, in as many calls as it takes.

        Args:
            pairs: each window with a tag that says whose it is.
            positions: encoder length that all are padded to.
            prompt: tokens before the text of each.
            temperature: of sampling; 0 is beam search.

        Returns:
            The tags, in order, each with the window's text or what is wrong with it.

        Raises:
            EngineError: the device is broken.
        """
        if not pairs:
            return []
        kind = Kind(positions, prompt, sampled=temperature > 0)
        decoded = self._try([request for _, request in pairs], positions, temperature)
        self._taken = self._ask_taken()
        # Outside of any `except`: an error's traceback would keep the failed batch's memory.
        if not isinstance(decoded, _Failure):
            with self._lock:
                self._limits.passed(kind, len(pairs))
            return [(tag, window) for (tag, _), window in zip(pairs, decoded, strict=True)]
        if decoded.memory:
            self._shrink(kind, len(pairs))
        if len(pairs) == 1:
            return [(pairs[0][0], self._alone(pairs[0][1], decoded, positions, temperature))]
        middle = len(pairs) // 2
        return [
            outcome
            for half in (pairs[:middle], pairs[middle:])
            for outcome in self.decode(
                half, positions=positions, prompt=prompt, temperature=temperature
            )
        ]

    def _try(
        self, requests: list[Request], positions: int, temperature: float
    ) -> list[Decoded] | _Failure:
        """One call; a second if the first failed with what may be an old error."""
        failure = self._call(requests, positions, temperature)
        if isinstance(failure, _Failure) and failure.stale:
            log.warning(
                "batch.repeated",
                message="A batch failed with what may be an earlier error: it is decoded again",
                windows=len(requests),
                error=failure.text,
            )
            return self._call(requests, positions, temperature)
        return failure

    def _call(
        self, requests: list[Request], positions: int, temperature: float
    ) -> list[Decoded] | _Failure:
        try:
            return self._model.decode(
                requests, positions=positions, beam_size=self._beam_size, temperature=temperature
            )
        except (RuntimeError, ValueError, MemoryError) as error:
            return _Failure(
                f"{type(error).__name__}: {error}", is_out_of_memory(error), is_stale(error)
            )

    def _shrink(self, kind: Kind, windows: int) -> None:
        with self._lock:
            self.out_of_memory += 1
            self._limits.failed(kind, windows)
            most = self._limits.most(kind, windows)
        log.warning(
            "batch.out_of_memory",
            message=f"Out of memory with {windows} windows: such batches hold at most {most} "
            "for now",
            windows=windows,
            positions=kind.positions,
            prompt_tokens=kind.prompt,
            sampled=kind.sampled,
        )

    def _alone(
        self, request: Request, failure: _Failure, positions: int, temperature: float
    ) -> Decoded | JobError:
        """What comes of a window that failed when decoded alone.

        Raises:
            EngineError: one that is known to work fails too.
        """
        if failure.memory:
            return JobError(ErrorCode.OUT_OF_MEMORY, OUT_OF_MEMORY_ADVICE)
        try:
            self._probe()
        except RuntimeError as broken:
            raise EngineError(
                f"the device is broken: {broken} (a window failed with {failure.text})"
            ) from broken
        again = self._try([request], positions, temperature)
        if not isinstance(again, _Failure):
            return again[0]
        if again.memory:
            return JobError(ErrorCode.OUT_OF_MEMORY, OUT_OF_MEMORY_ADVICE)
        log.error(
            "window.failed",
            message="A window can't be decoded, while others can",
            error=again.text,
        )
        return JobError(
            ErrorCode.ENGINE_FAILED,
            f"A window of the audio can't be decoded ({again.text}); report it with the file.",
        )


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a call failed, in words; an error itself would hold the batch's memory."""

    text: str
    memory: bool
    stale: bool
