"""One submitted file in the optimized engine: its state, its future and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from worker.results.transcript import Word
from worker.speech.api import Partial, Recognition, Submission, WordTimes
from worker.speech.engine.state import FileState


@dataclass(slots=True)
class Group:
    """The files of one submission: mostly one, or one for each channel or track.

    Attributes:
        number: another one for each group.
        audio_seconds: of the longest that is decoded to its end.
    """

    number: int
    audio_seconds: float = 0.0

    def longer(self, audio_seconds: float) -> float:
        """One of the files is decoded to its end: seconds that it adds to the longest."""
        before = self.audio_seconds
        self.audio_seconds = max(before, audio_seconds)
        return self.audio_seconds - before


class Owner(Protocol):
    """What a file needs of the engine that it is in; see `flow.Flow`."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The reentrant lock around everything that threads share."""
        ...

    def cancel(self, file: File) -> None:
        """End the file without a result. Takes the lock itself."""
        ...

    def take_words(self, file: File, index: int, words: Sequence[Word]) -> None:
        """Keep a window's words. Called with the lock."""
        ...


class File(Submission):
    """See the module. Everything but the methods is read and written under the engine's lock.

    Attributes:
        number: unique in the engine, smaller for an earlier file; the batcher's name for it.
        state: its windows and what is known of them.
        group: the files that belong together with it.
        alone: whether it shares no batch, except with those.
        start_length: tokens of the start sequence.
        word_times: how its words get their times; `aligned` may become `attention`.
        attention: words from attention, by window, kept while aligning may still turn out to be
            impossible.
        undecided: windows that have their text while it isn't known yet how words get their
            times.
        counted: second attempts and looks that the engine's counters have.
        gone: answered or cancelled; nothing more is done for it.
    """

    def __init__(
        self,
        owner: Owner,
        number: int,
        state: FileState,
        *,
        start_length: int,
        word_times: WordTimes,
        alone: bool = False,
        group: Group | None = None,
    ) -> None:
        self.number = number
        self.state = state
        self.group = group or Group(number)
        self.alone = alone
        self.start_length = start_length
        self.word_times = word_times
        self.attention: dict[int, tuple[Word, ...]] = {}
        self.undecided: list[int] = []
        self.counted = (0, 0)
        self.gone = False
        self._owner = owner
        self._future: Future[Recognition] = Future()
        self._text: Future[None] = Future()

    @property
    def future(self) -> Future[Recognition]:
        """See `api.Submission`."""
        return self._future

    def partial(self) -> Partial:
        """See `api.Submission`."""
        with self._owner.lock:
            word_times = self.word_times if self.word_times != "none" else None
            return self.state.partial().model_copy(update={"word_times": word_times})

    def progress(self) -> tuple[float, float | None]:
        """See `api.Submission`."""
        with self._owner.lock:
            return self.state.progress()

    def on_text_done(self, call: Callable[[], object]) -> None:
        """See `api.Submission`."""
        self._text.add_done_callback(lambda _: call())

    def text_done(self) -> None:
        """Nothing but who speaks is missing; it may be told more than once, with the lock.

        Its text stands, as if it were answered: what was kept to decode some of it again goes.
        """
        self.state.short.clear()
        if not self._text.done():
            self._text.set_result(None)

    def cancel(self) -> None:
        """See `api.Submission`."""
        self._owner.cancel(self)

    def context(self, carried: Sequence[int], *, told: bool) -> tuple[int, ...]:
        """Tokens of the job's own part of a window's prompt; see `OwnPrompt.tokens`."""
        return self.state.own.tokens(len(carried), told=told)

    def prompt_length(self, carried: Sequence[int], *, told: bool) -> int:
        """Tokens before the text: the job's own, the text before the window, start sequence."""
        # Where the job has none, one token says that what follows it came before.
        own = len(self.context(carried, told=told)) or bool(carried)
        return own + len(carried) + self.start_length

    def text_of(self, index: int) -> str:
        """The chosen text of a window."""
        return self.state.windows[index].stands[0].text

    def take_words(self, index: int, words: Sequence[Word]) -> None:
        """A window's words, in seconds of the file: the window is done."""
        self._owner.take_words(self, index, words)
