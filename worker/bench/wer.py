"""Word error rates, and whether a difference between two of them means anything (pure).

Texts are compared after `normalize`: lower case, hyphens and dashes to spaces, all other
punctuation removed, split at white space; in scripts that put no spaces between words each
character is one. Numbers are left as they are written ('1455' is not 'fourteen fifty-five'), so
rates are comparable between contestants, not with other papers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "errors_by_clip",
    "normalize",
    "paired_interval",
    "repeats",
    "stretches",
    "word_error_rate",
]

RESAMPLES = 10_000
"""Bootstrap resamples; the interval's ends then move by about 0.01 points between seeds."""

LEVEL = 0.95

STRETCH_WORDS = 75
"""Reference words of a stretch of a long recording: some 30 s of speech at 150 words a minute. The
words of a window are right or wrong together, so what is drawn must not be smaller than one."""

REPEAT_WORDS = 3
"""From this length on, words that are said again at once are a repeat."""

REPEAT_MOST_WORDS = 100
"""Repeats are looked for up to this length: about what a window can hold."""

_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese characters (Unicode's blocks)."""

_DASH = "Pd"
"""Unicode's category of hyphens and dashes; all punctuation is in categories P*."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of two word error rates, in points, and its bootstrap interval."""

    difference: float
    low: float
    high: float


def normalize(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    characters = []
    for character in unicodedata.normalize("NFKC", text).lower():
        category = unicodedata.category(character)
        if category == _DASH:
            characters.append(" ")
        elif not category.startswith("P"):
            characters.append(character)
    return _UNSPACED.sub(r" \g<0> ", "".join(characters)).split()


def errors_by_clip(references: Sequence[Sequence[str]], hypothesis: Sequence[str]) -> list[int]:
    """Word errors of one text against clips that were said one after the other.

    The text is aligned with the joined references by the least number of substitutions,
    deletions and insertions (Levenshtein); each error is counted for the clip of its reference
    word, an insertion for the clip of the word before it. Takes (words + 1) x (words + 1)
    bytes: 400 MB for a recording of two hours.

    Args:
        references: the words of each clip.
        hypothesis: the words of the text.
    """
    joined = [word for reference in references for word in reference]
    owners = [clip for clip, reference in enumerate(references) for _ in reference]
    errors = [0] * len(references)
    if not owners:
        if errors:
            errors[0] = len(hypothesis)
        return errors
    steps = _steps(joined, hypothesis)
    row, column = len(joined), len(hypothesis)
    while row or column:
        step = steps[row, column]
        if step == _BOTH:
            errors[owners[row - 1]] += joined[row - 1] != hypothesis[column - 1]
            row, column = row - 1, column - 1
            continue
        errors[owners[max(row - 1, 0)]] += 1
        if step == _DELETED:
            row -= 1
        else:
            column -= 1
    return errors


def stretches(words: Sequence[int]) -> list[list[int]]:
    """The pieces of one recording, put together to stretches of about equal size.

    Neighbours are kept together, as in the block bootstrap (Carlstein 1986, "The use of
    subseries values for estimating the variance of a general statistic from a stationary
    sequence"), because their errors depend on each other.

    Args:
        words: reference words of each piece.

    Returns:
        The indices of each stretch's pieces, in order. A recording that has too few words for
        two stretches is one.
    """
    total = sum(words)
    count = max(1, round(total / STRETCH_WORDS))
    found: dict[int, list[int]] = {}
    said = 0
    for index, number in enumerate(words):
        # A piece belongs to the stretch that its middle lies in.
        stretch = int(count * (said + number / 2) / total) if total else 0
        found.setdefault(min(stretch, count - 1), []).append(index)
        said += number
    return list(found.values())


def repeats(words: Sequence[str]) -> bool:
    """Whether a text says something twice over.

    That is three or more words that follow themselves at once, one word five times, or a whole
    text that is the same words again and again.
    """
    numbers: dict[str, int] = {}
    text = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
    for period in range(1, min(len(text) // 2, REPEAT_MOST_WORDS) + 1):
        same = text[period:] == text[:-period]
        if same.all() or _longest(same) >= _again(period):
            return True
    return False


def word_error_rate(words: Sequence[int], errors: Sequence[float]) -> float:
    """Errors per reference word over all clips, in percent; 0 words give NaN."""
    total = sum(words)
    return 100.0 * sum(errors) / total if total else float("nan")


def paired_interval(
    words: Sequence[int],
    errors: Sequence[float],
    baseline: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """How much higher one word error rate is than another on the same clips, in points.

    The paired bootstrap over clips (Bisani and Ney 2004, "Bootstrap estimates for confidence
    intervals in ASR performance evaluation"): clips are drawn with replacement, both rates are
    taken on the same draw, and the interval is the middle 95 % of their differences.

    Args:
        words: reference words of each clip.
        errors: word errors of each clip; fractions where repeats were averaged.
        baseline: the same of the contestant that is compared with.
        resamples: draws.
        seed: of the draws.

    Raises:
        ValueError: there are fewer than two clips, or no words.
    """
    counts = np.asarray(words, dtype=np.float64)
    if len(counts) < 2 or not counts.sum():
        raise ValueError("an interval over clips needs at least two clips, and words in them")
    gaps = np.asarray(errors, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    clips = len(counts)
    draws = np.random.default_rng(seed).multinomial(
        clips, np.full(clips, 1.0 / clips), size=resamples
    )
    drawn_words = draws @ counts
    differences = 100.0 * (draws @ gaps)[drawn_words > 0] / drawn_words[drawn_words > 0]
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(differences, [tail, 100.0 - tail])
    return Interval(float(100.0 * gaps.sum() / counts.sum()), float(low), float(high))


_BOTH, _DELETED, _INSERTED = 0, 1, 2
"""Steps of an alignment back from a pair of prefixes: a word less in both, in the reference, in the
text."""


def _steps(reference: Sequence[str], hypothesis: Sequence[str]) -> NDArray[np.uint8]:
    """The last step of a cheapest alignment of all prefixes, [reference + 1, hypothesis + 1]."""
    numbers: dict[str, int] = {}
    left = [numbers.setdefault(word, len(numbers)) for word in reference]
    right = np.array(
        [numbers.setdefault(word, len(numbers)) for word in hypothesis], dtype=np.int64
    )
    columns = np.arange(len(right) + 1, dtype=np.int32)
    steps = np.full((len(left) + 1, len(right) + 1), _INSERTED, dtype=np.uint8)
    above = columns
    for row, word in enumerate(left, start=1):
        both = above[:-1] + (right != word)
        best = above + 1
        np.minimum(best[1:], both, out=best[1:])
        # An insertion costs one a step along the row: the least of what stands to the left.
        best = np.minimum.accumulate(best - columns) + columns
        steps[row, best == above + 1] = _DELETED
        steps[row, 1:][best[1:] == both] = _BOTH
        above = best
    return steps


def _again(period: int) -> int:
    """How many words must equal those so many words before them, for a repeat."""
    return period if period >= REPEAT_WORDS else 4 * period


def _longest(same: NDArray[np.bool_]) -> int:
    """The length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))
