"""Words in whose time two are heard: who says the rest of their sentence says them too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spoken import examples
from tests.windows import window
from worker.results.at_once import by_their_sentences
from worker.results.sentences import by_sentences
from worker.results.transcript import Segment, Word


class Talk:
    """Windows of words, a second each: `A:I AB:went. BA:No. ?:so`, the louder one first.

    Args:
        parts: of each window, the words at spaces; `?` where nobody is heard.
        pauses: seconds before words, by their number in all; others follow at once.
    """

    def __init__(self, *parts: str, pauses: dict[int, float] | None = None) -> None:
        self._heard: dict[float, str] = {}
        self.windows: list[Segment] = []
        clock = 0.0
        number = 0
        for part in parts:
            words = []
            for entry in part.split():
                names, _, text = entry.partition(":")
                clock += (pauses or {}).get(number, 0.0)
                names = names.replace("?", "")
                self._heard[clock] = names
                words.append(
                    Word(word=text, start=clock, end=clock + 1, speaker=names[0] if names else None)
                )
                clock += 1
                number += 1
            text = " ".join(word.word for word in words)
            start = words[0].start
            self.windows.append(window(text, start, clock - start, words=words))

    def heard(self, word: Word) -> frozenset[str]:
        return frozenset(self._heard[word.start])

    def told(self) -> list[Segment]:
        return list(by_their_sentences(self.windows, "transcribe", self.heard))

    def speakers(self) -> str:
        """Of all words, `?` for nobody."""
        return "".join(word.speaker or "?" for one in self.told() for word in one.words)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("A:Neither A:did BA:I. B:Okay.", "AAAB"),
        ("B:Okay. BA:There A:was A:another.", "BAAA"),
        ("BA:There BA:was A:another AB:which BA:stood.", "AAAAA"),
        ("A:We BA:all A:went.", "AAA"),
        ("A:We ?:all BA:went.", "A?A"),
        ("?:We BA:all A:went.", "?AA"),
    ],
)
def test_a_word_that_two_are_heard_in_has_the_speaker_of_its_sentence(
    said: str, expected: str
) -> None:
    assert Talk(said).speakers() == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("A:We AB:all BA:went B:home.", "AABB"),
        ("A:Yes. BA:We AB:went. B:No.", "ABAB"),
        ("A:We BC:all B:went.", "ABB"),
        ("A:We BC:all BC:went.", "ABB"),
        ("A:We BC:all BA:went.", "ABB"),
        ("A:We B:all A:went.", "ABA"),
        ("A:We ?:went.", "A?"),
    ],
)
def test_other_words_stay_with_whom_they_had(said: str, expected: str) -> None:
    assert Talk(said).speakers() == expected


def test_a_sentence_goes_over_windows_as_far_as_they_are_read_as_one() -> None:
    assert Talk("A:We A:went", "BA:home. B:No.", pauses={2: 0.5}).speakers() == "AAAB"
    assert Talk("A:We A:went", "BA:home. B:No.", pauses={2: 1.5}).speakers() == "AABB"


def test_a_long_pause_ends_it() -> None:
    assert Talk("A:We A:went BA:home.", pauses={2: 1.9}).speakers() == "AAA"
    assert Talk("A:We A:went BA:home.", pauses={2: 2.1}).speakers() == "AAB"


def test_what_two_are_heard_in_tears_no_sentence() -> None:
    talk = Talk("A:Neither A:did BA:I. BA:Okay. B:Well.")
    assert [one.text for one in by_sentences(talk.told(), "transcribe")] == [
        "Neither did I.",
        "Okay.",
        "Well.",
    ]


NAMES = st.sampled_from(["A", "A", "B", "C", "?", "AB", "BA", "AC", "BC", "CB", "ABC"])


@given(st.lists(st.lists(NAMES, min_size=1, max_size=12), min_size=1, max_size=3))
@examples
def test_each_word_is_of_one_who_is_heard_and_no_sentence_is_torn_more_often(
    parts: Sequence[Sequence[str]],
) -> None:
    talk = Talk(*(" ".join(f"{names}:so" for names in part) for part in parts))
    before = [word for one in talk.windows for word in one.words]
    after = [word for one in talk.told() for word in one.words]
    assert [len(one.words) for one in talk.told()] == [len(one.words) for one in talk.windows]
    for was, word in zip(before, after, strict=True):
        assert word == was.model_copy(update={"speaker": word.speaker})
        assert word.speaker == was.speaker or {word.speaker, was.speaker} <= {*talk.heard(word)}
    # All is one sentence.
    assert _changes(after) <= _changes(before)


def _changes(words: Sequence[Word]) -> int:
    speakers = [word.speaker for word in words if word.speaker]
    return sum(one != following for one, following in pairwise(speakers))
