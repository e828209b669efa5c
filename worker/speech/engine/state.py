"""One file's bookkeeping: which windows wait, which have a text, when the file is done (pure).

No threads, no model: the engine calls this under its lock and does what it says. A window
goes up a ladder of rungs (encoder length, temperature) until a text stands (`verdict`). A file
whose language is not given holds its later windows back until the first ones have decided the
language.

A window is prompted with the text before it (`carry`) where that text is there in time. Where it
isn't, the window is decoded without, and may be looked at once more when it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.results.transcript import Language, Segment, Word
from worker.speech.api import Options, Partial, Recognition, WindowText
from worker.speech.engine import carry
from worker.speech.engine.batcher import Turn
from worker.speech.engine.language import LanguageVote
from worker.speech.engine.verdict import Outcome, dropped_note
from worker.speech.engine.window import Ladder, Phase, Rung, WindowState, full_ladder
from worker.speech.model.decoding import Decoded
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span, TimeMap
from worker.speech.words.fit import fit_words

SHORT_SECONDS, SHORT_SHARE = 1.0, 0.1
"""Seconds, and share of the length stated in the header: a note says so where more audio than
both is missing."""


KEPT_SECONDS = 600.0
"""Seconds of short windows that a file keeps to have them decoded again, should short windows turn
out to do harm in its language. Windows beyond that are decoded in full: 60 MB is enough."""


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from an event.

    Attributes:
        ready: windows to decode next, each at its current rung; one that waits already waits
            with that rung from now on.
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
        own_tokens: of the job's own prompt and hotwords, which leave less room for others.
        resume: finished windows of an earlier run, or None.
        stages_left: whole-file stages (see `whole_file`) that are not done; any of them may
            still add windows.
        language: given, decided, or None while it is being found out.
        windows: those without words yet, by index.
        done: those with words, by index.
        short: of those that are done, windows decoded short, kept to be decoded again.
        distrusted: languages whose windows are no longer to be decoded short.
        held_back: windows that wait for the language.
        total: how many windows the file has; None while more may come.
        audio_seconds: length of the decoded audio; None before its end.
        stated_seconds: length according to the file's header, if that says one.
        resumed: windows taken from `resume`.
        second_attempts: decodings beyond each window's first, looks apart.
        looks: decodings of windows that had a text, with the text before them.
        seconds: this file's share of each stage.
        notes: for the result.
        vote: on the language.
    """

    name: str
    options: Options
    ladder: Ladder
    own_tokens: int = 0
    resume: Partial | None = None
    stages_left: set[str] = field(default_factory=set)
    language: Language | None = None
    windows: dict[int, WindowState] = field(default_factory=dict)
    done: dict[int, WindowText] = field(default_factory=dict)
    short: dict[int, WindowState] = field(default_factory=dict)
    distrusted: set[str] = field(default_factory=set)
    held_back: list[int] = field(default_factory=list)
    total: int | None = None
    audio_seconds: float | None = None
    stated_seconds: float | None = None
    resumed: int = 0
    second_attempts: int = 0
    looks: int = 0
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
            return self._passed(index)
        seconds = sum(span.length for span in spans) / SAMPLE_RATE
        language = self.language.code if self.language else None
        rungs = self.ladder(seconds, language)
        if self._kept_seconds + seconds > KEPT_SECONDS:
            rungs = full_ladder(seconds, language)
        self.windows[index] = WindowState(index, spans, features, samples, rungs)
        if self.language is None and not self.vote.asks(index):
            self.held_back.append(index)
            return Step()
        return self._asked(index)

    def end(self, audio_seconds: float, damaged: int, seconds: dict[str, float]) -> Step:
        """The media is decoded to its end: no more windows come, whole-file stages apart.

        Args:
            audio_seconds: length of the audio.
            damaged: packets that were skipped.
            seconds: what preparing took, by stage.
        """
        self.audio_seconds = audio_seconds
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

    def turn(self, index: int) -> Turn:
        """When a ready window's turn comes."""
        window = self.windows[index]
        if window.phase is Phase.LOOKING:
            return Turn.NOW if self.options.carry_context == "on" else Turn.LOOK
        waits = (
            self._carries
            and self.language is not None
            and not window.attempts
            and index % carry.CHAIN
            and not self._settled(index - 1)
        )
        return Turn.LATER if waits else Turn.NOW

    def begin(self, index: int) -> Rung:
        """A window goes to the device: how it is to be decoded."""
        window = self.windows[index]
        window.flying = window.rung
        return window.flying

    def decoded(self, index: int, decoded: Decoded) -> Step:
        """A window was decoded as `begin` said."""
        window = self.windows[index]
        rung, window.flying = window.flying, None
        assert rung is not None, "what was decoded was begun"
        if rung.positions < FULL_POSITIONS and decoded.language in self.distrusted:
            return self._in_full(window)
        if rung.prompt and decoded.language != self._language_before(index):
            return self._unprompted(window)
        window.tried(rung, decoded)
        if self.language is None:
            # A text in the wrong language would be decoded again: the language comes first.
            self.vote.cast(index, window.seconds, decoded.languages)
            return self._after_vote()
        return self._settle(window)

    def failed(self, index: int) -> Step | None:
        """A window can't be decoded as `begin` said.

        Returns:
            What follows, or None if the window can't be decoded otherwise either.
        """
        window = self.windows[index]
        rung, window.flying = window.flying, None
        assert rung is not None, "what failed was begun"
        return self._unprompted(window) if rung.prompt else None

    @property
    def only_looks(self) -> bool:
        """Whether every window has a text, and some wait to be looked at once more."""
        phases = [window.phase for window in self.windows.values()]
        return Phase.ASKED not in phases and any(
            window.phase is Phase.LOOKING and window.flying is None
            for window in self.windows.values()
        )

    def drop_looks(self) -> Step:
        """Windows that wait to be looked at once more keep the texts they have."""
        step = Step()
        for window in self.windows.values():
            if window.phase is Phase.LOOKING and window.flying is None:
                step = _joined(step, self._choose(window))
        return step

    def distrust_short(self, language: str) -> Step:
        """Windows of a language are to be decoded in full, also those that are done."""
        self.distrusted.add(language)
        step = Step()
        for window in list(self.windows.values()):
            if window.phase is Phase.ASKED and window.flying is None:
                waits = window.index not in self.held_back
                again = self._in_full(window)
                step = _joined(step, again) if waits else step
            elif window.phase is Phase.LOOKING and window.is_short and window.flying is None:
                step = _joined(step, self._in_full(window))
        for index, window in list(self.short.items()):
            if window.stands[1].language == language:
                del self.short[index], self.done[index]
                self.windows[index] = window
                step = _joined(step, self._in_full(window))
        return step

    def words(self, index: int, words: Sequence[Word]) -> Step:
        """A window's words, in the file's time; the window is done.

        Not if it was decoded short and that is no longer trusted: then it is decoded again.
        """
        window = self.windows[index]
        verdict, (chosen, decoded) = window.verdict, window.stands
        if window.is_short and decoded.language in self.distrusted:
            return self._in_full(window)
        del self.windows[index]
        if window.is_short:
            self.short[index] = window
        dropped = verdict.outcome is Outcome.DROPPED
        self.done[index] = WindowText(
            index=index,
            start=window.start,
            end=window.end,
            text=verdict.text,
            avg_logprob=chosen.avg_logprob,
            words=tuple(words) if verdict.text else (),
            language=decoded.language,
            carried=window.passes_on,
            dropped_seconds=round(window.seconds, 3) if dropped else 0.0,
        )
        return Step()

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
        dropped = sum(text.dropped_seconds for text in texts)
        return Recognition(
            audio_seconds=self.audio_seconds,
            language=self.language if texts else None,
            segments=segments(texts, self.audio_seconds),
            word_times=word_times,
            seconds=dict(self.seconds),
            windows=self.total,
            resumed=self.resumed,
            notes=(*self.notes, *([dropped_note(dropped)] if dropped else [])),
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
        step = Step()
        for window in self.windows.values():
            if not window.attempts:
                continue
            if window.attempts[-1][1].language == language.code:
                step = _joined(step, self._settle(window))
            else:
                window.attempts.clear()
                self.second_attempts += 1
                step = _joined(step, self._asked(window.index))
        return _joined(step, self._release(list(self.held_back)))

    def _release(self, indices: Sequence[int]) -> Step:
        self.held_back = [index for index in self.held_back if index not in indices]
        step = Step()
        for index in indices:
            step = _joined(step, self._asked(index))
        return step

    # One window after another.

    @property
    def _carries(self) -> bool:
        return self.options.carry_context != "off"

    def _asked(self, index: int) -> Step:
        """A window without a text is ready, with the text before it if that is there."""
        window = self.windows[index]
        if self._carries and self.language is not None:
            window.prompt = carry.prompt(self._before(index), max(1, self.own_tokens))
        return Step(ready=(index,))

    def _settle(self, window: WindowState) -> Step:
        """A window was tried: goes on with its next rung, or with the text that stands."""
        if window.phase is Phase.LOOKING:
            self.looks += 1
            return self._choose(window)
        if not window.exhausted:
            self.second_attempts += 1
            return Step(ready=(window.index,))
        heard = window.verdict.outcome is not Outcome.SILENCE
        if self._carries and not window.was_prompted and heard:
            window.phase = Phase.LOOKING
            step = self._look(window)
        else:
            step = self._choose(window)
        return _joined(step, self._passed(window.index))

    def _look(self, window: WindowState) -> Step:
        """Looks at a window once more, as soon as the text before it is there; if there is any."""
        if window.index and not self._settled(window.index - 1):
            return Step()
        window.prompt = carry.prompt(self._before(window.index), max(1, self.own_tokens))
        return Step(ready=(window.index,)) if window.prompt else self._choose(window)

    def _passed(self, index: int) -> Step:
        """A window has a text: the one after it, if it is here, may use that."""
        following = self.windows.get(index + 1)
        if following is None or following.flying is not None or not self._carries:
            return Step()
        if following.phase is Phase.LOOKING:
            return self._look(following)
        waits = index + 1 not in self.held_back and not following.attempts
        if following.phase is Phase.ASKED and waits:
            return self._asked(following.index)
        return Step()

    def _unprompted(self, window: WindowState) -> Step:
        """The text before a window was of no use."""
        window.prompt, window.refused = (), True
        if window.phase is Phase.LOOKING:
            return self._choose(window)
        return Step(ready=(window.index,))

    def _in_full(self, window: WindowState) -> Step:
        """Decodes a window with 30 s of encoder, as if it hadn't been decoded short."""
        window.rungs = full_ladder(window.seconds)
        window.attempts = [pair for pair in window.attempts if not pair[0].short]
        window.phase, window.look = Phase.ASKED, None
        return self._asked(window.index)

    @property
    def _kept_seconds(self) -> float:
        """Seconds of windows that are decoded short, or were."""
        kept = [window for window in self.windows.values() if window.is_short]
        return sum(window.seconds for window in (*kept, *self.short.values()))

    def _choose(self, window: WindowState) -> Step:
        window.phase = Phase.CHOSEN
        return Step(texts=((window.index, window.stands[1]),))

    def _settled(self, index: int) -> bool:
        """Whether a window has a text, final or not."""
        if index in self.done:
            return True
        return index in self.windows and self.windows[index].phase is not Phase.ASKED

    def _before(self, index: int) -> Iterator[tuple[int, ...] | None]:
        """What the windows before one pass on, nearest first, up to one that has no text yet."""
        language = self._language_before(index)
        for other in range(index - 1, -1, -1):
            if not self._settled(other) or self._language_before(other + 1) != language:
                return
            done = self.done.get(other)
            yield self.windows[other].passes_on if done is None else done.carried

    def _language_before(self, index: int) -> str | None:
        """The language of the window before one, which has a text."""
        done = self.done.get(index - 1)
        if done is not None:
            return done.language
        window = self.windows.get(index - 1)
        return window.stands[1].language if window is not None and window.attempts else None


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
