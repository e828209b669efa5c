"""One file's bookkeeping: which windows wait, which have a text, when the file is done (pure).

No threads, no model: the engine calls this under its lock and does what it says. A window
goes up a ladder of rungs (encoder length, temperature) until its text passes the checks of
`quality`. A file whose language is not given holds its later windows back until the first ones
have decided the language.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.results.transcript import Language, Segment, Word
from worker.speech.api import Options, Partial, Recognition, WindowText
from worker.speech.engine.language import LanguageVote
from worker.speech.engine.quality import TEMPERATURES, Attempt, best, doubts, is_nothing
from worker.speech.model.decoding import Decoded
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span, TimeMap
from worker.speech.words.fit import fit_words

SHORT_SECONDS, SHORT_SHARE = 1.0, 0.1
"""Seconds, and share of the length stated in the header: a note says so where more audio than
both is missing."""


@dataclass(frozen=True, slots=True)
class Rung:
    """How one attempt decodes: encoder positions and temperature."""

    positions: int
    temperature: float


class Ladder(Protocol):
    """Chooses the rungs of a window, in the order they are tried."""

    def __call__(self, seconds: float, language: str | None = None) -> Sequence[Rung]:
        """The rungs for some seconds of speech in a language (None: not known yet)."""
        ...


def full_ladder(seconds: float, language: str | None = None) -> Sequence[Rung]:
    """30 s of encoder for every window, whatever its length; then rising temperatures."""
    del seconds, language
    return [Rung(FULL_POSITIONS, temperature) for temperature in TEMPERATURES]


@dataclass(slots=True)
class WindowState:
    """One window that has no words yet.

    Attributes:
        index: position among the file's windows, from 0.
        spans: the parts of the file it is made of.
        features: float32 [mels, frames]; None once its text is chosen.
        samples: float32 [n] at 16 kHz, where alignment will need them.
        rungs: what is tried, in order, until a text passes the checks.
        attempts: the decodings so far.
    """

    index: int
    spans: tuple[Span, ...]
    features: NDArray[np.float32] | None
    samples: NDArray[np.float32] | None
    rungs: Sequence[Rung]
    attempts: list[tuple[Attempt, Decoded]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds of speech in it."""
        return sum(span.length for span in self.spans) / SAMPLE_RATE

    @property
    def start(self) -> float:
        """Seconds of the file at which it starts."""
        return self.spans[0].start / SAMPLE_RATE

    @property
    def end(self) -> float:
        """Seconds of the file at which it ends."""
        return self.spans[-1].end / SAMPLE_RATE

    @property
    def rung(self) -> Rung:
        """The rung to decode at next."""
        return self.rungs[min(len(self.attempts), len(self.rungs) - 1)]


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from an event.

    Attributes:
        ready: windows to decode next (each at its current rung).
        texts: windows whose text is chosen, with the chosen decoding; their words are next.
    """

    ready: tuple[int, ...] = ()
    texts: tuple[tuple[int, Decoded], ...] = ()


@dataclass(slots=True)
class FileState:
    """Everything known of one file. Events (methods) may come in any order.

    Attributes:
        name: the job id, for logs.
        options: what was asked.
        ladder: chooses the rungs of a window when it arrives.
        resume: finished windows of an earlier run, or None.
        stages_left: whole-file stages (see `whole_file`) that are not done; any of them may
            still add windows.
        language: given, decided, or None while it is being found out.
        windows: those without words yet, by index.
        done: those with words, by index.
        held_back: windows that wait for the language.
        total: how many windows the file has; None while more may come.
        audio_seconds: length of the decoded audio; None before its end.
        stated_seconds: length according to the file's header, if that says one.
        resumed: windows taken from `resume`.
        second_attempts: decodings beyond each window's first.
        seconds: this file's share of each stage.
        notes: for the result.
        vote: on the language.
    """

    name: str
    options: Options
    ladder: Ladder
    resume: Partial | None = None
    stages_left: set[str] = field(default_factory=set)
    language: Language | None = None
    windows: dict[int, WindowState] = field(default_factory=dict)
    done: dict[int, WindowText] = field(default_factory=dict)
    held_back: list[int] = field(default_factory=list)
    total: int | None = None
    audio_seconds: float | None = None
    stated_seconds: float | None = None
    resumed: int = 0
    second_attempts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    vote: LanguageVote = field(default_factory=LanguageVote)

    def __post_init__(self) -> None:
        if self.options.language is not None:
            self.language = Language(code=self.options.language, probability=None, detected=False)
        elif self.resume is not None and self.resume.language is not None:
            self.language = self.resume.language

    def add_window(
        self,
        index: int,
        spans: Iterable[Span],
        features: NDArray[np.float32] | None,
        samples: NDArray[np.float32] | None,
    ) -> Step:
        """A prepared window.

        Args:
            index: position among the file's windows, from 0.
            spans: the parts of the file it is made of.
            features: float32 [mels, frames]; None for a window that `resume` has.
            samples: float32 [n] at 16 kHz, or None where no alignment follows.

        Raises:
            KeyError: it has neither features nor a place in `resume`.
        """
        spans = tuple(spans)
        if features is None:
            assert self.resume is not None
            text = {window.index: window for window in self.resume.windows}[index]
            self.done[index] = text
            self.resumed += 1
            return Step()
        seconds = sum(span.length for span in spans) / SAMPLE_RATE
        language = self.language.code if self.language else None
        rungs = self.ladder(seconds, language)
        self.windows[index] = WindowState(index, spans, features, samples, rungs)
        if self.language is None and not self.vote.asks(index):
            self.held_back.append(index)
            return Step()
        return Step(ready=(index,))

    def end(
        self,
        audio_seconds: float,
        damaged: int,
        seconds: dict[str, float],
        notes: Iterable[str] = (),
    ) -> Step:
        """The media is decoded to its end: no more windows come, whole-file stages apart.

        Args:
            audio_seconds: length of the audio.
            damaged: packets that were skipped.
            seconds: what preparing took, by stage.
            notes: what preparing has to say, for the result.
        """
        self.audio_seconds = audio_seconds
        self.notes.extend(notes)
        for stage, value in seconds.items():
            self.spend(stage, value)
        if damaged:
            self.notes.append(f"{damaged} damaged packets were skipped")
        stated = self.stated_seconds or 0.0
        if stated - audio_seconds > max(SHORT_SECONDS, SHORT_SHARE * stated):
            # Some decoders end quietly where the damage begins.
            self.notes.append(
                f"The file says it lasts {stated:.1f} s; {audio_seconds:.1f} s of audio were found"
            )
        return self._count_windows()

    def stage_done(self, name: str) -> Step:
        """A whole-file stage is done: what it had to add is added.

        Raises:
            KeyError: it is not one that was left.
        """
        self.stages_left.remove(name)
        return self._count_windows()

    def decoded(self, index: int, rung: Rung, decoded: Decoded) -> Step:
        """A window was decoded at a rung."""
        window = self.windows[index]
        attempt = Attempt(
            text=decoded.text,
            tokens=decoded.tokens,
            avg_logprob=decoded.avg_logprob,
            no_speech=decoded.no_speech,
            seconds=window.seconds,
            short=rung.positions < FULL_POSITIONS,
            heard_until=decoded.words[-1].end if decoded.words else None,
        )
        window.attempts.append((attempt, decoded))
        if self.language is None:
            # A text in the wrong language would be decoded again: the language comes first.
            self.vote.cast(index, window.seconds, decoded.languages)
            return self._after_vote()
        return self._settle(window)

    def words(self, index: int, words: Sequence[Word]) -> None:
        """A window's words, in the file's time; the window is done."""
        window = self.windows.pop(index)
        attempts = [attempt for attempt, _ in window.attempts]
        chosen = best(attempts)
        silent = is_nothing(chosen)
        self.done[index] = WindowText(
            index=index,
            start=window.start,
            end=window.end,
            text="" if silent else chosen.text,
            avg_logprob=chosen.avg_logprob,
            words=() if silent else tuple(words),
        )

    def spend(self, stage: str, seconds: float) -> None:
        """Adds to this file's share of a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @property
    def finished(self) -> bool:
        """Whether every whole-file stage is done and every window has its words."""
        return self.total is not None and len(self.done) == self.total

    @property
    def held_seconds(self) -> float:
        """Seconds of speech in windows that are here and have no words yet."""
        return sum(window.seconds for window in self.windows.values())

    def partial(self) -> Partial:
        """The finished windows, for a checkpoint."""
        return Partial(
            language=self.language,
            windows=tuple(self.done[index] for index in sorted(self.done)),
        )

    def progress(self) -> tuple[float, float | None]:
        """(seconds of the file that are done, its length if known).

        Windows are not decoded in order, so this is where the last known window ends, less the
        length of those that are not done.
        """
        if self.finished and self.audio_seconds is not None:
            return self.audio_seconds, self.audio_seconds
        ends = [window.end for window in self.windows.values()]
        ends += [window.end for window in self.done.values()]
        waiting = sum(window.end - window.start for window in self.windows.values())
        return max(0.0, max(ends, default=0.0) - waiting), self.audio_seconds or self.stated_seconds

    def recognition(self, word_times: Literal["aligned", "attention"] | None) -> Recognition:
        """The result. All windows are done."""
        assert self.audio_seconds is not None
        assert self.total is not None
        texts = [self.done[index] for index in sorted(self.done)]
        return Recognition(
            audio_seconds=self.audio_seconds,
            language=self.language if texts else None,
            segments=segments(texts, self.audio_seconds),
            word_times=word_times,
            seconds=dict(self.seconds),
            windows=self.total,
            resumed=self.resumed,
            notes=tuple(self.notes),
        )

    def _count_windows(self) -> Step:
        """Sets `total` once no more windows can come, and lets the vote end with these."""
        if self.audio_seconds is None or self.stages_left:
            return Step()
        self.total = len(self.windows) + len(self.done)
        self.vote.end(self.total)
        return self._after_vote()

    def _after_vote(self) -> Step:
        """Decides the language if the votes suffice, and releases the windows it held back.

        If they don't, releases the windows that are to vote next.
        """
        if self.language is not None:
            return self._release(list(self.held_back))
        language = self.vote.result()
        if language is None:
            return self._release([index for index in self.held_back if self.vote.asks(index)])
        self.language = language
        step = self._release(list(self.held_back))
        for window in self.windows.values():
            if not window.attempts:
                continue
            if window.attempts[-1][1].language == language.code:
                step = _joined(step, self._settle(window))
            else:
                window.attempts.clear()
                self.second_attempts += 1
                step = _joined(step, Step(ready=(window.index,)))
        return step

    def _release(self, indices: Sequence[int]) -> Step:
        ready = tuple(indices)
        self.held_back = [index for index in self.held_back if index not in ready]
        return Step(ready=ready)

    def _settle(self, window: WindowState) -> Step:
        """Chooses the text, or tries the next rung."""
        attempts = [attempt for attempt, _ in window.attempts]
        if doubts(attempts[-1]) and len(attempts) < len(window.rungs):
            self.second_attempts += 1
            return Step(ready=(window.index,))
        chosen = best(attempts)
        winner = next(decoded for attempt, decoded in window.attempts if attempt is chosen)
        return Step(texts=((window.index, winner),))


def segments(texts: Sequence[WindowText], audio_seconds: float) -> tuple[Segment, ...]:
    """Windows -> segments that never overlap and stay inside the audio; one for each text."""
    found: list[Segment] = []
    reached = 0.0
    for window in texts:
        if not window.text:
            continue
        start = _within(window.start, reached, audio_seconds)
        end = _within(window.end, start, audio_seconds)
        reached = end
        found.append(
            Segment(
                id=len(found),
                start=start,
                end=end,
                text=window.text,
                avg_logprob=round(window.avg_logprob, 4),
                words=tuple(fit_words(window.words, start, end)),
            )
        )
    return tuple(found)


def to_file_time(words: Sequence[Word], spans: Sequence[Span]) -> tuple[Word, ...]:
    """Words in a window's time -> words in the file's time."""
    at = TimeMap(spans)
    return tuple(
        word.model_copy(
            update={"start": round(at(word.start), 3), "end": round(at(word.end, end=True), 3)}
        )
        for word in words
    )


def _within(value: float, low: float, high: float) -> float:
    """Rounded to a millisecond, then clamped, so that rounding doesn't lead outside."""
    return min(max(round(value, 3), low), high)


def _joined(first: Step, second: Step) -> Step:
    return Step(ready=first.ready + second.ready, texts=first.texts + second.texts)
