"""What is said again is found in every script, and what only sounds like it is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.sentences import SENTENCES, encode
from worker.speech.engine.repeats import echoes, recites, said_once, says_again, says_often
from worker.speech.engine.scripts import letters, seconds_to_say

languages = st.sampled_from(sorted(SENTENCES))


@st.composite
def split(draw: st.DrawFn) -> tuple[str, str]:
    """The sentences of a language in some order, cut into two texts that aren't empty."""
    sentences = draw(st.permutations(SENTENCES[draw(languages)]))
    middle = draw(st.integers(1, len(sentences) - 1))
    return " ".join(sentences[:middle]), " ".join(sentences[middle:])


@pytest.mark.parametrize(
    "text",
    [
        "Has never been surpassed. Has never been surpassed.",
        "It is in no way like the type of Subiaco The type of Subiaco.",
        "So we went, went on to, on to, on to it, and on and on and on and on and on.",
        "No, no. No, no, no!",
        "Venice. Venice.",
        "ありがとう。ありがとう。",
        "今日は天気がいい今日は天気がいいですね",
        "ผ่านเกิดหนักจันวิต อราชียลาลลลลลลลลลลลลลลลลลลลลลล",
        "சுடன்திமாடமே பிரக்கின்றனர் ராஜாஜாஜாஜாஜாஜாஜாஜாஜா",
        "tatatatatatatatatatatata",
    ],
)
def test_what_follows_itself_is_said_again(text: str) -> None:
    assert says_again(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        "papa",
        "ママ",
        "谢谢",
        "慢慢走。",
        "Very, very good, and that that is is that.",
        "One, two, three, four, five, six, seven, eight, nine, ten.",
        "Row, row, row your boat, gently down the stream.",
        "The more they have, the more they want, and the more they get.",
        "To the left, to the right, to the left, and to the right again.",
        "He said that he would come, and he said that he would stay.",
    ],
)
def test_what_is_only_like_itself_is_not(text: str) -> None:
    assert not says_again(text)


def test_often_is_three_times_wherever() -> None:
    line = "The type of Subiaco, {}, and the type of Subiaco once more."
    assert not says_often(line.format("so they say"))
    assert says_often(line.format("the type of Subiaco"))
    assert not says_often("")


@given(split())
def test_a_sentence_three_times_is_often_in_every_script(texts: tuple[str, str]) -> None:
    one, other = texts
    assert not says_often(f"{one} {other}")
    assert not says_often(f"{one} {other} {one}")
    assert says_often(f"{one} {other} {one} {other} {one}")


@given(split())
def test_ordinary_texts_are_said_once_in_every_script(texts: tuple[str, str]) -> None:
    assert not any(map(says_again, texts))
    assert not says_again(" ".join(texts))


@given(split(), st.integers(2, 4), st.sampled_from(["", " "]))
def test_a_sentence_more_than_once_is_found_wherever_it_stands(
    texts: tuple[str, str], times: int, space: str
) -> None:
    one, other = texts
    for text in (
        space.join([one] * times),
        f"{one} {space.join([other] * times)}",
        f"{space.join([one] * times)} {other}",
    ):
        assert says_again(text)
        assert not says_again(said_once(text))


@given(split(), st.integers(1, 4), st.integers(1, 4))
def test_texts_that_differ_in_how_often_are_the_same_said_once(
    texts: tuple[str, str], few: int, many: int
) -> None:
    one, other = texts
    assert said_once(f"{one} {f'{other} ' * few}") == said_once(f"{one} {f'{other} ' * many}")
    assert said_once(one) != said_once(other)


@given(st.text(max_size=60))
def test_nothing_breaks_it(text: str) -> None:
    says_again(text)
    assert said_once(said_once(text)) == said_once(text) == said_once(f"{text} {text}")


def test_the_longest_texts_take_little_time() -> None:
    texts = ["a" * 900, "ab" * 450, " ".join(SENTENCES["ta"]) * 3, "ลา" * 400]
    began = time.perf_counter()
    for text in texts:
        assert says_again(text)
        said_once(text)
    assert time.perf_counter() - began < 2.0


@given(split())
def test_a_text_that_goes_on_is_no_echo_in_any_script(texts: tuple[str, str]) -> None:
    before, text = texts
    assert not echoes(text, encode(text), encode(before))
    assert not echoes(text, encode(text), ())


@given(split())
def test_a_text_that_was_there_before_is_an_echo_in_every_script(texts: tuple[str, str]) -> None:
    new, before = texts
    spoken = encode(before)
    assert echoes(before, spoken, spoken)
    assert echoes(before, spoken, (*encode(new), *spoken))
    assume(seconds_to_say(before) > 1.5)
    assert echoes(f"{new} {before}", (*encode(new), *spoken), spoken)
    assert echoes(before, spoken, spoken[: round(len(spoken) * 1.4 / seconds_to_say(before))])


def test_short_answers_and_common_phrases_are_no_echo() -> None:
    before = encode("Do you know what I mean? Yes, sure. I think that it was the end of the day.")
    for text in ("Yes, sure.", "I think that it was not so.", "At the end of the day it rained."):
        assert not echoes(text, encode(text), before)
    for text in ("I think that it was the end of the day.", "Do you know what I mean?"):
        assert echoes(text, encode(text), before)


def test_no_text_is_no_echo() -> None:
    assert not echoes("", (), (1, 2, 3))


NAMES = ("Kubernetes", "Novak Djokovic", "Mississauga", "Szczecin", "東京", "Reykjavik")


@pytest.mark.parametrize(
    "text",
    [
        "Kubernetes,",
        "Novak Djokovic, Mississauga",
        "mississauga szczecin.",
        "東京",
        "東京東京",
        "Djokovic, Reykjavik,",
        "Mississauga, Kubernetes",
        ", ".join(NAMES) + ", and so on.",
    ],
)
def test_a_list_is_recited(text: str) -> None:
    assert recites(text, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "We run Kubernetes.",
        "Djokovics",
        "東京都",
        "Novak Djokovic, Mississauga and Szczecin are three.",
    ],
)
def test_a_text_that_says_phrases_recites_no_list(text: str) -> None:
    assert not recites(text, NAMES)
    assert not recites(text, ())


@given(split(), st.data())
def test_whatever_run_of_a_list_is_said_it_is_recited(
    texts: tuple[str, str], data: st.DataObject
) -> None:
    phrases = " ".join(texts).split()
    start = data.draw(st.integers(0, len(phrases) - 1))
    end = data.draw(st.integers(start + 1, len(phrases)))
    said = ", ".join(phrases[start:end])
    assume(letters(said))
    assert recites(said, phrases)
