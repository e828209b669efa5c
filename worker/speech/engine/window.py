"""One window on its way to a text: what was tried, what is next, which attempt stands (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.results.transcript import Word
from worker.speech.api import WindowText
from worker.speech.engine.quality import TEMPERATURES, Attempt, doubts
from worker.speech.engine.verdict import Outcome, Verdict, judge, replaces
from worker.speech.model.decoding import Decoded
from worker.speech.prepare.sound import Sound
from worker.speech.windows import FULL_POSITIONS, Span, Spanned


@dataclass(frozen=True, slots=True)
class Rung:
    """How one attempt decodes.

    Attributes:
        positions: encoder length.
        temperature: of sampling; 0 is beam search.
        prompt: tokens of the text before the window, maybe none.
        told: whether the decoder is told the job's vocabulary.
    """

    positions: int
    temperature: float
    prompt: tuple[int, ...] = ()
    told: bool = False


class Ladder(Protocol):
    """Chooses the rungs of a window, in the order they are tried."""

    def __call__(self, seconds: float, language: str | None = None) -> Sequence[Rung]:
        """The rungs for some seconds of speech in a language (None: not known yet)."""
        ...


def full_ladder(seconds: float, language: str | None = None) -> Sequence[Rung]:
    """30 s of encoder for every window, whatever its length; then rising temperatures."""
    del seconds, language
    return [Rung(FULL_POSITIONS, temperature) for temperature in TEMPERATURES]


class Phase(Enum):
    """How far a window is."""

    ASKED = "asked"
    """It has no text yet."""
    LOOKING = "looking"
    """It has a text, and may be decoded once more with the text before it."""
    CHOSEN = "chosen"
    """Its text is final; its words are next."""


@dataclass(slots=True)
class WindowState(Spanned):
    """One window that has no words yet.

    Attributes:
        index: position among the file's windows, from 0.
        spans: the parts of the file it is made of.
        sound: what the model gets; None once nothing decodes it any more.
        samples: int16 [n] at 16 kHz, where alignment will need them.
        rungs: what is tried plainly, in order, until a text passes the checks.
        language: that it is to be decoded in; None while that is not known.
        prompt: the text before it, for its first attempt or for the look; empty until that is
            known.
        refused: whether the text before it turned out to be of no use.
        flying: the rung that is being decoded, if one is.
        phase: how far it is.
        attempts: the decodings so far, until a text stands.
        look: the decoding after that, with the text before the window, if there was one.
        vocabulary: phrases that the decoder is told of; maybe none.
    """

    index: int
    spans: tuple[Span, ...]
    sound: Sound | None
    samples: NDArray[np.int16] | None
    rungs: Sequence[Rung]
    language: str | None = None
    prompt: tuple[int, ...] = ()
    refused: bool = False
    flying: Rung | None = None
    phase: Phase = Phase.ASKED
    attempts: list[tuple[Attempt, Decoded]] = field(default_factory=list)
    look: tuple[Attempt, Decoded] | None = None
    vocabulary: tuple[str, ...] = field(default=(), repr=False)

    @property
    def rung(self) -> Rung:
        """What to decode next.

        The text before the window is tried once: first, or, if that wasn't known then, after a
        text stands without it. What fails with it is tried without it, and what then fails in full
        with the vocabulary is tried without that.
        """
        first = (self._left or self.rungs[-1:])[0]
        told = bool(self.vocabulary)
        if self.prompt and (self.phase is Phase.LOOKING or not self.attempts):
            positions = FULL_POSITIONS if self.phase is Phase.LOOKING else first.positions
            return Rung(positions, 0.0, self.prompt, told)
        if told and not any(
            attempt.told and not attempt.short and not attempt.prompted
            for attempt, _ in self.attempts
        ):
            return Rung(first.positions, 0.0, told=True)
        return first

    @property
    def verdict(self) -> Verdict:
        """What to make of its attempts, or of a look that is better."""
        verdict = judge([attempt for attempt, _ in self.attempts])
        if self.look is not None and replaces(self.look[0], verdict):
            return Verdict(self.look[0], Outcome.TEXT, settled=True)
        return verdict

    @property
    def stands(self) -> tuple[Attempt, Decoded]:
        """The attempt that stands, as far as is known, and its decoding."""
        chosen = self.verdict.attempt
        tried = self.attempts if self.look is None else [*self.attempts, self.look]
        return next(pair for pair in tried if pair[0] == chosen)

    @property
    def exhausted(self) -> bool:
        """Whether an attempt stands, or no rung is left."""
        return self.verdict.settled or not self._left

    @property
    def _left(self) -> Sequence[Rung]:
        """The rungs not tried yet; what was tried short isn't tried short again."""
        tried = [attempt for attempt, _ in self.attempts]
        short = any(attempt.short for attempt in tried)
        rungs = [rung for rung in self.rungs if rung.positions == FULL_POSITIONS or not short]
        return rungs[sum(attempt.plain for attempt in tried) :]

    @property
    def was_prompted(self) -> bool:
        """Whether it was tried with the text before it."""
        return self.refused or any(attempt.prompted for attempt, _ in self.attempts)

    @property
    def is_short(self) -> bool:
        """Whether its text is, or without an attempt would be, of less than 30 s of encoder."""
        if self.attempts:
            return self.stands[0].short
        return self.rungs[0].positions < FULL_POSITIONS

    @property
    def passes_on(self) -> tuple[int, ...]:
        """The tokens that the next window may be prompted with.

        Empty where the text was doubted, or nothing was said.
        """
        verdict = self.verdict
        chosen = verdict.attempt
        if chosen.temperature > 0.0 or doubts(chosen) or verdict.outcome is not Outcome.TEXT:
            return ()
        return chosen.tokens

    def finished(self, words: Sequence[Word]) -> WindowText:
        """What is kept of it once its words are there, in the file's time."""
        verdict, (chosen, decoded) = self.verdict, self.stands
        dropped = verdict.outcome is Outcome.DROPPED
        return WindowText(
            index=self.index,
            start=self.start,
            end=self.end,
            text=verdict.text,
            avg_logprob=chosen.avg_logprob,
            no_speech_prob=chosen.no_speech,
            temperature=chosen.temperature,
            words=tuple(words) if verdict.text else (),
            # As the detector heard it. The pauses in the log-mel (`words.pauses`) drown in noise 20
            # dB below speech, and words found for their times alone cost 7 to 20 % more of a CPU.
            speech=self.speech if verdict.text and not words else (),
            language=decoded.language,
            carried=self.passes_on,
            dropped_seconds=round(self.seconds, 3) if dropped else 0.0,
        )

    def tried(self, rung: Rung, decoded: Decoded) -> None:
        """Adds an attempt."""
        attempt = Attempt(
            text=decoded.text,
            tokens=decoded.tokens,
            avg_logprob=decoded.avg_logprob,
            no_speech=decoded.no_speech,
            seconds=self.seconds,
            short=rung.positions < FULL_POSITIONS,
            heard_until=decoded.words[-1].end if decoded.words else None,
            temperature=rung.temperature,
            prompted=rung.prompt,
            told=self.vocabulary if rung.told else (),
            stopped=decoded.stopped,
            words_failed=decoded.words_failed,
        )
        if self.phase is Phase.LOOKING:
            self.look = (attempt, decoded)
        else:
            self.attempts.append((attempt, decoded))
