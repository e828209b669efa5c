"""Texts that loop, ramble or come from nowhere are not believed; others are, in any script."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sentences import SENTENCES, encode
from worker.speech.engine.quality import (
    EARLY_SECONDS,
    FREE_SECONDS,
    LOOPS,
    MAX_NO_SPEECH,
    MIN_LOGPROB,
    SPARSE_SECONDS,
    Attempt,
    Doubt,
    doubts,
    ends_early,
    is_silence,
    is_whole,
)
from worker.speech.engine.scripts import seconds_to_say

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
LONG = " ".join(SENTENCES["en"] + SENTENCES["de"] + SENTENCES["vi"])


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (GOOD, ()),
        (LOOP, (Doubt.COMPRESSION, Doubt.REPEATS)),
        (UNLIKELY, (Doubt.LOGPROB,)),
        (SILENT, ()),
        (replace(SILENT, no_speech=0.3), (Doubt.LOGPROB,)),
        (replace(GOOD, no_speech=0.99), ()),  # a likely text outweighs the no-speech token
        (replace(GOOD, text="", tokens=()), ()),
        (replace(GOOD, text=f"{GOOD.text} {GOOD.text}"), (Doubt.REPEATS,)),
        (replace(GOOD, text="Yes, sure. Yes, sure."), (Doubt.REPEATS,)),
        (replace(GOOD, text=LONG), (Doubt.LENGTH,)),
        (replace(GOOD, text=LONG, seconds=25.0), ()),
        (replace(GOOD, short=True, seconds=6.0), ()),
        (replace(GOOD, short=True, seconds=6.0, words_failed=True), (Doubt.EARLY_END,)),
        (replace(GOOD, words_failed=True), ()),
        (replace(GOOD, text="Congratulations, extraordinarily", seconds=0.3), ()),
    ],
)
def test_what_speaks_against_a_text(attempt: Attempt, expected: tuple[Doubt, ...]) -> None:
    assert doubts(attempt) == expected


@given(
    st.sampled_from(sorted(SENTENCES)).flatmap(
        lambda language: st.lists(
            st.sampled_from(SENTENCES[language]), min_size=1, max_size=6, unique=True
        )
    ),
    st.floats(1.5, 4.0),
    st.booleans(),
    st.booleans(),
)
def test_what_is_said_at_any_pace_is_believed_in_every_script(
    sentences: list[str], pace: float, short: bool, prompted: bool
) -> None:
    text = " ".join(sentences)
    seconds = seconds_to_say(text) * pace
    before = encode("What was said before has nothing to do with it.") if prompted else ()
    attempt = replace(
        GOOD,
        text=text,
        tokens=encode(text),
        seconds=seconds,
        short=short,
        heard_until=seconds - 0.4,
        prompted=before,
    )
    assert doubts(attempt) == ()
    assert doubts(replace(attempt, temperature=0.4)) == ()


@given(
    st.sampled_from(sorted(SENTENCES)).flatmap(lambda name: st.sampled_from(SENTENCES[name])),
    st.floats(1.0, 4.0),
    st.floats(0.01, 5.0),
)
def test_no_window_that_ended_early_is_taken_for_whole(
    text: str, pace: float, left_out: float
) -> None:
    heard_until = seconds_to_say(text) * pace
    seconds = heard_until + EARLY_SECONDS + left_out
    attempt = replace(
        GOOD, text=text, tokens=encode(text), seconds=seconds, short=True, heard_until=heard_until
    )
    assert ends_early(attempt)
    assert not is_whole(seconds, text)
    assert is_whole(seconds_to_say(text) + 0.9 * EARLY_SECONDS, text)


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_loops_are_found_in_every_script(language: str) -> None:
    for sentence in SENTENCES[language]:
        text = " ".join([sentence] * 6)
        attempt = replace(GOOD, text=text, tokens=encode(text), seconds=20.0)
        assert set(doubts(attempt)) >= {Doubt.COMPRESSION, Doubt.REPEATS}


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_no_more_is_said_than_can_be_said_in_every_script(language: str) -> None:
    text = " ".join(SENTENCES[language])
    attempt = replace(GOOD, text=text, tokens=encode(text))
    least = seconds_to_say(text) - FREE_SECONDS
    assert Doubt.LENGTH in doubts(replace(attempt, seconds=least - 0.1))
    assert doubts(replace(attempt, seconds=least + 0.1)) == ()
    # Of the seconds that the six sentences take, loops have enough for half.
    assert 2.5 < least < 8.0


def test_silence_takes_two_signs_and_no_chance() -> None:
    assert is_silence(SILENT)
    assert not is_silence(replace(SILENT, no_speech=0.5))
    assert not is_silence(replace(GOOD, no_speech=0.9))
    assert not is_silence(replace(SILENT, temperature=0.2)), "samples are unlikely anyway"
    # One word for many seconds is no text, however likely it is; but it may be all of one second.
    word = replace(SILENT, text="you", tokens=(291,), avg_logprob=-0.4, seconds=8.0)
    assert is_silence(word)
    assert not is_silence(replace(word, no_speech=0.5))
    assert not is_silence(replace(word, seconds=1.0))


@given(st.floats(-3.0, 0.0), st.floats(0.0, 1.0), st.sampled_from([0.0, 0.2, 1.0]))
def test_what_is_silent_is_unlikely_beam_search(
    logprob: float, no_speech: float, temperature: float
) -> None:
    attempt = replace(GOOD, avg_logprob=logprob, no_speech=no_speech, temperature=temperature)
    silent = temperature == 0.0 and no_speech > MAX_NO_SPEECH and logprob < MIN_LOGPROB
    assert is_silence(attempt) == silent
    assert (Doubt.LOGPROB in doubts(attempt)) == (logprob < MIN_LOGPROB and not silent)


def test_a_short_window_is_checked_harder() -> None:
    short = replace(GOOD, short=True, seconds=8.0, heard_until=7.5)
    assert doubts(short) == ()
    often = "The type of Subiaco, and the type of Subiaco, or like the type of Subiaco."
    assert doubts(replace(short, text=often)) == (Doubt.REPEATS,)
    assert doubts(replace(GOOD, text=often)) == ()
    assert Doubt.EARLY_END in doubts(replace(short, heard_until=6.0))
    assert Doubt.EARLY_END not in doubts(replace(GOOD, heard_until=7.0))
    assert Doubt.EARLY_END in doubts(replace(short, text="", tokens=(), heard_until=None))
    # Slow speakers are believed plainly: here the second of two sentences may be missing.
    slow = replace(GOOD, text="Has never been surpassed.", seconds=3.6)
    assert doubts(slow) == ()
    assert doubts(replace(slow, short=True)) == (Doubt.SPARSE,)
    # Silence is believed only of a plain window.
    assert doubts(replace(SILENT, short=True)) == (Doubt.LOGPROB,)


def test_a_prompted_window_is_checked_harder() -> None:
    before = encode("It rained all day. Nobody had expected that the river would rise so quickly.")
    prompted = replace(GOOD, tokens=encode(GOOD.text), prompted=before)
    assert doubts(prompted) == ()
    assert doubts(replace(prompted, heard_until=7.0)) == (Doubt.EARLY_END,)
    assert doubts(replace(SILENT, prompted=before)) == (Doubt.LOGPROB,)
    echo = "Nobody had expected that the river would rise so quickly."
    echoed = replace(prompted, text=echo, tokens=encode(echo), seconds=5.0)
    assert doubts(echoed) == (Doubt.ECHO,)
    assert doubts(replace(echoed, prompted=())) == ()
    assert Doubt.ECHO in LOOPS
    few = replace(prompted, text="It differs.", tokens=encode("It differs."))
    assert doubts(few) == (Doubt.SPARSE,)
    assert doubts(replace(few, prompted=())) == ()
    assert doubts(replace(few, seconds=SPARSE_SECONDS - 0.1)) == ()


def test_a_sample_that_says_little_or_nothing_is_doubted() -> None:
    sample = replace(GOOD, temperature=0.6)
    assert doubts(sample) == ()
    assert doubts(replace(sample, text="", tokens=())) == (Doubt.SPARSE,)
    assert doubts(replace(sample, text="It differs.")) == (Doubt.SPARSE,)


@given(
    st.builds(
        Attempt,
        text=st.sampled_from([GOOD.text, LOOP.text, "", "あ" * 200, "Yes."]),
        tokens=st.lists(st.integers(0, 50), max_size=224).map(tuple),
        avg_logprob=st.floats(-3.0, 0.0),
        no_speech=st.floats(0.0, 1.0),
        seconds=st.floats(0.1, 30.0),
        short=st.booleans(),
        heard_until=st.none() | st.floats(0.0, 30.0),
        temperature=st.sampled_from([0.0, 0.2, 1.0]),
        prompted=st.lists(st.integers(0, 50), max_size=223).map(tuple),
    )
)
def test_what_is_plain_has_no_more_doubts_than_what_is_not(attempt: Attempt) -> None:
    plain = replace(attempt, short=False, prompted=())
    assert plain.plain
    assert attempt.plain == (not attempt.short and not attempt.prompted)
    if not is_silence(attempt):
        assert set(doubts(plain)) <= set(doubts(attempt))
    assert not doubts(replace(plain, temperature=0.0)) or not is_silence(plain)
    late = replace(attempt, heard_until=attempt.seconds - EARLY_SECONDS / 2)
    assert Doubt.EARLY_END not in doubts(late)


def test_signs_without_a_word_are_no_text_unless_they_were_decoded_plainly() -> None:
    signs = replace(GOOD, text="\N{MIDDLE DOT}" + "\N{CEDILLA}" * 14)
    assert doubts(replace(signs, short=True)) == (Doubt.SPARSE,)
    assert doubts(replace(signs, prompted=(1, 2, 3))) == (Doubt.SPARSE,)
    assert doubts(signs) == ()
