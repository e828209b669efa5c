from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.bench.phrases import find_phrases
from worker.results.transcript import Word

RATE = 16_000

SPOKEN = 0.5
"""Seconds of each word."""


def recording(gaps: list[float]) -> tuple[NDArray[np.float32], list[Word]]:
    """Words of half a second with gaps between them; their times are exact."""
    rng = np.random.default_rng(0)
    parts, words = [], []
    at = 0.0
    for number, gap in enumerate([*gaps, 0.0]):
        words.append(Word(word=f"spoken{number}", start=at, end=at + SPOKEN))
        parts.append(rng.standard_normal(round(SPOKEN * RATE)) * 0.1)
        parts.append(rng.standard_normal(round(gap * RATE)) * 1e-4)
        at += SPOKEN + gap
    return np.concatenate(parts).astype(np.float32), words


def texts(samples: NDArray[np.float32], words: list[Word]) -> list[str]:
    return [phrase.text for phrase in find_phrases(samples, words, 0.4, 1.4)]


def test_phrases_lie_between_gaps() -> None:
    samples, words = recording([0.3, 0.02, 0.3])
    assert texts(samples, words) == ["spoken0", "spoken1 spoken2", "spoken3"]
    first, second, third = find_phrases(samples, words, 0.4, 1.4)
    assert (first.start, third.end) == (0, len(samples))
    assert first.end == second.start
    assert abs(first.end / RATE - 0.65) < 0.02


def test_a_short_gap_needs_punctuation() -> None:
    samples, words = recording([0.13])
    assert texts(samples, words) == ["spoken0 spoken1"]
    words[0] = words[0].model_copy(update={"word": "spoken,"})
    assert texts(samples, words) == ["spoken,", "spoken, spoken1", "spoken1"]


def test_a_word_that_reaches_over_a_gap_is_in_doubt() -> None:
    samples, words = recording([0.3])
    words[0] = words[0].model_copy(update={"end": 0.95})
    assert texts(samples, words) == ["spoken0 spoken1"]


def test_a_word_squeezed_beside_a_gap_is_in_doubt() -> None:
    samples, words = recording([0.3])
    words[1] = words[1].model_copy(update={"end": words[1].start + 0.1})
    assert texts(samples, words) == ["spoken0 spoken1"]


def test_gaps_with_no_word_between_them_are_in_doubt() -> None:
    samples, words = recording([0.3, 0.3])
    del words[1]
    assert texts(samples, words) == []  # 2.1 s, and nothing is certain within


def test_too_many_letters_for_the_time_are_in_doubt() -> None:
    samples, words = recording([0.02, 0.3])
    words[0] = words[0].model_copy(update={"word": "a" * 40})
    assert texts(samples, words) == ["spoken2"]


@given(st.lists(st.floats(0.0, 0.5), max_size=6))
def test_phrases_hold_whole_words_in_order(gaps: list[float]) -> None:
    samples, words = recording(gaps)
    said = " ".join(word.word for word in words)
    for phrase in find_phrases(samples, words, 0.4, 5.0):
        assert phrase.text in said
        inside = [word for word in words if word.word in phrase.text.split()]
        assert phrase.start / RATE <= inside[0].start + 0.03
        assert phrase.end / RATE >= inside[-1].end - 0.03
        for before, after in pairwise(inside):
            assert after.start - before.end < 0.6
