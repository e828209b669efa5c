"""Limits of a text mean the same in every script: right texts stay under them, loops don't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sentences import SENTENCES
from worker.speech.engine.quality import MAX_COMPRESSION
from worker.speech.engine.scripts import compression_ratio, letters, seconds_to_say, words

languages = st.sampled_from(sorted(SENTENCES))


@st.composite
def said(draw: st.DrawFn) -> str:
    """Some different sentences of a language."""
    sentences = SENTENCES[draw(languages)]
    return " ".join(draw(st.permutations(sentences))[: draw(st.integers(1, len(sentences)))])


@given(said())
def test_what_is_said_compresses_little_in_every_script(text: str) -> None:
    assert compression_ratio(text) < MAX_COMPRESSION - 0.5


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_a_sentence_said_four_times_compresses_well_in_every_script(language: str) -> None:
    for sentence in SENTENCES[language]:
        assert compression_ratio(" ".join([sentence] * 4)) > MAX_COMPRESSION
        assert compression_ratio(sentence * 4) > MAX_COMPRESSION


@given(st.text(st.characters(codec="ascii")))
def test_of_ascii_it_is_whispers_own_ratio(text: str) -> None:
    import zlib

    data = text.encode()
    assert compression_ratio(text) == (len(data) / len(zlib.compress(data)) if data else 0.0)


@given(st.text(max_size=80))
def test_repetition_compresses_and_nothing_divides_by_zero(text: str) -> None:
    assert compression_ratio(text) >= 0.0
    if text:
        assert compression_ratio(text * 50) > compression_ratio(text)


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_a_sentence_takes_a_second_at_the_very_least_in_every_script(language: str) -> None:
    sentences = SENTENCES[language]
    mean = sum(map(seconds_to_say, sentences)) / len(sentences)
    assert 0.7 <= mean <= 1.5


@given(st.text(), st.text())
def test_seconds_add_up(one: str, other: str) -> None:
    assert seconds_to_say(one + other) == pytest.approx(seconds_to_say(one) + seconds_to_say(other))


def test_a_wide_character_is_more_than_a_narrow_one() -> None:
    assert seconds_to_say("") == 0.0
    assert seconds_to_say("a" * 40) == pytest.approx(1.0)
    assert seconds_to_say("क" * 40) == pytest.approx(1.0)
    assert seconds_to_say("客" * 15) == pytest.approx(1.0)
    assert seconds_to_say("コ" * 15 + "x" * 20) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't KNOW, don’t I?", ["i", "dont", "know", "dont", "i"]),  # noqa: RUF001
        ("Ça va? — Oui; 3.14 %", ["ça", "va", "oui", "3", "14"]),
        ("हिन्दी में, कहा।", ["हिन्दी", "में", "कहा"]),
        ("客観的、実在。", ["客観的", "実在"]),
        (" ... !", []),
    ],
)
def test_words_are_without_case_and_punctuation(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert letters(text) == "".join(expected)
