"""Is a window's text to be believed? Pure checks.

The checks that batched decoding elsewhere drops. The first two and their constants are
Whisper's own (openai/whisper, `decode_with_fallback`); the third bounds what people can say.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried in turn; Whisper's own ladder."""

MAX_COMPRESSION = 2.4
MIN_LOGPROB = -1.0
MAX_NO_SPEECH = 0.6

MAX_NO_SPEECH_UNLIKELY = 0.4
"""In place of it, where no attempt is believed. Music gave 0.46 to 0.58 in the base model, and at
every temperature another unlikely sentence; clipped and noisy speech gave 0.01 to 0.15."""

MAX_TOKENS_PER_SECOND = 16.0
"""Fast English speech is 5 tokens a second, fast Japanese about 10. Loops reach the decoder's
limit: 448 tokens in a window."""

FREE_TOKENS = 24
"""Not counted: in a window of half a second, two long words are no loop."""


NGRAM = 4
NGRAM_TIMES = 3
"""A short window in which the same four tokens come three times, one after the other or not,
is looping: compression shows that only in long texts."""

EARLY_SECONDS = 1.6
"""Speech after the last word, above which a short window has ended early. Spans are padded by
0.4 s, and attention finds the last word's end to within some tenths."""


class Doubt(StrEnum):
    """Why a text is not believed."""

    COMPRESSION = "compression"
    LOGPROB = "logprob"
    TOKENS = "tokens"
    REPEATS = "repeats"
    EARLY_END = "early_end"


LOOPS = frozenset({Doubt.COMPRESSION, Doubt.TOKENS, Doubt.REPEATS})
"""Doubts that a likely text does not lift: loops are very sure of themselves."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One decoding of one window.

    Attributes:
        temperature: what it was sampled at; 0 is beam search.
        text: stripped.
        tokens: text tokens, without special ones.
        avg_logprob: mean log-probability of the tokens and the end.
        no_speech: probability that there is no speech.
        seconds: speech in the window.
        short: whether the encoder saw less than 30 s: such texts are checked harder.
        heard_until: second of the window at which the last word ends, if that is known.
    """

    temperature: float
    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech: float
    seconds: float
    short: bool = False
    heard_until: float | None = None


def compression_ratio(text: str) -> float:
    """Bytes over compressed bytes; a loop compresses well."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_silence(attempt: Attempt) -> bool:
    """Both the no-speech probability and the text's own say that nothing was said."""
    return attempt.no_speech > MAX_NO_SPEECH and attempt.avg_logprob < MIN_LOGPROB


def is_nothing(chosen: Attempt) -> bool:
    """Whether the attempt that stands (see `best`) says that nothing was said.

    An unlikely one stands only where it is silence or no other was believed, so that a lower
    no-speech probability is enough.
    """
    return chosen.no_speech > MAX_NO_SPEECH_UNLIKELY and chosen.avg_logprob < MIN_LOGPROB


def doubts(attempt: Attempt) -> tuple[Doubt, ...]:
    """What speaks against a text; nothing if it is believed. Silence needs no second try."""
    if is_silence(attempt):
        # Of a short window even that is only believed in full.
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
    """The attempt that stands: the first believed one, else the likeliest that does not loop."""
    for attempt in attempts:
        if not doubts(attempt):
            return attempt
    calm = [attempt for attempt in attempts if not LOOPS & set(doubts(attempt))]
    return max(calm or attempts, key=lambda attempt: attempt.avg_logprob)
