"""Words keep their promises: inside their span, in order, never overlapping, none lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Word
from worker.speech.words.fit import fill_words, fit_words, spread_words

seconds = st.floats(-10, 100)
texts = st.text("abcé客 1", min_size=1, max_size=5)
words = st.builds(Word, word=texts, start=seconds, end=seconds)
spans = st.tuples(st.floats(0, 60), st.floats(0, 60)).map(lambda pair: tuple(sorted(pair)))


def check(found: list[Word], start: float, end: float) -> None:
    at = start
    for word in found:
        assert at <= word.start <= word.end <= end
        at = word.end


@given(st.lists(words, max_size=10), spans)
def test_fitted_words_keep_their_promises(
    given_words: list[Word], span: tuple[float, float]
) -> None:
    found = fit_words(given_words, *span)
    check(found, *span)
    assert [word.word for word in found] == [word.word for word in given_words]
    assert fit_words(found, *span) == found


def test_words_in_order_stay_where_they_are() -> None:
    good = [Word(word="a", start=1.25, end=1.5, score=0.5), Word(word="b", start=2, end=2.125)]
    assert fit_words(good, 1, 3) == good


def test_an_overlap_goes_to_the_later_word_and_times_are_whole_milliseconds() -> None:
    found = fit_words(
        [Word(word="a", start=0.10049, end=2.0), Word(word="b", start=1.0, end=9.0)], 0, 3
    )
    assert [(word.start, word.end) for word in found] == [(0.1, 1.0), (1.0, 3)]


def test_rounding_does_not_leave_the_span() -> None:
    (word,) = fit_words([Word(word="a", start=1.00049, end=1.99951)], 1.0004, 1.9996)
    assert (word.start, word.end) == (1.0004, 1.9996)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="2 to 1"):
        fit_words([], 2, 1)


@given(st.lists(texts, max_size=10), spans)
def test_spread_words_cover_the_span(given_texts: list[str], span: tuple[float, float]) -> None:
    found = spread_words(given_texts, *span)
    check(found, *span)
    assert [word.word for word in found] == given_texts
    if found:
        assert (found[0].start, found[-1].end) == span


def test_spread_in_proportion_to_characters() -> None:
    found = spread_words(["abc", "d"], 1, 3)
    assert [(word.start, word.end, word.score) for word in found] == [
        (1, 2.5, None),
        (2.5, 3, None),
    ]


@given(st.lists(st.tuples(texts, st.none() | words), max_size=10), spans)
def test_filled_words_lose_nothing(
    pairs: list[tuple[str, Word | None]], span: tuple[float, float]
) -> None:
    given_texts = [text for text, _ in pairs]
    timed = [
        word and word.model_copy(update={"word": text, "end": max(word.start, word.end)})
        for text, word in pairs
    ]
    found = fill_words(given_texts, timed, *span)
    check(found, *span)
    assert [word.word for word in found] == given_texts


def test_words_without_times_share_the_gap_between_their_neighbours() -> None:
    timed = [None, Word(word="b", start=2, end=3), None, None, Word(word="e", start=5, end=6), None]
    found = fill_words(["a", "b", "c", "dd", "e", "f"], timed, 1, 7)
    assert [(word.start, word.end) for word in found] == [
        (1, 2), (2, 3), (3, 3.667), (3.667, 5), (5, 6), (6, 7),
    ]  # fmt: skip
