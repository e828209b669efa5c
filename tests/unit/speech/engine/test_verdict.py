"""Which of a window's attempts stands, and when none is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sentences import SENTENCES
from worker.speech.engine.quality import (
    LOOPS,
    SURE_LOGPROB,
    Attempt,
    Doubt,
    doubts,
    is_silence,
    is_unsure,
)
from worker.speech.engine.verdict import (
    FLOOR_LOGPROB,
    Outcome,
    Verdict,
    dropped_note,
    judge,
    replaces,
)

ONCE = "Uma raposa velha não consegue aprender nenhum ofício."
TWICE = f"{ONCE} {ONCE}"
OTHER = "Uma rapoza velha não conseguia aprender nenhum ofício."
CHANT = "No! " * 14


def attempt(text: str, **changes: float) -> Attempt:
    """A plain decoding that says this, likely, in seconds of speech that suit it."""
    tokens = tuple(range(len(text) // 4))
    return replace(Attempt(text, tokens, -0.2, 0.01, 3.5 + len(text) / 20), **changes)  # type: ignore[arg-type]


def short(text: str, **changes: float) -> Attempt:
    """The same with less than 30 s of encoder."""
    return replace(attempt(text, **changes), short=True)


def prompted(text: str, **changes: float) -> Attempt:
    """The same, with the text before the window."""
    return replace(attempt(text, **changes), prompted=(900, 901, 902))


UNLIKELY = attempt("Take notes. Two, for all that I know of it.", avg_logprob=-1.2)
LOOP = attempt("Thank you. " * 40, avg_logprob=-0.1)
GARBAGE = attempt("Cabime on the mannerfyo kogoram", avg_logprob=-3.7, temperature=1.0)
MUSIC = replace(UNLIKELY, avg_logprob=-1.4, no_speech=0.5)

attempts = st.builds(
    Attempt,
    text=st.sampled_from([ONCE, TWICE, OTHER, f"{OTHER} {OTHER}", CHANT, LOOP.text, "", "Yes."]),
    tokens=st.lists(st.integers(0, 50), max_size=224).map(tuple),
    avg_logprob=st.floats(-3.0, 0.0),
    no_speech=st.floats(0.0, 1.0),
    seconds=st.floats(0.1, 30.0),
    short=st.booleans(),
    temperature=st.sampled_from([0.0, 0.2, 1.0]),
    prompted=st.sampled_from([(), (1, 2, 3)]),
)


@given(st.lists(attempts, min_size=1, max_size=7))
def test_the_first_that_stands_is_used(tried: list[Attempt]) -> None:
    verdict = judge(tried)
    assert verdict.attempt in tried
    believed = [each for each in tried if not doubts(each) and not is_unsure(each)]
    if believed:
        assert verdict.settled
        upto = tried[: tried.index(believed[0]) + 1]
        assert judge(upto) == verdict, "more attempts change nothing"
    if verdict.settled:
        assert verdict.outcome is not Outcome.DROPPED
        assert not LOOPS & set(doubts(verdict.attempt)) or len(tried) > 1
    else:
        assert not any(judge(tried[:count]).settled for count in range(1, len(tried)))
    if verdict.outcome is Outcome.TEXT:
        assert verdict.text == verdict.attempt.text
        assert verdict.settled or verdict.attempt.avg_logprob >= FLOOR_LOGPROB
    else:
        assert verdict.text == ""


@given(attempts)
def test_one_attempt_settles_it_only_if_it_is_sure(one: Attempt) -> None:
    verdict = judge([one])
    assert verdict.attempt == one
    assert verdict.settled == (not doubts(one) and not is_unsure(one))
    if verdict.settled:
        assert (verdict.outcome is Outcome.SILENCE) == is_silence(one)


def settled(*tried: Attempt) -> Attempt | None:
    """What stands after these attempts, and not before the last."""
    assert all(not judge(tried[:count]).settled for count in range(1, len(tried)))
    verdict = judge(tried)
    return verdict.attempt if verdict.settled else None


UNSURE = short("Has never been surprised.", avg_logprob=SURE_LOGPROB - 0.1, seconds=2.5)


def test_of_an_unsure_short_text_and_the_plain_one_the_likelier_stands() -> None:
    likelier = attempt("Has never been surpassed.", avg_logprob=SURE_LOGPROB)
    assert settled(UNSURE, likelier) is likelier
    assert settled(UNSURE, replace(likelier, avg_logprob=SURE_LOGPROB - 0.2)) is UNSURE


def test_an_unsure_short_text_is_not_used_for_a_plain_one_that_hears_more_or_nothing() -> None:
    more = attempt(f"{UNSURE.text} It never was.", avg_logprob=SURE_LOGPROB - 0.2)
    assert settled(UNSURE, more) is more
    silence = attempt("You", avg_logprob=-1.2, no_speech=0.9)
    assert settled(UNSURE, silence) is silence


def test_an_unsure_short_text_stands_where_the_plain_one_is_doubted() -> None:
    assert settled(UNSURE, attempt(UNSURE.text, avg_logprob=-1.1)) is UNSURE
    assert settled(UNSURE, LOOP) is UNSURE


def test_a_repeat_that_the_plain_decoding_has_not_is_an_artefact() -> None:
    plain = attempt(ONCE)
    assert settled(short(TWICE), plain) is plain
    assert settled(prompted(TWICE), plain) is plain
    sample = attempt(ONCE, temperature=0.2)
    assert settled(attempt(TWICE), sample) is sample


@pytest.mark.parametrize("first", [short, prompted, attempt])
def test_what_is_said_twice_stands_when_it_is_heard_twice(first) -> None:  # type: ignore[no-untyped-def]
    again = attempt(TWICE, avg_logprob=-0.1)
    assert settled(first(TWICE), again) is again
    # In other words, the likelier ones; and with something said before and after.
    other = attempt(f"{OTHER} {OTHER}", avg_logprob=-0.3)
    assert settled(first(TWICE), other) == first(TWICE)
    around = f"Então ele disse: {TWICE} E foi embora."
    assert settled(first(around), attempt(around, avg_logprob=-0.1)) == attempt(
        around, avg_logprob=-0.1
    )


@pytest.mark.parametrize("language", sorted(SENTENCES))
@pytest.mark.parametrize("space", ["", " "])
def test_repeats_are_confirmed_in_every_script(language: str, space: str) -> None:
    for sentence in SENTENCES[language]:
        twice = attempt(space.join([sentence] * 2), avg_logprob=-0.1)
        assert settled(short(twice.text), twice) is twice
        once = attempt(sentence)
        assert settled(short(twice.text), once) is once


def test_where_they_say_it_so_often_and_so_often_the_plain_one_or_the_fewer_stands() -> None:
    often = " ".join([ONCE] * 3)
    assert settled(short(often), attempt(TWICE)) == attempt(TWICE)
    assert settled(prompted(TWICE), attempt(often)) == attempt(often)
    few, more = attempt("Ele foi embora. " * 2), attempt("Ele foi embora. " * 3)
    assert settled(few, replace(more, temperature=0.2)) is few
    fewer = replace(few, temperature=0.2)
    assert settled(more, fewer) is fewer
    # Here the first attempt repeats, but not what the speaker does.
    last = "Então ele foi embora sem dizer nada."
    whole = attempt(f"{ONCE} {last} {ONCE} {last}")
    assert settled(short(f"{ONCE} {last} {last}"), whole) is whole


def test_what_says_it_once_and_too_little_bears_out_a_repeat() -> None:
    early = short(ONCE, seconds=9.0, heard_until=4.0)
    assert settled(early, attempt(TWICE)) == attempt(TWICE)
    sparse = attempt(ONCE, seconds=20.0, temperature=0.2)
    assert settled(attempt(TWICE), sparse) == attempt(TWICE)
    other = short("Isto não tem nada a ver.", seconds=9.0, heard_until=4.0)
    assert settled(other, attempt(TWICE)) is None


def test_different_texts_confirm_nothing() -> None:
    other = "Isto não tem nada a ver com isso. Isto não tem nada a ver com isso."
    assert settled(short(TWICE), attempt(other)) is None
    again = attempt(other, temperature=0.2, avg_logprob=-0.3)
    assert settled(short(TWICE), attempt(other), again) == attempt(other)


def test_what_is_said_once_confirms_no_repeat() -> None:
    once = short(ONCE, avg_logprob=-1.2)
    assert settled(once, attempt(TWICE)) is None
    assert settled(once, attempt(TWICE), attempt(ONCE, temperature=0.2)) == attempt(
        ONCE, temperature=0.2
    )


def test_a_long_sentence_said_twice_is_no_loop_though_it_compresses_as_one() -> None:
    sentence = (
        "Printing, in the only sense with which we are at present concerned, differs from most if "
        "not from all the arts and crafts represented in the exhibition."
    )
    twice = attempt(f"{sentence} {sentence}")
    assert Doubt.COMPRESSION in doubts(twice)
    sample = replace(twice, temperature=0.2, avg_logprob=-0.3)
    assert settled(twice, sample) is twice


def test_only_a_plain_decoding_confirms() -> None:
    both = replace(short(TWICE), prompted=(900, 901, 902))
    assert settled(both, short(TWICE)) is None
    assert settled(both, short(TWICE), attempt(TWICE, avg_logprob=-0.1)) == attempt(
        TWICE, avg_logprob=-0.1
    )
    assert settled(both, short(TWICE), attempt(ONCE)) == attempt(ONCE)


def test_what_is_unlikely_confirms_but_does_not_stand() -> None:
    unlikely = short(TWICE, avg_logprob=-1.2)
    assert settled(unlikely, attempt(TWICE)) == attempt(TWICE)
    assert settled(short(TWICE), attempt(TWICE, avg_logprob=-1.2)) is None


def test_a_chant_stands_when_it_is_heard_in_two_ways() -> None:
    assert settled(short(CHANT), attempt(CHANT)) == attempt(CHANT)
    assert settled(prompted(CHANT), attempt(CHANT)) == attempt(CHANT)
    # Chance alone confirms no loop while there is more to try, but better that than nothing.
    samples = [attempt(CHANT, temperature=t / 10) for t in (0, 2, 4)]
    assert settled(*samples) is None
    assert judge([*samples, GARBAGE]).text == CHANT
    # Nor where there may be no speech, nor where the decoder was stopped.
    assert settled(short(CHANT), attempt(CHANT, no_speech=0.5)) is None
    stopped = replace(attempt(CHANT), stopped=True)
    assert settled(replace(stopped, short=True), stopped) is None
    assert judge([replace(stopped, short=True), stopped]).outcome is Outcome.DROPPED


def test_where_none_stands_the_likeliest_that_does_not_loop_is_used() -> None:
    less = replace(UNLIKELY, avg_logprob=-1.3)
    assert judge([LOOP, UNLIKELY, less]) == Verdict(UNLIKELY, Outcome.TEXT, settled=False)
    assert judge([LOOP, less, UNLIKELY, GARBAGE]).attempt is UNLIKELY
    sparse = attempt("Well.", seconds=9.0, temperature=0.8, avg_logprob=-0.4)
    assert judge([LOOP, sparse]).attempt is sparse


def test_garbage_and_loops_are_not_written() -> None:
    other = replace(LOOP, text="So it is that we are. " * 20, temperature=0.2)
    for tried in ([LOOP], [LOOP, other], [LOOP, other, GARBAGE]):
        verdict = judge(tried)
        assert (verdict.outcome, verdict.text, verdict.settled) == (Outcome.DROPPED, "", False)
    barely = replace(GARBAGE, avg_logprob=FLOOR_LOGPROB)
    assert judge([LOOP, barely]) == Verdict(barely, Outcome.TEXT, settled=False)


def test_silence_is_judged_by_beam_search_alone() -> None:
    samples = [replace(MUSIC, temperature=t / 10, avg_logprob=-1.5 - t / 10) for t in (2, 6, 10)]
    assert judge([MUSIC, *samples]).outcome is Outcome.SILENCE
    # Speech that beam search loops on is no silence, however unlikely its samples are.
    loop = replace(LOOP, no_speech=0.69)
    assert judge([loop, *samples]).outcome is Outcome.DROPPED
    likely = replace(samples[0], avg_logprob=-0.7)
    assert judge([loop, likely]) == Verdict(likely, Outcome.TEXT, settled=True)
    heard = [replace(each, no_speech=0.1) for each in (MUSIC, *samples)]
    assert judge(heard).outcome is Outcome.TEXT
    # A short window's silence is none before the plain decoding has heard it too.
    quiet = attempt("Thank you.", avg_logprob=-1.2, no_speech=0.9)
    assert not judge([replace(quiet, short=True)]).settled
    assert judge([replace(quiet, short=True), quiet]) == Verdict(
        quiet, Outcome.SILENCE, settled=True
    )


def test_another_look_replaces_what_is_less_likely_and_says_no_more() -> None:
    text = f"{ONCE} Então ele foi embora, e ninguém o viu mais."
    standing = judge([attempt(text)])
    assert replaces(prompted(text, avg_logprob=-0.1), standing)
    assert not replaces(prompted(text, avg_logprob=-0.3), standing)
    assert not replaces(prompted(ONCE, avg_logprob=-0.1), standing), "it leaves something out"
    assert replaces(prompted(ONCE, avg_logprob=-0.1), judge([attempt(ONCE[:-3])]))
    assert not replaces(prompted(TWICE, avg_logprob=-0.1), standing)
    # Any text that is believed is better than none that is.
    for tried in ([UNLIKELY], [LOOP], [LOOP, GARBAGE]):
        assert replaces(prompted(ONCE, avg_logprob=-0.9), judge(tried))
        assert not replaces(prompted(ONCE, avg_logprob=-1.1), judge(tried))
    assert not replaces(prompted(ONCE, avg_logprob=-0.1), judge([MUSIC]))


def test_the_note_says_how_many_seconds_have_no_text() -> None:
    assert dropped_note(14.84).startswith("14.8 s of speech have no text")
