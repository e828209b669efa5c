"""Texts that loop, ramble or come from nowhere are not believed; ordinary ones are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.quality import (
    FREE_TOKENS,
    MAX_TOKENS_PER_SECOND,
    Attempt,
    Doubt,
    best,
    compression_ratio,
    doubts,
    is_nothing,
    is_silence,
)

GOOD = Attempt(
    text="Printing, in the only sense with which we are at present concerned, differs.",
    tokens=tuple(range(17)),
    avg_logprob=-0.2,
    no_speech=0.01,
    seconds=9.6,
)
LOOP = replace(GOOD, text="I'm sorry. " * 30, tokens=tuple(range(120)))
UNLIKELY = replace(GOOD, avg_logprob=-1.4)
SILENT = replace(GOOD, text="Thank you.", avg_logprob=-1.2, no_speech=0.9)

attempts = st.builds(
    Attempt,
    text=st.sampled_from([GOOD.text, LOOP.text, "", "あ" * 200, "Yes."]),
    tokens=st.lists(st.integers(0, 50), max_size=448).map(tuple),
    avg_logprob=st.floats(-3.0, 0.0),
    no_speech=st.floats(0.0, 1.0),
    seconds=st.floats(0.1, 30.0),
)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (GOOD, ()),
        (LOOP, (Doubt.COMPRESSION,)),
        (UNLIKELY, (Doubt.LOGPROB,)),
        (SILENT, ()),
        (replace(SILENT, no_speech=0.3), (Doubt.LOGPROB,)),
        (replace(GOOD, no_speech=0.99), ()),  # a likely text outweighs the no-speech token
        (replace(GOOD, text="", tokens=()), ()),
        (replace(GOOD, tokens=tuple(range(448)), seconds=9.6), (Doubt.TOKENS,)),
        (replace(GOOD, tokens=tuple(range(448)), seconds=30.0), ()),
        (replace(GOOD, tokens=tuple(range(FREE_TOKENS)), seconds=0.1), ()),
    ],
)
def test_what_speaks_against_a_text(attempt: Attempt, expected: tuple[Doubt, ...]) -> None:
    assert doubts(attempt) == expected


def test_the_token_limit_follows_the_speech() -> None:
    allowed = int(FREE_TOKENS + MAX_TOKENS_PER_SECOND * 2.0)
    assert doubts(replace(GOOD, tokens=tuple(range(allowed)), seconds=2.0)) == ()
    assert doubts(replace(GOOD, tokens=tuple(range(allowed + 1)), seconds=2.0)) == (Doubt.TOKENS,)


@given(st.text(max_size=300))
def test_repetition_compresses_and_nothing_divides_by_zero(text: str) -> None:
    assert compression_ratio(text) >= 0.0
    if text:
        assert compression_ratio(text * 200) > compression_ratio(text)


def test_silence_takes_both_signs() -> None:
    assert is_silence(SILENT)
    assert not is_silence(replace(SILENT, no_speech=0.5))
    assert not is_silence(replace(SILENT, avg_logprob=-0.5))


def test_where_no_attempt_is_believed_less_is_enough_for_silence() -> None:
    music = replace(UNLIKELY, avg_logprob=-1.6, no_speech=0.5)
    loop = replace(LOOP, avg_logprob=-0.1, no_speech=0.5)
    assert is_nothing(best([SILENT]))
    assert is_nothing(best([music, loop, replace(music, avg_logprob=-2.0)]))
    assert not is_nothing(best([loop])), "a loop alone is no sign of silence"
    assert not is_nothing(best([music, replace(GOOD, no_speech=0.5)]))
    assert not is_nothing(best([replace(music, no_speech=0.3)]))
    assert not is_nothing(best([GOOD]))


@given(st.lists(attempts, min_size=1, max_size=6))
def test_the_first_believed_attempt_stands(tried: list[Attempt]) -> None:
    chosen = best(tried)
    believed = [attempt for attempt in tried if not doubts(attempt)]
    if believed:
        assert chosen is believed[0]
    else:
        assert chosen in tried


def test_where_none_is_believed_the_likeliest_that_does_not_loop_stands() -> None:
    loop = replace(LOOP, avg_logprob=-0.1)
    assert best([loop, UNLIKELY, replace(UNLIKELY, avg_logprob=-2.0)]) is UNLIKELY
    surer = replace(loop, avg_logprob=-0.05)
    assert best([loop, surer]) is surer


def test_a_short_window_is_checked_harder() -> None:
    short = replace(GOOD, short=True, heard_until=9.0)
    assert doubts(short) == ()
    assert Doubt.REPEATS in doubts(replace(short, tokens=(1, 2, 3, 4) * 3))
    assert Doubt.REPEATS not in doubts(replace(GOOD, tokens=(1, 2, 3, 4) * 3))
    assert Doubt.EARLY_END in doubts(replace(short, heard_until=7.0))
    assert Doubt.EARLY_END in doubts(replace(short, text="", tokens=(), heard_until=None))
    # Silence is believed only of a full window.
    assert doubts(replace(SILENT, short=True)) == (Doubt.LOGPROB,)
