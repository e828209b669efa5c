"""Segments end where the speaker changes: at the end of a sentence, or at the longest pause."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spoken import examples
from tests.windows import spoken, window
from worker.results.sentences import by_sentences, by_speakers
from worker.results.transcript import Segment, Task, Word


def said(*parts: str, pauses: Sequence[float] = (), start: float = 0.0) -> Segment:
    """A window of words, a second each: `A:I A:went. ?:so B:No.`; `?` where nobody is heard.

    Args:
        parts: the words, at spaces.
        pauses: seconds before each word but the first; none left are 0.
        start: of the first.
    """
    words = []
    clock = start
    for number, part in enumerate(" ".join(parts).split()):
        name, _, text = part.partition(":")
        clock += pauses[number - 1] if 0 < number <= len(pauses) else 0.0
        words.append(
            Word(word=text, start=clock, end=clock + 1, speaker=None if name == "?" else name)
        )
        clock += 1
    return window(" ".join(one.word for one in words), start, clock - start, words=words)


def texts(*windows: Segment) -> list[str]:
    return [segment.text for segment in by_sentences(windows, "transcribe")]


def window_texts(*windows: Segment) -> list[str]:
    return [segment.text for segment in by_speakers(windows, "transcribe")]


def test_a_segment_ends_where_the_speaker_changes_without_a_full_stop() -> None:
    spoken_ = said("A:We A:went B:and B:then A:home.")
    first, second, third = by_sentences([spoken_], "transcribe")
    assert (first.text, first.start, first.end) == ("We went", 0.0, 2.0)
    assert (second.text, second.start, second.end) == ("and then", 2.0, 4.0)
    assert (third.text, third.words) == ("home.", spoken_.words[4:])


def test_windows_end_there_too() -> None:
    spoken_ = said("A:We A:went. A:Home. B:Really? A:Yes.")
    assert window_texts(spoken_) == ["We went. Home.", "Really?", "Yes."]
    assert [one.id for one in by_speakers([spoken_, spoken_], "transcribe")] == [0, 1, 2, 3, 4, 5]


def test_a_window_of_one_speaker_stays_as_it_is() -> None:
    windows = [said("A:We ?:went. A:Home."), said("?:Yes.", start=5.0), window("No.", 7.0)]
    kept = by_speakers(windows, "transcribe")
    assert [one.model_copy(update={"id": 0}) for one in kept] == windows


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("A:We A:went ?:home. B:And B:then", ["We went home.", "And then"]),
        ("A:We A:went. ?:Well ?:so B:and", ["We went.", "Well so and"]),
        ("A:We ?:went. ?:Well. B:And", ["We went.", "Well.", "And"]),
    ],
)
def test_what_nobody_is_heard_to_say_is_cut_where_a_sentence_ends(
    words: str, expected: list[str]
) -> None:
    assert texts(said(words)) == expected


@pytest.mark.parametrize(
    ("pauses", "expected"),
    [
        ((0, 0.3, 0.1, 0.2), ["we went", "so so and"]),
        ((0, 0.1, 0.3, 0.2), ["we went so", "so and"]),
        ((0, 0.1, 0.2, 0.3), ["we went so so", "and"]),
        ((0.9, 0.1, 0.2, 0.3), ["we went so so", "and"]),
        ((), ["we went", "so so and"]),
    ],
)
def test_or_at_the_longest_pause_where_none_ends(
    pauses: Sequence[float], expected: list[str]
) -> None:
    spoken_ = said("A:we A:went ?:so ?:so B:and", pauses=pauses)
    assert texts(spoken_) == expected
    assert window_texts(spoken_) == expected


def test_a_window_is_cut_once_at_the_longest_pause_between_sentences() -> None:
    spoken_ = said("A:We A:went. ?:Well. B:And", pauses=(0, 0.1, 0.2))
    assert window_texts(spoken_) == ["We went. Well.", "And"]


def test_what_nobody_is_heard_to_say_changes_nothing() -> None:
    assert texts(said("?:And A:we ?:all A:went ?:home.")) == ["And we all went home."]


def test_an_edge_of_windows_is_a_place_like_others() -> None:
    first, second = said("A:we A:went. ?:Well"), said("?:so B:and B:then.", start=3.5)
    assert texts(first, second) == ["we went.", "Well so and then."]
    assert texts(first, said("B:and A:then.", start=3.5)) == ["we went.", "Well and", "then."]
    assert texts(said("A:we A:went"), said("B:and B:then.", start=2.5)) == ["we went", "and then."]
    assert texts(said("A:we A:went"), said("A:and A:then.", start=2.5)) == ["we went and then."]


def test_windows_without_words_are_parted_by_who_says_most_of_them() -> None:
    def bare(text: str, start: float, speaker: str | None) -> Segment:
        made = window(text, start, 4.0, words=())
        return made.model_copy(update={"speaker": speaker})

    assert texts(bare("we went", 0, "A"), bare("and then.", 4, "B")) == ["we went", "and then."]
    assert texts(bare("we went", 0, "A"), said("B:and", start=4.2)) == ["we went", "and"]
    assert texts(bare("we went", 0, "A"), bare("and then.", 4, "A")) == ["we went and then."]
    assert texts(bare("we went", 0, "A"), bare("and then.", 4, None)) == ["we went and then."]


def test_long_speech_is_cut_between_changes() -> None:
    spoken_ = said("A:so " * 10 + "B:so " * 12, pauses=[0.0] * 15 + [0.5])
    assert [len(one.split()) for one in texts(spoken_)] == [10, 12]


def test_no_word_is_cut_where_none_are_parted_by_spaces() -> None:
    words = [
        Word(word="好吗?我", start=0, end=1, speaker="A"),
        Word(word="「好」", start=1, end=2, speaker="B"),
        Word(word="吧", start=2, end=3, speaker="B"),
    ]
    assert texts(window("好吗?我「好」吧", language="zh", words=words)) == ["好吗?我", "「好」吧"]


CASTS: list[list[str | None]] = [["A"], ["A", "A", None], ["A", "A", "B", None], ["A", "B", "C"]]


@st.composite
def of_speakers(draw: st.DrawFn) -> list[Segment]:
    """Windows whose words have speakers, or none."""
    windows = draw(spoken(kinds=["spelled", "spelled", "heard"]))
    chance = draw(st.randoms(use_true_random=False))
    names: list[str | None] = draw(st.sampled_from(CASTS))
    found = []
    for one in windows:
        words = []
        speaker: str | None = None
        for word in one.words:
            if chance.random() < 0.4:
                speaker = chance.choice(names)
            words.append(word.model_copy(update={"speaker": speaker}))
        found.append(
            one.model_copy(update={"words": tuple(words), "speaker": chance.choice(names)})
        )
    return found


def speakers_of(segment: Segment) -> set[str | None]:
    return {word.speaker for word in segment.words} - {None}


@given(of_speakers(), st.sampled_from(["transcribe", "translate"]))
@examples
def test_no_segment_is_of_two_speakers_and_nothing_is_lost(
    windows: list[Segment], task: str
) -> None:
    asked = cast("Task", task)
    for cut in (by_sentences, by_speakers):
        found = cut(windows, asked)
        assert all(len(speakers_of(one)) <= 1 for one in found)
        assert [word for one in found for word in one.words] == [
            word for one in windows for word in one.words
        ]
        assert "".join("".join(one.text for one in found).split()) == "".join(
            "".join(one.text for one in windows).split()
        )
        assert [one.id for one in found] == list(range(len(found)))
        clock = 0.0
        for one in found:
            assert clock <= one.start <= one.end
            clock = one.end
            assert all(one.start <= word.start <= word.end <= one.end for word in one.words)


@given(of_speakers())
@examples
def test_a_window_is_cut_no_more_often_than_its_speaker_changes(windows: list[Segment]) -> None:
    for one in windows:
        names = [word.speaker for word in one.words if word.speaker]
        changes = sum(left != right for left, right in pairwise(names))
        parts = by_speakers([one], "transcribe")
        assert len(parts) == changes + 1
        assert not names or all(speakers_of(part) for part in parts)


@given(of_speakers())
@examples
def test_where_one_speaks_sentences_are_those_of_nobody(windows: list[Segment]) -> None:
    def all_by(speaker: str | None) -> list[tuple[str, float, float]]:
        told = [
            one.model_copy(
                update={
                    "speaker": speaker,
                    "words": tuple(
                        word.model_copy(update={"speaker": speaker}) for word in one.words
                    ),
                }
            )
            for one in windows
        ]
        return [(one.text, one.start, one.end) for one in by_sentences(told, "transcribe")]

    assert all_by("A") == all_by(None)
