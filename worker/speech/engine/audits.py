"""Windows that are decoded a second time, in full, for the guard's sake (pure).

An audit belongs to no job: the window's text stands, and its job may be long gone when the
audit's turn comes. It waits in the batcher like any window, as a job of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from worker.speech.api import Task
from worker.speech.engine.batcher import Item, Key
from worker.speech.engine.guard import Audit, Guard, words
from worker.speech.model.whisper import Decoded, Request
from worker.speech.windows import FULL_POSITIONS


@dataclass(slots=True)
class _Pending:
    language: str
    request: Request
    short: Sequence[str]
    again: bool
    full: Sequence[str] | None = None


class Audits:
    """The audits that wait, and what they find out. Call under the engine's lock."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.done = 0
        """Audits decoded so far."""
        self._pending: dict[int, _Pending] = {}

    def __contains__(self, number: int) -> bool:
        """Whether a job number is an audit's."""
        return number in self._pending

    def offer(
        self,
        number: int,
        *,
        language: str,
        name: str,
        index: int,
        features: NDArray[np.float32],
        seconds: float,
        task: Task,
        context: tuple[int, ...],
        text: str,
        prompt_length: int,
        now: float,
    ) -> Item | None:
        """Draws whether to audit a window that was decoded short.

        Args:
            number: the job number that the audit gets if it is drawn.
            language: of the window's file.
            name: of the file; with `index` it decides the draw.
            index: of the window.
            features: float32 [mels, frames].
            seconds: of speech.
            task: transcribe or translate.
            context: tokens before the start token.
            text: what the short window gave.
            prompt_length: for the batcher.
            now: monotonic seconds.
        """
        kind = self.guard.audit(language, name, index)
        if kind is Audit.NONE:
            return None
        request = Request(
            features=features, seconds=seconds, language=language, task=task, context=context
        )
        self._pending[number] = _Pending(language, request, words(text), again=kind is Audit.TWICE)
        key = Key(prompt_length, 0.0, FULL_POSITIONS)
        return Item(number, 0, key, seconds, now, awaited=False)

    def request(self, number: int) -> Request:
        """What to decode."""
        return self._pending[number].request

    def outcome(self, item: Item, decoded: Decoded | None, now: float) -> tuple[Item | None, str]:
        """An audit was decoded (None: it failed, and decides nothing).

        Returns:
            The audit again, if it is to be repeated; and a sentence, if the guard has had enough.
        """
        pending = self._pending[item.job]
        if decoded is None:
            del self._pending[item.job]
            return None, ""
        self.done += 1
        found = words(decoded.text)
        if pending.full is not None:
            self.guard.repeated(pending.language, pending.full, found)
            del self._pending[item.job]
            return None, ""
        sentence = self.guard.compared(pending.language, pending.short, found)
        if pending.again:
            pending.full = found
            return replace(item, ready_at=now), sentence
        del self._pending[item.job]
        return None, sentence
