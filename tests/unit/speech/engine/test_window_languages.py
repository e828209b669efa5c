"""Each window of a multilingual file gets its language, in whatever order they come."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.window_languages import (
    AHEAD,
    Decision,
    WindowLanguages,
    seconds_by_language,
)
from worker.speech.model.detection import SURE, Ranking, certainty

Heard = tuple[float, Ranking]
CODES = ("de", "en", "fr", "ja")


def ranking(first: str, probability: float, second: str | None = None) -> Ranking:
    """A ranking; `second` gets half of what is left."""
    others = [code for code in CODES if code not in (first, second)]
    left = 1.0 - probability
    shares = [(first, probability)]
    if second is not None:
        shares.append((second, left / 2))
        left /= 2
    return tuple(shares + [(code, left / len(others)) for code in others])


def sure(code: str) -> Heard:
    return (20.0, ranking(code, 0.97))


def unsure(code: str, second: str | None = None, *, probability: float = 0.6) -> Heard:
    return (1.0, ranking(code, probability, second))


def hear_all(
    heard: list[Heard], order: list[int] | None = None, *, end_first: bool = False
) -> list[str | None]:
    """The language of each window, None where it isn't decided."""
    languages = WindowLanguages()
    decisions: list[Decision] = []
    if end_first:
        decisions += languages.end(len(heard))
    for index in order or range(len(heard)):
        decisions += languages.hear(index, *heard[index])
    decisions += languages.end(len(heard))
    assert not languages.waits
    found = {decision.index: decision.language for decision in decisions}
    assert len(found) == len(decisions), "a window is decided once"
    return [found.get(index) for index in range(len(heard))]


def test_a_sure_window_is_decided_at_once_whatever_the_others_say() -> None:
    languages = WindowLanguages()
    assert languages.hear(3, *sure("ja")) == (Decision(3, ("ja",)),)
    assert languages.hear(0, *sure("de")) == (Decision(0, ("de",)),)
    assert not languages.waits


def test_a_short_window_between_two_of_one_language_is_in_that() -> None:
    heard = [sure("de"), unsure("en", probability=0.99), sure("de"), unsure("ja"), unsure("en")]
    assert hear_all(heard) == ["de"] * 5


def test_a_short_first_window_waits_for_the_next_and_takes_its_language() -> None:
    languages = WindowLanguages()
    assert languages.hear(0, 1.4, ranking("ja", 0.99)) == ()
    assert languages.waits
    assert languages.hear(1, *sure("fr")) == (Decision(0, ("fr",)), Decision(1, ("fr",)))


def test_between_two_languages_the_windows_rankings_say_where_it_changes() -> None:
    toward_de, toward_fr = unsure("ja", "de"), unsure("ja", "fr")
    run = [sure("de"), toward_de, toward_fr, toward_fr, sure("fr")]
    assert hear_all(run) == ["de", "de", "fr", "fr", "fr"]
    # It changes once: a single doubtful window doesn't make it go back and forth.
    run = [sure("de"), toward_fr, toward_de, toward_de, toward_fr, sure("fr")]
    assert hear_all(run) == ["de", "de", "de", "de", "fr", "fr"]


def test_where_no_window_is_sure_they_vote() -> None:
    assert hear_all([unsure("ja"), unsure("de"), unsure("de")]) == ["de"] * 3


def test_a_long_run_of_unsure_windows_does_not_wait_for_ever() -> None:
    languages = WindowLanguages()
    assert languages.hear(0, *sure("de"))
    for index in range(1, AHEAD + 1):
        assert languages.hear(index, *unsure("ja")) == ()
    # Window 1 has heard enough ahead; the end of the file isn't known.
    assert languages.hear(AHEAD + 1, *unsure("ja")) == (Decision(1, ("de",)),)


def test_a_doubted_text_makes_a_window_of_some_seconds_unsure() -> None:
    languages = WindowLanguages()
    languages.hear(0, *sure("de"))
    assert languages.hear(1, 5.0, ranking("en", 0.9), doubted=True) == ()
    assert languages.hear(2, *sure("de")) == (Decision(1, ("de",)), Decision(2, ("de",)))
    assert languages.hear(3, 5.0, ranking("en", 0.9)) == (Decision(3, ("en",)),)


def test_a_window_of_two_languages_is_divided_where_its_pieces_say() -> None:
    whole = ranking("de", 0.6, "fr")
    pieces = [ranking("de", 0.95), ranking("de", 0.5, "fr"), ranking("fr", 0.95)]
    (decision,) = WindowLanguages().hear(0, 12.0, whole, pieces)
    assert decision == Decision(0, ("de", "de", "fr"))
    assert decision.language is None
    # One unsure piece is no change of language.
    pieces = [ranking("de", 0.95), ranking("fr", 0.6), ranking("de", 0.95)]
    (decision,) = WindowLanguages().hear(0, 12.0, whole, pieces)
    assert decision.language == "de"


def test_pieces_that_say_nothing_leave_it_to_the_whole_window() -> None:
    pieces = [ranking("ja", 0.5), ranking("en", 0.5), ranking("ja", 0.5)]
    assert WindowLanguages().hear(0, 12.0, ranking("de", 0.9), pieces) == (Decision(0, ("de",)),)


def test_neighbours_of_a_divided_window_go_with_the_part_beside_them() -> None:
    languages = WindowLanguages()
    pieces = [ranking("de", 0.95), ranking("fr", 0.95), ranking("fr", 0.95)]
    assert languages.hear(0, *unsure("ja")) == ()
    found = languages.hear(1, 12.0, ranking("fr", 0.6, "de"), pieces)
    assert found == (Decision(0, ("de",)), Decision(1, ("de", "fr", "fr")))
    languages.end(3)
    assert languages.hear(2, *unsure("ja")) == (Decision(2, ("fr",)),)


heards = st.one_of(
    st.builds(sure, st.sampled_from(CODES)),
    st.builds(
        lambda code, second, probability: unsure(
            code, None if code == second else second, probability=probability
        ),
        st.sampled_from(CODES),
        st.sampled_from(CODES),
        st.sampled_from((0.31, 0.43, 0.59, 0.73, 0.97)),
    ),
)


@given(st.lists(heards, min_size=1, max_size=12), st.data())
def test_the_languages_do_not_depend_on_the_order_of_events(
    heard: list[Heard], data: st.DataObject
) -> None:
    expected = hear_all(heard)
    assert None not in expected
    order = data.draw(st.permutations(range(len(heard))))
    assert hear_all(heard, order, end_first=data.draw(st.booleans())) == expected
    for code, (seconds, ranked) in zip(expected, heard, strict=True):
        if certainty(seconds, ranked[0][1]) >= SURE:
            assert code == ranked[0][0]


@given(st.lists(heards, min_size=1, max_size=AHEAD), st.data())
def test_a_resumed_file_gets_the_same_languages(heard: list[Heard], data: st.DataObject) -> None:
    expected = hear_all(heard)
    done = data.draw(st.sets(st.integers(0, len(heard) - 1)))
    languages = WindowLanguages()
    found = dict(enumerate(expected))
    decisions: list[Decision] = []
    for index in data.draw(st.permutations(range(len(heard)))):
        if index in done:
            code = expected[index]
            assert code is not None
            decisions += languages.know(index, (code,))
        else:
            decisions += languages.hear(index, *heard[index])
    decisions += languages.end(len(heard))
    assert {decision.index for decision in decisions} == set(range(len(heard))) - done
    for decision in decisions:
        assert decision.language == found[decision.index]


@given(st.lists(heards, min_size=1, max_size=12))
def test_the_language_changes_at_most_once_between_two_sure_windows(heard: list[Heard]) -> None:
    found = hear_all(heard)
    anchors = [at for at, (seconds, _) in enumerate(heard) if seconds > 2.0]
    for left, right in itertools.pairwise(anchors):
        if right - left <= AHEAD:
            run = found[left : right + 1]
            assert sum(one != other for one, other in itertools.pairwise(run)) <= 1
            assert set(run) <= {found[left], found[right]}


def test_languages_are_listed_by_their_seconds() -> None:
    windows = [("de", 4.0), ("fr", 5.3), ("de", 1.0004), (None, 9.0), ("en", 5.0004)]
    assert seconds_by_language(windows) == (("fr", 5.3), ("de", 5.0), ("en", 5.0))
    assert seconds_by_language([]) == ()


@given(st.lists(st.tuples(st.sampled_from(CODES), st.floats(0.1, 30.0)), max_size=10))
def test_no_second_is_lost_in_the_languages(windows: list[tuple[str, float]]) -> None:
    found = seconds_by_language(windows)
    assert sum(seconds for _, seconds in found) == pytest.approx(
        sum(seconds for _, seconds in windows), abs=0.01
    )
    assert sorted((seconds for _, seconds in found), reverse=True) == [s for _, s in found]
