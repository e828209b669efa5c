"""The published schemas are those of the models, and the documented result is valid by them."""

import json
from pathlib import Path
from typing import Any

# It has neither types nor stubs in this project; moto's and cfn-lint's own schemas need it.
import jsonschema  # type: ignore[import-untyped]
import pytest

from worker.cli.schemas import schema_files
from worker.results.transcript import ErrorDocument, Transcript

SCHEMAS = Path(__file__).parents[3] / "config" / "schemas"

DOCUMENTED: dict[str, Any] = {
    "schema_version": 1,
    "job_id": "call-17",
    "status": "completed",
    "input": {
        "uri": "s3://b/in/call-17.flac",
        "etag": "9b2cf535f27731c974343645a3985328",
        "bytes": 265969,
        "audio_seconds": 9.66,
    },
    "language": {"code": "en", "probability": 0.99, "detected": True},
    "languages": [{"code": "en", "seconds": 9.1}],
    "task": "transcribe",
    "text": "Printing, in the only sense ...",
    "segments": [
        {
            "id": 0,
            "start": 0.03,
            "end": 9.6,
            "text": "Printing, ...",
            "avg_logprob": -0.1,
            "words": [],
            "language": "en",
        }
    ],
    "engine": {
        "model": "base",
        "device": "cpu",
        "compute_type": "int8",
        "batch_size": 8,
        "beam_size": 5,
        "vad": "silero",
        "transcriber": "optimized",
        "versions": {"ctranslate2": "4.8.5"},
    },
    "timings": {
        "fetch": 0.1,
        "decode": 0.2,
        "windows": 0.1,
        "transcribe": 2.4,
        "write": 0.1,
        "total": 2.9,
    },
    "speed": 3.3,
    "metadata": {},
}


def validator(name: str) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_files_are_up_to_date() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS.glob("*.json")}
    assert written == schema_files(), "run: python -m worker.cli.schemas config/schemas"


def test_the_documented_transcript_is_valid() -> None:
    validator("transcript").validate(DOCUMENTED)
    transcript = Transcript.model_validate_json(json.dumps(DOCUMENTED))
    validator("transcript").validate(json.loads(transcript.model_dump_json()))


def test_a_transcript_of_the_release_before_languages_is_valid() -> None:
    (segment,) = DOCUMENTED["segments"]
    earlier = {key: value for key, value in DOCUMENTED.items() if key != "languages"}
    earlier["segments"] = [{key: segment[key] for key in segment if key != "language"}]
    validator("transcript").validate(earlier)
    found = Transcript.model_validate_json(json.dumps(earlier))
    assert found.languages == ()
    assert found.segments[0].language is None


def test_a_transcript_that_says_who_speaks_is_valid() -> None:
    (segment,) = DOCUMENTED["segments"]
    word = {"word": "Printing,", "start": 0.03, "end": 0.56, "score": None, "speaker": None}
    channel = {
        "label": "agent", "audio_stream": None, "channel": 0, "same_as": None,
        "language": DOCUMENTED["language"], "seconds": 9.1, "text": "Printing, ...",
    }  # fmt: skip
    told = DOCUMENTED | {
        "segments": [segment | {"words": [word], "speaker": "SPEAKER_00", "channel": "agent"}],
        "speakers": [{"label": "SPEAKER_00", "seconds": 9.1, "turns": 1, "words": 0}],
        "turns": [{"speaker": "SPEAKER_00", "start": 0.0, "end": 9.1}],
        "channels": [channel],
        "engine": DOCUMENTED["engine"] | {"diarizer": "packaged"},
        "timings": DOCUMENTED["timings"] | {"diarize": 1.5},
    }
    validator("transcript").validate(told)
    written = json.loads(Transcript.model_validate_json(json.dumps(told)).model_dump_json())
    validator("transcript").validate(written)
    for name in ("speakers", "turns", "channels"):
        assert written[name] == told[name]
    assert written["segments"][0]["words"][0]["speaker"] is None
    assert written["engine"]["diarizer"] == "packaged"


def test_a_transcript_without_speech_is_valid() -> None:
    silent = DOCUMENTED | {"language": None, "text": "", "segments": []}
    validator("transcript").validate(silent)
    Transcript.model_validate_json(json.dumps(silent))


@pytest.mark.parametrize("name", ["job_id", "status", "input", "language", "segments", "engine"])
def test_a_transcript_that_lacks_something_is_not_valid(name: str) -> None:
    if name == "status":  # one value is possible, and so it has a default
        broken = DOCUMENTED | {"status": "failed"}
    else:
        broken = {key: value for key, value in DOCUMENTED.items() if key != name}
    assert not validator("transcript").is_valid(broken)


def test_a_field_that_a_later_version_adds_is_no_error_to_a_reader() -> None:
    validator("transcript").validate(
        DOCUMENTED | {"later": 1, "engine": DOCUMENTED["engine"] | {"later": 1}}
    )


def test_an_error_document_is_valid() -> None:
    document = ErrorDocument(
        job_id="call-17",
        input="s3://b/in/call-17.flac",
        code="not_media",
        message="No decoder recognises the file.",
        attempts=1,
        failed_at="2024-05-01T12:00:00Z",
    )
    validator("error").validate(json.loads(document.model_dump_json()))
    assert not validator("error").is_valid({"job_id": "call-17", "status": "failed"})


@pytest.mark.parametrize(
    ("job", "valid"),
    [
        ({"input": "s3://bucket/k.wav"}, True),
        ({"input": "s3://bucket/k.wav", "language": None, "prompt": None, "job_id": None}, True),
        ({"input": "s3://bucket/k.wav", "job_id": "a b"}, False),
        ({"input": "s3://bucket/k.wav", "job_id": "Müller_17.2-録音"}, True),
        ({"input": "s3://bucket/k.wav", "job_id": "x" * 129}, False),
        ({"input": "s3://bucket/k.wav", "language": "english"}, False),
        ({"input": "s3://bucket/k.wav", "langage": "en"}, False),
        ({"input": "s3://bucket/k.wav", "formats": ["json", "tsv"], "words": False}, True),
        ({"input": "s3://bucket/k.wav", "formats": "json"}, False),
        ({"input": "s3://bucket/k.wav", "metadata": {"a": 1}}, False),
        ({"input": "s3://bucket/k.wav", "carry_context": "off", "multilingual": True}, True),
        ({"input": "s3://bucket/k.wav", "carry_context": "no"}, False),
        ({"input": "s3://bucket/k.wav", "language_options": ["de", "en"]}, True),
        ({"input": "s3://bucket/k.wav", "language_options": []}, True),
        ({"input": "s3://bucket/k.wav", "language_options": "de"}, False),
        ({"input": "s3://bucket/k.wav", "language_options": ["german"]}, False),
        ({"input": "s3://bucket/k.wav", "language_options": ["de"] * 101}, False),
        ({"input": "s3://bucket/k.wav", "language": "de", "multilingual": False}, True),
        ({"input": "s3://bucket/k.wav", "language": None, "multilingual": True}, True),
        ({"input": "s3://bucket/k.wav", "language": "de", "multilingual": True}, False),
        ({"input": "https://bucket/k.wav"}, False),
        ({}, False),
    ],
)
def test_jobs_by_the_schema(job: dict[str, object], valid: bool) -> None:
    from worker.errors import JobError
    from worker.jobs.message import parse_request

    assert validator("job").is_valid(job) is valid
    try:
        parse_request(job)
    except JobError:
        assert not valid
    else:
        assert valid
