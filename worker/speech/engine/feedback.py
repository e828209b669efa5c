"""What short windows report back, and which windows may be short because of it.

With `context = "auto"` every window that was decoded with less than 30 s of encoder is counted by
the guard, and some are decoded a second time in full to be compared (`audits`). Where short
windows do harm, windows of that language are decoded in full from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from worker.errors import JobError
from worker.logs import get_logger
from worker.speech.engine.audits import Audits
from worker.speech.engine.batcher import Item
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.file import File
from worker.speech.engine.guard import Guard
from worker.speech.engine.shared import Shared
from worker.speech.engine.window import Rung, WindowState, full_ladder
from worker.speech.model.decoding import Decoded, Request
from worker.speech.windows import FULL_POSITIONS

log = get_logger(__name__)


class Feedback:
    """The rule for short windows, and what it learns. Call with the engine's lock.

    Args:
        context: the setting: "full" (no short windows), "adaptive" (short windows always), or
            "auto" (short windows while the guard allows them).
        guard: counts and decides; asked only with "auto".
        shared: gets the counters and the audits.
    """

    def __init__(
        self, context: Literal["full", "adaptive", "auto"], guard: Guard, shared: Shared
    ) -> None:
        self._context = context
        self._guard = guard
        self._audits = Audits(guard)
        self._shared = shared
        self._lost: list[str] = []

    def __contains__(self, job: int) -> bool:
        """Whether a job number of the batcher's is an audit."""
        return job in self._audits

    def allows(self, language: str | None) -> bool:
        """Whether windows of a language may be decoded with less than 30 s of encoder."""
        if self._context == "auto":
            return self._guard.allows(language)
        return self._context == "adaptive"

    def ladder(self, seconds: float, language: str | None = None) -> Sequence[Rung]:
        """The rungs of a window, as the guard sees them now; see `window.Ladder`."""
        return adaptive_ladder(seconds) if self.allows(language) else full_ladder(seconds)

    def why_not(self, language: str) -> str:
        """The sentence for a result's notes; empty while short windows are allowed."""
        return self._guard.why_not(language)

    def text_chosen(self, file: File, window: WindowState, decoded: Decoded) -> None:
        """A window's text is chosen: if it was tried short, count how that went.

        Args:
            file: the window's.
            window: still with its sound.
            decoded: the decoding that was chosen.
        """
        if window.rungs[0].positions == FULL_POSITIONS:
            return
        language = decoded.language
        failed = len(window.attempts) > 1
        self._shared.stats.short_windows += 1
        self._shared.stats.short_failed += failed
        if self._context != "auto":
            return
        self._learn(language, self._guard.decoded(language, failed=failed))
        if failed or not self._guard.allows(language):
            return
        assert window.sound is not None
        # Only the encoder's length is to differ.
        stands = window.stands[0]
        carried, told = stands.prompted, bool(stands.told)
        number = self._shared.new_number()
        item = self._audits.offer(
            number,
            name=file.state.name,
            index=window.index,
            request=Request(
                sound=window.sound,
                seconds=window.seconds,
                language=language,
                task=file.state.options.task,
                context=file.context(carried, told=told),
                carried=carried,
            ),
            text=decoded.text,
            prompt_length=file.prompt_length(carried, told=told),
            now=self._shared.clock(),
        )
        if item is not None:
            self._shared.batcher.add(item)

    def request(self, number: int) -> Request:
        """What to decode for an audit."""
        return self._audits.request(number)

    def audited(self, item: Item, outcome: Decoded | JobError) -> None:
        """An audit came back from the device."""
        self._shared.stats.audits += 1
        language = self._audits.request(item.job).language
        assert language is not None
        again, sentence = self._audits.outcome(
            item, None if isinstance(outcome, JobError) else outcome, self._shared.clock()
        )
        self._learn(language, sentence)
        if again is not None:
            self._shared.batcher.add(again)

    def take_lost(self) -> list[str]:
        """Languages in which short windows have lost since this was last asked."""
        lost, self._lost = self._lost, []
        return lost

    def _learn(self, language: str, sentence: str) -> None:
        """A language is switched to full context, for the reason in the sentence, if there is."""
        if sentence:
            self._lost.append(language)
            log.warning("context.full", message=sentence)
