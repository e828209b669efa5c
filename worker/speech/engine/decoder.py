"""Decoding that survives errors: halve a batch for memory, split it to find a bad window.

Running out of memory in CTranslate2 is an error of one call, and the process can go on; after
other CUDA errors every call fails. So a batch that runs out of memory is halved and the lower size
remembered. One that fails otherwise is split until the window that causes it is alone. If then a
window that is known to work fails as well, the device is broken, and not the window.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from worker.errors import EngineError, ErrorCode, JobError
from worker.logs import get_logger
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.loaded import Model
from worker.speech.model.memory import Budget, is_out_of_memory

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
        budget: how much a batch may hold, to begin with.
        beam_size: for temperature 0.
        probe: decodes a window that is known to work; raises RuntimeError if that fails.

    Attributes:
        budget: what a batch may hold now; shrinks when memory runs out.
        out_of_memory: how often it did.
    """

    def __init__(
        self, model: Model, budget: Budget, *, beam_size: int, probe: Callable[[], object]
    ) -> None:
        self.budget = budget
        self.out_of_memory = 0
        self._model = model
        self._beam_size = beam_size
        self._probe = probe
        self._lock = threading.Lock()

    def decode(
        self, pairs: Sequence[tuple[Tag, Request]], *, positions: int, temperature: float
    ) -> list[tuple[Tag, Decoded | JobError]]:
        """Decodes windows, in as many calls as it takes.

        Args:
            pairs: each window with a tag that says whose it is.
            positions: encoder length that all are padded to.
            temperature: of sampling; 0 is beam search.

        Returns:
            The tags, in order, each with the window's text or what is wrong with it.

        Raises:
            EngineError: the device is broken.
        """
        if not pairs:
            return []
        try:
            decoded = self._model.decode(
                [request for _, request in pairs],
                positions=positions,
                beam_size=self._beam_size,
                temperature=temperature,
            )
        except (RuntimeError, ValueError, MemoryError) as error:
            memory = is_out_of_memory(error)
            if memory:
                self._shrink(pairs, positions)
            if len(pairs) == 1:
                return [(pairs[0][0], self._verdict(error, memory=memory))]
            middle = len(pairs) // 2
            return [
                outcome
                for half in (pairs[:middle], pairs[middle:])
                for outcome in self.decode(half, positions=positions, temperature=temperature)
            ]
        return [(tag, window) for (tag, _), window in zip(pairs, decoded, strict=True)]

    def _shrink(self, pairs: Sequence[tuple[Tag, Request]], positions: int) -> None:
        windows = len(pairs)
        prompt = len(pairs[0][1].context) + len(pairs[0][1].carried)
        with self._lock:
            self.out_of_memory += 1
            self.budget = self.budget.halved(windows, positions, prompt)
        log.warning(
            "batch.out_of_memory",
            message=f"Out of memory with {windows} windows: batches hold at most "
            f"{self.budget.capacity(positions, prompt)} from now on",
            windows=windows,
            positions=positions,
        )

    def _verdict(self, error: Exception, *, memory: bool) -> JobError:
        """The error of a job whose window failed when decoded alone."""
        if memory:
            return JobError(ErrorCode.OUT_OF_MEMORY, OUT_OF_MEMORY_ADVICE)
        try:
            self._probe()
        except RuntimeError as broken:
            raise EngineError(f"the device is broken: {broken}") from error
        log.error(
            "window.failed",
            message="A window can't be decoded, while others can",
            error=repr(error),
        )
        return JobError(
            ErrorCode.ENGINE_FAILED,
            f"A window of the audio can't be decoded ({type(error).__name__}: {error}); "
            "report it with the file.",
        )
