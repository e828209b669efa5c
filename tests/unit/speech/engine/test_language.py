"""A job's language is settled from its first windows, in whatever order they come."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.language import SURE, VOTERS, LanguageVote

Ballot = tuple[float, list[tuple[str, float]]]


def ranking(first: str, probability: float) -> list[tuple[str, float]]:
    others = [code for code in ("de", "en", "fr", "ja") if code != first]
    return [(first, probability), *((code, (1 - probability) / 3) for code in others)]


ballots = st.tuples(
    st.floats(0.0, 30.0),
    st.builds(ranking, st.sampled_from(["de", "en", "fr", "ja"]), st.floats(0.25, 0.999)),
)


def test_a_sure_first_window_decides_alone() -> None:
    vote = LanguageVote()
    assert vote.result() is None
    vote.cast(0, 5.0, ranking("ja", SURE))
    result = vote.result()
    assert result is not None
    assert (result.code, result.probability, result.detected) == ("ja", SURE, True)


def test_an_unsure_one_asks_the_next_and_speech_weighs() -> None:
    vote = LanguageVote()
    assert [vote.asks(index) for index in range(5)] == [True, False, False, False, False]
    vote.cast(0, 1.0, ranking("de", 0.4))
    assert vote.result() is None
    assert [vote.asks(index) for index in range(5)] == [True, True, True, False, False]
    vote.cast(2, 20.0, ranking("fr", 0.45))
    assert vote.result() is None
    vote.cast(1, 1.0, ranking("de", 0.45))
    result = vote.result()
    assert result is not None
    assert result.code == "fr"


def test_a_file_of_two_windows_is_settled_with_two() -> None:
    vote = LanguageVote()
    vote.cast(0, 3.0, ranking("en", 0.3))
    vote.cast(1, 3.0, ranking("en", 0.35))
    assert vote.result() is None
    vote.end(2)
    assert vote.result() is not None


def test_a_file_without_windows_has_no_language() -> None:
    vote = LanguageVote()
    vote.end(0)
    assert vote.result() is None


def test_a_later_window_has_no_say() -> None:
    vote = LanguageVote()
    vote.cast(VOTERS, 30.0, ranking("ja", 0.99))
    assert vote.result() is None


@given(st.lists(ballots, min_size=1, max_size=5))
def test_the_result_does_not_depend_on_the_order_of_events(cast: list[Ballot]) -> None:
    def settle(order: tuple[int, ...], end_at: int) -> object:
        vote = LanguageVote()
        for step, index in enumerate(order):
            if step == end_at:
                vote.end(len(cast))
            vote.cast(index, *cast[index])
        vote.end(len(cast))
        return vote.result()

    expected = settle(tuple(range(len(cast))), len(cast))
    assert expected is not None
    voters = range(min(VOTERS, len(cast)))
    # Windows after the voters never change it, and may come at any time.
    rest = tuple(range(len(voters), len(cast)))
    for order in itertools.permutations(voters):
        for end_at in range(len(cast)):
            assert settle(order + rest, end_at) == expected
            assert settle(rest + order, end_at) == expected


@given(st.lists(ballots, min_size=3, max_size=3))
def test_a_vote_never_changes_once_it_is_closed(cast: list[Ballot]) -> None:
    vote = LanguageVote()
    closed = None
    for index, ballot in enumerate(cast):
        vote.cast(index, *ballot)
        result = vote.result()
        if closed is not None:
            assert result == closed
        closed = result
    vote.end(3)
    assert vote.result() == closed
    assert closed is not None
    assert closed.probability == pytest.approx(closed.probability, abs=1e-9)
    assert closed.probability is not None
    assert 0.0 <= closed.probability <= 1.0
