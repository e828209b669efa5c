"""Checks of a window's text: is it likely to be what was said? Pure.

WhisperX and faster-whisper leave these checks out when they decode in batches. Compression and
log-probability and their constants are Whisper's own (openai/whisper, `decode_with_fallback`); the
number of tokens is bounded by how fast people speak.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried in turn; Whisper's own."""

MAX_COMPRESSION = 2.4
"""`compression_ratio` above which a text is taken for a loop (Whisper's)."""

MIN_LOGPROB = -1.0
"""Mean log-probability below which a text is unlikely (Whisper's)."""

MAX_NO_SPEECH = 0.6
"""No-speech probability above which an unlikely text is taken for silence (Whisper's)."""

MAX_NO_SPEECH_UNLIKELY = 0.4
"""The same where every attempt was doubted, as with music; see `worker/bench/README.md` for the
figures."""

MAX_TOKENS_PER_SECOND = 16.0
"""Fast English speech is 5 tokens a second, fast Japanese about 10. Loops reach the decoder's
limit: 448 tokens in a window."""

FREE_TOKENS = 24
"""Tokens allowed whatever the length: two long words in half a second are no loop."""

NGRAM = 4
NGRAM_TIMES = 3
"""The same four tokens three times, one after the other or not, are a loop in a short window.
Compression shows loops only in long texts."""

EARLY_SECONDS = 1.6
"""Seconds of speech after the last word above which a short window has ended early. Spans are
padded by 0.4 s, and attention finds the last word's end to within some tenths."""


class Doubt(StrEnum):
    """Why a text is doubted."""

    COMPRESSION = "compression"
    LOGPROB = "logprob"
    TOKENS = "tokens"
    REPEATS = "repeats"
    EARLY_END = "early_end"


LOOPS = frozenset({Doubt.COMPRESSION, Doubt.TOKENS, Doubt.REPEATS})
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
        prompted: tokens of the text before the window that it was prompted with.
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


def compression_ratio(text: str) -> float:
    """Bytes over compressed bytes; a loop compresses well."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_silence(attempt: Attempt) -> bool:
    """Whether both the no-speech probability and an unlikely text say that nothing was said."""
    return attempt.no_speech > MAX_NO_SPEECH and attempt.avg_logprob < MIN_LOGPROB


def is_nothing(chosen: Attempt) -> bool:
    """Whether the attempt that `best` chose says that nothing was said.

    An unlikely one is chosen only where it is silence or every attempt was doubted, so that a
    lower no-speech probability is enough.
    """
    return chosen.no_speech > MAX_NO_SPEECH_UNLIKELY and chosen.avg_logprob < MIN_LOGPROB


def doubts(attempt: Attempt) -> tuple[Doubt, ...]:
    """What speaks against a text; empty if it passes all checks. Silence needs no second try."""
    if is_silence(attempt):
        # A short window's silence is confirmed with 30 s of encoder.
        return (Doubt.LOGPROB,) if attempt.short else ()
    found = []
    if compression_ratio(attempt.text) > MAX_COMPRESSION:
        found.append(Doubt.COMPRESSION)
    if attempt.avg_logprob < MIN_LOGPROB:
        found.append(Doubt.LOGPROB)
    if len(attempt.tokens) > FREE_TOKENS + MAX_TOKENS_PER_SECOND * attempt.seconds:
        found.append(Doubt.TOKENS)
    if attempt.short:
        if repeats(attempt.tokens):
            found.append(Doubt.REPEATS)
        if ends_early(attempt):
            found.append(Doubt.EARLY_END)
    return tuple(found)


def repeats(tokens: Sequence[int]) -> bool:
    """Whether some `NGRAM` tokens come `NGRAM_TIMES` times."""
    seen = Counter(tuple(tokens[at : at + NGRAM]) for at in range(len(tokens) - NGRAM + 1))
    return max(seen.values(), default=0) >= NGRAM_TIMES


def ends_early(attempt: Attempt) -> bool:
    """Whether the last word ends well before the window does."""
    if attempt.heard_until is None:
        return not attempt.tokens and attempt.seconds > EARLY_SECONDS
    return attempt.seconds - attempt.heard_until > EARLY_SECONDS


def best(attempts: Sequence[Attempt]) -> Attempt:
    """The attempt to use: the first without doubts, else the likeliest that is no loop.

    Where all are loops, the likeliest of them.
    """
    for attempt in attempts:
        if not doubts(attempt):
            return attempt
    calm = [attempt for attempt in attempts if not LOOPS & set(doubts(attempt))]
    return max(calm or attempts, key=lambda attempt: attempt.avg_logprob)
