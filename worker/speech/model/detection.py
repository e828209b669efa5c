"""What a model says of the language that is spoken, and how far that can be trusted (pure).

Whisper answers with a probability for each language it knows, from one step of its decoder over a
window's encoder output. It was trained on 30 s at a time, and gives a high probability to a wrong
language where it hears little.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

__all__ = [
    "PIECE_SECONDS",
    "SURE",
    "Ranking",
    "among",
    "average",
    "certainty",
    "pieces",
    "ranking_of",
    "spoken",
]

Ranking = tuple[tuple[str, float], ...]
"""(language code, probability), likeliest first; the probabilities add up to 1."""

SURE = 0.7
"""Certainty from which a detection stands by itself. Of the cuts of real speech that reached it
none was in another language; see `certainty`."""

SPOKEN = 0.02
"""Probability in a whole window from which a language may be spoken in some part of it. Of 54
windows put together from two or three languages, 51 then show all of them in their pieces; of 50
windows of one language none is looked at in pieces. At 0.01 it is 50, and from 0.003 down windows
of one language are divided."""

PIECE_SECONDS = 4.0
"""Length of the pieces in which a window of several languages is looked at: a detection needs
three seconds (`certainty`), and each piece tells no more than one language."""


def certainty(seconds: float, probability: float) -> float:
    """How far a detection is to be believed: its probability, less for a short stretch.

    The share of wrong detections halves with each second of speech. Of cuts of real speech in
    German, French, Japanese, Spanish and Portuguese (Whisper base, int8, 30 s of encoder) 68 in a
    hundred were taken for another language at half a second, 32 at one second, 14 at two, none
    from three on. The probability alone doesn't show it: at 1.5 s, 6 in a hundred of those over
    0.9 were wrong.

    Args:
        seconds: of speech.
        probability: that the model gave.
    """
    return float(probability * (1.0 - 2.0**-seconds))


def ranking_of(detected: Sequence[tuple[str, float]]) -> Ranking:
    """What CTranslate2's `detect_language` says of one window, with codes instead of tokens.

    Args:
        detected: (token such as `<|en|>`, probability), likeliest first.
    """
    return tuple((token[2:-2], float(probability)) for token, probability in detected)


def among(ranking: Ranking, languages: Collection[str]) -> Ranking:
    """A ranking as it is where the language can only be one of some.

    Args:
        ranking: of all languages that the model knows.
        languages: those that it may be; empty: any.

    Returns:
        Theirs, which add up to 1 again. Where the model gave none of them any probability, each
        has the same.
    """
    if not languages:
        return ranking
    left = [(code, probability) for code, probability in ranking if code in languages]
    total = math.fsum(probability for _, probability in left)
    if total <= 0.0:
        return tuple((code, 1.0 / len(languages)) for code in sorted(languages))
    return tuple((code, probability / total) for code, probability in left)


def spoken(ranking: Ranking) -> tuple[str, ...]:
    """The languages that may be spoken in a window of this ranking, likeliest first.

    More than one: the window is to be looked at in `pieces`, each of which may only be in one of
    them. The ranking of the whole window doesn't tell how much of it is in which: 19 s of English
    before 5 s of German give German 0.92, and a piece taken by itself is more often wrong than
    one for which the whole window says what it may be.
    """
    return tuple(
        code
        for place, (code, probability) in enumerate(ranking)
        if place == 0 or probability >= SPOKEN
    )


def average(rankings: Sequence[Ranking]) -> Ranking:
    """The mean of some rankings of the same languages."""
    total: dict[str, float] = {}
    for ranking in rankings:
        for code, probability in ranking:
            total[code] = total.get(code, 0.0) + probability / len(rankings)
    return tuple(sorted(total.items(), key=lambda pair: (-pair[1], pair[0])))


def pieces(seconds: float) -> tuple[tuple[float, float], ...]:
    """The pieces of a window: (start, end), all of one length, evenly spread over all of it.

    They overlap where the window isn't a multiple of their length. One length, because then all
    pieces of a batch are looked at in one call.

    Args:
        seconds: of the window.

    Returns:
        Seconds of the window; nothing if it is too short for two pieces.
    """
    count = math.ceil(seconds / PIECE_SECONDS)
    if seconds < 2 * PIECE_SECONDS:
        return ()
    step = (seconds - PIECE_SECONDS) / (count - 1)
    return tuple((place * step, place * step + PIECE_SECONDS) for place in range(count))
