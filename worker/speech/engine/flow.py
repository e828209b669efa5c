"""Where a window goes next: to the device, to its words, into its file's result.

`state.FileState` decides what follows from an event; this module does it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray

from worker.errors import EngineError, JobError, WorkerError
from worker.logs import get_logger
from worker.results.transcript import Word
from worker.speech.api import Recognition
from worker.speech.engine.batcher import Item, Key
from worker.speech.engine.feedback import Feedback
from worker.speech.engine.file import File, Owner
from worker.speech.engine.quality import is_whole
from worker.speech.engine.shared import Shared
from worker.speech.engine.texts import Step
from worker.speech.engine.word_router import WordRouter
from worker.speech.model.decoding import Decoded, Request
from worker.speech.prepare.sound import Sound
from worker.speech.windows import FULL_POSITIONS, Span

log = get_logger(__name__)


class Flow(Owner):
    """Moves the windows of all files from one stage to the next.

    Args:
        shared: the state of the engine.
        feedback: learns how short windows fare.
        router: finds words.
    """

    def __init__(self, shared: Shared, feedback: Feedback, router: WordRouter) -> None:
        self._shared = shared
        self._feedback = feedback
        self._router = router

    @property
    def lock(self) -> threading.Condition:
        """See `file.Owner`."""
        return self._shared.changed

    # Windows. Call with the lock, `add_window` apart.

    def add_window(
        self,
        file: File,
        index: int,
        spans: Sequence[Span],
        sound: Sound | None,
        samples: NDArray[np.int16] | None,
    ) -> None:
        """Take a prepared window; see `FileState.add_window`. Takes the lock itself."""
        with self.lock:
            if not file.gone:
                self.follow(file, file.state.add_window(index, spans, sound, samples))

    def follow(self, file: File, step: Step) -> None:
        """Do what follows from an event in a file."""
        self._count(file)
        for index in step.ready:
            self._enqueue(file, index)
        for index, decoded in step.texts:
            window = file.state.windows[index]
            self._shared.batcher.remove(file.number, index)
            self._feedback.text_chosen(file, window, decoded)
            if not window.is_short:
                window.sound = None
            self._router.text_chosen(file, index, decoded)
        self._repair()

    def request(self, item: Item) -> Request | None:
        """Begin a window of a batch: what to decode for it; None if its file is gone."""
        if item.job in self._feedback:
            return self._feedback.request(item.job)
        file = self._shared.files.get(item.job)
        if file is None:
            return None
        window = file.state.windows[item.index]
        assert window.sound is not None
        rung = file.state.begin(item.index)
        attention = self._router.wants_attention(file)
        return Request(
            sound=window.sound,
            seconds=window.seconds,
            language=window.language,
            languages=file.state.options.language_options,
            task=file.state.options.task,
            context=file.context(rung.prompt, told=rung.told),
            carried=rung.prompt,
            # The check of a short window needs to know when its last word ends.
            want_words=item.key.positions < FULL_POSITIONS or attention,
            unless=None if attention else partial(is_whole, window.seconds),
        )

    def decoded(self, item: Item, outcome: Decoded | JobError, seconds: float) -> None:
        """A window came back from the device.

        Args:
            item: the window.
            outcome: its text, or what is wrong with it.
            seconds: its share of the batch's time on the device.
        """
        if item.job in self._feedback:
            self._feedback.audited(item, outcome)
            self._repair()
            return
        file = self._shared.files.get(item.job)
        if file is None:
            return
        state = file.state
        state.spend("transcribe", seconds)
        if isinstance(outcome, JobError):
            step = state.failed(item.index)
            if step is None:
                self.fail(file, outcome)
            else:
                self.follow(file, step)
            return
        self.follow(file, state.decoded(item.index, outcome))
        self._shared.stats.prompted_windows += item.prompted

    def drop_looks(self) -> None:
        """While other windows wait for their first text, no file waits for looks alone.

        Whoever needs the text before a window at any price asks for `carry_context` = on.
        """
        if not self._shared.batcher.busy:
            return
        for file in list(self._shared.files.values()):
            if file.state.options.carry_context == "auto" and file.state.only_looks:
                self.follow(file, file.state.drop_looks())
                self.finish_if_done(file)

    def take_words(self, file: File, index: int, words: Sequence[Word]) -> None:
        """See `file.Owner`."""
        file.attention.pop(index, None)
        self.follow(file, file.state.words(index, words))
        self.finish_if_done(file)
        self._shared.changed.notify_all()

    # The ends of files.

    def finish_if_done(self, file: File) -> None:
        """Answer a file that has everything. Call with the lock."""
        if file.gone:
            return
        if not file.state.finished:
            if file.state.text_done:
                file.text_done()
            return
        self._forget(file)
        with suppress(InvalidStateError):  # a caller may have cancelled the future itself
            if file.state.failure is not None:
                file.future.set_exception(file.state.failure)
                return
            try:
                recognition = self._recognition(file)
            except Exception as error:  # noqa: BLE001  # nobody else would answer the file
                file.future.set_exception(error)
            else:
                file.future.set_result(recognition)

    def fail(self, file: File, error: WorkerError) -> None:
        """End a file with an error. Takes the lock itself."""
        with self.lock:
            if not file.gone:
                self._forget(file)
                with suppress(InvalidStateError):
                    file.future.set_exception(error)

    def cancel(self, file: File) -> None:
        """See `file.Owner`."""
        with self.lock:
            self._forget(file)
            file.future.cancel()

    def stop(self) -> None:
        """Cancel every file and let every thread return. Takes the lock itself."""
        with self.lock:
            self._shared.stopping = True
            for file in list(self._shared.files.values()):
                self.cancel(file)
            for survey in list(self._shared.surveys):
                survey.cancel()
            self._shared.changed.notify_all()

    def broken(self, error: BaseException) -> None:
        """One of the engine's own threads died: every file fails with it. Takes the lock itself."""
        with self.lock:
            if self._shared.stopping:
                return
            self._shared.failure = error
            log.error(
                "engine.broken",
                message=f"The engine has stopped: {error}",
                error=repr(error),
            )
            for file in list(self._shared.files.values()):
                self.fail(file, EngineError(f"the engine has stopped: {error}"))
            for survey in list(self._shared.surveys):
                survey.fail(EngineError(f"the engine has stopped: {error}"))
            self._shared.stopping = True
            self._shared.changed.notify_all()

    def _recognition(self, file: File) -> Recognition:
        language = file.state.language
        if language is not None and (why := self._feedback.why_not(language.code)):
            file.state.notes.append(why)
        return file.state.recognition(file.word_times if file.word_times != "none" else None)

    def _repair(self) -> None:
        """Where short windows lost, those of files that are not answered are decoded in full."""
        for language in self._feedback.take_lost():
            for file in list(self._shared.files.values()):
                self.follow(file, file.state.distrust_short(language))

    def _count(self, file: File) -> None:
        """Adds what a file has counted since to the engine's counters."""
        attempts, looks = file.state.second_attempts, file.state.looks
        self._shared.stats.second_attempts += attempts - file.counted[0]
        self._shared.stats.looks += looks - file.counted[1]
        file.counted = (attempts, looks)

    def _enqueue(self, file: File, index: int) -> None:
        window = file.state.windows[index]
        rung = window.rung
        before = self._shared.batcher.remove(file.number, index)
        self._shared.batcher.add(
            Item(
                job=file.number,
                index=index,
                key=Key(
                    prompt_length=file.prompt_length(rung.prompt, told=rung.told),
                    temperature=rung.temperature,
                    positions=rung.positions,
                    alone=file.group.number if file.alone else None,
                ),
                seconds=window.seconds,
                ready_at=self._shared.clock() if before is None else before.ready_at,
                turn=file.state.turn(index),
                prompted=bool(rung.prompt),
            )
        )

    def _forget(self, file: File) -> None:
        file.gone = True
        self._shared.files.pop(file.number, None)
        self._shared.batcher.drop(file.number)
        self._router.forget(file)
        self._shared.changed.notify_all()
