"""How words get their times: an alignment model, attention, or no times at all.

A language's alignment model may be there, on its way, or not to be had. While that is not known,
words are found by attention as well (the encoder's output is there anyway), and a window whose
text stands waits; then all windows of the file go one way. One thread aligns, for all files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from worker.logs import get_logger
from worker.results.transcript import Word
from worker.speech.api import WordTimes
from worker.speech.engine.file import File
from worker.speech.engine.state import to_file_time
from worker.speech.model.whisper import Decoded
from worker.speech.words.fit import spread_words

if TYPE_CHECKING:
    from worker.speech.words.align import Aligner, AlignItem

log = get_logger(__name__)

_LOOK_AGAIN_SECONDS = 0.1
"""How often a model that is on its way is asked for."""


class Wording:
    """Routes windows to their words. All methods but `run` and `close` want the engine's lock.

    Args:
        setting: what the operator chose.
        changed: the engine's condition; its lock is held by whoever calls.
        found: takes a window's words, in the file's time.
        progressed: told when some segments were aligned.
    """

    def __init__(
        self,
        setting: WordTimes,
        changed: threading.Condition,
        *,
        found: Callable[[File, int, Sequence[Word]], None],
        progressed: Callable[[], None],
    ) -> None:
        self._setting = setting
        self._changed = changed
        self._found = found
        self._progressed = progressed
        self._aligner: Aligner | None = None
        self._queue: list[tuple[File, int, str]] = []
        self._told: set[str] = set()

    def start(self, device: str) -> None:
        """Makes the aligner, if models are to be used."""
        if self._setting == "aligned":
            from worker.speech.words.align import Aligner

            self._aligner = Aligner(device)

    def close(self) -> None:
        """Lets go of the models."""
        if self._aligner is not None:
            self._aligner.close()

    def mode_for(self, file: File) -> WordTimes:
        """How a new file's words are to get their times, as far as it can be told."""
        options, resume = file.state.options, file.state.resume
        if not options.words or self._setting == "none":
            return "none"
        # An alignment model hears the language spoken; a translation is in another.
        if self._setting == "attention" or options.task == "translate":
            return "attention"
        if resume is not None and resume.windows and resume.word_times == "attention":
            return "attention"  # one way for all words of a result
        language = file.state.language
        if language is not None and self._aligner is not None:
            self._aligner.request(language.code)
            if self._aligner.ready(language.code) is False:
                self._settle_for_attention(file, language.code)
                return "attention"
        return "aligned"

    def wants_attention(self, file: File) -> bool:
        """Whether attention's words are wanted: also while the aligner may still be refused."""
        if file.mode != "aligned":
            return file.mode == "attention"
        language = file.state.language
        ready = (
            language is not None
            and self._aligner is not None
            and self._aligner.ready(language.code)
        )
        return not ready

    def text_stands(self, file: File, index: int, decoded: Decoded) -> None:
        """A window's text is decided: find its words, one way or another."""
        words = to_file_time(decoded.words, file.state.windows[index].spans)
        if file.mode == "none" or not decoded.tokens:
            self._found(file, index, ())
        elif file.mode == "attention":
            self._found(file, index, words)
        else:
            file.attention[index] = words
            file.undecided.append(index)
            self._route(file)

    def forget(self, file: File) -> None:
        """Nothing more is to be done for a file."""
        self._queue = [entry for entry in self._queue if entry[0] is not file]

    def run(self, files: Callable[[], Iterable[File]], stopping: Callable[[], bool]) -> None:
        """The align thread: aligns what waits until `stopping`. Takes the lock itself."""
        while True:
            with self._changed:
                while not stopping() and not self._queue:
                    present = list(files())
                    for file in present:
                        self._route(file)
                    if not self._queue:
                        loading = any(file.undecided for file in present)
                        self._changed.wait(_LOOK_AGAIN_SECONDS if loading else None)
                if stopping():
                    return
                work, self._queue = self._queue, []
            self._align(work)

    def _route(self, file: File) -> None:
        """Sends windows to the aligner, or settles for attention, once that is known."""
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
            self._changed.notify_all()
            return
        self._settle_for_attention(file, language.code)
        for index in waiting:
            # A window that was decoded while the model was there has no words from attention.
            self._found(file, index, file.attention.pop(index, ()) or _spread(file, index))

    def _settle_for_attention(self, file: File, language: str) -> None:
        assert self._aligner is not None
        file.mode = "attention"
        why = self._aligner.why_not(language)
        file.state.notes.append(f"Word times come from attention: {why}")
        if language not in self._told:
            self._told.add(language)
            log.warning(
                "words.attention",
                message=f"Word times in {language!r} come from attention: {why}",
                language=language,
            )

    def _align(self, work: Sequence[tuple[File, int, str]]) -> None:
        with self._changed:
            work = [entry for entry in work if not entry[0].gone]
            items = [_item(file, index, language) for file, index, language in work]
        if not items:
            return
        began = time.monotonic()
        aligned = self._words_of(items)
        share = (time.monotonic() - began) / len(items)
        with self._changed:
            self._progressed()
            for (file, index, _), words in zip(work, aligned, strict=True):
                if not file.gone:
                    file.state.spend("align", share)
                    spans = file.state.windows[index].spans
                    self._found(file, index, to_file_time(words, spans))

    def _words_of(self, items: Sequence[AlignItem]) -> list[list[Word]]:
        """The aligner's words; where it fails, the segment at fault gets its text's spread."""
        from worker.speech.words.align import AlignmentError

        assert self._aligner is not None
        try:
            return self._aligner.align(items)
        except AlignmentError as error:
            if len(items) > 1:
                return [words for item in items for words in self._words_of([item])]
            log.warning(
                "words.spread",
                message="A segment can't be aligned: its words are spread over it",
                error=str(error),
            )
            return [spread_words(items[0].text.split(), items[0].start, items[0].end)]


def _item(file: File, index: int, language: str) -> AlignItem:
    from worker.speech.words.align import AlignItem

    window = file.state.windows[index]
    assert window.samples is not None
    return AlignItem(
        samples=window.samples,
        text=file.text_of(index),
        language=language,
        start=0.0,
        end=window.seconds,
    )


def _spread(file: File, index: int) -> tuple[Word, ...]:
    """A window's words over its length, in proportion to their characters."""
    window = file.state.windows[index]
    return to_file_time(
        spread_words(file.text_of(index).split(), 0.0, window.seconds), window.spans
    )
