"""What is made of a model's ranking of languages."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.model.detection import (
    PIECE_SECONDS,
    SURE,
    Ranking,
    among,
    average,
    certainty,
    pieces,
    spoken,
)

CODES = ("de", "en", "fr", "ja")


def ranking(shares: list[float]) -> Ranking:
    total = sum(shares)
    found = [(code, share / total) for code, share in zip(CODES, shares, strict=True)]
    return tuple(sorted(found, key=lambda pair: -pair[1]))


rankings = st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4).map(ranking)


def test_no_window_of_a_second_is_sure_and_one_of_four_is_if_its_probability_is_high() -> None:
    assert certainty(1.0, 1.0) < SURE
    assert certainty(1.5, 1.0) < SURE
    assert certainty(3.0, 0.9) >= SURE
    assert certainty(3.0, 0.7) < SURE
    assert certainty(26.0, SURE + 0.001) >= SURE


@given(st.floats(0.0, 30.0), st.floats(0.0, 30.0), st.floats(0.0, 1.0))
def test_more_speech_is_never_less_certain_nor_more_than_the_probability(
    one: float, other: float, probability: float
) -> None:
    shorter, longer = sorted((one, other))
    assert 0.0 <= certainty(shorter, probability) <= certainty(longer, probability) <= probability


@given(rankings, st.sets(st.sampled_from(CODES), min_size=1))
def test_of_the_languages_allowed_the_order_stays_and_they_add_up_to_one(
    ranked: Ranking, allowed: set[str]
) -> None:
    left = among(ranked, allowed)
    assert [code for code, _ in left] == [code for code, _ in ranked if code in allowed]
    assert sum(probability for _, probability in left) == pytest.approx(1.0)
    assert dict(among(left, allowed)) == pytest.approx(dict(left))


def test_any_language_may_be_detected_where_none_are_named() -> None:
    ranked = ranking([1.0, 2.0, 3.0, 4.0])
    assert among(ranked, ()) == ranked


def test_languages_that_the_model_gives_nothing_are_equally_likely() -> None:
    assert among((("en", 1.0), ("de", 0.0)), ("de", "fr")) == (("de", 0.5), ("fr", 0.5))


@given(rankings)
def test_the_likeliest_language_is_always_spoken(ranked: Ranking) -> None:
    assert spoken(ranked)[0] == ranked[0][0]


def test_a_second_language_is_heard_from_a_few_hundredths_on() -> None:
    assert spoken((("de", 0.945), ("fr", 0.047), ("nn", 0.002))) == ("de", "fr")
    assert spoken((("pt", 0.943), ("ru", 0.017), ("pl", 0.009))) == ("pt",)


@given(st.lists(rankings, min_size=1, max_size=5))
def test_an_average_is_a_ranking_too(some: list[Ranking]) -> None:
    found = average(some)
    assert sum(probability for _, probability in found) == pytest.approx(1.0)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
    assert dict(average(some[:1])) == pytest.approx(dict(some[0]))


@given(st.floats(0.0, 30.0))
def test_pieces_have_one_length_and_leave_nothing_out(seconds: float) -> None:
    found = pieces(seconds)
    if seconds < 2 * PIECE_SECONDS:
        assert found == ()
        return
    assert found[0][0] == 0.0
    assert found[-1][1] == pytest.approx(seconds)
    for start, end in found:
        assert end - start == pytest.approx(PIECE_SECONDS)
    for (_, end), (start, _) in itertools.pairwise(found):
        assert start <= end + 1e-9
