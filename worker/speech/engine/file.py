"""One submission in the optimized engine: its state, its future, its seat in the prepare pool."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import JobError, WorkerError
from worker.results.transcript import Word
from worker.speech.api import Partial, Recognition, Submission, WordTimes
from worker.speech.engine.quality import best
from worker.speech.engine.state import FileState
from worker.speech.prepare.frames import PrepareTask


class Owner(Protocol):
    """What a file needs of the engine that it is in."""

    lock: Any
    """A reentrant lock around everything that threads share."""

    def cancel(self, file: File) -> None:
        """Ends a file that nobody waits for."""
        ...

    def has_room(self, file: File) -> bool:
        """Whether another window of this file may be held. Called with the lock."""
        ...

    def wait_for_room(self, file: File) -> None:
        """Blocks until `has_room`, or the file is gone."""
        ...

    def on_frame(self, file: File, header: dict[str, Any], payload: bytes) -> None:
        """A frame of a child about the file."""
        ...

    def fail(self, file: File, error: WorkerError) -> None:
        """Ends the file with an error."""
        ...


class File(Submission):
    """See the module. Everything but the methods is read and written under the engine's lock.

    Attributes:
        number: its place among all files; the batcher knows it by that.
        state: its windows and what is known of them.
        alone: whether it shares no batch.
        context: tokens of its prompt and hotwords.
        mode: how its words get their times.
        attention: words from attention, by window, for as long as aligning may fall through.
        undecided: windows whose text stands while it is not known how words get their times.
        gone: answered or cancelled; nothing more is done for it.
        pieces: samples, where speech is found in the main process.
    """

    def __init__(self, owner: Owner, number: int, state: FileState, path: Path) -> None:
        self.number = number
        self.state = state
        self.alone = False
        self.context: tuple[int, ...] = ()
        self.mode: WordTimes = "none"
        self.attention: dict[int, tuple[Word, ...]] = {}
        self.undecided: list[int] = []
        self.gone = False
        self.pieces: list[NDArray[np.float32]] = []
        self.task = PrepareTask(str(path))
        self._owner = owner
        self._future: Future[Recognition] = Future()

    @property
    def future(self) -> Future[Recognition]:
        """See `api.Submission`."""
        return self._future

    def partial(self) -> Partial:
        """See `api.Submission`."""
        with self._owner.lock:
            word_times = self.mode if self.mode != "none" else None
            return self.state.partial().model_copy(update={"word_times": word_times})

    def progress(self) -> tuple[float, float | None]:
        """See `api.Submission`."""
        with self._owner.lock:
            return self.state.progress()

    def cancel(self) -> None:
        """See `api.Submission`."""
        self._owner.cancel(self)

    def text_of(self, index: int) -> str:
        """The text that stands of a window."""
        return best([attempt for attempt, _ in self.state.windows[index].attempts]).text

    # The prepare pool's side; see `pool.Client`.

    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return not self.gone

    def has_room(self) -> bool:
        """Whether another window may be taken now."""
        with self._owner.lock:
            return self._owner.has_room(self)

    def wait_for_room(self) -> None:
        """Blocks until it may, or nobody waits any more."""
        self._owner.wait_for_room(self)

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        """A window, progress, samples or the end."""
        self._owner.on_frame(self, header, payload)

    def failed(self, error: JobError) -> None:
        """It can't be prepared."""
        self._owner.fail(self, error)
