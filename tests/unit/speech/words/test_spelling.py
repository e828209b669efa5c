"""Texts as tokens and back: every character accounted for, no word lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.words.spelling import spell, words_at
from worker.speech.words.trellis import WILDCARD, TokenSpans

DICTIONARY = {"-": 0, "|": 1, "a": 2, "b": 3, "c": 4, "'": 5, "é": 6}


def spans(*edges: tuple[int, int, float]) -> TokenSpans:
    start, end, score = zip(*edges, strict=True)
    return TokenSpans(np.array(start), np.array(end), np.array(score))


def test_words_and_separators() -> None:
    spelling = spell("  Ab  c'É\n", DICTIONARY, spaced=True)
    assert spelling.words == ("Ab", "c'É")
    assert spelling.tokens == (2, 3, 1, 4, 5, 6)
    assert spelling.owners == (0, 0, None, 1, 1, 1)


def test_unknown_characters_are_wildcards() -> None:
    spelling = spell("a1 20%", DICTIONARY, spaced=True)
    assert spelling.tokens == (2, WILDCARD, 1, WILDCARD, WILDCARD, WILDCARD)


def test_a_letter_that_lower_cases_to_two_is_one_wildcard() -> None:
    assert len("İ".lower()) == 2
    assert spell("İa", DICTIONARY, spaced=True).tokens == (WILDCARD, 2)


def test_without_spaces_every_character_is_a_word() -> None:
    spelling = spell("客b 観 。", {"客": 7, "b": 3}, spaced=False)
    assert spelling.words == ("客", "b", "観", "。")
    assert spelling.tokens == (7, 3, WILDCARD, WILDCARD)
    assert spelling.owners == (0, 1, 2, 3)


def test_a_dictionary_without_separator_has_none_between_words() -> None:
    spelling = spell("a | b", {"a": 1, "b": 2}, spaced=True)
    assert spelling.words == ("a", "|", "b")
    assert spelling.tokens == (1, 2)
    assert spelling.owners == (0, 2)


def test_words_take_their_tokens_times_and_mean_score() -> None:
    spelling = spell("ab c", DICTIONARY, spaced=True)
    found = words_at(
        spelling, spans((5, 7, 0.5), (7, 10, 1.0), (10, 20, 0.1), (20, 25, 0.25)), 0.02, 3.0, 4.0
    )
    assert [(word.word, word.start, word.end, word.score) for word in found] == [
        ("ab", 3.1, 3.2, 0.75),
        ("c", 3.4, 3.5, 0.25),
    ]


def test_a_word_without_tokens_gets_the_gap() -> None:
    spelling = spell("a | b", {"a": 1, "b": 2}, spaced=True)
    found = words_at(spelling, spans((0, 10, 0.5), (20, 30, 0.5)), 0.1, 0.0, 3.0)
    assert [(word.word, word.start, word.end, word.score) for word in found] == [
        ("a", 0, 1, 0.5), ("|", 1, 2, None), ("b", 2, 3, 0.5),
    ]  # fmt: skip


def test_without_spans_words_are_spread() -> None:
    found = words_at(spell("aaa b", DICTIONARY, spaced=True), None, 0.02, 10.0, 14.0)
    assert [(word.word, word.start, word.end) for word in found] == [("aaa", 10, 13), ("b", 13, 14)]


@pytest.mark.parametrize("spaced", [True, False])
@given(text=st.text(st.sampled_from("abcÉİ12| \n\t　客。%"), max_size=30), seed=st.integers(0, 99))
def test_no_word_is_lost(spaced: bool, text: str, seed: int) -> None:
    spelling = spell(text, DICTIONARY, spaced=spaced)
    assert "".join(spelling.words) == "".join(text.split())
    if spaced:
        assert " ".join(spelling.words) == " ".join(text.split())
    count = len(spelling.tokens)
    assert len(spelling.owners) == count
    edges = np.sort(np.random.default_rng(seed).choice(200, size=count + 1, replace=False))
    aligned = TokenSpans(edges[:-1], edges[1:], np.full(count, 0.5)) if count else None
    found = words_at(spelling, aligned, 0.02, 1.0, 5.0)
    assert [word.word for word in found] == list(spelling.words)
    at = 1.0
    for word in found:
        assert at <= word.start <= word.end <= 5.0
        at = word.end
