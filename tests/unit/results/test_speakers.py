"""Turns become labels, and say who speaks each word; a slow count of every millisecond agrees."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spoken import examples, milliseconds, segment, words_of
from worker.results.speakers import Diarization, Heard, Voice, notes_of_bounds
from worker.results.transcript import Speaker, Turn

AUDIO = 10.0


def diarization(*voices: Voice, exclusive: tuple[Voice, ...] | None = None) -> Diarization:
    return Diarization("packaged", voices, voices if exclusive is None else exclusive)


def speaker(heard: Heard, start: float, end: float) -> str | None:
    return heard.speaker([(start, end)])


def test_labels_go_by_who_is_heard_first_whatever_the_diarizer_calls_them() -> None:
    heard = Heard(diarization(Voice(0, 1, "9"), Voice(2, 3, "0"), Voice(4, 5, "9")), AUDIO)
    assert [turn.speaker for turn in heard.turns] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]


def test_who_is_heard_has_a_label_without_any_word() -> None:
    heard = Heard(diarization(Voice(0, 1, "b"), Voice(2, 3.5, "a")), AUDIO)
    said = heard.told(segment(2, 3, "Yes.", words_of(("Yes.", 2, 3))))
    assert heard.speakers([said]) == (
        Speaker(label="SPEAKER_00", seconds=1.0, turns=1, words=0),
        Speaker(label="SPEAKER_01", seconds=1.5, turns=1, words=1),
    )


@pytest.mark.parametrize(
    ("count", "last"), [(1, "SPEAKER_00"), (100, "SPEAKER_99"), (101, "SPEAKER_100")]
)
def test_labels_have_two_digits_or_as_many_as_it_takes(count: int, last: str) -> None:
    voices = [Voice(number, number + 1, f"voice {number}") for number in range(count)]
    heard = Heard(diarization(*voices), 1000.0)
    assert heard.speakers([])[-1].label == last
    assert {len(one.label) for one in heard.speakers([])} == {len(last)}


def test_turns_are_in_milliseconds_inside_the_audio() -> None:
    voices = [
        Voice(-0.5, 0.12345, "a"),
        Voice(1.0, 1.0004, "a"),
        Voice(9.5, 10.2, "b"),
        Voice(11, 12, "c"),
    ]
    heard = Heard(diarization(*voices), AUDIO)
    assert heard.turns == (
        Turn(speaker="SPEAKER_00", start=0.0, end=0.123),
        Turn(speaker="SPEAKER_01", start=9.5, end=10.0),
    )


@pytest.mark.parametrize(
    ("at", "expected"), [(0.9, None), (1.0, "SPEAKER_00"), (2.5, "SPEAKER_01"), (3.1, None)]
)
def test_a_word_of_no_length_has_the_speaker_in_whose_turn_it_lies(
    at: float, expected: str | None
) -> None:
    heard = Heard(diarization(Voice(1, 2, "a"), Voice(2, 3, "b")), AUDIO)
    assert speaker(heard, at, at) == expected


def test_a_word_that_only_meets_a_turn_is_nobodys() -> None:
    heard = Heard(diarization(Voice(1, 2, "a")), AUDIO)
    assert speaker(heard, 0.5, 1.0) is None
    assert speaker(heard, 2.0, 2.5) is None


def test_most_overlap_is_that_of_all_turns_of_a_speaker() -> None:
    turns = [Voice(0, 0.2, "a"), Voice(0.2, 0.5, "b"), Voice(0.6, 0.8, "a")]
    heard = Heard(diarization(*turns), AUDIO)
    assert speaker(heard, 0, 1) == "SPEAKER_00"


FLICKERING = [
    Voice(6.73, 6.747, "b"),
    Voice(6.747, 7.169, "a"),
    Voice(7.169, 7.186, "b"),
    Voice(7.591, 7.625, "b"),
    Voice(7.625, 8.03, "a"),
    Voice(8.03, 9.97, "b"),
]
"""Two on the telephone, as the packaged models heard them."""


def test_what_is_too_short_to_be_speech_is_no_turn_and_names_nobody() -> None:
    heard = Heard(diarization(*FLICKERING), AUDIO)
    assert heard.turns == (
        Turn(speaker="SPEAKER_00", start=6.747, end=7.169),
        Turn(speaker="SPEAKER_00", start=7.625, end=8.03),
        Turn(speaker="SPEAKER_01", start=8.03, end=9.97),
    )
    assert speaker(heard, 6.73, 6.75) == "SPEAKER_00"
    assert speaker(heard, 7.17, 7.18) is None


@pytest.mark.parametrize(("end", "turns"), [(6.819, 0), (6.82, 1)])
def test_what_may_be_a_syllable_is_a_turn(end: float, turns: int) -> None:
    heard = Heard(diarization(Voice(6.73, end, "a")), AUDIO)
    assert len(heard.turns) == len(heard.speakers([])) == turns


def test_what_is_too_short_to_be_a_pause_ends_no_turn() -> None:
    parted = [Voice(1, 2, "a"), Voice(2, 2.05, "b"), Voice(2.05, 3, "a"), Voice(3.09, 4, "a")]
    heard = Heard(diarization(*parted), AUDIO)
    assert heard.turns == (
        Turn(speaker="SPEAKER_00", start=1.0, end=3.0),
        Turn(speaker="SPEAKER_00", start=3.09, end=4.0),
    )
    assert speaker(heard, 2.01, 2.04) == "SPEAKER_00"


def test_pieces_with_pauses_that_are_none_are_speech_together() -> None:
    heard = Heard(diarization(Voice(1, 1.05, "a"), Voice(1.1, 1.15, "a")), AUDIO)
    assert heard.turns == (Turn(speaker="SPEAKER_00", start=1.0, end=1.15),)
    assert speaker(heard, 1.0, 1.2) == "SPEAKER_00"


def test_who_is_louder_only_for_a_moment_says_what_no_other_can_have_said() -> None:
    voices = Voice(1, 2, "a"), Voice(1.5, 2.05, "b")
    alone_ = Voice(1, 2, "a"), Voice(2, 2.05, "b")
    heard = Heard(diarization(*voices, exclusive=alone_), AUDIO)
    assert speaker(heard, 1.9, 2.05) == "SPEAKER_00"
    assert speaker(heard, 2.0, 2.05) == "SPEAKER_01"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1.0, 2.0, "0"),
        (1.5, 2.5, "01"),
        (1.4, 2.5, "01"),
        (1.3, 2.3, "0"),
        (2.8, 3.2, "1"),
        (2.9, 3.2, ""),
        (1.9, 1.9, "01"),
    ],
)
def test_during_a_word_are_heard_who_are_heard_for_half_of_it(
    start: float, end: float, expected: str
) -> None:
    voices = Voice(1, 2.3, "a"), Voice(1.85, 3, "b")
    heard = Heard(diarization(*voices, exclusive=(Voice(1, 3, "a"),)), AUDIO)
    (word,) = words_of(("so", start, end))
    assert heard.during(word) == {f"SPEAKER_0{number}" for number in expected}


def test_a_segment_without_words_has_who_is_heard_most_in_its_speech() -> None:
    heard = Heard(diarization(Voice(0, 4, "a"), Voice(4, 7, "b")), AUDIO)
    bare = segment(0, 7, "Said by both.")
    assert heard.labelled(bare).speaker == "SPEAKER_00"
    stretches = bare.model_copy(update={"speech": ((3.5, 4.0), (6.0, 7.0))})
    assert heard.labelled(stretches).speaker == "SPEAKER_01"
    assert heard.labelled(segment(8, 9, "Nobody's.")).speaker is None


def test_a_segment_of_words_that_are_nobodys_is_nobodys() -> None:
    heard = Heard(diarization(Voice(2, 3, "a")), AUDIO)
    said = heard.told(segment(0, 4, "So so.", words_of(("So", 0, 1), ("so.", 3.5, 4))))
    assert heard.labelled(said).speaker is None


def test_words_that_could_not_be_parted_are_who_says_mosts() -> None:
    heard = Heard(diarization(Voice(0, 3, "a"), Voice(3, 4, "b")), AUDIO)
    told = heard.told(segment(0, 9, "x", words_of(("so", 0, 3), ("no", 3, 4), ("ah", 5, 6))))
    assert [word.speaker for word in told.words] == ["SPEAKER_00", "SPEAKER_01", None]
    whole = heard.labelled(told)
    assert [word.speaker for word in whole.words] == ["SPEAKER_00", "SPEAKER_00", None]
    assert whole.speaker == "SPEAKER_00"


@pytest.mark.parametrize(
    ("least", "most", "found", "note"),
    [
        (3, None, "ab", "min_speakers = 3, but 2 speakers were found."),
        (2, 2, "a", "min_speakers = 2, but 1 speaker was found."),
        (1, None, "", "min_speakers = 1, but 0 speakers were found."),
        (None, 1, "ab", "max_speakers = 1, but 2 speakers were found."),
        (2, 3, "ab", None),
        (None, None, "abc", None),
        (3, None, "ab.", "min_speakers = 3, but 2 speakers were found."),
        (None, 2, "ab.", None),
    ],
)
def test_a_note_says_that_other_numbers_of_speakers_were_found(
    least: int | None, most: int | None, found: str, note: str | None
) -> None:
    voices = [
        Voice(number, number + (0.08 if name == "." else 1), name)
        for number, name in enumerate(found)
    ]
    notes = notes_of_bounds(diarization(*voices), min_speakers=least, max_speakers=most)
    assert notes == ((note,) if note else ())


TIMES = st.integers(0, 300).map(lambda hundredths: hundredths / 100)
LENGTHS = st.one_of(st.integers(0, 12), st.integers(0, 150))
VOICES = st.lists(st.tuples(TIMES, LENGTHS, st.sampled_from("abcd")), max_size=12).map(
    lambda drawn: sorted(
        Voice(start, min(start + length / 100, 3.0), name) for start, length, name in drawn
    )
)


def alone(voices: list[Voice]) -> tuple[Voice, ...]:
    """One speaker at a time: who came first has the word."""
    kept = []
    reached = 0.0
    for start, end, name in voices:
        if end > reached:
            kept.append(Voice(max(start, reached), end, name))
            reached = end
    return tuple(kept)


def turns_of(voices: list[Voice]) -> list[tuple[int, int, str]]:
    """In milliseconds, found by a look at each of them: nothing under 90 is speech, or a pause."""
    found = []
    for name in {voice.speaker for voice in voices}:
        spoken = {
            at
            for voice in voices
            if voice.speaker == name
            for at in range(milliseconds(voice.start), milliseconds(voice.end))
        }
        start = reached = -1000
        for at in [*sorted(spoken), 10_000]:
            if at - reached >= 90:
                found.append((start, reached, name))
                start = at
            reached = at + 1
    return sorted(turn for turn in found if turn[1] - turn[0] >= 90)


@given(VOICES, st.tuples(TIMES, TIMES))
@examples
def test_the_speaker_is_who_is_heard_in_most_milliseconds(
    voices: list[Voice], span: tuple[float, float]
) -> None:
    start, end = sorted(span)
    exclusive = alone(voices)
    heard = Heard(diarization(*voices, exclusive=exclusive), 3.0)
    turns = turns_of(voices)
    names = list(dict.fromkeys(name for _, _, name in turns))
    louder = [
        (milliseconds(one.start), milliseconds(one.end), one.speaker)
        for one in exclusive
        if milliseconds(one.end) - milliseconds(one.start) >= 90
    ]

    def count(pieces: list[tuple[int, int, str]]) -> Counter[str]:
        return Counter(
            f"SPEAKER_{names.index(name):02}"
            for at in range(milliseconds(start), milliseconds(end))
            for first, after, name in pieces
            if first <= at < after
        )

    counted = count(louder) or count(turns)
    found = speaker(heard, start, end)
    if start < end:
        assert (found is None) == (not count(turns)), "null only where no turn is"
        assert found is None or counted[found] == max(counted.values())


@given(VOICES)
@examples
def test_turns_and_their_seconds_are_those_of_a_look_at_each_millisecond(
    voices: list[Voice],
) -> None:
    heard = Heard(diarization(*voices), 3.0)
    expected = turns_of(voices)
    names = list(dict.fromkeys(name for _, _, name in expected))
    assert [
        (milliseconds(turn.start), milliseconds(turn.end), names[int(turn.speaker[-2:])])
        for turn in heard.turns
    ] == expected
    assert [(one.turns, milliseconds(one.seconds)) for one in heard.speakers([])] == [
        (len(own), sum(end - start for start, end, _ in own))
        for own in ([turn for turn in expected if turn[2] == name] for name in names)
    ]
