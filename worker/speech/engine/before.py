"""What was said before a window, as far as it is known and may be passed on (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.speech.api import WindowText
from worker.speech.engine import carry
from worker.speech.engine.order import Order
from worker.speech.engine.window import Phase, WindowState


@dataclass(frozen=True, slots=True)
class TextBefore:
    """Looks at the windows of one file, which change meanwhile.

    Attributes:
        windows: those without words yet, by index.
        done: those with words, by index.
        order: which stands before which.
        lengths: of prompts; see `carry.Prompting`.
    """

    windows: Mapping[int, WindowState]
    done: Mapping[int, WindowText]
    order: Order
    lengths: Sequence[int]

    def settled(self, index: int) -> bool:
        """Whether a window has a text, final or not."""
        if index in self.done:
            return True
        return index in self.windows and self.windows[index].phase is not Phase.ASKED

    def awaited(self, window: WindowState) -> bool:
        """Whether the window before one has no text yet that it might be prompted with."""
        before = self.order.before(window.index)
        if before < 0 or self.settled(before):
            return False
        other = self.windows.get(before)
        return (
            other is None
            or None in (other.language, window.language)
            or (other.language == window.language)
        )

    def language(self, index: int) -> str | None:
        """The language of the window before one; None while that has no text."""
        other = self.order.before(index)
        done = self.done.get(other)
        if done is not None:
            return done.language
        window = self.windows.get(other)
        return window.stands[1].language if window is not None and window.attempts else None

    def prompt(self, index: int, own_tokens: int) -> tuple[int, ...]:
        """The text that a window may be prompted with; see `carry.prompt`.

        Args:
            index: of the window.
            own_tokens: of the job's own part of the prompt.
        """
        return carry.prompt(self._passed_on(index), max(1, own_tokens), self.lengths)

    def _passed_on(self, index: int) -> Iterator[tuple[int, ...]]:
        """What the windows before one pass on, nearest first, up to one that has no text yet."""
        language = self.language(index)
        while self.language(index) == language and self.settled(self.order.before(index)):
            index = self.order.before(index)
            done = self.done.get(index)
            yield self.windows[index].passes_on if done is None else done.carried
