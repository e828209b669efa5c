"""What a text says again: at once, or of the text before it (pure).

Whisper's decoder falls into repeating itself: a sentence again and again, or once more where the
encoder saw less padding than it is used to, or, prompted with the text before a window, that text.
People repeat themselves too. So a repeat is a reason to decode again and no proof; see `quality`.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from functools import lru_cache

from worker.speech.engine.scripts import letters, seconds_to_say, words

__all__ = ["echoes", "recites", "said_once", "says_again", "says_often"]

MIN_WORDS = 3
"""Words that follow themselves at once are a repeat; fewer are common speech ("no, no", "very, very
good")."""

MIN_SECONDS = 15 / 40
"""The same for letters, by `seconds_to_say`: 15 narrow or 6 wide ones, as long as three words.
Letters show repeats where spaces don't part words, and loops inside a word."""

TIMES = 3
"""So often the same letters, of `MIN_SECONDS`, come in a window only where a decoder loops, though
not always at once."""

ECHO_SECONDS = 1.25
"""A run that a window has in common with the text before it, by `seconds_to_say`: 50 narrow
letters, some 12 English tokens. In conversations (40 of Switchboard's, cut into windows of 95
tokens) one window in 700 repeats 12 tokens of the 223 before it, one in 180 repeats 10; in a book
read aloud (LJ Speech) none of 45 repeats 8."""

ECHO_WHOLE_SECONDS = 0.5
"""The same where it is all that the window says: 20 narrow letters, some five English tokens. In
those conversations 2.6 % of the utterances of five tokens are in the text before them, but 37 % of
those of four ("Uh-huh.")."""
_TWICE = re.compile(r"(.+?)\1+", re.DOTALL)


def says_again(text: str) -> bool:
    """Whether some words follow themselves at once, or the text is several times the same."""
    spoken, joined = words(text), letters(text)
    return (
        _is_multiple(spoken, 1)
        or _repeats(spoken, MIN_WORDS, fast=False)
        or _is_multiple(joined, _count(joined, MIN_SECONDS / 2))
        or _repeats(joined, _count(joined, MIN_SECONDS), fast=True)
    )


def says_often(text: str) -> bool:
    """Whether some letters come several times, one after the other or not."""
    joined = letters(text)
    few = _count(joined, MIN_SECONDS)
    seen = Counter(joined[at : at + few] for at in range(len(joined) - few + 1))
    return max(seen.values(), default=0) >= TIMES


@lru_cache(maxsize=256)
def said_once(text: str) -> str:
    """The letters of a text, with what follows itself at once said once.

    Two texts that differ only in how often they say something have the same.
    """
    left, before = letters(text), None
    while left != before:
        left, before = _TWICE.sub(r"\1", left), left
    return left


def echoes(text: str, tokens: Sequence[int], before: Sequence[int]) -> bool:
    """Whether a window says a run of the text before it again.

    Args:
        text: of the window.
        tokens: of that text.
        before: the tokens that it was prompted with.
    """
    seconds = seconds_to_say(text)
    if not tokens or seconds < ECHO_WHOLE_SECONDS:
        return False
    run = min(len(tokens), math.ceil(len(tokens) * ECHO_SECONDS / seconds))
    runs = {tuple(before[at : at + run]) for at in range(len(before) - run + 1)}
    return any(tuple(tokens[at : at + run]) in runs for at in range(len(tokens) - run + 1))


def recites(text: str, phrases: Sequence[str]) -> bool:
    """Whether a text is nothing but words of a list, or says a long run of the list in its order.

    So the decoder fills a window in which nothing is said, from anywhere in the list.

    Args:
        text: of the window.
        phrases: that the decoder was told before it.
    """
    if not phrases:
        return False
    said, listed = words(text), [words(phrase) for phrase in phrases]
    spoken = {word for phrase in listed for word in phrase}
    if said and all(_made_of(word, spoken) for word in said):
        return True
    joined, spelled = "".join(said), ["".join(phrase) for phrase in listed]
    return any(_runs_on(joined, spelled[at:]) for at in range(len(spelled)))


def _made_of(word: str, others: Set[str]) -> bool:
    """Whether a word is one of some others, or several of them without spaces between."""
    if word in others:
        return True
    ends = {0}
    for end in range(2, len(word) + 1):
        if any(word[start:end] in others for start in ends if end - start > 1):
            ends.add(end)
    return len(word) in ends


def _runs_on(said: str, listed: Sequence[str]) -> bool:
    """Whether letters say a list's phrases from the first on for long enough, and two at least."""
    run = ""
    for count, phrase in enumerate(listed, 1):
        run += phrase
        if run not in said:
            return False
        if count > 1 and seconds_to_say(run) >= ECHO_SECONDS:
            return True
    return False


def _is_multiple(parts: Sequence[str], least: int) -> bool:
    """Whether the parts are a piece of at least so many, twice or more."""
    return any(
        len(parts) % period == 0 and parts[period:] == parts[:-period]
        for period in range(least, len(parts) // 2 + 1)
    )


def _repeats(parts: Sequence[str], least: int, *, fast: bool) -> bool:
    """Whether a piece of at least so many parts follows itself at once.

    Args:
        parts: words or letters.
        least: how many.
        fast: whether a shorter piece does as well that goes on repeating itself for as long.
    """
    seen: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at in range(len(parts) - least + 1):
        places = seen[tuple(parts[at : at + least])]
        for place in places:
            period = at - place
            if period < least:
                if fast:
                    return True
            elif parts[place:at] == parts[at : at + period]:
                return True
        places.append(at)
    return False


def _count(joined: str, seconds: float) -> int:
    """How many letters take so many seconds; one more than there are if all take less."""
    taken = 0.0
    for count, letter in enumerate(joined, 1):
        taken += seconds_to_say(letter)
        if taken >= seconds - 1e-9:
            return count
    return len(joined) + 1
