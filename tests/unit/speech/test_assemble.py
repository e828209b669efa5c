"""A Recognition put together as a Transcript: times in order, text joined, words or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.transcripts import ENGINE as BASE
from worker.results.formats import render
from worker.results.presentation import Presentation
from worker.results.transcript import (
    Language,
    Segment,
    SegmentResolution,
    Timings,
    Transcript,
    Word,
)
from worker.speech.api import Recognition
from worker.speech.assemble import Input, assemble, timings, with_timings

ENGINE = BASE.model_copy(update={"versions": {"ctranslate2": "4"}})


def segment(
    start: float,
    end: float,
    text: str = "word",
    words: Sequence[Word] = (),
    language: str | None = None,
) -> Segment:
    return Segment(
        id=7,
        start=start,
        end=end,
        text=text,
        avg_logprob=-0.25,
        words=tuple(words),
        language=language,
    )


def recognition(
    segments: Sequence[Segment], *, seconds: float = 60.0, code: str | None = "en"
) -> Recognition:
    language = Language(code=code, probability=0.9, detected=True) if code else None
    return Recognition(
        audio_seconds=seconds,
        language=language,
        segments=segments,
        word_times="attention",
        seconds={"decode": 0.25, "windows": 0.5, "transcribe": 2.0, "align": 0.125},
        windows=2,
        notes=("a note",),
    )


def assembled(
    found: Recognition,
    *,
    words: bool = True,
    resolution: SegmentResolution = "sentence",
    display_as: Mapping[str, str] | None = None,
    task: Literal["transcribe", "translate"] = "transcribe",
    timings: Timings | None = None,
) -> Transcript:
    return assemble(
        found,
        job_id="call-17",
        input=Input("s3://b/in/call-17.flac", 265969, "etag"),
        task=task,
        engine=ENGINE,
        timings=timings or Timings(),
        metadata={"a": "b"},
        presentation=Presentation(
            words=words, segment_resolution=resolution, display_as=display_as or {}
        ),
    )


def test_the_pieces_find_their_places() -> None:
    found = recognition([segment(0.03, 9.6, " Printing, "), segment(10, 12, "in the only sense")])
    spent = timings(found, fetch=0.1, write=0.2, total=12.0)
    transcript = assembled(found, resolution="window", timings=spent)
    assert transcript.job_id == "call-17"
    assert transcript.input.model_dump() == {
        "uri": "s3://b/in/call-17.flac",
        "etag": "etag",
        "bytes": 265969,
        "audio_seconds": 60.0,
    }
    assert transcript.text == "Printing, in the only sense"
    assert [s.id for s in transcript.segments] == [0, 1]
    assert transcript.notes == ("a note",)
    assert transcript.metadata == {"a": "b"}
    assert transcript.engine == ENGINE
    assert transcript.speed == 5.0
    assert transcript.timings == Timings(
        fetch=0.1, decode=0.25, windows=0.5, transcribe=2.0, align=0.125, write=0.2, total=12.0
    )


def test_a_result_shows_each_stage_that_timings_have_a_field_for() -> None:
    stages = set(Timings.model_fields) - {"fetch", "write", "total"}
    spent = dict.fromkeys(stages, 1.5) | {"of no field": 9.0}
    assert timings(replace(recognition([]), seconds=spent)) == Timings(**dict.fromkeys(stages, 1.5))


def test_without_speech_it_is_empty_and_valid() -> None:
    transcript = assembled(recognition([], seconds=0.0, code=None))
    assert transcript.text == ""
    assert transcript.segments == ()
    assert transcript.language is None
    assert transcript.languages == ()
    assert transcript.word_times is None
    assert transcript.speed == 0.0


def test_segments_without_text_are_left_out() -> None:
    transcript = assembled(recognition([segment(0, 1, " "), segment(1, 2, "yes")]))
    assert [(s.id, s.text) for s in transcript.segments] == [(0, "yes")]


@pytest.mark.parametrize(
    ("code", "task", "text"),
    [
        ("ja", "transcribe", "一二"),
        ("ja", "translate", "一 二"),
        ("ko", "transcribe", "一 二"),
        ("th", "transcribe", "一 二"),
    ],
)
def test_text_is_joined_as_its_language_is_written(
    code: str, task: Literal["transcribe", "translate"], text: str
) -> None:
    found = recognition([segment(0, 1, "一"), segment(1, 2, "二")], code=code)
    assert assembled(found, task=task).text == text


def test_text_in_several_languages_is_joined_as_each_is_written() -> None:
    spoken = [
        ("ja", "一"),
        ("ja", "二"),
        ("en", "three"),
        ("en", "four"),
        ("zh", "五"),
        ("ja", "六"),
    ]
    found = recognition(
        [segment(at, at + 1, text, language=code) for at, (code, text) in enumerate(spoken)]
    )
    assert assembled(found).text == "一二 three four 五六"
    assert assembled(found, task="translate").text == "一 二 three four 五 六"


def test_each_segment_has_its_language_and_the_file_has_all() -> None:
    found = replace(
        recognition([segment(0, 2, language="es"), segment(2, 3)], code="fr"),
        languages=(("fr", 20.12345), ("es", 1.5)),
    )
    transcript = assembled(found)
    assert [s.language for s in transcript.segments] == ["es", "fr"]
    assert [(share.code, share.seconds) for share in transcript.languages] == [
        ("fr", 20.123),
        ("es", 1.5),
    ]


def test_words_are_left_out_where_the_job_said_so() -> None:
    found = recognition([segment(0, 2, "yes", [Word(word="yes", start=0, end=1, score=0.5)])])
    with_words = assembled(found)
    assert with_words.word_times == "attention"
    assert len(with_words.segments[0].words) == 1
    without = assembled(found, words=False)
    assert without.word_times is None
    assert without.segments[0].words == ()


SPOKEN = [
    segment(0, 4, "He left. And then", language="en"),
    segment(4.5, 9, "we stayed. It rained.", language="en"),
    segment(9, 12, "今日は。明", language="ja"),
    segment(12, 15, "日も。", language="ja"),
]


def test_segments_are_sentences_or_windows_and_the_text_is_the_same() -> None:
    sentences = assembled(recognition(SPOKEN))
    windows = assembled(recognition(SPOKEN), resolution="window")
    assert (sentences.segment_resolution, windows.segment_resolution) == ("sentence", "window")
    assert [s.text for s in windows.segments] == [s.text for s in SPOKEN]
    assert [s.text for s in sentences.segments] == [
        "He left.",
        "And then we stayed.",
        "It rained.",
        "今日は。",
        "明日も。",
    ]
    assert sentences.text == windows.text
    assert windows.text == "He left. And then we stayed. It rained. 今日は。明日も。"


@pytest.mark.parametrize(
    ("code", "said"),
    [("hi", "यह है।वह है। "), ("ja", "はい。 ええ。\u3000では"), ("en", "Yes.  No.\u00a0Well. ")],
)
def test_the_text_is_the_same_however_sentences_are_set_apart(code: str, said: str) -> None:
    found = recognition([segment(0, 9, said), segment(9, 12, said)], code=code)
    sentences = assembled(found)
    assert len(sentences.segments) > 3
    assert sentences.text == assembled(found, resolution="window").text


def test_words_shown_otherwise_are_so_in_sentences_and_text() -> None:
    found = recognition([segment(0, 5, "We saw it. It was the a p"), segment(5, 6, "eye. Yes.")])
    transcript = assembled(found, display_as={"a p eye": "API"})
    assert [s.text for s in transcript.segments] == ["We saw it.", "It was the API.", "Yes."]
    assert transcript.text == "We saw it. It was the API. Yes."


def test_a_line_of_txt_and_a_row_of_tsv_are_a_sentence() -> None:
    transcript = assembled(recognition(SPOKEN[:2]))
    said = [segment.text for segment in transcript.segments]
    assert render(transcript, "txt").splitlines() == said
    rows = [row.split("\t") for row in render(transcript, "tsv").splitlines()]
    assert [text for _, _, text in rows[1:]] == said


def test_timings_can_be_set_again() -> None:
    transcript = with_timings(assembled(recognition([])), Timings(write=1, total=30))
    assert transcript.speed == 2.0
    assert transcript.timings.write == 1


moments = st.floats(min_value=-5, max_value=80, allow_nan=False)
words = st.builds(lambda a, b: Word(word="w", start=a, end=b, score=None), moments, moments)
segments = st.builds(
    lambda a, b, w: segment(a, b, "text", w), moments, moments, st.lists(words, max_size=4)
)


@given(
    st.lists(segments, max_size=6),
    st.floats(min_value=0, max_value=70),
    st.sampled_from(["sentence", "window"]),
)
def test_times_stay_inside_the_audio_in_order_and_apart(
    given_segments: list[Segment], seconds: float, resolution: SegmentResolution
) -> None:
    found = recognition(given_segments, seconds=seconds)
    transcript = assembled(found, resolution=resolution)
    assert resolution == "sentence" or len(transcript.segments) == len(given_segments)
    clock = 0.0
    for each in transcript.segments:
        assert clock <= each.start <= each.end <= transcript.input.audio_seconds
        clock = each.end
        inside = each.start
        for word in each.words:
            assert inside <= word.start <= word.end <= each.end
            inside = word.end
