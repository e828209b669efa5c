"""Sentences about wrong fields, of every kind that a field may have; the fields are the test's."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.fields import JOB_FIELDS
from worker.jobs.problems import explained, unknown_fields


class Request(BaseModel):
    """A job with fields of kinds that jobs may get."""

    model_config = ConfigDict(strict=True)

    speakers: int = Field(default=2, ge=1, le=20)
    gain: float = Field(default=1.0, gt=0, lt=10, allow_inf_nan=False)
    vocabulary: tuple[str, ...] = ()
    channels: list[str] = Field(default_factory=list)
    age: int = Field(default=1, ge=0)


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ({"speakers": "3"}, "field 'speakers' is '3': it must be a whole number"),
        ({"speakers": 2.5}, "field 'speakers' is 2.5: it must be a whole number"),
        ({"speakers": True}, "field 'speakers' is true: it must be a whole number"),
        ({"speakers": 0}, "field 'speakers' is 0: it must be at least 1"),
        ({"speakers": 21}, "field 'speakers' is 21: it must be at most 20"),
        ({"gain": None}, "field 'gain' is null: it must be a number"),
        ({"gain": 0}, "field 'gain' is 0: it must be more than 0.0"),
        ({"gain": 10.5}, "field 'gain' is 10.5: it must be less than 10.0"),
        ({"gain": float("inf")}, "field 'gain' is inf: it must be a finite number"),
        ({"vocabulary": "a"}, "field 'vocabulary' is 'a': it must be a list"),
        ({"vocabulary": ["a", 1]}, "field 'vocabulary' item 2 is 1: it must be text"),
        ({"channels": {}}, "field 'channels' is an object: it must be a list"),
        ({"gain": "x"}, "field 'gain' is 'x': it must be a number"),
        ({"age": 2.5}, "field 'age' is a number: it must be a whole number"),
        ({"age": -7}, "field 'age' is a number: it must be at least 0"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_fix(job: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate_json(json.dumps(job))
    (problem,) = caught.value.errors(include_url=False)
    assert explained(problem, private=frozenset({"age"})) == sentence


def test_a_huge_number_is_shown_short() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"gain": 10**400})
    (problem,) = caught.value.errors(include_url=False)
    said = explained(problem, private=frozenset())
    assert said.startswith("field 'gain' is 1000")
    assert said.endswith(": it must be a number")
    assert len(said) < 200


@pytest.mark.parametrize(
    ("of_others", "ours"),
    [
        ("word_timestamps", "words"),
        ("initial_prompt", "prompt"),
        ("condition_on_previous_text", "carry_context"),
        ("response_format", "formats"),
        ("output_format", "formats"),
        ("timestamp_granularities", "words"),
        ("MediaFileUri", "input"),
        ("LanguageCode", "language"),
        ("LanguageOptions", "language_options"),
        ("IdentifyMultipleLanguages", "multilingual"),
        ("VocabularyName", "vocabulary"),
        ("VocabularyFilterName", "vocabulary_filter"),
        ("VocabularyFilterMethod", "vocabulary_filter_method"),
        ("ShowSpeakerLabels", "diarize"),
        ("speaker_labels", "diarize"),
        ("MaxSpeakerLabels", "max_speakers"),
        ("ChannelIdentification", "channel_identification"),
        ("multichannel", "channel_identification"),
    ],
)
def test_a_field_as_others_call_it_is_known_for_what_it_means(of_others: str, ours: str) -> None:
    (said,) = unknown_fields([of_others], list(JOB_FIELDS))
    assert said == f"field '{of_others}' is unknown; the nearest known one is '{ours}'"
