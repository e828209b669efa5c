"""What to make of a window's attempts: which one stands, or whether none is written (pure).

A text that `quality` doubts is decoded again, first plainly (30 s of encoder, no text before it),
then with rising temperatures. One that is short and unsure is decoded again plainly too, and the
likelier of the two stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache
from itertools import combinations

from worker.speech.engine.quality import (
    LOOPS,
    MIN_LOGPROB,
    SPARSE_SECONDS,
    Attempt,
    Doubt,
    doubts,
    is_silence,
    is_sparse,
    is_unsure,
)
from worker.speech.engine.repeats import said_once, says_often
from worker.speech.engine.scripts import seconds_to_say

__all__ = ["Outcome", "Verdict", "dropped_note", "holds_more", "judge", "replaces"]

FLOOR_LOGPROB = -1.5
"""Mean log-probability below which no text is written. Of 400 windows of speech (clean, noisy, far,
in seven languages) none with a right word in it was below -1.2; samples at temperature 1 of windows
that loop at all others are at -1.6 to -5."""

MAX_NO_SPEECH_UNLIKELY = 0.4
"""No-speech probability above which a window counts as silent where every attempt was doubted, as
with music; see `worker/speech/README.md` for the figures."""

ALIKE = 0.8
"""Share of letters, in order, that make two texts the same."""

SAID = 0.6
"""The same for a phrase of the job's vocabulary, decoded with that and without: without, a name is
often spelled otherwise."""

REPEATED = frozenset({Doubt.REPEATS, Doubt.COMPRESSION})
"""Doubts that a second attempt may refute, by saying the same."""

TOO_LITTLE = frozenset({Doubt.EARLY_END, Doubt.SPARSE})
"""Doubts that there is more speech than words."""


FULL_TEXT_SECONDS = 16.0
"""Seconds of speech that fill the decoder's 224 tokens where a token is a letter, as in scripts
beyond Latin, Greek and Cyrillic: some 14 letters are said in a second."""

DIVISIBLE_SECONDS = 2.0
"""Least seconds of a window that is divided. A part has a quarter of that or more, so no window has
more of them than `order.MOST_PARTS`."""

SENTENCE_SECONDS = 0.5
"""Least seconds to say a text that can be one of two sentences: 20 narrow letters. A word or two in
a long window are what is made of noise."""


class Outcome(StrEnum):
    """What becomes of a window."""

    TEXT = "text"
    """It has the chosen attempt's text."""
    SILENCE = "silence"
    """Nothing was said."""
    DROPPED = "dropped"
    """Something was said, and no attempt can be believed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to make of a window's attempts so far.

    Attributes:
        attempt: the one to use.
        outcome: what becomes of the window if none is added.
        settled: whether the attempt stands, so that none needs to be added.
    """

    attempt: Attempt
    outcome: Outcome
    settled: bool

    @property
    def text(self) -> str:
        """The window's text; empty where the attempt's isn't written."""
        return self.attempt.text if self.outcome is Outcome.TEXT else ""


def judge(attempts: Sequence[Attempt]) -> Verdict:
    """What to make of a window's attempts, at least one, in the order they were made.

    The first one that stands is used: sure and without doubts, or with a repeat that another one
    confirms, or unsure and not bettered by the next. Else the likeliest that is no loop, if it is
    likely enough to be written; else a loop that two attempts say alike.
    """
    return _judge(tuple(attempts))


@lru_cache(maxsize=256)
def _judge(attempts: tuple[Attempt, ...]) -> Verdict:
    for count in range(1, len(attempts) + 1):
        stands = _standing(attempts[:count])
        if stands is not None:
            outcome = Outcome.SILENCE if is_silence(stands) else Outcome.TEXT
            return Verdict(stands, outcome, settled=True)
    calm = [attempt for attempt in attempts if not LOOPS & set(doubts(attempt))]
    chosen = max(calm or attempts, key=lambda attempt: attempt.avg_logprob)
    outcome = _outcome(chosen, attempts) if calm else Outcome.DROPPED
    if outcome is Outcome.DROPPED:
        for one, other in combinations(attempts, 2):
            confirmed = _confirmed(one, other, by_chance=True)
            if confirmed is not None:
                return Verdict(confirmed, Outcome.TEXT, settled=False)
    return Verdict(chosen, outcome, settled=False)


def replaces(look: Attempt, verdict: Verdict) -> bool:
    """Whether another look at a window, with the text before it, is better than what it has.

    It is if it is believed and the better; and where nothing was heard, only the prompt speaks.
    """
    if doubts(look) or verdict.outcome is Outcome.SILENCE:
        return False
    return not verdict.settled or _is_better(look, verdict.attempt)


def holds_more(attempt: Attempt) -> bool:
    """Whether more was said in a window than its last attempt says: then it is to be divided.

    The decoder's 224 tokens are twice what is said in a long window in English, and half of it in
    Hindi or Tamil. Where they don't suffice, the decoder may loop; so a loop in a long window is no
    proof that it would loop in its halves as well. And it may end after the first of two sentences
    that are alike.
    """
    if attempt.temperature > 0.0 or attempt.seconds < DIVISIBLE_SECONDS:
        return False
    if attempt.stopped:
        looping = LOOPS & set(doubts(attempt))
        return not looping or (attempt.plain and attempt.seconds >= FULL_TEXT_SECONDS)
    heard = attempt.plain and attempt.no_speech <= MAX_NO_SPEECH_UNLIKELY and not doubts(attempt)
    sentence = seconds_to_say(attempt.text) >= SENTENCE_SECONDS
    return heard and sentence and is_sparse(attempt) and attempt.seconds >= 2 * SPARSE_SECONDS


def dropped_note(seconds: float) -> str:
    """The sentence for a result's notes about its windows of `Outcome.DROPPED`.

    Args:
        seconds: of speech in them.
    """
    return f"{seconds:.1f} s of speech have no text: no decoding of them could be believed"


def _standing(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that the last one settles on, if it does."""
    *earlier, last = attempts
    unsure = [attempt for attempt in earlier if is_unsure(attempt) and not doubts(attempt)]
    if not doubts(last):
        if is_unsure(last):
            return None
        said = [each for each in earlier if _was_said(each, last)]
        return next(iter(said or [each for each in unsure if _is_better(each, last)]), last)
    for attempt in earlier:
        confirmed = _confirmed(attempt, last, by_chance=False)
        if confirmed is not None:
            return confirmed
    # It was to be bettered, and was not.
    return unsure[0] if unsure else None


def _is_better(attempt: Attempt, other: Attempt) -> bool:
    """Which of two attempts that are believed is used: the likelier.

    But both hear the same: what says much less of it has left something out.
    """
    if is_silence(other) or seconds_to_say(attempt.text) < ALIKE * seconds_to_say(other.text):
        return False
    return attempt.avg_logprob > other.avg_logprob


def _was_said(attempt: Attempt, plain: Attempt) -> bool:
    """Whether a text that is the job's vocabulary was heard: so it is decoded plainly as well.

    It may spell otherwise what the plain decoding says, and add nothing to it.
    """
    if set(doubts(attempt)) != {Doubt.LISTED} or not plain.plain or is_silence(plain):
        return False
    adds = ALIKE * seconds_to_say(attempt.text) > seconds_to_say(plain.text)
    return not adds and _alike(attempt, plain) >= SAID


def _alike(one: Attempt, other: Attempt) -> float:
    """Share of letters, in order, that two texts have in common; what is repeated counts once."""
    first, second = said_once(one.text), said_once(other.text)
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def _confirmed(one: Attempt, other: Attempt, *, by_chance: bool) -> Attempt | None:
    """Which of two attempts stands because the other bears out its repeat; None if neither does.

    People repeat themselves, and so do decoders. What a decoder repeats depends on how it decoded
    (padding, the text before, chance): another way gives another text. What a speaker repeats is
    there again, also in a plain decoding; or the other attempt says it once and leaves seconds of
    speech without words. Where the two say it so often and so often, the plain one counts, or the
    one that says it less; else the likelier.

    Loops look alike by accident. They are confirmed only where both attempts ended by themselves
    and heard speech, and, as long as others may follow, where more than chance makes them differ.

    Args:
        one: the earlier attempt.
        other: the later one.
        by_chance: whether two attempts confirm a loop that differ by chance alone.
    """
    pair = (one, other)
    repeating = [each for each in pair if doubts(each) and set(doubts(each)) <= REPEATED]
    bears_out = all((REPEATED | TOO_LITTLE) & set(doubts(each)) for each in pair)
    if not bears_out or not any(each.plain for each in repeating):
        return None
    if any(map(_is_loop, pair)) and (
        any(each.stopped for each in pair)
        or max(each.no_speech for each in pair) > MAX_NO_SPEECH_UNLIKELY
        or (one.plain == other.plain and not by_chance)
    ):
        return None
    if _alike(one, other) < ALIKE:
        return None
    lengths = [seconds_to_say(each.text) for each in repeating]
    if min(lengths) >= ALIKE * max(lengths):
        return max(reversed(repeating), key=lambda each: each.avg_logprob)
    return min(repeating, key=lambda each: (not each.plain, seconds_to_say(each.text)))


def _is_loop(attempt: Attempt) -> bool:
    """Whether a text says the same many times; a long sentence said twice compresses as well."""
    return Doubt.COMPRESSION in doubts(attempt) and says_often(attempt.text)


def _outcome(chosen: Attempt, attempts: Sequence[Attempt]) -> Outcome:
    """What becomes of a window where none of the attempts stands and `chosen` is the likeliest."""
    if chosen.avg_logprob >= MIN_LOGPROB:
        return Outcome.TEXT
    if chosen.no_speech > MAX_NO_SPEECH_UNLIKELY:
        # Samples are unlikely because they are samples: beam search says whether it is silent.
        heard = [attempt for attempt in attempts if attempt.temperature == 0.0]
        silent = heard and heard[-1].avg_logprob < MIN_LOGPROB
        return Outcome.SILENCE if silent else Outcome.DROPPED
    return Outcome.TEXT if chosen.avg_logprob >= FLOOR_LOGPROB else Outcome.DROPPED
