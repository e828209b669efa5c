"""Words into their place: inside a span, in order, never overlapping (pure).

Every way of timing words ends here, so that whatever a model answers, a segment's words
keep the promises of `worker.results.transcript`: inside the segment, `start <= end`, never
backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from worker.results.transcript import Word

__all__ = ["fill_words", "fit_words", "spread_words"]

_DECIMALS = 3  # milliseconds, as subtitles carry them


def fit_words(words: Sequence[Word], start: float, end: float) -> list[Word]:
    """The same words with times inside [start, end], non-decreasing and without overlap.

    A word that begins before its predecessor begins is moved to where that one begins; a
    word that ends after its successor begins is cut there, because the onset of a word is
    found more reliably than its end. Times are rounded to milliseconds, but never out of
    the span. Fitting twice changes nothing.

    Args:
        words: in order of speech; times in seconds, finite.
        start: of the span, in seconds.
        end: of the span, in seconds.

    Raises:
        ValueError: `end` lies before `start`.
    """
    if end < start:
        raise ValueError(f"a span can't end before it starts: {start} to {end}")

    def place(time: float) -> float:
        if start < time < end:
            return min(max(round(time, _DECIMALS), start), end)
        return start if time <= start else end

    starts: list[float] = []
    for word in words:
        starts.append(max(place(word.start), starts[-1] if starts else start))
    limits = [*starts[1:], end]
    return [
        Word(
            word=word.word,
            start=begin,
            end=min(max(place(word.end), begin), limit),
            score=word.score,
        )
        for word, begin, limit in zip(words, starts, limits, strict=False)
    ]


def spread_words(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """Words over [start, end] in proportion to their characters, for want of anything better.

    Args:
        texts: the words, in order; none empty.
        start: of the span, in seconds.
        end: of the span, in seconds; not before `start`.

    Returns:
        One word for each text, score None.
    """
    total = sum(len(text) for text in texts)
    edges = [start]
    done = 0
    for text in texts:
        done += len(text)
        edges.append(end if done == total else start + (end - start) * done / total)
    words = [
        Word(word=text, start=begin, end=finish)
        for text, (begin, finish) in zip(texts, pairwise(edges), strict=True)
    ]
    return fit_words(words, start, end)


def fill_words(
    texts: Sequence[str], timed: Sequence[Word | None], start: float, end: float
) -> list[Word]:
    """Give every text a time: those without one share the gap between their neighbours.

    Args:
        texts: the words, in order; none empty.
        timed: for each text its word, or None where it has no time; times in seconds.
        start: of the span, in seconds.
        end: of the span, in seconds; not before `start`.

    Returns:
        One word for each text, fitted into [start, end].

    Raises:
        ValueError: `texts` and `timed` differ in length.
    """
    words: list[Word] = []
    missing: list[str] = []
    previous = start
    for text, word in zip(texts, timed, strict=True):
        if word is None:
            missing.append(text)
            continue
        if missing:
            words += spread_words(missing, previous, max(previous, word.start))
            missing = []
        words.append(word)
        previous = max(previous, word.end)
    if missing:
        words += spread_words(missing, previous, max(previous, end))
    return fit_words(words, start, end)
