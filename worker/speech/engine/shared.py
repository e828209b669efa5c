"""What the engine's threads share, behind one lock.

Pool threads deliver windows, device threads decode them, one thread reads their texts, the align
thread times their words. They meet here and nowhere else. Whoever reads or changes something here,
or in a `File`, holds the lock of `changed`; the lock is only ever held for bookkeeping, never while
something is decoded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import JobError
from worker.speech.api import EngineStats
from worker.speech.engine.batcher import Batcher, Item
from worker.speech.engine.file import File
from worker.speech.model.decoding import Decoded

Outcome = tuple[Item, Decoded | JobError]
"""A window that came back from the device: its text, or what is wrong with it."""


class Surveying(Protocol):
    """A submission that is being surveyed: its files aren't known yet; see `channels`."""

    def cancel(self) -> None:
        """End it without a result."""
        ...

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        ...


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """What came of a batch.

    Attributes:
        items: all its windows; some may not have been decoded, because their file was gone.
        outcomes: of those that were.
        share: seconds of the device's for each window.
    """

    items: Sequence[Item]
    outcomes: Sequence[Outcome]
    share: float


@dataclass(slots=True)
class Shared:
    """The state of a running engine. All methods expect the lock to be held.

    Attributes:
        batcher: the windows that are ready to be decoded.
        clock: seconds that only grow; replaced where time is simulated.
        changed: notified whenever something here changes; holds the (reentrant) lock.
        files: the files that are not answered yet, by number.
        surveys: submissions that have no files yet, because it isn't known how many.
        stats: counters; `Engine.stats` adds those that the model keeps.
        flying: the windows on the device at this moment, and those whose texts are not read yet.
        unread: the batches that came back and whose texts are not read yet, oldest first.
        whole_file: whole-file stages that run at this moment (see `whole_file`).
        last_step: monotonic seconds at which the device last finished something, or the text
            thread did, or at which there was nothing to do.
        stopping: the engine is being stopped or is broken: every thread returns.
        failure: what broke the engine, if anything did.
    """

    batcher: Batcher
    clock: Callable[[], float] = time.monotonic
    changed: threading.Condition = field(default_factory=threading.Condition)
    files: dict[int, File] = field(default_factory=dict)
    surveys: set[Surveying] = field(default_factory=set)
    stats: EngineStats = field(default_factory=EngineStats)
    flying: list[Item] = field(default_factory=list)
    unread: deque[DecodedBatch] = field(default_factory=deque)
    whole_file: int = 0
    last_step: float = field(init=False)
    stopping: bool = False
    failure: BaseException | None = None
    _next_number: int = 0

    def __post_init__(self) -> None:
        self.step()

    def new_number(self) -> int:
        """The next number of the batcher's: of a file, or of an audit (see `audits`)."""
        self._next_number += 1
        return self._next_number - 1

    def step(self) -> None:
        """Progress was made, or is expected from now on."""
        self.last_step = self.clock()

    def empty(self) -> bool:
        """Whether nothing is submitted that is not answered yet."""
        return not self.files and not self.surveys

    def device_idle(self) -> bool:
        """Whether nothing is on the device and nothing waits for it."""
        return not self.flying and not len(self.batcher)

    def last_progress(self) -> float | None:
        """Monotonic seconds of the last step; None while there is nothing to be done.

        A whole-file stage reports nothing before its end, and may take minutes for a file of
        hours: while one runs and the device has nothing to do, that counts as progress.
        """
        if self.empty():
            return None
        if self.whole_file and self.device_idle():
            return self.clock()
        return self.last_step
