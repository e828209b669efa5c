"""The types of OpenAI's own package read our json, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from tests.fakes.any_transcripts import as_json, transcripts
from tests.fakes.transcripts import segments, transcript
from worker.results.formats import render
from worker.results.languages import LANGUAGE_NAMES
from worker.results.spelling import one_line
from worker.results.transcript import Language, Transcript

if TYPE_CHECKING:
    from openai.types.audio import TranscriptionVerbose

examples = settings(max_examples=30, derandomize=True, deadline=None)


def read(made: Transcript) -> TranscriptionVerbose:
    """As OpenAI's package reads it, and nothing in it that the package doesn't know."""
    from openai.types.audio import TranscriptionVerbose, TranslationVerbose

    text = render(made, "openai")
    read = TranscriptionVerbose.model_validate_json(text, strict=True)
    assert read.model_extra == {"task": made.task}
    assert read.usage is not None
    for part in (read.usage, *(read.segments or ()), *(read.words or ())):
        assert not part.model_extra
    TranslationVerbose.model_validate_json(text, strict=True)
    assert as_json(text) == read.model_dump(exclude_unset=True)
    return read


def shaped(made: Transcript) -> Any:
    return as_json(render(made, "openai"))


def test_it_is_what_the_api_answers() -> None:
    spoken = segments("Good morning.")[0].model_copy(
        update={"no_speech_prob": 0.02, "temperature": 0.2, "compression_ratio": 1.25}
    )
    made = transcript(spoken)
    read(made)
    assert shaped(made) == {
        "task": "transcribe",
        "language": "english",
        "duration": 2.2,
        "text": "Good morning.",
        "segments": [
            {
                "id": 0,
                "seek": 50,
                "start": 0.5,
                "end": 1.2,
                "text": " Good morning.",
                "tokens": [],
                "temperature": 0.2,
                "avg_logprob": -0.1,
                "compression_ratio": 1.25,
                "no_speech_prob": 0.02,
            }
        ],
        "words": [
            {"word": "Good", "start": 0.5, "end": 0.8},
            {"word": "morning.", "start": 0.9, "end": 1.2},
        ],
        "usage": {"type": "duration", "seconds": 2.2},
    }


def test_what_an_older_result_does_not_know_is_zero_or_counted() -> None:
    from whisperx.utils import compression_ratio

    text = "Come in. " * 20
    (segment,) = shaped(transcript(*segments(text)))["segments"]
    assert (segment["temperature"], segment["no_speech_prob"]) == (0.0, 0.0)
    assert segment["compression_ratio"] == pytest.approx(compression_ratio(text.strip()), abs=1e-4)
    assert segment["compression_ratio"] > 2.4


@given(transcripts())
@examples
def test_every_transcript_is_read_by_openais_types(made: Transcript) -> None:
    result = read(made)
    spoken = [segment for segment in made.segments if one_line(segment.text)]
    assert result.text == made.text
    assert [(part.id, part.text) for part in result.segments or ()] == [
        (segment.id, f" {one_line(segment.text)}") for segment in spoken
    ]
    words = [(word.word, word.start, word.end) for part in made.segments for word in part.words]
    assert [(word.word, word.start, word.end) for word in result.words or ()] == words
    assert (result.words is None) == (not words)


def test_languages_have_their_english_names() -> None:
    made = transcript(*segments("Good."))
    for code, name in [*LANGUAGE_NAMES.items(), ("xx", "xx")]:
        language = Language(code=code, probability=0.9, detected=True)
        spoken = made.model_copy(update={"language": language})
        assert shaped(spoken)["language"] == name
        assert shaped(spoken.model_copy(update={"task": "translate"}))["language"] == "english"


def test_without_speech_it_is_empty() -> None:
    result = read(transcript().model_copy(update={"language": None}))
    assert (result.text, result.language, result.segments, result.words) == ("", "", [], None)
