"""Which text a window is prompted with: that of the windows before it (pure).

Whisper was trained to read, before its start token, the text that came before the audio; decoding
one window after another uses it, decoding in batches mostly does not. Prompts of one batch must
have one length (CTranslate2 wants the start token at one index), so they are cut to a few lengths.

The text before a window ends where something is not to be passed on: a window that was doubted,
silent, or in another language, so that a loop or a hallucination stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LENGTHS = (32, 64, 96, 128, 160, 192, 223)
"""Tokens of a whole prompt. The longest is half of the decoder, less one: the other half is for the
text (openai/whisper, `decode_with_fallback`: `n_ctx // 2 - 1`). Steps of 32 lose at most half a
sentence; all windows but the first few of a chain have the longest."""


@dataclass(frozen=True, slots=True)
class Prompting:
    """How windows are prompted with the text before them.

    Attributes:
        lengths: that a whole prompt may have, in tokens, rising.
        short: whether a prompted window may have less than 30 s of encoder.
    """

    lengths: Sequence[int]
    short: bool


FEW_LENGTHS = (128, LENGTHS[-1])
"""Tokens of a whole prompt where one more length costs more than what it leaves out: on a card, and
where a vocabulary is all of the prompt."""

ON_CPU = Prompting(LENGTHS, short=True)

ON_CARD = Prompting(FEW_LENGTHS, short=False)
"""On a card a batch takes nearly as long with two windows as with twenty, and each kind of window
is one more batch. In 3207 words of long recordings the two lengths have 499 errors in place of 491
(base, int8)."""

WORTH_A_LOOK = 120
"""Tokens of the text before a window for which it is decoded once more, if it has a text. Half of
the longest prompt gives two thirds of the words that that one sets right, a quarter of it a third;
the seconds that decoding takes are nearly the same."""

CHAIN = 32
"""Every so many windows a chain starts by right, a quarter of an hour after the one before it: so
a file of hours is not bound to one window at a time while others fill the batches."""


def list_room(own: int, *, carries: bool) -> int:
    """Tokens that a job's vocabulary may take of its prompts.

    All that its prompt and hotwords leave; or, where the text before a window is to have a place
    there too, that share of it which leaves the text `WORTH_A_LOOK` tokens where there are neither:
    102 of 222.

    Args:
        own: tokens of prompt and hotwords, with the one that begins any prompt.
        carries: whether windows are prompted with the text before them.
    """
    room, most = LENGTHS[-1] - own, LENGTHS[-1] - 1
    return max(0, room * (most - WORTH_A_LOOK) // most if carries else room)


def filled(size: int) -> int:
    """The length to which a prompt with a vocabulary, and without text before it, is filled up.

    Args:
        size: its tokens; at most the longest of `LENGTHS`.
    """
    return next(length for length in FEW_LENGTHS if length >= size)


def prompt(before: Iterable[Sequence[int]], own: int, lengths: Sequence[int]) -> tuple[int, ...]:
    """The tokens of the text before a window that its prompt takes.

    Args:
        before: the tokens of the windows before it, the nearest first; none for one that passes
            nothing on, where the text before the window ends.
        own: tokens of the prompt that are not the window's to choose: the job's own part, or the
            one token that begins any prompt.
        lengths: see `Prompting`.

    Returns:
        The last tokens of that text; empty where there are too few for the shortest prompt.
    """
    room = lengths[-1] - own
    found: list[int] = []
    for tokens in before:
        if not tokens or len(found) >= room:
            break
        found[:0] = tokens
    fitting = [length - own for length in lengths if 0 < length - own <= len(found)]
    return tuple(found[-fitting[-1] :]) if fitting else ()
