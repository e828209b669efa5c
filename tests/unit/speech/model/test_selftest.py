"""The start-up test: known speech, and a verdict on what was heard of it."""

from __future__ import annotations

import numpy as np
import pytest

from worker.errors import MachineError
from worker.speech.model.selftest import (
    PHRASE,
    KnownSpeech,
    check_text,
    known_recording,
    known_speech,
    recall,
    reference_words,
    spoken,
)

STM = """\
;; CATEGORY "0" "" ""
call 1 A 6.690 7.120 <o> Hello?
call 1 B 7.55 8.35 oh, hello -- I didn't know you were there
call 1 A broken line
"""

SPEECH = KnownSpeech(
    np.zeros(16_000, dtype=np.float32), frozenset({"one", "two", "three", "four", "five"})
)


def test_the_reference_holds_the_words_and_nothing_of_the_format() -> None:
    words = reference_words(STM)
    assert {"hello", "oh", "didn't", "know", "there"} <= words
    assert not words & {"call", "broken", "category", "a", "b"}
    # Only whole utterances can be known to be in a part.
    assert reference_words(STM, (6.0, 8.0)) == {"o", "hello"}
    assert reference_words(STM, (7.0, 9.0)) == {"oh", "hello", "i", "didn't", "know", "you",
                                                "were", "there"}  # fmt: skip


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert spoken("One, two -- THREE!") == {"one", "two", "three"}
    assert recall("One two, and more.", SPEECH.words) == pytest.approx(0.4)
    assert recall("", SPEECH.words) == 0.0
    assert recall("anything", frozenset()) == 0.0


def test_enough_heard_is_enough_and_silence_is_a_broken_machine() -> None:
    check_text("One two.", SPEECH, "cuda:0")
    for text in ("", "One.", "You! You! You!"):
        with pytest.raises(MachineError, match=r"self-test failed on cuda:0.*newer driver"):
            check_text(text, SPEECH, "cuda:0")


def test_the_recording_that_ships_with_a_dependency() -> None:
    speech = known_speech()
    if speech is None:
        pytest.skip("needs the recording in pyannote-audio")
    assert len(speech.samples) == 30 * 16_000
    assert {"new", "jersey"} <= speech.words
    assert len(speech.words) > 40
    whole = known_recording()
    assert whole is not None
    phrase = whole.part(PHRASE)
    assert len(phrase.samples) == 8 * 16_000
    assert {"hello", "new", "jersey"} <= phrase.words < speech.words
    assert len(phrase.words) >= 20
