"""WhisperX's own writers take our json for its own, and write the same text as ours."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from whisperx import schema, utils

from tests.fakes.any_transcripts import as_json, transcripts
from tests.fakes.transcripts import segments, transcript
from worker.results.formats import render
from worker.results.shapes.whisperx import LANGUAGES_JOINED_WITHOUT_SPACES
from worker.results.transcript import Language, Segment, Transcript, Word

# As WhisperX's command passes them where nothing is asked.
OPTIONS = {"max_line_width": None, "max_line_count": None, "highlight_words": False}

examples = settings(max_examples=40, derandomize=True, deadline=None)


def shaped(made: Transcript) -> Any:
    return as_json(render(made, "whisperx"))


def written(name: str, result: Any, **options: object) -> str:
    file = io.StringIO()
    utils.get_writer(name, "").write_result(result, file=file, options=OPTIONS | options)
    return file.getvalue()


def subtitles(srt: str) -> list[str]:
    """The texts of an srt file."""
    blocks = re.split(r"^\d+\n[\d:,]+ --> [\d:,]+\n", srt, flags=re.MULTILINE)[1:]
    return [block.removesuffix("\n\n") for block in blocks]


def texts(made: Transcript) -> list[str]:
    return render(made, "txt").splitlines()


def squeezed(lines: list[str]) -> list[str]:
    return [line.replace(" ", "") for line in lines]


def in_language(made: Transcript, code: str) -> Transcript:
    language = Language(code=code, probability=0.9, detected=True)
    return made.model_copy(update={"language": language})


def test_it_is_what_whisperx_dumps() -> None:
    made = transcript(*segments("Good morning.", "Come in."))
    assert render(made, "whisperx") == (
        '{"segments": ['
        '{"start": 0.5, "end": 1.2, "text": "Good morning.", "words": ['
        '{"word": "Good", "start": 0.5, "end": 0.8, "score": 0.9}, '
        '{"word": "morning.", "start": 0.9, "end": 1.2, "score": 0.9}], "avg_logprob": -0.1}, '
        '{"start": 1.7, "end": 2.4, "text": "Come in.", "words": ['
        '{"word": "Come", "start": 1.7, "end": 2.0, "score": 0.9}, '
        '{"word": "in.", "start": 2.1, "end": 2.4, "score": 0.9}], "avg_logprob": -0.1}], '
        '"word_segments": ['
        '{"word": "Good", "start": 0.5, "end": 0.8, "score": 0.9}, '
        '{"word": "morning.", "start": 0.9, "end": 1.2, "score": 0.9}, '
        '{"word": "Come", "start": 1.7, "end": 2.0, "score": 0.9}, '
        '{"word": "in.", "start": 2.1, "end": 2.4, "score": 0.9}], "language": "en"}\n'
    )


def test_without_words_it_is_what_whisperx_dumps_unaligned() -> None:
    made = transcript(*segments("Good morning.", with_words=False))
    assert shaped(made) == {
        "segments": [{"start": 0.5, "end": 1.2, "text": "Good morning.", "avg_logprob": -0.1}],
        "language": "en",
    }


def test_without_speech_it_is_empty_and_every_writer_takes_it() -> None:
    result = shaped(transcript().model_copy(update={"language": None}))
    assert result == {"segments": [], "language": ""}
    assert [written(name, result) for name in ("srt", "txt")] == ["", ""]
    assert written("vtt", result) == "WEBVTT\n\n"
    assert written("tsv", result) == "start\tend\ttext\n"


@pytest.mark.parametrize("name", ["srt", "vtt", "txt", "tsv", "json", "aud"])
def test_its_writers_write_files_of_it(name: str, tmp_path: Path) -> None:
    result = shaped(transcript(*segments("Good morning.", "Come in.")))
    utils.get_writer(name, str(tmp_path))(result, "in/talk.flac", OPTIONS)
    content = (tmp_path / f"talk.{name}").read_text()
    assert "Good morning." in content
    assert "Come in." in content


@given(transcripts())
@examples
def test_its_writers_write_the_same_text(made: Transcript) -> None:
    result = shaped(made)
    assert written("txt", result) == render(made, "txt")
    assert written("tsv", result) == render(made, "tsv")
    for highlighted in (False, True):  # must not fail
        written("vtt", result, highlight_words=highlighted)
    said = [text.replace("-->", "->") for text in subtitles(written("srt", result))]
    meant = [text.replace("-->", "->") for text in texts(made)]
    if result["language"] in LANGUAGES_JOINED_WITHOUT_SPACES:  # its writers drop the spaces there
        said, meant = squeezed(said), squeezed(meant)
    assert said == meant


@given(transcripts())
@examples
def test_its_keys_are_those_of_whisperxs_types(made: Transcript) -> None:
    result = shaped(made)
    aligned = "word_segments" in result
    whole = schema.AlignedTranscriptionResult if aligned else schema.TranscriptionResult
    part = schema.SingleAlignedSegment if aligned else schema.SingleSegment
    assert result.keys() - {"language"} == whole.__required_keys__ - {"language"}
    for segment in result["segments"]:
        # WhisperX itself leaves `chars` out, unless it is asked for them.
        # It has no type for what `assign_word_speakers` adds.
        assert part.__required_keys__ - {"chars"} <= segment.keys()
        assert segment.keys() <= part.__annotations__.keys() | {"speaker"}
        for word in segment.get("words", ()):
            assert {"word"} <= word.keys()
            assert word.keys() <= schema.SingleWordSegment.__annotations__.keys() | {"speaker"}
            assert ("start" in word) == ("end" in word)
            assert "speaker" not in word or "start" in word
    if aligned:
        words = [word for segment in result["segments"] for word in segment["words"]]
        assert result["word_segments"] == words


def test_the_languages_joined_without_spaces_are_whisperxs() -> None:
    assert list(LANGUAGES_JOINED_WITHOUT_SPACES) == utils.LANGUAGES_WITHOUT_SPACES


def test_words_that_no_space_parts_are_one_but_in_japanese_and_chinese() -> None:
    words = (
        Word(word="สวัส", start=0.0, end=0.4, score=0.5),
        Word(word="ดี", start=0.5, end=0.9, score=0.9),
        Word(word="ครับ", start=1.0, end=1.5, score=None),
    )
    made = transcript(
        Segment(id=0, start=0.0, end=2.0, text="สวัสดี ครับ", avg_logprob=-0.1, words=words)
    )
    assert shaped(in_language(made, "th"))["word_segments"] == [
        {"word": "สวัสดี", "start": 0.0, "end": 0.9, "score": 0.7},
        {"word": "ครับ", "start": 1.0, "end": 1.5},
    ]
    assert len(shaped(in_language(made, "ja"))["word_segments"]) == 3


def test_a_segment_whose_words_are_not_known_keeps_its_text_in_words_without_times() -> None:
    first, second = segments("Good morning.", "Come in.")
    made = transcript(first, second.model_copy(update={"words": ()}))
    assert shaped(made)["segments"][1]["words"] == [{"word": "Come"}, {"word": "in."}]


def test_a_translation_is_english() -> None:
    made = in_language(transcript(*segments("Good morning.")), "ja")
    made = made.model_copy(update={"task": "translate"})
    result = shaped(made)
    assert result["language"] == "en"
    assert subtitles(written("srt", result)) == ["Good morning."]


def spoken_by(segment: Segment, label: str | None, *of_words: str | None) -> Segment:
    words = [
        word.model_copy(update={"speaker": speaker})
        for word, speaker in zip(segment.words, of_words, strict=True)
    ]
    return segment.model_copy(update={"speaker": label, "words": tuple(words)})


def told_apart() -> Transcript:
    first, second, third = segments("Good morning.", "Come in.", "So.")
    return transcript(
        spoken_by(first, "SPEAKER_01", "SPEAKER_01", "SPEAKER_00"),
        spoken_by(second, "SPEAKER_00", "SPEAKER_00", None),
        spoken_by(third, None, None),
    )


def test_segments_and_words_have_their_speakers() -> None:
    """Nothing stands where nobody is heard."""
    result = shaped(told_apart())
    assert [segment.get("speaker") for segment in result["segments"]] == [
        "SPEAKER_01",
        "SPEAKER_00",
        None,
    ]
    assert [(word["word"], word.get("speaker")) for word in result["word_segments"]] == [
        ("Good", "SPEAKER_01"),
        ("morning.", "SPEAKER_00"),
        ("Come", "SPEAKER_00"),
        ("in.", None),
        ("So.", None),
    ]
    assert "null" not in render(told_apart(), "whisperx")
    assert set(result) == {"segments", "word_segments", "language"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_speakers_are_where_whisperx_assigns_them() -> None:
    from whisperx import diarize  # imports all of pyannote

    result = shaped(transcript(*segments("Good morning.", "Come in.", "So.")))
    # As when WhisperX aligned them: both lists have the same words, not copies.
    result["word_segments"] = [word for segment in result["segments"] for word in segment["words"]]
    turns = diarize.pd.DataFrame(
        [(0.0, 0.82, "SPEAKER_01"), (0.9, 1.18, "SPEAKER_00"), (1.7, 2.0, "SPEAKER_00")],
        columns=["start", "end", "speaker"],
    )
    assert shaped(told_apart()) == diarize.assign_word_speakers(turns, result)


def test_a_channel_stands_where_its_writers_look_for_a_speaker() -> None:
    agent, customer = segments("Good morning.", "Hello.")
    made = transcript(
        agent.model_copy(update={"channel": "agent"}),
        customer.model_copy(update={"channel": "customer"}),
    )
    result = shaped(made)
    assert [word["speaker"] for word in result["word_segments"]] == ["agent", "agent", "customer"]
    assert subtitles(written("srt", result)) == ["[agent]: Good morning.", "[customer]: Hello."]
