"""Pauses in a log-mel, and words that leave them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Word
from worker.speech.words.fit import fit_words
from worker.speech.words.pauses import find_pauses, leave_pauses


def log_mel(*parts: tuple[float, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Parts of (seconds, loudness) as 80 bands with a little texture."""
    rng = np.random.default_rng(0)
    frames = np.concatenate([np.full(round(length * 100), level) for length, level in parts])
    texture = rng.uniform(-0.2, 0.0, size=(80, len(frames)))
    return (frames + texture).astype(np.float32)


def word(text: str, start: float, end: float) -> Word:
    return Word(word=text, start=start, end=end)


def times(words: list[Word]) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in words]


def test_pauses_are_silences_of_some_length() -> None:
    features = log_mel((0.3, -1), (1, 1), (0.1, -1), (1, 1), (0.5, -1), (1, 1), (0.2, -1))
    assert find_pauses(features.max(axis=0)) == [
        pytest.approx((0, 0.3)), pytest.approx((2.4, 2.9)), pytest.approx((3.9, 4.1)),
    ]  # fmt: skip


def test_steady_sound_has_no_pauses() -> None:
    assert find_pauses(log_mel((10, 0.5)).max(axis=0)) == []


def test_an_empty_window_has_no_pauses() -> None:
    assert find_pauses(np.zeros(0, dtype=np.float32)) == []


def test_a_word_starts_after_the_pause_and_gives_back_what_sounded_before_it() -> None:
    words = [word("before", 0.5, 1.0), word("after", 1.0, 2.5)]
    assert times(leave_pauses(words, [(1.2, 2.0)], 9)) == [(0.5, 1.2), (2.0, 2.5)]


def test_a_word_ends_where_the_pause_begins() -> None:
    words = [word("last", 0.5, 1.9)]
    assert times(leave_pauses(words, [(0.0, 0.4), (1.2, 2.0)], 9)) == [(0.5, 1.2)]
    assert times(leave_pauses([word("last", 0.5, 1.0)], [(1.2, 2.0)], 9)) == [(0.5, 1.2)]


def test_a_word_ends_where_the_next_begins_or_the_window_ends() -> None:
    words = [word("a,", 0.5, 0.8), word("b.", 1.0, 1.3)]
    assert times(leave_pauses(words, [], 1.5)) == [(0.5, 1.0), (1.0, 1.5)]


def test_what_is_not_soon_after_a_words_end_does_not_move_it() -> None:
    words = [word("a", 0.5, 1.0), word("b", 2.0, 2.3)]
    assert times(leave_pauses(words, [(1.5, 1.8)], 9)) == times(words)
    assert times(leave_pauses(words, [], 9)) == times(words)


def test_a_pause_behind_the_next_word_moves_nothing() -> None:
    words = [word("a", 0.5, 1.0), word("b", 1.0, 1.3)]
    assert times(leave_pauses(words, [(1.3, 2.0)], 9)) == times(words)


def test_a_word_in_a_pause_stays() -> None:
    assert times(leave_pauses([word("a", 1.0, 1.5)], [(0.5, 2.0)], 9)) == [(1.0, 1.5)]


@given(
    edges=st.lists(st.floats(0, 30), min_size=2, max_size=20),
    breaks=st.lists(st.floats(0, 30), max_size=12),
)
def test_order_is_kept(edges: list[float], breaks: list[float]) -> None:
    edges.sort()
    breaks.sort()
    words = [word("w", start, end) for start, end in pairwise(edges)]
    pauses = list(zip(breaks[::2], breaks[1::2], strict=False))
    found = leave_pauses(words, pauses, 30)
    at = 0.0
    for moved in found:
        assert at <= moved.start <= moved.end
        at = moved.end
    for moved, fitted in zip(found, fit_words(found, 0, 30), strict=True):
        assert fitted.start == pytest.approx(moved.start, abs=6e-4)
        assert fitted.end == pytest.approx(moved.end, abs=6e-4)
