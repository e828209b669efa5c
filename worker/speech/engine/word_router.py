"""How words get their times: from an alignment model, from attention, or not at all.

A language's alignment model may be loaded, loading, or not available. While that is not known,
words are found by attention as well (the encoder's output is there anyway), and windows that have
their text wait. Then all windows of the file go one way. One thread aligns, for all files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.logs import get_logger
from worker.results.speech_times import shared_out
from worker.results.spelling import one_line
from worker.results.transcript import Word
from worker.speech.api import WordTimes
from worker.speech.engine.file import File
from worker.speech.engine.segments import to_file_time
from worker.speech.engine.shared import Shared
from worker.speech.engine.state import FileState
from worker.speech.model.decoding import Decoded
from worker.speech.prepare.sound import to_float

if TYPE_CHECKING:
    from worker.speech.words.align import Aligner, AlignItem

log = get_logger(__name__)

LOOK_AGAIN_SECONDS = 0.1
"""How often the align thread asks whether a model that is loading is ready."""


class WordRouter:
    """Sends windows that have their text to where their words get times.

    Call all methods but `run` and `close` with the engine's lock.

    Args:
        setting: what the operator chose.
        aligner: the alignment models; None unless the setting is `aligned`.
        shared: the state of the engine.
    """

    def __init__(self, setting: WordTimes, aligner: Aligner | None, shared: Shared) -> None:
        self._setting = setting
        self._aligner = aligner
        self._shared = shared
        self._queue: list[tuple[File, int, str]] = []
        self._warned: set[str] = set()

    def close(self) -> None:
        """Release the models."""
        if self._aligner is not None:
            self._aligner.close()

    def mode_for(self, state: FileState) -> WordTimes:
        """How the words of a new file get their times, as far as that is known yet.

        Starts loading the alignment model of the file's language. If it is known that there is
        none, the file's notes get a sentence about that.
        """
        options, resume = state.options, state.resume
        if not options.words or self._setting == "none":
            return "none"
        # An alignment model hears one language, the one spoken; a translation is in another.
        if self._setting == "attention" or options.task == "translate" or options.multilingual:
            return "attention"
        if resume is not None and resume.windows and resume.word_times == "attention":
            return "attention"  # one way for all words of a result
        language = state.language
        if language is not None and self._aligner is not None:
            self._aligner.request(language.code)
            if self._aligner.ready(language.code) is False:
                self._explain(state, self._aligner, language.code)
                return "attention"
        return "aligned"

    def wants_attention(self, file: File) -> bool:
        """Whether words from attention are needed, or may be: a model that loads may fail to."""
        if file.word_times != "aligned":
            return file.word_times == "attention"
        language = file.state.language
        ready = (
            language is not None
            and self._aligner is not None
            and self._aligner.ready(language.code)
        )
        return not ready

    def text_chosen(self, file: File, index: int, decoded: Decoded) -> None:
        """A window has its text: find its words, or give it those from attention."""
        words = to_file_time(decoded.words, file.state.windows[index].spans)
        if file.word_times == "none" or not decoded.tokens:
            file.take_words(index, ())
        elif file.word_times == "attention":
            file.take_words(index, words)
        else:
            file.attention[index] = words
            file.undecided.append(index)
            self._route(file)

    def forget(self, file: File) -> None:
        """Drop what waits of a file that is answered or cancelled."""
        self._queue = [entry for entry in self._queue if entry[0] is not file]

    def run(self) -> None:
        """What the align thread does, until the engine stops. Takes the lock itself."""
        shared = self._shared
        while True:
            with shared.changed:
                while not shared.stopping and not self._queue:
                    present = list(shared.files.values())
                    for file in present:
                        self._route(file)
                    if not self._queue:
                        loading = any(file.undecided for file in present)
                        shared.changed.wait(LOOK_AGAIN_SECONDS if loading else None)
                if shared.stopping:
                    return
                work, self._queue = self._queue, []
            self._align(work)

    def _route(self, file: File) -> None:
        """Sends a file's windows to the aligner, or to attention, once it is known which."""
        language = file.state.language
        if language is None or self._aligner is None or not file.undecided:
            return
        self._aligner.request(language.code)
        ready = self._aligner.ready(language.code)
        if ready is None:
            return
        waiting, file.undecided = file.undecided, []
        if ready:
            self._queue += [(file, index, language.code) for index in waiting]
            self._shared.changed.notify_all()
            return
        file.word_times = "attention"
        self._explain(file.state, self._aligner, language.code)
        for index in waiting:
            # A window that was decoded while the model was there has no words from attention.
            file.take_words(index, file.attention.pop(index, ()) or _spread(file, index))

    def _explain(self, state: FileState, aligner: Aligner, language: str) -> None:
        """Notes that attention replaces the aligner; logged once for each language.

        What to do about it is for whoever runs this machine, not for who reads the result.
        """
        why = aligner.why_not(language)
        state.notes.append(f"Word times come from attention: {why}")
        if language not in self._warned:
            self._warned.add(language)
            log.warning(
                "words.attention",
                message=f"Word times in {language!r} come from attention: {why} "
                f"{aligner.cure(language)}".rstrip(),
                language=language,
            )

    def _align(self, work: Sequence[tuple[File, int, str]]) -> None:
        aligner = self._aligner
        assert aligner is not None, "only an aligner's windows are queued"
        with self._shared.changed:
            work = [entry for entry in work if not entry[0].gone]
            items = [_item(file, index, language) for file, index, language in work]
        if not items:
            return
        began = time.monotonic()
        aligned = _words_of(aligner, items)
        share = (time.monotonic() - began) / len(items)
        with self._shared.changed:
            self._shared.step()
            for (file, index, _), words in zip(work, aligned, strict=True):
                if file.gone:
                    continue
                file.state.spend("align", share)
                spans = file.state.windows[index].spans
                found = _spread(file, index) if words is None else to_file_time(words, spans)
                file.take_words(index, found)


def _words_of(aligner: Aligner, items: Sequence[AlignItem]) -> list[list[Word] | None]:
    """The words of windows; None of one that can't be aligned."""
    from worker.speech.words.align import AlignmentError

    try:
        return [*aligner.align(items)]
    except AlignmentError as error:
        if len(items) > 1:
            return [words for item in items for words in _words_of(aligner, [item])]
        log.warning(
            "words.spread",
            message="A window can't be aligned: its words are spread over its speech",
            error=str(error),
        )
        return [None]


def _item(file: File, index: int, language: str) -> AlignItem:
    from worker.speech.words.align import AlignItem

    window = file.state.windows[index]
    assert window.samples is not None
    return AlignItem(
        samples=to_float(window.samples),
        text=file.text_of(index),
        language=language,
        start=0.0,
        end=window.seconds,
    )


def _spread(file: File, index: int) -> tuple[Word, ...]:
    """A window's words, in the file's time, shared out over its speech."""
    text = one_line(file.text_of(index))
    starts, ends = shared_out(text, file.state.windows[index].speech)
    return tuple(
        Word(
            word=found.group(),
            start=round(starts[found.start()], 3),
            end=round(ends[found.end() - 1], 3),
        )
        for found in re.finditer(r"[^ ]+", text)
    )
