"""Which decodings one window gets, one after another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Word
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.quality import SURE_LOGPROB
from worker.speech.engine.window import Rung, WindowState, full_ladder
from worker.speech.model.decoding import Decoded
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span

SECONDS = 3.0


def asked(
    prompt: tuple[int, ...] = (), *, short: bool = True, vocabulary: tuple[str, ...] = ()
) -> WindowState:
    """A window that is to be decoded for the first time."""
    ladder = adaptive_ladder if short else full_ladder
    span = Span(0, int(SECONDS * SAMPLE_RATE))
    features = np.zeros((80, 100), dtype=np.float32)
    rungs = ladder(SECONDS)
    return WindowState(0, (span,), features, None, rungs, "en", prompt, vocabulary=vocabulary)


def said(text: str, logprob: float) -> Decoded:
    return Decoded(text, (5, 6, 7), logprob, 0.01, "en", (), ())


@given(
    st.booleans(),
    st.sampled_from([(), (1, 2, 3)]),
    st.sampled_from([(), ("Subiaco", "Sweynheim")]),
    st.lists(st.floats(-3.0, -0.1), min_size=10, max_size=10),
)
def test_no_way_to_decode_a_window_is_tried_twice(
    short: bool, prompt: tuple[int, ...], vocabulary: tuple[str, ...], logprobs: list[float]
) -> None:
    window = asked(prompt, short=short, vocabulary=vocabulary)
    tried: list[Rung] = []
    for logprob in logprobs:
        tried.append(window.rung)
        window.tried(tried[-1], said("It has never been surpassed.", logprob))
        if window.exhausted:
            break
    assert window.exhausted
    assert len(set(tried)) == len(tried)
    assert sum(rung.positions < FULL_POSITIONS for rung in tried) == short
    assert sum(bool(rung.prompt) for rung in tried) == bool(prompt)
    assert not tried[0].prompt or tried[0].prompt == prompt
    told = [rung.told for rung in tried]
    assert told == sorted(told, reverse=True), "what failed with the vocabulary goes on without"
    assert told[0] == bool(vocabulary)
    assert all(rung.temperature == 0.0 for rung in tried if rung.told)
    if not any(told[1:]) and vocabulary and len(tried) > 1:
        assert tried[0].positions == FULL_POSITIONS
        assert not tried[0].prompt


def test_what_is_kept_says_how_sure_the_model_was() -> None:
    window = asked(short=False)
    window.tried(window.rung, said("It has never been surpassed.", -2.0))
    window.tried(window.rung, said("It has never been surpassed.", -0.3))
    kept = window.finished(())
    assert (kept.avg_logprob, kept.no_speech_prob, kept.temperature) == (-0.3, 0.01, 0.2)


@given(st.sampled_from([(), (1, 2, 3)]), st.floats(-1.0, -0.1))
def test_a_short_text_that_is_unsure_is_decoded_again_plainly(
    prompt: tuple[int, ...], logprob: float
) -> None:
    window = asked(prompt)
    window.tried(window.rung, said("It has never been surprised.", logprob))
    assert window.exhausted == (logprob >= SURE_LOGPROB)
    if not window.exhausted:
        assert window.rung == Rung(FULL_POSITIONS, 0.0)
        window.tried(window.rung, said("It has never been surpassed.", -0.05))
        assert window.verdict.text == "It has never been surpassed."


def test_a_text_without_words_says_where_its_speech_was_heard() -> None:
    window = asked()
    window.spans = (Span(0, 48_000, speech=((6_400, 16_000), (24_000, 41_600))),)
    window.tried(window.rung, said("It has never been surpassed.", -0.1))
    assert window.finished(()).speech == ((0.4, 1.0), (1.5, 2.6))
    assert window.finished([Word(word="It", start=0.4, end=0.6)]).speech == ()


@pytest.mark.parametrize("short", [False, True])
def test_a_text_that_is_the_vocabulary_is_heard_once_more_without_it(short: bool) -> None:
    window = asked(short=short, vocabulary=("Subiaco", "Sweynheim and Pannartz"))
    for rung in [Rung(750, 0.0, told=True)] * short + [Rung(FULL_POSITIONS, 0.0, told=True)]:
        assert window.rung == rung
        window.tried(rung, said("Subiaco, Sweynheim and Pannartz,", -0.2))
    assert not window.exhausted
    assert window.rung == Rung(FULL_POSITIONS, 0.0)
    window.tried(window.rung, replace(said("", -1.9), no_speech=0.9))
    assert window.exhausted
    assert window.verdict.text == ""
    assert window.passes_on == ()


def test_a_text_that_names_the_vocabulary_stands_where_something_alike_is_heard_without() -> None:
    window = asked(short=False, vocabulary=("Subiaco", "Sweynheim and Pannartz"))
    window.tried(window.rung, said("Sweynheim and Pannartz.", -0.2))
    window.tried(window.rung, said("Swine Heim and Panarts.", -0.6))
    assert window.exhausted
    assert window.verdict.text == "Sweynheim and Pannartz."


@pytest.mark.parametrize(
    ("told", "plain", "logprob", "no_speech"),
    [
        ("Thank you.", "Thank you.", -1.05, 0.9),  # plainly decoded it is silence
        ("Anna Smith, Bob Jones, Carla Diaz", "Anna Smith and Bob Jones", -0.4, 0.1),
    ],
)
def test_a_vocabulary_adds_nothing_to_what_is_heard_without_it(
    told: str, plain: str, logprob: float, no_speech: float
) -> None:
    listed = ("Thank you", "Anna Smith", "Bob Jones", "Carla Diaz")
    window = asked(short=False, vocabulary=listed)
    window.tried(window.rung, said(told, -0.4))
    window.tried(window.rung, replace(said(plain, logprob), no_speech=no_speech))
    assert window.verdict.attempt.text == plain
    assert not window.verdict.attempt.told
