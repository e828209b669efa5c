"""The guard: short windows only while they prove themselves."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.audits import MOST, Audits
from worker.speech.engine.batcher import Item, Key, Turn
from worker.speech.engine.guard import (
    FAILED_SHARE,
    FIRST_SHARE,
    FIRST_WORDS,
    MIN_WINDOWS,
    MIN_WORDS,
    SHARE,
    Audit,
    Guard,
    differing_words,
    words,
)
from worker.speech.model.decoding import Decoded, Request
from worker.speech.windows import FULL_POSITIONS

SENTENCE = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "today"]


def audit_share(guard: Guard, windows: int = 20_000) -> float:
    drawn = sum(guard.audit("en", "file", index) is not Audit.NONE for index in range(windows))
    return drawn / windows


def test_short_windows_are_allowed_until_something_speaks_against_them() -> None:
    guard = Guard()
    for _ in range(1_000):
        assert guard.decoded("en", failed=False) == ""
        assert guard.compared("en", SENTENCE, SENTENCE) == ""
    assert guard.allows("en")
    assert guard.allows(None)


def test_too_much_disagreement_ends_short_windows_in_that_language_alone() -> None:
    guard = Guard()
    wrong = [*SENTENCE[:-1], "tomorrow"]
    guard.compared("de", SENTENCE, SENTENCE)
    said = [guard.compared("en", wrong, SENTENCE) for _ in range(MIN_WORDS)]
    sentences = [sentence for sentence in said if sentence]
    assert len(sentences) == 1, "it is said once"
    assert said.index(sentences[0]) == MIN_WORDS // len(SENTENCE) - 1, "as soon as it is known"
    assert "10.0 words in a hundred" in sentences[0]
    assert not guard.allows("en")
    assert guard.why_not("en") == sentences[0]
    assert guard.allows("de")
    assert guard.allows(None), "another language may still be short"


def test_what_full_decoding_shows_against_itself_is_taken_off() -> None:
    guard = Guard()
    wrong = [*SENTENCE[:-1], "tomorrow"]
    for index in range(MIN_WORDS):
        guard.repeated("en", SENTENCE, wrong if index % 2 else SENTENCE)
        guard.compared("en", wrong if index % 2 else SENTENCE, SENTENCE)
    assert guard.allows("en")
    assert guard.excess("en") == pytest.approx(0.0)


def test_failing_checks_end_short_windows_because_they_no_longer_pay() -> None:
    guard = Guard()
    said = [guard.decoded("en", failed=True) for _ in range(MIN_WINDOWS)]
    assert [bool(sentence) for sentence in said] == [False] * (MIN_WINDOWS - 1) + [True]
    assert not guard.allows("en")
    assert not guard.allows(None), "no language that is known may be short"


def test_a_tolerable_share_of_failed_windows_is_lived_with() -> None:
    guard = Guard()
    for index in range(1_000):
        guard.decoded("en", failed=index % 5 == 4)
    assert FAILED_SHARE > 1 / 5
    assert guard.allows("en")


def test_the_share_is_higher_until_enough_words_are_known() -> None:
    guard = Guard()
    assert audit_share(guard) == pytest.approx(FIRST_SHARE, rel=0.15)
    guard.compared("en", ["word"] * FIRST_WORDS, ["word"] * FIRST_WORDS)
    assert audit_share(guard) == pytest.approx(SHARE, rel=0.25)


def test_the_draw_depends_on_the_window_alone() -> None:
    draws = [Guard().audit("en", "file", index) for index in range(500)]
    assert draws == [Guard().audit("en", "file", index) for index in range(500)]
    assert {Audit.FULL, Audit.TWICE} <= set(draws)


def test_nothing_compared_is_not_nothing_wrong() -> None:
    assert math.isnan(Guard().excess("en"))


@given(
    st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12)
)
def test_differing_words_is_a_metric(one: list[str], other: list[str]) -> None:
    distance = differing_words(one, other)
    assert (distance == 0) == (one == other)
    assert distance == differing_words(other, one)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))


def test_texts_are_compared_by_words_or_where_there_are_none_by_characters() -> None:
    assert words("Well -- it's 42, isn't it?") == ["well", "its", "42", "isnt", "it"]
    assert words("ज़िंदगी एक सफ़र है।") == ["ज़िंदगी", "एक", "सफ़र", "है"]
    assert words("客観的実在の判断的知識が成立するのである") == list(
        "客観的実在の判断的知識が成立するのである"
    )


def decoded(text: str) -> Decoded:
    return Decoded(text, (1, 2), -0.2, 0.0, "en", (), ())


def drawn(guard: Guard, audits: Audits, kind: Audit) -> Item:
    index = next(i for i in range(10_000) if guard.audit("en", "file", i) is kind)
    item = audits.offer(
        7,
        name="file",
        index=index,
        request=Request(np.zeros((80, 100), dtype=np.float32), 1.0, "en", "transcribe"),
        text=" ".join(SENTENCE),
        prompt_length=4,
        now=0.0,
    )
    assert item is not None
    return item


def test_an_audit_is_decoded_in_full_and_forgotten() -> None:
    guard = Guard()
    audits = Audits(guard)
    item = drawn(guard, audits, Audit.FULL)
    assert item.key.positions == FULL_POSITIONS
    assert 7 in audits
    assert audits.request(7).language == "en"
    again, sentence = audits.outcome(item, decoded(" ".join([*SENTENCE[:-1], "wrong"])), 1.0)
    assert (again, sentence) == (None, "")
    assert 7 not in audits
    assert guard.excess("en") == pytest.approx(100.0 / len(SENTENCE)), "every word was compared"


def test_some_audits_are_decoded_twice_to_know_the_noise() -> None:
    guard = Guard()
    audits = Audits(guard)
    item = drawn(guard, audits, Audit.TWICE)
    again, _ = audits.outcome(item, decoded(" ".join(SENTENCE)), 1.0)
    assert again is not None
    assert again.ready_at == 1.0
    assert audits.outcome(again, decoded("something else"), 2.0) == (None, "")
    assert 7 not in audits


def test_an_audit_that_fails_decides_nothing() -> None:
    guard = Guard()
    audits = Audits(guard)
    assert audits.outcome(drawn(guard, audits, Audit.TWICE), None, 1.0) == (None, "")
    assert 7 not in audits
    assert math.isnan(guard.excess("en"))


def test_an_engine_that_drifts_is_caught_within_the_bound() -> None:
    """A seeded stream in which short windows get one word in twenty wrong."""
    random_words = random.Random(4)
    guard = Guard()
    compared = 0
    for index in range(10_000):
        if guard.audit("en", "stream", index) is Audit.NONE:
            continue
        compared += len(SENTENCE)
        short = [word if random_words.random() > 0.05 else "wrong" for word in SENTENCE]
        if guard.compared("en", short, SENTENCE):
            break
    assert not guard.allows("en")
    assert compared <= 2 * MIN_WORDS


def test_a_busy_worker_keeps_few_audits() -> None:
    audits = Audits(Guard(first_share=1.0))

    def offered(number: int) -> bool:
        request = Request(np.zeros((80, 100), dtype=np.float32), 1.0, "en", "transcribe")
        item = audits.offer(
            number, name="file", index=number, request=request, text="words", prompt_length=4,
            now=0.0,
        )  # fmt: skip
        return item is not None

    assert [offered(number) for number in range(MOST + 5)] == [True] * MOST + [False] * 5
    audits.outcome(Item(0, 0, Key(4, 0.0, 1500), 1.0, 0.0, Turn.AUDIT), None, 1.0)
    assert offered(MOST + 5)
