"""A transcript with speakers: labels on words and segments, turns and totals; and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.transcripts import assembled
from tests.spoken import examples, milliseconds
from tests.windows import spoken, window
from worker.results.presentation import Presentation
from worker.results.speakers import Diarization, Voice
from worker.results.transcript import Segment, Timings, Transcript, Turn
from worker.speech.api import Recognition


def recognition(
    windows: Sequence[Segment], *voices: Voice, exclusive: Sequence[Voice] | None = None
) -> Recognition:
    alone = tuple(voices if exclusive is None else exclusive)
    return Recognition(
        audio_seconds=120.0,
        language=None,
        segments=windows,
        word_times="attention",
        seconds={"diarize": 1.25},
        windows=len(windows),
        diarization=Diarization("packaged", voices, alone),
    )


DIALOGUE = [
    window("Hello. Oh, hello there. We went", 0.0, 6.0),
    window("home again. Yes.", 6.5, 3.0),
]
"""A word a second: `Hello.` is the first's, up to `went` is the second's, up to `again.` the
first's, and `Yes.` is said where nobody is heard."""

VOICES = [Voice(0.0, 1.0, "x"), Voice(0.8, 6.4, "y"), Voice(6.2, 8.5, "x")]
ALONE = [Voice(0.0, 1.0, "x"), Voice(1.0, 6.4, "y"), Voice(6.4, 8.5, "x")]


def dialogue() -> Recognition:
    return recognition(DIALOGUE, *VOICES, exclusive=ALONE)


def test_words_segments_turns_and_totals_have_labels() -> None:
    made = assembled(dialogue())
    assert [(one.text, one.speaker) for one in made.segments] == [
        ("Hello.", "SPEAKER_00"),
        ("Oh, hello there.", "SPEAKER_01"),
        ("We went", "SPEAKER_01"),
        ("home again.", "SPEAKER_00"),
        ("Yes.", None),
    ]
    assert made.speakers is not None
    assert [one.model_dump() for one in made.speakers] == [
        {"label": "SPEAKER_00", "seconds": 3.3, "turns": 2, "words": 3},
        {"label": "SPEAKER_01", "seconds": 5.6, "turns": 1, "words": 5},
    ]
    assert made.turns == (
        Turn(speaker="SPEAKER_00", start=0.0, end=1.0),
        Turn(speaker="SPEAKER_01", start=0.8, end=6.4),
        Turn(speaker="SPEAKER_00", start=6.2, end=8.5),
    )
    assert (made.engine.diarizer, made.timings.diarize) == ("packaged", 1.25)


def test_windows_are_cut_where_the_speaker_changes() -> None:
    made = assembled(dialogue(), Presentation(segment_resolution="window"))
    assert made.segment_resolution == "window"
    assert [one.text for one in made.segments] == [
        "Hello.",
        "Oh, hello there. We went",
        "home again. Yes.",
    ]
    assert made.text == "Hello. Oh, hello there. We went home again. Yes."


@pytest.mark.parametrize("resolution", ["sentence", "window"])
def test_speech_at_once_tears_no_sentence(resolution: str) -> None:
    voices = [Voice(0.0, 3.05, "x"), Voice(2.03, 6.0, "y")]
    louder = [Voice(0.0, 2.11, "x"), Voice(2.11, 6.0, "y")]
    found = recognition(
        [window("Neither did I. Okay, I thought.", 0.0, 6.0)], *voices, exclusive=louder
    )
    asked = Presentation(segment_resolution=resolution)  # type: ignore[arg-type]  # one of them
    assert [(one.text, one.speaker) for one in assembled(found, asked).segments] == [
        ("Neither did I.", "SPEAKER_00"),
        ("Okay, I thought.", "SPEAKER_01"),
    ]


def test_where_nobody_is_heard_it_says_so() -> None:
    document = assembled(recognition(DIALOGUE)).model_dump(mode="json")
    assert (document["speakers"], document["turns"]) == ([], [])
    assert document["engine"]["diarizer"] == "packaged"
    for segment in document["segments"]:
        assert segment["speaker"] is None
        assert all(word["speaker"] is None for word in segment["words"])
    silent = assembled(recognition([])).model_dump(mode="json")
    assert (silent["speakers"], silent["turns"], silent["segments"]) == ([], [], [])


def test_where_nobody_asked_nothing_says_anything() -> None:
    found = replace(dialogue(), diarization=None, seconds={})
    document = assembled(found).model_dump_json()
    for name in ("speaker", "turns", "channel", "diariz"):
        assert name not in document
    read = Transcript.model_validate_json(document)
    assert read.speakers is None
    assert read.turns is None
    assert read.channels is None


def test_what_was_written_is_read_again() -> None:
    made = assembled(dialogue())
    assert Transcript.model_validate_json(made.model_dump_json()) == made


def test_without_words_segments_are_cut_and_labelled_by_them_all_the_same() -> None:
    with_words = assembled(dialogue())
    without = assembled(dialogue(), Presentation(words=False))
    assert [(one.text, one.speaker, one.start, one.end) for one in without.segments] == [
        (one.text, one.speaker, one.start, one.end) for one in with_words.segments
    ]
    assert not any(one.words for one in without.segments)
    assert without.word_times is None
    assert without.speakers == with_words.speakers, "who said how many words is known"
    assert [one.speech for one in without.segments] == [
        ((0.0, 1.0),),
        ((1.0, 4.0),),
        ((4.0, 6.0),),
        ((6.5, 8.5),),
        ((8.5, 9.5),),
    ]


def test_speech_of_dropped_words_pauses_where_they_do() -> None:
    first, second = window("We went", 0.0, 2.0), window("home.", 2.9, 1.0)
    found = recognition([first, second], Voice(0, 4, "x"))
    (made,) = assembled(found, Presentation(words=False)).segments
    assert made.speech == ((0.0, 2.0), (2.9, 3.9))


def test_a_window_without_words_has_who_is_heard_most_in_it() -> None:
    bare = window("We went home.", 0.0, 6.0, words=())
    made = assembled(recognition([bare], Voice(0, 2, "x"), Voice(2, 6, "y")))
    assert [(one.text, one.speaker) for one in made.segments] == [("We went home.", "SPEAKER_01")]
    assert made.speakers is not None
    assert [one.words for one in made.speakers] == [0, 0]


@pytest.mark.parametrize("method", ["mask", "remove", "tag"])
def test_a_filter_leaves_labels_where_they_are(method: str) -> None:
    asked = Presentation(
        vocabulary_filter=("hello", "there"),
        vocabulary_filter_method=method,  # type: ignore[arg-type]  # one of them
        display_as={"we went home": "We were homewards"},
    )
    made = assembled(dialogue(), asked)
    for segment in made.segments:
        assert {word.speaker for word in segment.words} <= {segment.speaker, None}
    assert made.speakers is not None
    for one in made.speakers:
        said = [word for segment in made.segments for word in segment.words]
        assert one.words == sum(word.speaker == one.label for word in said)


def test_words_shown_as_one_have_the_speaker_of_those_that_have_any() -> None:
    found = recognition([window("the a p eye", 0.0, 4.0)], Voice(2.0, 4.0, "x"))
    made = assembled(found, Presentation(display_as={"a p eye": "API"}))
    assert [(word.word, word.speaker) for word in made.segments[0].words] == [
        ("the", None),
        ("API", "SPEAKER_00"),
    ]


TIMES = st.integers(-5, 400).map(lambda tenths: tenths / 10)
HEARD = st.lists(st.tuples(TIMES, TIMES, st.sampled_from("abc")), max_size=15).map(
    lambda drawn: sorted(Voice(min(a, b), max(a, b), name) for a, b, name in drawn)
)


@given(spoken(), HEARD, st.sampled_from(["sentence", "window"]), st.booleans())
@examples
def test_each_word_and_segment_is_of_one_speaker_and_the_text_is_that_of_nobody(
    windows: list[Segment], voices: list[Voice], resolution: str, words: bool
) -> None:
    asked = Presentation(words=words, segment_resolution=resolution)  # type: ignore[arg-type]
    exclusive = [
        one if following is None else one._replace(end=min(one.end, following.start))
        for one, following in pairwise([*voices, None])
        if one is not None
    ]
    found = recognition(windows, *voices, exclusive=exclusive)
    made = assembled(found, asked)
    plain = assembled(replace(found, diarization=None), asked)
    assert made.text == plain.text
    said = [word for one in made.segments for word in one.words]
    assert [word.word for word in said] == [
        word.word for one in plain.segments for word in one.words
    ]
    assert made.speakers is not None
    assert made.turns is not None
    labels = [one.label for one in made.speakers]
    assert labels == [f"SPEAKER_{number:02}" for number in range(len(labels))]
    assert labels == list(dict.fromkeys(turn.speaker for turn in made.turns))
    for segment in made.segments:
        assert segment.speaker is None or segment.speaker in labels
        assert {word.speaker for word in segment.words} <= {segment.speaker, None}
    for one in made.speakers:
        own = [turn for turn in made.turns if turn.speaker == one.label]
        lengths = sum(milliseconds(turn.end) - milliseconds(turn.start) for turn in own)
        assert one.turns == len(own)
        assert 0 < milliseconds(one.seconds) <= lengths
        if words:
            assert one.words == sum(word.speaker == one.label for word in said)
    assert all(0 <= turn.start < turn.end <= 120.0 for turn in made.turns)


def test_old_transcripts_are_read() -> None:
    old = assembled(replace(dialogue(), diarization=None)).model_dump(mode="json")
    for name in ("speakers", "turns", "channels"):
        assert name not in old
    assert "diarize" not in Timings().model_dump()
    assert Transcript.model_validate(old).segments[0].speaker == ""
