"""Checks of a window's text: is it likely to be what was said? Pure.

WhisperX and faster-whisper leave these checks out when they decode in batches. Compression and
log-probability and their constants are Whisper's own (openai/whisper, `decode_with_fallback`); the
length of a text is bounded by how fast people speak. What becomes of a text that is doubted, see
`verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from worker.speech.engine.repeats import echoes, recites, says_again, says_often
from worker.speech.engine.scripts import compression_ratio, letters, seconds_to_say

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried in turn; Whisper's own."""

MAX_COMPRESSION = 2.4
"""`compression_ratio` above which a text is taken for a loop (Whisper's)."""

MIN_LOGPROB = -1.0
"""Mean log-probability below which a text is unlikely (Whisper's)."""

MAX_NO_SPEECH = 0.6
"""No-speech probability above which an unlikely text is taken for silence (Whisper's)."""

FREE_SECONDS = 1.5
"""Seconds by which a text may be longer than its speech: two long words in half a second are no
loop. Loops reach the decoder's limit of 224 tokens."""

EARLY_SECONDS = 1.6
"""Seconds of speech after the last word above which a window has ended early. Spans are padded by
0.4 s, and attention finds the last word's end to within some tenths."""

SURE_LOGPROB = -0.5
"""Mean log-probability under which a text of less than 30 s of encoder is unsure. Above it, the two
lengths of encoder say the same, a word or two in a hundred apart; see `worker/speech/README.md`."""

SPARSE_SHARE = 0.15
"""Least seconds to say a text, for each second of its speech, below which it leaves something out:
six narrow letters a second, two wide ones. Slow speakers say 8, others 10 to 18."""

SLOW_SHARE = 0.2
"""The same where less than 30 s of encoder heard it: the pace of slow speakers. So the second of
two sentences that are alike is lost there."""

SPARSE_SECONDS = 4.0
"""A sparse text is no sign in less speech: a word takes a second with the breath around it."""


class Doubt(StrEnum):
    """Why a text is doubted."""

    COMPRESSION = "compression"
    LOGPROB = "logprob"
    LENGTH = "length"
    REPEATS = "repeats"
    EARLY_END = "early_end"
    SPARSE = "sparse"
    ECHO = "echo"
    LISTED = "listed"


LOOPS = frozenset({Doubt.COMPRESSION, Doubt.LENGTH, Doubt.REPEATS, Doubt.ECHO, Doubt.LISTED})
"""Doubts that mean a loop. A loop has a high log-probability, so that never speaks for it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One decoding of one window.

    Attributes:
        text: stripped.
        tokens: text tokens, without special ones.
        avg_logprob: mean log-probability of the tokens and the end.
        no_speech: probability that there is no speech.
        seconds: speech in the window.
        short: whether the encoder saw less than 30 s; such texts get more checks.
        heard_until: second of the window at which the last word ends, if that is known.
        temperature: of sampling; 0 is beam search.
        prompted: tokens of the text before the window that it was prompted with; such texts get
            more checks.
        told: the phrases of the job's vocabulary that the decoder was told; such texts get more
            checks.
        stopped: whether it has as many tokens as the decoder can write.
        words_failed: whether the end of the last word was asked for and could not be found.
    """

    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech: float
    seconds: float
    short: bool = False
    heard_until: float | None = None
    temperature: float = 0.0
    prompted: tuple[int, ...] = ()
    told: tuple[str, ...] = field(default=(), repr=False)
    stopped: bool = False
    words_failed: bool = False

    @property
    def plain(self) -> bool:
        """Whether it was decoded as Whisper is surest: 30 s of encoder, nothing said before."""
        return not self.short and not self.prompted and not self.told


def is_silence(attempt: Attempt) -> bool:
    """Whether both the no-speech probability and the text say that nothing was said.

    The text does if it is unlikely, or a word or two for many seconds. At temperature 0 alone: a
    sample is unlikely because it is one.
    """
    if attempt.temperature > 0.0 or attempt.no_speech <= MAX_NO_SPEECH:
        return False
    return attempt.avg_logprob < MIN_LOGPROB or is_sparse(attempt)


@lru_cache(maxsize=1024)
def doubts(attempt: Attempt) -> tuple[Doubt, ...]:
    """What speaks against a text; empty if it passes all checks. Silence needs no second try."""
    if is_silence(attempt):
        # Silence is believed only of what was decoded plainly.
        return () if attempt.plain else (Doubt.LOGPROB,)
    found = []
    if compression_ratio(attempt.text) > MAX_COMPRESSION:
        found.append(Doubt.COMPRESSION)
    if attempt.avg_logprob < MIN_LOGPROB:
        found.append(Doubt.LOGPROB)
    if seconds_to_say(attempt.text) > FREE_SECONDS + attempt.seconds:
        found.append(Doubt.LENGTH)
    if says_again(attempt.text) or (not attempt.plain and says_often(attempt.text)):
        found.append(Doubt.REPEATS)
    if ends_early(attempt):
        found.append(Doubt.EARLY_END)
    led = attempt.prompted or attempt.told or attempt.temperature > 0.0
    sparse = led and is_sparse(attempt)
    slow = attempt.short and seconds_to_say(attempt.text) < SLOW_SHARE * attempt.seconds
    wordless = not attempt.plain and attempt.text and not letters(attempt.text)
    if sparse or slow or wordless:
        found.append(Doubt.SPARSE)
    if echoes(attempt.text, attempt.tokens, attempt.prompted):
        found.append(Doubt.ECHO)
    if recites(attempt.text, attempt.told):
        found.append(Doubt.LISTED)
    return tuple(found)


def is_unsure(attempt: Attempt) -> bool:
    """Whether the text, though not doubted, is one of those that 30 s of encoder may better."""
    return attempt.short and attempt.avg_logprob < SURE_LOGPROB


def ends_early(attempt: Attempt) -> bool:
    """Whether the last word ends well before the window does, where that is known.

    So decoding fails with little encoder, or with the text before the window. What is decoded
    plainly may end early: the window may hold more than speech.
    """
    if attempt.plain:
        return False
    if attempt.heard_until is None:
        # Where words failed, nothing says that a short window was heard to its end.
        unknown = attempt.short and attempt.words_failed
        return unknown or (not attempt.tokens and attempt.seconds > EARLY_SECONDS)
    return attempt.seconds - attempt.heard_until > EARLY_SECONDS


def is_whole(seconds: float, text: str) -> bool:
    """Whether a text can't be that of a window that ended early: nobody says it in the time before.

    Then its last word need not be looked for. Of 79 short clips of read English this spares 4.

    Args:
        seconds: speech in the window.
        text: of it.
    """
    return seconds_to_say(text) > seconds - EARLY_SECONDS


def is_sparse(attempt: Attempt) -> bool:
    """Whether the text is far shorter than what is said in so many seconds.

    So decoding fails with the text before the window, and by chance.
    """
    if attempt.seconds < SPARSE_SECONDS:
        return False
    return seconds_to_say(attempt.text) < SPARSE_SHARE * attempt.seconds
