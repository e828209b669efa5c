"""Text shared out over stretches of speech: in order, inside them, pauses behind punctuation."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.speech_times import Stretch, clipped, shared_out
from worker.results.timed import timed
from worker.results.transcript import Word

stretches = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(30, 29_000)), min_size=1, max_size=15
).map(
    lambda pairs: [
        ((at - length) / 1000, at / 1000)
        for at, (_, length) in zip(
            accumulate(pause + length for pause, length in pairs), pairs, strict=True
        )
    ]
)
texts = st.one_of(
    st.lists(
        st.sampled_from(["a", "word ", "Zeit, ", "Satz. ", "語", "。", "ไทย", "3", " ", "“"]),
        min_size=1,
        max_size=120,
    ).map("".join),
    st.text(min_size=1, max_size=60),
).map(lambda text: " ".join(text.split()) or "x")


@given(texts, stretches)
def test_every_character_has_its_time_in_a_stretch_and_in_order(
    text: str, where: list[Stretch]
) -> None:
    starts, ends = shared_out(text, where)
    assert len(starts) == len(ends) == len(text)
    for start, end in zip(starts, ends, strict=True):
        assert start <= end
        assert any(low <= start and end <= high for low, high in where)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


@given(stretches, st.floats(0.0, 60.0), st.floats(0.0, 60.0))
def test_what_is_clipped_lies_within(where: list[Stretch], start: float, length: float) -> None:
    found = clipped(where, start, start + length)
    assert all(start <= first < last <= start + length for first, last in found)
    assert all(left[1] <= right[0] for left, right in pairwise(found))
    assert clipped(where, where[0][0], where[-1][1]) == tuple(where)


def said(text: str, *where: Stretch) -> list[str]:
    """The text of each stretch."""
    starts, _ = shared_out(text, where)
    return [
        "".join(
            character for character, start in zip(text, starts, strict=True) if low <= start <= high
        ).strip()
        for low, high in where
    ]


def test_one_stretch_is_shared_out_evenly() -> None:
    assert shared_out("abcd", [(2.0, 4.0)]) == ([2.0, 2.5, 3.0, 3.5], [2.5, 3.0, 3.5, 4.0])


def test_no_word_is_said_in_a_pause() -> None:
    starts, ends = shared_out("One two", [(0.0, 1.0), (3.0, 4.0)])
    assert starts == [pytest.approx(at) for at in (0.0, 1 / 3, 2 / 3, 1.0, 3.0, 10 / 3, 11 / 3)]
    assert ends == [pytest.approx(at) for at in (1 / 3, 2 / 3, 1.0, 1.0, 10 / 3, 11 / 3, 4.0)]


def test_a_pause_stands_where_a_sentence_ends_though_speech_is_uneven() -> None:
    # At one even rate the first stretch would end with "dog".
    text = "The dog barked. It had seen a cat."
    assert said(text, (0.0, 0.6), (1.4, 3.4)) == ["The dog barked.", "It had seen a cat."]
    assert said(text, (0.0, 1.5), (2.3, 3.4)) == ["The dog barked.", "It had seen a cat."]


def test_a_pause_far_from_punctuation_stands_between_two_words() -> None:
    text = "He came in and did not say a single word to anybody at all that day."
    first, second = said(text, (0.0, 2.0), (2.3, 4.0))
    assert f"{first} {second}" == text
    assert abs(len(first) - len(second)) < 12


def test_scripts_without_spaces_are_parted_at_their_punctuation() -> None:
    text = "私は学生です。あなたは先生ですか、それとも学生ですか。"
    assert said(text, (0.0, 1.6), (2.4, 6.0)) == ["私は学生です。", text[7:]]


def test_words_that_spell_the_text_come_before_its_speech() -> None:
    words = [Word(word="One", start=0.1, end=0.4), Word(word="two", start=0.5, end=0.9)]
    speech = [(0.0, 0.5), (0.7, 1.0)]
    assert timed("One two", words, 0, 1000, speech).starts[4] == 500.0
    assert timed("One two", [], 0, 1000, speech).starts[4] == 700.0
    assert timed("One two", words[:1], 0, 1000, speech).starts[4] == 700.0
    # Of the speech counts what lies within the text's own times.
    assert timed("One two", [], 0, 500, speech).ends[-1] == 500.0
    assert timed("One two", [], 2000, 3000, speech).starts[0] == 2000.0


def test_a_text_of_one_word_is_said_in_one_stretch() -> None:
    assert sorted(said("Hello.", (0.0, 0.1), (0.5, 1.0))) == ["", "Hello."]


def test_however_long_a_text_is_its_pauses_are_found_in_time() -> None:
    """A person may put any text in the place of what was heard (`corrections`)."""
    where = [(float(at), at + 0.5) for at in range(10)]
    starts, _ = shared_out("word, " * 16_000 + "end", where)
    assert len(starts) == 96_003
