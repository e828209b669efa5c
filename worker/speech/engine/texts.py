"""How the windows of one file get their texts (pure).

No threads, no model: the engine calls this under its lock and does what it says. A window
goes up a ladder of rungs (encoder length, temperature) until a text stands (`verdict`). A file
whose language is not given holds its later windows back until the first ones have decided the
language.

A window is prompted with the text before it (`carry`) where that text is there in time. Where it
isn't, the window is decoded without, and may be looked at once more when it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.results.transcript import Language, Word
from worker.speech.api import Options, Partial, WindowText
from worker.speech.engine import carry
from worker.speech.engine.batcher import Turn
from worker.speech.engine.before import TextBefore
from worker.speech.engine.division import divided, middle
from worker.speech.engine.language import LanguageVote
from worker.speech.engine.language_parts import parts
from worker.speech.engine.order import FIRST_PART, Order
from worker.speech.engine.own_prompt import NONE, OwnPrompt
from worker.speech.engine.quality import doubts
from worker.speech.engine.resume import Finished, finished
from worker.speech.engine.verdict import Outcome, holds_more
from worker.speech.engine.window import Ladder, Phase, Rung, WindowState, full_ladder
from worker.speech.engine.window_languages import Decision, WindowLanguages
from worker.speech.model.decoding import Decoded
from worker.speech.prepare.sound import Sound
from worker.speech.windows import FULL_POSITIONS, Span

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

    def __add__(self, other: Step) -> Step:
        return Step(ready=self.ready + other.ready, texts=self.texts + other.texts)


@dataclass(slots=True)
class WindowTexts:
    """The windows of one file. Events (methods) may come in any order.

    Attributes:
        name: the job id, for logs.
        options: what was asked.
        ladder: chooses the rungs of a window when it arrives.
        own: the job's own part of its prompts, which leaves less room for others.
        prompting: how windows are prompted with the text before them.
        resume: finished windows of an earlier run, or None.
        language: given, decided, or None while it is being found out.
        windows: those without words yet, by index.
        done: those with words, by index.
        short: of those that are done, windows decoded short, kept to be decoded again.
        distrusted: languages whose windows are no longer to be decoded short.
        held_back: windows that wait for the language.
        resumed: windows taken from `resume`.
        second_attempts: decodings beyond each window's first, looks apart.
        looks: decodings of windows that had a text, with the text before them.
        vote: on the language.
        tongues: the language of each window, of a multilingual file.
        order: which window stands before which.
        before: what was said before each window.
        kept: the windows of `resume` that need not be decoded again.
    """

    name: str
    options: Options
    ladder: Ladder
    own: OwnPrompt = NONE
    prompting: carry.Prompting = carry.ON_CPU
    resume: Partial | None = None
    language: Language | None = None
    windows: dict[int, WindowState] = field(default_factory=dict)
    done: dict[int, WindowText] = field(default_factory=dict)
    short: dict[int, WindowState] = field(default_factory=dict)
    distrusted: set[str] = field(default_factory=set)
    held_back: list[int] = field(default_factory=list)
    resumed: int = 0
    second_attempts: int = 0
    looks: int = 0
    vote: LanguageVote = field(default_factory=LanguageVote)
    tongues: WindowLanguages = field(default_factory=WindowLanguages)
    order: Order = field(default_factory=Order)
    before: TextBefore = field(init=False)
    kept: Finished = field(init=False)

    def __post_init__(self) -> None:
        self.before = TextBefore(self.windows, self.done, self.order, self.prompting.lengths)
        self.kept = finished(self.resume)
        if self.options.language is not None:
            self.language = Language(code=self.options.language, probability=None, detected=False)
        elif self.resume is not None and not self.options.multilingual:
            self.language = self.resume.language

    def add_window(
        self,
        index: int,
        spans: Iterable[Span],
        sound: Sound | None,
        samples: NDArray[np.int16] | None,
    ) -> Step:
        """A prepared window.

        Args:
            index: position among the file's windows, from 0.
            spans: the parts of the file it is made of.
            sound: what the model gets; None for a window that `resume` has.
            samples: int16 [n] at 16 kHz, or None where no alignment follows.

        Raises:
            KeyError: it has neither sound nor a place in `resume`.
        """
        spans = tuple(spans)
        if sound is None:
            texts = self.kept[index]
            self.done.update((text.index, text) for text in texts)
            self.order.insert(index, [text.index for text in texts[1:]])
            self.resumed += 1
            step = self._passed(texts[-1].index)
            languages = [text.language for text in texts if text.language is not None]
            if self.options.multilingual and languages:
                step += self.known(self.tongues.know(index, languages))
            return step
        language = self.language.code if self.language else None
        window = WindowState(index, spans, sound, samples, (), vocabulary=self.own.vocabulary)
        window.rungs = self._rungs(window, language)
        self.windows[index] = window
        if self.votes and not self.vote.asks(index):
            self.held_back.append(index)
            return Step()
        return self._asked(index)

    def turn(self, index: int) -> Turn:
        """When a ready window's turn comes."""
        window = self.windows[index]
        if window.phase is Phase.LOOKING:
            return Turn.NOW if self.options.carry_context == "on" else Turn.LOOK
        waits = self._carries and not self.votes and not window.attempts
        starts = index < FIRST_PART and index % carry.CHAIN == 0
        return Turn.LATER if waits and not starts and self.before.awaited(window) else Turn.NOW

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
            window.tried(rung, decoded)
            return self._in_full(window)
        if rung.prompt and decoded.language != self.before.language(index):
            return self._unprompted(window)
        window.tried(rung, decoded)
        doubted = bool(doubts(window.attempts[-1][0])) if window.look is None else False
        if self.votes:
            # A text in the wrong language would be decoded again: the language comes first.
            self.vote.cast(
                index, window.seconds, decoded.languages, decoded.pieces, doubted=doubted
            )
            return self.after_vote()
        if window.language is None and self.options.multilingual:
            return self.known(
                self.tongues.hear(
                    index, window.seconds, decoded.languages, decoded.pieces, doubted=doubted
                )
            )
        if self.language is not None:
            # The vote may have ended without it, while it was being decoded.
            return self._is_in(window, self.language.code)
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

    def words(self, index: int, words: Sequence[Word]) -> Step:
        """A window's words, in the file's time; the window is done.

        Not if it was decoded short and that is no longer trusted: then it is decoded again.
        """
        window = self.windows[index]
        if window.is_short and window.stands[1].language in self.distrusted:
            return self._in_full(window)
        del self.windows[index]
        if window.is_short:
            self.short[index] = window
        self.done[index] = window.finished(words)
        return Step()

    def after_vote(self) -> Step:
        """Decides the language if the votes suffice, and releases the windows it held back.

        If they don't, releases the windows that are to vote next.
        """
        if not self.votes:
            return self._release(list(self.held_back))
        language = self.vote.result()
        if language is None:
            return self._release([index for index in self.held_back if self.vote.asks(index)])
        self.language = language
        step = Step()
        for window in list(self.windows.values()):
            if window.attempts:
                step += self._is_in(window, language.code)
        return step + self._release(list(self.held_back))

    def known(self, decisions: Iterable[Decision]) -> Step:
        """The languages of some windows are known: those decoded in another start again."""
        step = Step()
        for decision in decisions:
            window = self.windows[decision.index]
            if decision.language is None:
                step += self._divide(window, decision.languages)
            else:
                window.language = decision.language
                step += self._is_in(window, decision.language)
        return step

    def _is_in(self, window: WindowState, language: str) -> Step:
        """A window was decoded before its language was known; in another, it starts again."""
        if window.attempts[-1][1].language == language:
            distrusted = window.attempts[-1][0].short and language in self.distrusted
            return self._in_full(window) if distrusted else self._settle(window)
        window.attempts.clear()
        self.second_attempts += 1
        return self._asked(window.index)

    def _divide(self, window: WindowState, languages: Sequence[str]) -> Step:
        """A window is in several languages: each part of it is decoded as a window."""
        assert window.sound is not None
        found = parts(languages, window.spans, window.sound)
        made = self._cut(window, [part.end for part in found[:-1]])
        for state, part in zip(made, found, strict=True):
            state.language = part.language
        return self._ask_parts(made)

    def _halve(self, window: WindowState) -> Step:
        """A window holds more than its text says: each half of it is decoded as a window."""
        assert window.sound is not None
        return self._ask_parts(self._cut(window, [middle(window.spans, window.sound)]))

    def _cut(self, window: WindowState, ends: Sequence[int]) -> tuple[WindowState, ...]:
        indices = (window.index, *self.order.divide(window.index, len(ends)))
        return divided(window, ends, indices)

    def _ask_parts(self, made: Iterable[WindowState]) -> Step:
        self.second_attempts += 1
        step = Step()
        for part in made:
            part.rungs = self._rungs(part, part.language)
            self.windows[part.index] = part
            step += self._asked(part.index)
        return step

    def _rungs(self, window: WindowState, language: str | None) -> Sequence[Rung]:
        """How a window is tried: as the ladder says, or in full if that may do harm.

        What a cut-out pause leaves sounds unlike speech; less encoder on top is one risk too many.
        """
        short = [each for each in self.windows.values() if each.is_short]
        seconds = sum(each.seconds for each in (window, *short, *self.short.values()))
        whole = len(window.spans) == 1 and seconds <= KEPT_SECONDS
        return (self.ladder if whole else full_ladder)(window.seconds, language)

    def _release(self, indices: Sequence[int]) -> Step:
        self.held_back = [index for index in self.held_back if index not in indices]
        return sum((self._asked(index) for index in indices), Step())

    @property
    def votes(self) -> bool:
        """Whether the first windows are yet to decide the language of all."""
        return self.language is None and not self.options.multilingual

    @property
    def _carries(self) -> bool:
        return self.options.carry_context != "off"

    def _asked(self, index: int) -> Step:
        """A window without a text is ready, with the text before it if that is there."""
        window = self.windows[index]
        if self.language is not None:
            window.language = self.language.code
        other = window.language not in (None, self.before.language(index))
        if self._carries and not self.votes and not other:
            window.prompt = self.before.prompt(index, self.own.size)
            if window.prompt and not self.prompting.short:
                window.rungs = full_ladder(window.seconds)
        return Step(ready=(index,))

    def _settle(self, window: WindowState) -> Step:
        """A window was tried: goes on with its next rung, or with the text that stands."""
        if window.phase is Phase.LOOKING:
            self.looks += 1
            return self._choose(window)
        if holds_more(window.attempts[-1][0]):
            return self._halve(window)
        if not window.exhausted:
            self.second_attempts += 1
            return Step(ready=(window.index,))
        heard = window.verdict.outcome is not Outcome.SILENCE
        if self._carries and not window.was_prompted and heard:
            window.phase = Phase.LOOKING
            step = self._look(window)
        else:
            step = self._choose(window)
        return step + self._passed(window.index)

    def _look(self, window: WindowState) -> Step:
        """Looks at a window once more, as soon as the text before it is there; if there is any."""
        if self.before.awaited(window):
            return Step()
        if window.language == self.before.language(window.index):
            window.prompt = self.before.prompt(window.index, self.own.size)
        least = 1 if self.options.carry_context == "on" else carry.WORTH_A_LOOK
        ready = len(window.prompt) >= least
        return Step(ready=(window.index,)) if ready else self._choose(window)

    def _passed(self, index: int) -> Step:
        """A window has a text: the one after it, if it is here, may use that."""
        following = self.windows.get(self.order.after(index))
        if following is None or following.flying is not None or not self._carries:
            return Step()
        if following.phase is Phase.LOOKING:
            return self._look(following)
        waits = following.index not in self.held_back and not following.attempts
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
        self.second_attempts += bool(window.attempts)
        window.rungs = full_ladder(window.seconds)
        window.attempts = [pair for pair in window.attempts if not pair[0].short]
        window.phase, window.look = Phase.ASKED, None
        return self._asked(window.index)

    def _choose(self, window: WindowState) -> Step:
        window.phase = Phase.CHOSEN
        return Step(texts=((window.index, window.stands[1]),))
