"""A job's language is settled from its first windows, in whatever order they come."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.language import (
    DOUBTED,
    ENOUGH_SECONDS,
    MOST_SECONDS,
    VOTERS,
    LanguageVote,
)
from worker.speech.model.detection import SURE, Ranking

Ballot = tuple[float, Ranking, bool]
CODES = ("de", "en", "fr", "ja")


def ranking(first: str, probability: float) -> Ranking:
    others = [code for code in CODES if code != first]
    return ((first, probability), *((code, (1 - probability) / 3) for code in others))


ballots = st.tuples(
    st.floats(0.0, 30.0),
    st.builds(ranking, st.sampled_from(CODES), st.floats(0.25, 0.999)),
    st.booleans(),
)


def voted(cast: list[Ballot], *, ended: bool = False) -> LanguageVote:
    vote = LanguageVote()
    for index, (seconds, ranked, doubted) in enumerate(cast):
        vote.cast(index, seconds, ranked, doubted=doubted)
    if ended:
        vote.end(len(cast))
    return vote


def code_of(vote: LanguageVote) -> str | None:
    result = vote.result()
    return None if result is None else result.code


def test_a_long_sure_window_decides_alone() -> None:
    vote = LanguageVote()
    assert vote.result() is None
    vote.cast(0, ENOUGH_SECONDS, ranking("ja", SURE))
    result = vote.result()
    assert result is not None
    assert (result.code, result.probability, result.detected) == ("ja", SURE, True)


def test_a_first_utterance_of_a_second_decides_nothing_however_sure() -> None:
    # What was detected in a recording in Spanish that begins with one second and a pause.
    first: Ballot = (1.4, (("ar", 0.99), ("es", 0.01)), False)
    second: Ballot = (7.5, (("es", 0.99), ("ar", 0.01)), False)
    third: Ballot = (7.4, (("es", 0.988), ("ar", 0.012)), False)
    assert code_of(voted([first])) is None
    assert code_of(voted([first, second])) is None
    assert code_of(voted([first, second, third])) == "es"
    assert code_of(voted([first, second], ended=True)) == "es"


def test_a_file_of_one_short_window_takes_what_there_is() -> None:
    vote = voted([(0.7, ranking("fr", 0.4), True)])
    assert vote.result() is None
    vote.end(1)
    assert code_of(vote) == "fr"


def test_a_doubted_text_reopens_the_vote_that_its_window_would_have_decided() -> None:
    arabic: Ballot = (20.0, ranking("ja", 0.98), False)
    assert code_of(voted([arabic])) == "ja"
    doubted: Ballot = (20.0, ranking("ja", 0.98), True)
    assert code_of(voted([doubted])) is None
    assert voted([doubted]).asks(1)
    spanish: Ballot = (20.0, ranking("de", 0.98), False)
    assert code_of(voted([doubted, spanish])) == "de"
    # Where all are doubted they count alike, and the vote still ends.
    both: list[Ballot] = [doubted, (19.0, ranking("de", 0.98), True)]
    assert code_of(voted(both, ended=True)) == "ja"
    assert DOUBTED * 26.0 < ENOUGH_SECONDS, "no window decides alone if its text is doubted"


def test_the_first_is_asked_alone_then_two_more_then_the_rest() -> None:
    vote = LanguageVote()
    asked = [index for index in range(VOTERS + 2) if vote.asks(index)]
    assert asked == [0]
    vote.cast(0, 1.0, ranking("de", 0.9))
    assert [index for index in range(VOTERS + 2) if vote.asks(index)] == [0, 1, 2]
    vote.cast(2, 1.0, ranking("de", 0.9))
    assert not vote.asks(3), "the second window hasn't voted"
    vote.cast(1, 1.0, ranking("de", 0.9))
    assert [index for index in range(VOTERS + 2) if vote.asks(index)] == list(range(VOTERS))


def test_most_seconds_win_over_most_windows() -> None:
    greetings: list[Ballot] = [(2.0, ranking("de", 0.99), False)] * 3
    speech: list[Ballot] = [(26.0, ranking("en", 0.95), False)]
    assert code_of(voted(greetings + speech)) == "en"
    assert code_of(voted(speech + greetings)) == "en"


def test_the_pieces_of_a_window_vote_instead_of_the_whole() -> None:
    # What was detected in 19 s of English before 5 s of German.
    whole = (("de", 0.92), ("en", 0.08))
    pieces = [(("en", 0.99), ("de", 0.01))] * 5 + [(("de", 0.99), ("en", 0.01))] * 2
    vote = LanguageVote()
    vote.cast(0, 24.1, whole, pieces)
    assert code_of(vote) == "en"


def test_an_unsure_vote_ends_when_much_was_heard() -> None:
    unsure: Ballot = (MOST_SECONDS / 3 + 0.1, ranking("de", 0.4), False)
    assert code_of(voted([unsure] * 2)) is None
    assert code_of(voted([unsure] * 3)) == "de"


def test_a_file_without_windows_has_no_language() -> None:
    assert voted([], ended=True).result() is None


def test_a_later_window_has_no_say() -> None:
    vote = LanguageVote()
    vote.cast(VOTERS, 30.0, ranking("ja", 0.99))
    assert vote.result() is None


@given(st.lists(ballots, min_size=1, max_size=5), st.data())
def test_the_result_does_not_depend_on_the_order_of_events(
    cast: list[Ballot], data: st.DataObject
) -> None:
    def settle(order: tuple[int, ...], end_at: int) -> object:
        vote = LanguageVote()
        for step, index in enumerate(order):
            if step == end_at:
                vote.end(len(cast))
            seconds, ranked, doubted = cast[index]
            vote.cast(index, seconds, ranked, doubted=doubted)
        vote.end(len(cast))
        return vote.result()

    expected = settle(tuple(range(len(cast))), len(cast))
    assert expected is not None
    for order in itertools.permutations(range(len(cast))):
        end_at = data.draw(st.integers(0, len(cast)))
        assert settle(order, end_at) == expected
        if len(cast) > 3:
            break


@given(st.lists(ballots, min_size=VOTERS, max_size=VOTERS + 2), st.randoms())
def test_a_vote_never_changes_once_it_is_closed(cast: list[Ballot], random: object) -> None:
    order = list(range(len(cast)))
    random.shuffle(order)  # type: ignore[attr-defined]
    vote = LanguageVote()
    closed = None
    for index in order:
        seconds, ranked, doubted = cast[index]
        vote.cast(index, seconds, ranked, doubted=doubted)
        result = vote.result()
        if closed is not None:
            assert result == closed
        closed = result
    vote.end(len(cast))
    assert vote.result() == closed
    assert closed is not None
    assert closed.probability is not None
    assert 0.0 <= closed.probability <= 1.0


@given(st.lists(ballots, min_size=1, max_size=VOTERS))
def test_while_it_is_open_somebody_is_asked_who_has_not_voted(cast: list[Ballot]) -> None:
    vote = LanguageVote()
    asked: set[int] = set()
    for index, (seconds, ranked, doubted) in enumerate(cast):
        if vote.result() is not None:
            return
        asked |= {other for other in range(VOTERS) if vote.asks(other)}
        assert index in asked, "a window that nobody asks is waited for"
        vote.cast(index, seconds, ranked, doubted=doubted)


@given(st.lists(ballots, min_size=1, max_size=VOTERS))
def test_only_languages_that_were_ranked_are_chosen(cast: list[Ballot]) -> None:
    allowed = [
        (seconds, tuple(pair for pair in ranked if pair[0] in ("de", "fr")), doubted)
        for seconds, ranked, doubted in cast
    ]
    assert code_of(voted(allowed, ended=True)) in ("de", "fr")
