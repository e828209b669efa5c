"""Word error rates, and whether a difference between two of them means anything (pure).

Texts are compared after `normalize`: lower case, hyphens and dashes to spaces, all other
punctuation removed, split at white space. Numbers are left as they are written ('1455' is not
'fourteen fifty-five'), so rates are comparable between contestants, not with other papers.
It is a measure for languages that put spaces between words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "errors_by_clip", "normalize", "paired_interval", "word_error_rate"]

RESAMPLES = 10_000
"""Bootstrap resamples; the interval's ends then move by about 0.01 points between seeds."""

LEVEL = 0.95

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
    return "".join(characters).split()


def errors_by_clip(references: Sequence[Sequence[str]], hypothesis: Sequence[str]) -> list[int]:
    """Word errors of one text against clips that were said one after the other.

    The text is aligned with the joined references by the least number of substitutions,
    deletions and insertions (Levenshtein); each error is counted for the clip of its reference
    word, an insertion for the clip of the word before it. Takes (words + 1) x (words + 1)
    cells of 4 bytes.

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
    table = _distances(joined, hypothesis)
    row, column = len(joined), len(hypothesis)
    while row or column:
        cost = table[row, column]
        if row and column:
            wrong = int(joined[row - 1] != hypothesis[column - 1])
            if cost == table[row - 1, column - 1] + wrong:
                errors[owners[row - 1]] += wrong
                row, column = row - 1, column - 1
                continue
        errors[owners[max(row - 1, 0)]] += 1
        if row and cost == table[row - 1, column] + 1:
            row -= 1
        else:
            column -= 1
    return errors


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


def _distances(reference: Sequence[str], hypothesis: Sequence[str]) -> NDArray[np.int32]:
    """The table of edit distances of all prefixes, shape [reference + 1, hypothesis + 1]."""
    numbers: dict[str, int] = {}
    left = [numbers.setdefault(word, len(numbers)) for word in reference]
    right = np.array(
        [numbers.setdefault(word, len(numbers)) for word in hypothesis], dtype=np.int64
    )
    steps = np.arange(len(right) + 1, dtype=np.int32)
    table = np.empty((len(left) + 1, len(right) + 1), dtype=np.int32)
    table[0] = steps
    for row, word in enumerate(left, start=1):
        above = table[row - 1]
        best = above + 1
        np.minimum(best[1:], above[:-1] + (right != word), out=best[1:])
        # An insertion costs one a step along the row: the least of what stands to the left.
        table[row] = np.minimum.accumulate(best - steps) + steps
    return table
