"""Results of channels as one: labels, notes, languages, progress, and what is counted once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Language, Segment, Word
from worker.speech.api import Recognition
from worker.speech.engine.channel_results import labels, labels_note, merged, progress
from worker.speech.media.selection import MOST_SURVEYED, Kind, Selection, Survey, Surveyed

ENGLISH = Language(code="en", probability=0.9, detected=True)
GERMAN = Language(code="de", probability=0.8, detected=True)


def channels(*same_as: int | None) -> tuple[Surveyed, ...]:
    return tuple(Surveyed(Selection(None, number), first) for number, first in enumerate(same_as))


def survey(*same_as: int | None, notes: tuple[str, ...] = ()) -> Survey:
    return Survey(channels(*same_as), notes, {"decode": 0.5})


def heard(
    *starts: float,
    seconds: float = 10.0,
    language: Language | None = ENGLISH,
    notes: tuple[str, ...] = (),
    **fields: object,
) -> Recognition:
    """A channel in which two seconds are spoken at each of these times."""
    spoken = ((language.code, 2.0 * len(starts)),) if language and starts else ()
    found = Recognition(
        audio_seconds=seconds,
        language=language if starts else None,
        segments=[
            Segment(id=number, start=start, end=start + 2.0, text=f"at {start}", avg_logprob=-0.1)
            for number, start in enumerate(starts)
        ],
        word_times="attention",
        seconds={"decode": 1.0, "transcribe": 2.0},
        windows=len(starts),
        notes=notes,
        languages=spoken,
    )
    for name, value in fields.items():
        object.__setattr__(found, name, value)
    return found


given_labels = st.lists(
    st.sampled_from(["ch_0", "ch_1", "ch_1_2", "track_1", "agent", "Kunde"]), unique=True
).map(tuple)


@given(given_labels, st.integers(1, MOST_SURVEYED), st.sampled_from(["channels", "tracks"]))
def test_each_channel_has_a_label_of_its_own_and_those_given_come_first(
    asked: tuple[str, ...], number: int, kind: Kind
) -> None:
    made = labels(asked, channels(*[None] * number), kind)
    assert len(made) == len(set(made)) == number
    assert made[: len(asked)] == asked[:number]
    stem = "ch_" if kind == "channels" else "track_"
    assert all(label.startswith(stem) for label in made[len(asked) :])
    note = "".join(labels_note(asked, number, kind))
    assert all(repr(label) in note for label in asked[number:])
    assert bool(note) == (len(asked) > number)


def test_labels_are_numbers_in_the_file_and_avoid_those_that_are_given() -> None:
    tracks = tuple(Surveyed(Selection(stream)) for stream in (0, 2, 5))
    assert labels((), tracks, "tracks") == ("track_0", "track_2", "track_5")
    assert labels((), channels(None, None), "channels") == ("ch_0", "ch_1")
    assert labels(("ch_1",), channels(None, None, None), "channels") == ("ch_1", "ch_1_2", "ch_2")
    (note,) = labels_note(("a", "b", "c"), 2, "channels")
    assert note == "channel_labels names 3 channels, and the file has 2: not used: 'c'"


def test_segments_of_all_channels_are_in_order_of_their_start_and_say_where() -> None:
    result = merged(
        survey(None, None),
        ("agent", "caller"),
        "channels",
        {0: heard(0.0, 4.0), 1: heard(1.0, 3.0, 4.0, seconds=12.0)},
    )
    assert [(each.id, each.start, each.channel) for each in result.segments] == [
        (0, 0.0, "agent"),
        (1, 1.0, "caller"),
        (2, 3.0, "caller"),
        (3, 4.0, "agent"),
        (4, 4.0, "caller"),
    ]
    assert result.audio_seconds == 12.0
    assert result.windows == 5
    assert result.seconds == {"decode": 2.5, "transcribe": 4.0}
    assert result.languages == (("en", 10.0),)
    assert result.channels is not None
    assert [each.seconds for each in result.channels] == [4.0, 6.0]
    assert [each.text for each in result.channels] == ["", ""]


def test_a_channel_that_is_the_same_as_another_is_in_the_result_without_being_counted_again() -> (
    None
):
    result = merged(
        survey(None, 0, None, 0),
        ("a", "b", "c", "d"),
        "channels",
        {0: heard(0.0), 2: heard(5.0, language=GERMAN)},
    )
    assert result.channels is not None
    assert [each.same_as for each in result.channels] == [None, "a", None, "a"]
    assert [each.language for each in result.channels] == [ENGLISH, ENGLISH, GERMAN, ENGLISH]
    assert [each.seconds for each in result.channels] == [2.0] * 4
    assert [each.channel for each in result.channels] == [0, 1, 2, 3]
    assert result.languages == (("de", 2.0), ("en", 2.0))
    assert result.notes == (
        "Channels a, b and d hold the same samples: they were transcribed once, as a",
    )


stretches = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5)), max_size=6)


@given(stretches, st.booleans())
def test_seconds_of_speech_are_those_of_segments_without_their_pauses(
    spoken: list[tuple[float, float]], by_words: bool
) -> None:
    at, said = 10.0, []
    for length, pause in spoken:
        said.append((at, at + length))
        at += length + pause
    end = said[-1][1] if said else 12.0
    words = tuple(Word(word="so", start=start, end=stop) for start, stop in said)
    segment = Segment(id=0, start=10.0, end=end, text="so", avg_logprob=-0.1)
    told = {"words": words} if by_words else {"speech": tuple(said)}
    found = heard(10.0, segments=[segment.model_copy(update=told)])
    (channel,) = merged(survey(None), ("a",), "channels", {0: found}).channels or ()
    pauses = [pause for _, pause in spoken[:-1] if pause > 1.0]
    assert channel.seconds == pytest.approx(end - 10.0 - sum(pauses), abs=1e-3)


def test_notes_that_all_have_come_once_and_others_say_of_which_channel_they_are() -> None:
    result = merged(
        survey(None, None, notes=("of the file", "one track of two")),
        ("ch_0", "ch_1"),
        "channels",
        {
            0: heard(0.0, notes=("one track of two", "hotwords cut", "damaged")),
            1: heard(notes=("hotwords cut", "Nothing was heard")),
        },
        notes=("labels",),
    )
    assert result.notes == (
        "of the file",
        "one track of two",
        "labels",
        "hotwords cut",
        "ch_0: damaged",
        "ch_1: Nothing was heard",
    )


def test_one_channel_alone_needs_no_label_in_its_notes() -> None:
    result = merged(survey(None), ("ch_0",), "channels", {0: heard(0.0, notes=("damaged",))})
    assert result.notes == ("damaged",)


def test_the_language_of_the_file_is_the_one_most_spoken_in_all_channels() -> None:
    long = heard(0.0, 2.0, 4.0, language=GERMAN)
    short = heard(0.0, 2.0, language=ENGLISH)
    shorter = heard(0.0, 2.0, language=ENGLISH.model_copy(update={"probability": 0.5}))
    names = ("a", "b", "c")
    result = merged(survey(*[None] * 3), names, "channels", {0: long, 1: short, 2: shorter})
    assert result.languages == (("en", 8.0), ("de", 6.0))
    assert result.language == ENGLISH

    # German in no channel comes first, and first in all of them.
    mixed = {
        place: heard(0.0, language=first, languages=((first.code, 2.0), ("fr", 1.9)))
        for place, first in enumerate((GERMAN, ENGLISH))
    }
    result = merged(survey(None, None), names, "channels", mixed)
    assert result.language == Language(code="fr", probability=None, detected=True)


def test_a_channel_without_words_has_no_language() -> None:
    unheard = replace(heard(), language=GERMAN)
    result = merged(survey(None, None), ("a", "b"), "channels", {0: heard(0.0), 1: unheard})
    assert result.channels is not None
    assert [each.language for each in result.channels] == [ENGLISH, None]


def test_silence_has_no_language_and_is_heard_for_no_seconds() -> None:
    result = merged(survey(None, None), ("a", "b"), "channels", {0: heard(), 1: heard()})
    assert (result.language, result.languages, result.segments) == (None, (), ())
    assert result.channels is not None
    assert [(each.language, each.seconds) for each in result.channels] == [(None, 0.0)] * 2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("aligned", "aligned", "aligned"),
        ("aligned", "attention", "attention"),
        ("attention", "aligned", "attention"),
        (None, None, None),
    ],
)
def test_times_of_words_are_as_exact_as_the_least_exact_of_them(
    first: str | None, second: str | None, expected: str | None
) -> None:
    found = {0: heard(0.0, word_times=first), 1: heard(1.0, word_times=second)}
    assert merged(survey(None, None), ("a", "b"), "channels", found).word_times == expected
    # Nobody asks for a model to align silence with.
    found |= {1: heard(word_times="attention")}
    assert merged(survey(None, None), ("a", "b"), "channels", found).word_times == first


shares = st.lists(
    st.floats(0, 1e4).flatmap(
        lambda length: st.tuples(st.floats(0, length), st.sampled_from([length, None]))
    ),
    min_size=1,
    max_size=5,
)


@given(shares, st.none() | st.floats(0, 1e4))
def test_progress_is_seconds_of_the_file(
    files: list[tuple[float, float | None]], stated: float | None
) -> None:
    done, length = progress(files, stated)
    lengths = [length for _, length in files if length is not None]
    assert length == (max(lengths) if lengths else stated)
    assert done >= 0.0
    if len(lengths) == len(files) and length is not None:
        assert done <= length * (1 + 1e-9)
        ended = [(length, length) for length in lengths]
        assert progress(ended, stated) == (length, length)


def test_progress_grows_with_each_channel() -> None:
    assert progress([], None) == (0.0, None)
    assert progress([], 60.0) == (0.0, 60.0)
    assert progress([(0.0, None), (0.0, None)], 60.0) == (0.0, 60.0)
    assert progress([(60.0, 60.0), (0.0, 60.0)], 60.0) == (30.0, 60.0)
    assert progress([(60.0, 60.0), (30.0, None)], None) == (45.0, 60.0)
    assert progress([(4.0, None), (2.0, None)], None) == (3.0, None)
