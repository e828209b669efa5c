"""Windows that are decoded a second time, in full, so that the guard can compare (pure).

An audit belongs to no job: the text of the window is already chosen, and its job may be answered
long before the audit is decoded. It waits in the batcher like any window, under a job number of
its own, and is decoded when no job waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worker.speech.engine.batcher import Item, Key, Turn
from worker.speech.engine.guard import Audit, Guard, words
from worker.speech.model.decoding import Decoded, Request
from worker.speech.windows import FULL_POSITIONS

MOST = 64
"""Audits that wait at most. Each holds its sound, up to 1.5 MB; a busy worker offers more than
it gets to, and those that are dropped are as good a sample as those that are kept."""


@dataclass(slots=True)
class _Pending:
    """An audit that waits.

    Attributes:
        language: that its result counts for.
        request: what to decode.
        short: the words of the short window.
        again: whether to decode it twice, to measure the noise.
        full: the words of the first decoding in full, once that is done.
    """

    language: str
    request: Request
    short: Sequence[str]
    again: bool
    full: Sequence[str] | None = None


class Audits:
    """The audits that wait. Call under the engine's lock.

    Args:
        guard: decides which windows are audited, and gets the results.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._pending: dict[int, _Pending] = {}

    def __contains__(self, number: int) -> bool:
        """Whether a job number is an audit's."""
        return number in self._pending

    def offer(
        self,
        number: int,
        *,
        name: str,
        index: int,
        request: Request,
        text: str,
        prompt_length: int,
        now: float,
    ) -> Item | None:
        """Asks the guard whether to audit a window that was decoded short.

        Args:
            number: the job number that the audit gets.
            name: of the file; with `index` it decides whether the window is drawn.
            index: of the window.
            request: the window and its language.
            text: what the short window gave.
            prompt_length: for the batcher.
            now: monotonic seconds.

        Returns:
            What to give the batcher, or None if the window is not to be audited.
        """
        language = request.language
        assert language is not None, "only windows whose language is known are counted"
        kind = self._guard.audit(language, name, index)
        if kind is Audit.NONE or len(self._pending) >= MOST:
            return None
        self._pending[number] = _Pending(language, request, words(text), again=kind is Audit.TWICE)
        key = Key(prompt_length, 0.0, FULL_POSITIONS)
        return Item(number, 0, key, request.seconds, now, Turn.AUDIT)

    def request(self, number: int) -> Request:
        """What to decode."""
        return self._pending[number].request

    def outcome(self, item: Item, decoded: Decoded | None, now: float) -> tuple[Item | None, str]:
        """An audit was decoded (None: that failed, and nothing is compared).

        Returns:
            The audit again, if it is to be repeated; and a sentence, if the guard switches the
            language to full context because of it.
        """
        pending = self._pending[item.job]
        if decoded is None:
            del self._pending[item.job]
            return None, ""
        found = words(decoded.text)
        if pending.full is not None:
            self._guard.repeated(pending.language, pending.full, found)
            del self._pending[item.job]
            return None, ""
        sentence = self._guard.compared(pending.language, pending.short, found)
        if pending.again:
            pending.full = found
            return replace(item, ready_at=now), sentence
        del self._pending[item.job]
        return None, sentence
