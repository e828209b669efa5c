"""A job's own part of its prompts: what is told of a vocabulary, and that prompts stay few in kind.

The model here spells a phrase as one token a letter, and a comma.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.api import CarryContext, Options
from worker.speech.engine import carry
from worker.speech.engine.own_prompt import OwnPrompt, own_prompt
from worker.speech.model.decoding import Listed

BEGINS, BLANK, COMMA = 50_361, 220, 11
MOST = carry.LENGTHS[-1]


class Letters:
    """See the module."""

    def context(self, options: Options) -> tuple[int, ...]:
        both = (options.hotwords or "") + (options.prompt or "")
        return (BEGINS, *map(ord, both)) if both else ()

    def listed(self, vocabulary: Sequence[str]) -> Listed:
        spelled = tuple((*map(ord, phrase), COMMA) for phrase in vocabulary)
        return Listed(BEGINS, BLANK, spelled)


def own_of(
    vocabulary: Sequence[str], exact: str = "", carry_context: CarryContext = "auto"
) -> OwnPrompt:
    options = Options(
        prompt=exact or None, vocabulary=tuple(vocabulary), carry_context=carry_context
    )
    return own_prompt(Letters(), options, carries=carry_context != "off")


phrases = st.lists(st.text("abcdefgh", min_size=1, max_size=60), max_size=60)
texts = st.text("xyz", max_size=MOST - 1)
modes: st.SearchStrategy[CarryContext] = st.sampled_from(["off", "auto", "on"])
before = st.lists(st.lists(st.integers(1000, 1009), min_size=1, max_size=90), max_size=6)
devices = st.sampled_from([carry.ON_CPU.lengths, carry.ON_CARD.lengths])


@given(phrases, texts, modes, before, devices)
def test_a_prompt_with_a_vocabulary_has_a_length_that_others_have(
    vocabulary: list[str],
    exact: str,
    mode: CarryContext,
    said: list[list[int]],
    lengths: Sequence[int],
) -> None:
    own = own_of(vocabulary, exact, mode)
    if not own.vocabulary:
        assert own.tokens(0, told=False) == own.exact
        return
    alone = own.tokens(0, told=True)
    assert len(alone) in carry.ON_CARD.lengths
    assert set(carry.ON_CARD.lengths) <= set(carry.ON_CPU.lengths)
    carried = carry.prompt(said, own.size, lengths) if mode != "off" else ()
    if carried:
        assert len(own.tokens(len(carried), told=True)) + len(carried) in lengths


@given(phrases, texts, modes, st.integers(0, 90))
def test_it_begins_with_the_filling_and_ends_with_the_senders_exact_text(
    vocabulary: list[str], exact: str, mode: CarryContext, carried: int
) -> None:
    own = own_of(vocabulary, exact, mode)
    told = [ord(letter) for phrase in own.vocabulary for letter in (*phrase, chr(COMMA))]
    without = own.tokens(carried, told=False)
    assert without == ((BEGINS, *map(ord, exact)) if exact else ())
    if own.vocabulary:
        first, *rest = own.tokens(carried, told=True)
        assert first == BEGINS
        filling = rest[: len(rest) - len(told) - len(exact)]
        assert set(filling) <= {BLANK}
        assert not (carried and filling), "the text before the window has the filling's place"
        assert rest[len(filling) :] == [*told, *map(ord, exact)]


@given(phrases, texts, modes)
def test_phrases_are_told_in_their_order_while_they_fit(
    vocabulary: list[str], exact: str, mode: CarryContext
) -> None:
    own = own_of(vocabulary, exact, mode)
    told, left = list(own.vocabulary), list(dict.fromkeys(vocabulary))
    assert own.asked == len(left)
    room = carry.list_room(max(1, len(own.exact)), carries=mode != "off")
    for phrase in left:
        if told and told[0] == phrase:
            room -= len(phrase) + 1
            told.pop(0)
        else:
            assert len(phrase) + 1 > room, "it would have fitted"
    assert not told
    assert room >= 0


def test_the_text_before_a_window_keeps_its_share_of_the_room() -> None:
    many = [f"{number:06}" for number in range(100)]
    own = own_of(many)
    assert MOST - own.size >= carry.WORTH_A_LOOK
    assert own.size + len("000000,") > MOST - carry.WORTH_A_LOOK
    assert len(own.tokens(0, told=True)) == 128
    whole = own_of(many, carry_context="off")
    assert MOST - len("000000,") < whole.size <= MOST
    beside = own_of(many, "x" * 122)
    assert 0 < len(beside.vocabulary) < len(own.vocabulary)
    assert MOST - beside.size >= (MOST - 123) // 2
    assert own_of(many, "x" * (MOST - 1)).vocabulary == ()


@pytest.mark.parametrize(
    ("vocabulary", "told", "asked"),
    [((), 0, 0), (("secret", "hidden"), 2, 2), (("secret",) * 90, 1, 1),
     ([f"secret{number:04}" for number in range(60)], 9, 60), (["secret" * 40], 0, 1)],
)  # fmt: skip
def test_a_note_says_how_many_of_how_many_and_quotes_none(
    vocabulary: Sequence[str], told: int, asked: int
) -> None:
    own = own_of(vocabulary)
    assert (len(own.vocabulary), own.asked) == (told, asked)
    assert bool(own.notes) == (told < asked)
    for note in own.notes:
        assert f"told {told} of the vocabulary's {asked} phrases" in note
        assert "secret" not in note
    assert "secret" not in repr(own)
    assert "secret" not in repr(Options(vocabulary=tuple(vocabulary), prompt="secret"))
