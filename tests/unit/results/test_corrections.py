"""Corrections change what was corrected and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes.transcripts import segments, transcript
from worker.results.corrections import Corrections, SegmentCorrections, corrected
from worker.results.formats import FORMATS, render
from worker.results.presentation import Presentation
from worker.results.sentences import by_sentences
from worker.results.spelling import one_line, spans
from worker.results.transcript import Channel, Speaker, Transcript
from worker.results.wording.worded import worded


def of_words(**places: dict[int, str]) -> Corrections:
    return Corrections(
        segments={
            int(name.removeprefix("s")): SegmentCorrections(words=words)
            for name, words in places.items()
        }
    )


def test_a_word_keeps_its_time_and_loses_its_score() -> None:
    made = transcript(*segments("We sailed to knew work.", "It rained."))
    result = corrected(made, of_words(s0={3: "New", 4: "York."}))
    assert result.text == "We sailed to New York. It rained."
    assert result.segments[0].text == "We sailed to New York."
    before, after = made.segments[0].words, result.segments[0].words
    assert [(word.start, word.end) for word in after] == [(w.start, w.end) for w in before]
    assert [word.score for word in after] == [0.9, 0.9, 0.9, None, None]
    assert result.segments[1] == made.segments[1]
    assert result.notes == ("Corrected by hand: 2 words.",)


def test_a_corrected_word_loses_the_filters_tag_and_others_keep_theirs() -> None:
    asked = Presentation(vocabulary_filter=("darn", "fog"), vocabulary_filter_method="tag")
    made = transcript(*worded(segments("Darn fog."), asked))
    (segment,) = corrected(made, of_words(s0={0: "Dark"})).segments
    assert [word.vocabulary_filter_match for word in segment.words] == [None, True]


def test_a_masked_word_is_corrected_as_any_other() -> None:
    made = transcript(*worded(segments("Darn fog."), Presentation(vocabulary_filter=("darn",))))
    assert made.segments[0].text == "*** fog."
    assert corrected(made, of_words(s0={0: "Dark", 1: "frog."})).text == "Dark frog."


def test_sentences_are_corrected_where_they_stand_in_the_text() -> None:
    windows = segments("He left. And than", "we stayed. It rained.")
    made = transcript(*windows)
    made = made.model_copy(
        update={
            "segments": by_sentences(windows, "transcribe"),
            "segment_resolution": "sentence",
        }
    )
    result = corrected(made, of_words(s1={1: "then"}))
    assert [s.text for s in result.segments] == ["He left.", "And then we stayed.", "It rained."]
    assert result.text == "He left. And then we stayed. It rained."
    assert result.segment_resolution == "sentence"
    for fmt in FORMATS:
        assert "than" not in render(result, fmt)


def test_a_transcript_of_windows_is_read_shown_and_corrected() -> None:
    document = json.loads(render(transcript(*segments("He left. It reigned.")), "json"))
    del document["segment_resolution"]
    older = Transcript.model_validate(document)
    assert older.segment_resolution == "window"
    assert "It" in render(older, "html")
    assert corrected(older, of_words(s0={3: "rained."})).text == "He left. It rained."


def test_what_stands_between_words_stays() -> None:
    spoken = segments('He said "knew" ... twice .', with_words=False)[0]
    timed = segments("He said knew twice")[0].words
    made = transcript(spoken.model_copy(update={"words": timed}))
    assert corrected(made, of_words(s0={2: "new"})).text == 'He said "new" ... twice .'


def test_a_language_without_spaces_gets_none() -> None:
    first, second = segments("録音 です。", "四 ミリ。")
    spoken = [one.model_copy(update={"text": one.text.replace(" ", "")}) for one in (first, second)]
    made = transcript(*spoken).model_copy(update={"text": "録音です。四ミリ。"})
    assert corrected(made, of_words(s1={0: "五"})).text == "録音です。五ミリ。"


def test_speakers_stay_and_their_words_are_counted_anew() -> None:
    first, second = segments("Well um yes.", "So wat now?")
    spoken = [
        one.model_copy(
            update={
                "speaker": label,
                "words": tuple(word.model_copy(update={"speaker": label}) for word in one.words),
            }
        )
        for one, label in ((first, "SPEAKER_00"), (second, "SPEAKER_01"))
    ]
    speakers = tuple(
        Speaker(label=label, seconds=1.0, turns=1, words=words)
        for label, words in (("SPEAKER_00", 3), ("SPEAKER_01", 3), ("SPEAKER_02", 0))
    )
    made = transcript(*spoken).model_copy(update={"speakers": speakers, "turns": ()})
    result = corrected(made, of_words(s0={1: ""}, s1={1: "what"}))
    assert [segment.speaker for segment in result.segments] == ["SPEAKER_00", "SPEAKER_01"]
    assert [word.speaker for word in result.segments[1].words] == ["SPEAKER_01"] * 3
    assert [(one.label, one.words) for one in result.speakers or ()] == [
        ("SPEAKER_00", 2),
        ("SPEAKER_01", 3),
        ("SPEAKER_02", 0),
    ]
    assert result.turns == ()


def test_a_count_of_words_that_the_result_leaves_out_stays() -> None:
    (said,) = segments("So wat now?", with_words=False)
    speaker = Speaker(label="SPEAKER_00", seconds=1.0, turns=1, words=3)
    made = transcript(said.model_copy(update={"speaker": "SPEAKER_00"}))
    made = made.model_copy(update={"speakers": (speaker,)})
    text = Corrections(segments={0: SegmentCorrections(text="So what now?")})
    assert corrected(made, text).speakers == (speaker,)


def test_the_text_of_a_channel_is_corrected_and_that_of_others_is_not() -> None:
    spoken = [
        one.model_copy(update={"channel": label})
        for one, label in zip(
            segments("Good mourning.", "Yes.", "Um."), ("agent", "customer", "agent"), strict=True
        )
    ]
    texts = {"agent": "Good mourning.  Um.", "customer": "Yes.", "copy": ""}
    channels = tuple(
        Channel(
            label=label,
            audio_stream=None,
            channel=number,
            same_as="agent" if label == "copy" else None,
            language=None,
            seconds=1.0,
            text=text,
        )
        for number, (label, text) in enumerate(texts.items())
    )
    made = transcript(*spoken).model_copy(update={"channels": channels})
    result = corrected(made, of_words(s0={1: "morning."}, s2={0: ""}))
    assert [segment.channel for segment in result.segments] == ["agent", "customer"]
    assert [one.text for one in result.channels or ()] == ["Good morning.", "Yes.", ""]
    assert result.text == "Good morning. Yes."


def test_nothing_corrected_is_nothing_changed() -> None:
    made = transcript(*segments("One.", "Two."))
    assert corrected(made, Corrections()) is made


def test_a_removed_word_goes_and_a_removed_segment_too() -> None:
    made = transcript(*segments("Well um yes.", "Um.", "Good."))
    result = corrected(made, of_words(s0={1: ""}, s1={0: ""}))
    assert result.text == "Well yes. Good."
    assert [segment.id for segment in result.segments] == [0, 1]
    assert [word.word for word in result.segments[0].words] == ["Well", "yes."]


def test_a_segment_without_words_is_corrected_as_a_whole() -> None:
    made = transcript(*segments("Wun too.", "Three.", with_words=False))
    text = Corrections(segments={0: SegmentCorrections(text=" One\n two.\x00 ")})
    result = corrected(made, text)
    assert result.text == "One two. Three."
    assert result.segments[0].words == ()
    assert result.notes == ("Corrected by hand: 1 segment.",)


@pytest.mark.parametrize(
    ("corrections", "why"),
    [
        (of_words(s7={0: "x"}), "no segment 7: the transcript has 2"),
        (of_words(s0={9: "x"}), "segment 0 has no word 9: it has 2"),
        (Corrections(segments={0: SegmentCorrections(text="x")}), "by its words"),
        (of_words(s1={0: "x"}), "by its text"),
        (
            Corrections(segments={0: SegmentCorrections(words={0: "x"}, text="y")}),
            "by its words, and by nothing else",
        ),
    ],
)
def test_what_does_not_fit_is_refused(corrections: Corrections, why: str) -> None:
    spoken = segments("One two.", "Three.")
    made = transcript(spoken[0], spoken[1].model_copy(update={"words": ()}))
    with pytest.raises(ValueError, match=why):
        corrected(made, corrections)


@pytest.mark.parametrize(
    "body",
    [
        '{"segments": {"-1": {"words": {"0": "x"}}}}',
        '{"segments": {"a": {}}}',
        '{"segments": {"0": {"words": {"0": 7}}}}',
        '{"segments": {"0": {"words": {"0": "\\ud800"}}}}',
        '{"segments": {"0": {"start": 3}}}',
        '{"segments": {}, "job_id": "other"}',
        "[]",
        "",
    ],
)
def test_what_is_no_correction_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        Corrections.model_validate_json(body)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=4, max_size=4)
)
@settings(max_examples=40)
def test_whatever_is_typed_gives_a_valid_transcript_whose_words_spell_it(typed: list[str]) -> None:
    made = transcript(*segments("one two three", "four five"))
    result = corrected(made, of_words(s0=dict(enumerate(typed[:3])), s1={1: typed[3]}))
    assert Transcript.model_validate_json(render(result, "json")) == result
    assert one_line(result.text) == result.text
    for segment in result.segments:
        assert spans(segment.text, [word.word for word in segment.words]) is not None
