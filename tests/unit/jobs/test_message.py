"""Every envelope a message may come in, every way a job may be wrong, and 10 000 mad bodies."""

import json
import random
import string
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, create_model

from worker.errors import ErrorCode, JobError
from worker.jobs.ids import is_job_id
from worker.jobs.message import (
    Job,
    JobDefaults,
    JobRequest,
    Parsed,
    Rejected,
    S3Prefix,
    S3Uri,
    parse_message,
    parse_request,
)

MESSAGE_ID = "5fea7756-0ea4-451a-a703-a558b933e274"
DEFAULTS = JobDefaults()
INPUT = "s3://recordings/in/call-17.flac"

examples = settings(max_examples=200, derandomize=True, deadline=None)


def parse(body: object, defaults: JobDefaults = DEFAULTS, message_id: str = MESSAGE_ID) -> Parsed:
    text = body if isinstance(body, str) else json.dumps(body)
    return parse_message(text, message_id=message_id, defaults=defaults)


def only_job(body: object, defaults: JobDefaults = DEFAULTS) -> Job:
    parsed = parse(body, defaults)
    assert parsed.failures == ()
    assert parsed.dropped == ()
    (job,) = parsed.jobs
    return job


def only_failure(body: object, defaults: JobDefaults = DEFAULTS) -> Rejected:
    parsed = parse(body, defaults)
    assert parsed.jobs == ()
    assert parsed.dropped == ()
    (failure,) = parsed.failures
    return failure


def only_reason(body: object, defaults: JobDefaults = DEFAULTS) -> str:
    parsed = parse(body, defaults)
    assert parsed.jobs == ()
    assert parsed.failures == ()
    (reason,) = parsed.dropped
    return reason


def key_of(job: Job) -> str:
    assert isinstance(job.input, S3Uri)
    return job.input.key


# --- one job --------------------------------------------------------------------------------


def test_the_smallest_job_gets_every_default() -> None:
    job = only_job({"input": INPUT})
    assert job == Job(
        input=S3Uri("recordings", "in/call-17.flac"),
        job_id=MESSAGE_ID,
        output=S3Prefix("recordings", "transcripts/"),
        language=None,
        task="transcribe",
        formats=("json", "srt", "vtt", "txt"),
        words=True,
        prompt=None,
        hotwords=None,
        metadata={},
        etag=None,
        version_id=None,
    )
    assert job.place.prefix == f"transcripts/{MESSAGE_ID}/"
    assert (
        job.place.uri("transcript.json")
        == f"s3://recordings/transcripts/{MESSAGE_ID}/transcript.json"
    )


def test_a_job_with_every_field() -> None:
    job = only_job(
        {
            "input": INPUT,
            "job_id": "call-17",
            "output": "s3://results/calls",
            "language": "de",
            "task": "translate",
            "formats": ["txt", "tsv", "txt"],
            "words": False,
            "prompt": "Grüße",
            "hotwords": "Gutenberg",
            "carry_context": "off",
            "language_options": ["en", "de", "en"],
            "multilingual": False,
            "metadata": {"customer": "42", "": ""},
        }
    )
    assert job.job_id == "call-17"
    assert str(job.output) == "s3://results/calls/"
    assert (job.language, job.task, job.words) == ("de", "translate", False)
    assert job.formats == ("json", "tsv", "txt")
    assert (job.prompt, job.hotwords) == ("Grüße", "Gutenberg")
    assert (job.carry_context, job.multilingual) == ("off", False)
    assert job.language_options == ("de", "en")
    assert job.metadata == {"customer": "42", "": ""}
    assert job.place.prefix == "calls/call-17/"


def test_null_is_the_default_where_a_default_may_be_null() -> None:
    job = only_job(
        {
            "input": INPUT,
            "job_id": None,
            "output": None,
            "language": None,
            "prompt": None,
            "hotwords": None,
            "carry_context": None,
            "language_options": None,
            "multilingual": None,
            "min_speakers": None,
            "max_speakers": None,
            "audio_stream": None,
        }
    )
    assert job == only_job({"input": INPUT})


def test_an_empty_prompt_is_none() -> None:
    job = only_job({"input": INPUT, "prompt": "", "hotwords": " \n"})
    assert job.prompt is None
    assert job.hotwords is None


def test_the_setting_output_is_the_default() -> None:
    defaults = JobDefaults(output=S3Prefix("results", "calls/"))
    assert only_job({"input": INPUT}, defaults).place.prefix == f"calls/{MESSAGE_ID}/"
    own = only_job({"input": INPUT, "output": "s3://mine/"}, defaults)
    assert str(own.output) == "s3://mine/"


def test_neither_repr_nor_logs_of_a_job_show_what_is_private() -> None:
    job = only_job(
        {"input": INPUT, "prompt": "secret1", "hotwords": "secret2", "metadata": {"k": "secret3"}}
    )
    assert "secret" not in repr(job)
    assert "secret" not in str(job)


def test_the_request_hash_is_of_what_was_asked_and_of_nothing_else() -> None:
    asked = {"input": INPUT}
    same = [
        asked | {"job_id": "other"},
        asked | {"output": "s3://results/x/"},
        asked | {"language": None, "task": "transcribe", "words": True, "metadata": {}},
        asked | {"formats": ["txt", "vtt", "srt", "json", "srt"]},
        asked | {"prompt": ""},
        asked | {"carry_context": "auto", "language_options": [], "multilingual": False},
        asked | {"diarize": False, "min_speakers": None, "max_speakers": None},
        asked | {"channel_identification": False, "audio_stream": None, "channel_labels": []},
    ]
    others = [
        {"input": INPUT + "2"},
        asked | {"language": "en"},
        asked | {"task": "translate"},
        asked | {"formats": ["json"]},
        asked | {"words": False},
        asked | {"prompt": "p"},
        asked | {"hotwords": "p"},
        asked | {"metadata": {"p": ""}},
        asked | {"carry_context": "off"},
        asked | {"carry_context": "on"},
        asked | {"language_options": ["de"]},
        asked | {"language_options": ["fr", "de"]},
        asked | {"multilingual": True},
        asked | {"diarize": True},
        asked | {"diarize": True, "min_speakers": 2},
        asked | {"diarize": True, "max_speakers": 2},
        asked | {"channel_identification": True},
        asked | {"channel_identification": True, "channel_labels": ["a"]},
        asked | {"channel_identification": True, "channel_labels": ["a", "b"]},
        asked | {"channel_identification": True, "channel_labels": ["b", "a"]},
        asked | {"audio_stream": 0},
        asked | {"audio_stream": 1},
        asked | {"audio_stream": "all"},
    ]
    mine = only_job(asked).request_hash
    assert len(mine) == 64
    assert {only_job(body).request_hash for body in same} == {mine}
    hashes = {only_job(body).request_hash for body in others}
    assert len(hashes) == len(others)
    assert mine not in hashes
    pinned = only_job(asked).model_copy(update={"etag": "e", "version_id": "v"})
    assert pinned.request_hash == mine


def test_the_request_hash_is_the_same_in_every_release() -> None:
    # A changed hash would make every redelivered job a conflict with its own result.
    job = only_job({"input": INPUT, "prompt": "Grüße", "metadata": {"b": "1", "a": "2"}})
    assert job.request_hash == ("ca26ec4162efc71efd8047919badf4bff9cb604678ea5324eef4742061907b14")
    whole = {
        "input": INPUT, "language": "de", "task": "translate", "formats": ["txt"], "words": False,
        "prompt": "Grüße", "hotwords": "G", "metadata": {"a": "b"},
    }  # fmt: skip
    whole_hash = "b43082f488bee0d17350db5c45fbccb42b3c5d66f402b77d9d742aaf24ca7482"
    assert only_job(whole).request_hash == whole_hash
    later = only_job(
        {
            "input": INPUT,
            "carry_context": "off",
            "language_options": ["fr", "de"],
            "multilingual": True,
        }
    )
    later_hash = "3227c2dac1b0844b2930f9e58752cd45f2b433b98f7d30e43fc04b1a169b3785"
    assert later.request_hash == later_hash
    shown = only_job(
        {
            "input": INPUT,
            "vocabulary": ["Löwe", {"Phrase": "Tiger", "DisplayAs": "Panthera tigris"}],
            "vocabulary_filter": ["darn"],
            "vocabulary_filter_method": "tag",
            "segment_resolution": "window",
            "max_line_width": 32,
            "max_line_count": 1,
            "max_cue_seconds": 5.5,
            "highlight_words": True,
            "vtt_word_times": True,
            "output_start_index": 0,
        }
    )
    assert shown.request_hash == "9b7be66ab9ea39cf7e5534ea7848cb8d0f24acdd09c0ed5b058c352aacaa7e6f"
    told = only_job(
        {
            "input": INPUT,
            "diarize": True,
            "min_speakers": 2,
            "max_speakers": 4,
            "audio_stream": 0,
        }
    )
    assert told.request_hash == "815e888e3f2602aea23c9f73aa3819fb4c3b09ffd1628033fb5e718aaed0223c"
    split = only_job(
        {"input": INPUT, "channel_identification": True, "channel_labels": ["agent", "Löwe"]}
    )
    assert split.request_hash == "efc17b613a6e6aee3f7efa354293dc2ece70e8bb20495b1dc28c32052ce7bb33"
    tracks = only_job({"input": INPUT, "audio_stream": "all", "channel_labels": ["game"]})
    assert tracks.request_hash == "9c31d717a3142eff498173a8e9cae358471b82c7e83d2e117322f5041d69ba31"


def test_a_vocabulary_is_the_same_in_each_of_its_forms() -> None:
    forms: list[object] = [
        {"Löwe": None, "Tiger": "Panthera tigris"},
        ["Löwe", {"Phrase": "Tiger", "DisplayAs": "Panthera tigris"}],
        [{"Phrase": " Löwe "}, {"Phrase": "Tiger", "DisplayAs": "Panthera tigris"}],
    ]
    jobs = [only_job({"input": INPUT, "vocabulary": form}) for form in forms]
    assert len({job.request_hash for job in jobs}) == 1
    assert {(entry.phrase, entry.display_as) for entry in jobs[0].vocabulary} == {
        ("Löwe", None),
        ("Tiger", "Panthera tigris"),
    }
    assert only_job(json.loads(jobs[0].body()) | {"job_id": None}) == jobs[0]
    assert only_job({"input": INPUT, "vocabulary": []}).request_hash == (
        only_job({"input": INPUT}).request_hash
    )


def test_the_order_of_language_options_changes_nothing() -> None:
    one, other = (
        only_job({"input": INPUT, "language_options": codes})
        for codes in (["fr", "de"], ["de", "fr", "de"])
    )
    assert one.language_options == other.language_options == ("de", "fr")
    assert one.request_hash == other.request_hash


@pytest.mark.parametrize(
    ("annotation", "default", "other"),
    [
        (int | None, None, 2),
        (bool, False, True),
        (bool, True, False),
        (str, "", "x"),
        (float, 0.5, 1.0),
        (tuple[str, ...], ("a",), ()),
        (dict[str, str], {}, {"a": "b"}),
    ],
)
def test_a_field_that_jobs_get_later_changes_the_hash_of_no_earlier_job(
    annotation: Any, default: Any, other: Any
) -> None:
    later = create_model("LaterJob", __base__=Job, later=(annotation, default))
    job = only_job({"input": INPUT, "prompt": "Grüße", "metadata": {"b": "1", "a": "2"}})
    assert later.model_validate(dict(job)).request_hash == job.request_hash
    written_out = later.model_validate(dict(job) | {"later": default})
    assert written_out.request_hash == job.request_hash
    asked = later.model_validate(dict(job) | {"later": other})
    assert asked.request_hash != job.request_hash


def test_a_later_field_may_make_its_default_anew_for_each_job() -> None:
    later = create_model("LaterJob", __base__=Job, later=(list[str], Field(default_factory=list)))
    job = only_job({"input": INPUT})
    assert later.model_validate(dict(job)).request_hash == job.request_hash
    asked = later.model_validate(dict(job) | {"later": ["x"]})
    assert asked.request_hash != job.request_hash


def test_a_request_and_its_body() -> None:
    request = parse_request({"input": INPUT, "language": "en", "formats": ["txt"]})
    assert isinstance(request, JobRequest)
    assert json.loads(request.body()) == {
        "input": INPUT,
        "language": "en",
        "formats": ["json", "txt"],
    }
    assert only_job(request.body()).language == "en"


@pytest.mark.parametrize(
    "asked",
    [
        {"carry_context": "auto"},
        {"language_options": []},
        {"multilingual": False},
        {"carry_context": "on", "language_options": ["de", "en"], "multilingual": True},
    ],
)
def test_a_body_says_what_was_asked_even_if_it_is_what_most_workers_do(
    asked: dict[str, object],
) -> None:
    request = parse_request({"input": INPUT} | asked)
    assert json.loads(request.body()) == {"input": INPUT} | asked
    assert parse_request(json.loads(request.body())) == request


@examples
@given(
    language=st.none() | st.sampled_from(["de", "en", "ja"]),
    options=st.none() | st.lists(st.sampled_from(["de", "en", "ja", "fr"]), max_size=6),
    multilingual=st.none() | st.booleans(),
)
def test_a_named_language_agrees_with_what_may_be_detected(
    language: str | None, options: list[str] | None, multilingual: bool | None
) -> None:
    asked = {
        "input": INPUT,
        "language": language,
        "language_options": options,
        "multilingual": multilingual,
    }
    left_out = bool(options) and language is not None and language not in (options or ())
    two_ways = bool(multilingual) and language is not None
    if left_out or two_ways:
        message = only_failure(asked).error.message
        assert ("field 'language_options'" in message) is left_out
        assert ("field 'multilingual'" in message) is two_ways
        assert f"'{language}'" in message
    else:
        job = only_job(asked)
        assert job.language_options == (None if options is None else tuple(sorted(set(options))))
        assert (job.language, job.multilingual) == (language, multilingual)


# --- one job that is wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({}, "field 'input' is missing"),
        ({"language": "en"}, "field 'input' is missing"),
        ({"inptu": INPUT}, "field 'inptu' is unknown; the nearest known one is 'input'"),
        ({"input": INPUT, "langage": "de"}, "the nearest known one is 'language'"),
        ({"input": INPUT, "jobId": "x"}, "the nearest known one is 'job_id'"),
        ({"input": INPUT, "word_timestamps": True}, "the nearest known one is 'words'"),
        ({"input": INPUT, "word": True}, "the nearest known one is 'words'"),
        ({"input": INPUT, "format": "srt"}, "the nearest known one is 'formats'"),
        ({"input": INPUT, "etag": "x"}, "field 'etag' is unknown"),
        ({"input": INPUT, "version_id": "x"}, "field 'version_id' is unknown"),
        ({"input": INPUT, "": 1}, "field '' is unknown"),
        ({"input": None}, "field 'input' is null: it must be text"),
        ({"input": 17}, "field 'input' is 17: it must be text"),
        ({"input": [INPUT]}, "field 'input' is a list: it must be text"),
        ({"input": {"uri": INPUT}}, "field 'input' is an object: it must be text"),
        ({"input": "call.flac"}, "field 'input': 'call.flac' is not an S3 URI"),
        ({"input": "s3://recordings/"}, "names no object"),
        ({"input": "s3://Recordings/k"}, "3 to 63 lower-case letters"),
        ({"input": INPUT, "output": "results/"}, "field 'output': 'results/' is not an S3 URI"),
        ({"input": INPUT, "output": "s3://x/"}, "field 'output': 's3://x/' does not name"),
        ({"input": INPUT, "job_id": ""}, "field 'job_id' is '': use 1 to 128 bytes of"),
        ({"input": INPUT, "job_id": "."}, "field 'job_id' is '.': use"),
        ({"input": INPUT, "job_id": ".."}, "field 'job_id' is '..': use"),
        ({"input": INPUT, "job_id": "a/b"}, "field 'job_id' is 'a/b': use"),
        ({"input": INPUT, "job_id": "e\u0301"}, "in Unicode's composed form, NFC"),
        ({"input": INPUT, "job_id": "☎"}, "field 'job_id' is '☎': use"),
        ({"input": INPUT, "job_id": "語" * 43}, "use 1 to 128 bytes"),
        ({"input": INPUT, "job_id": "a\n"}, "field 'job_id' is 'a\\n': use"),
        ({"input": INPUT, "job_id": "x" * 129}, "use 1 to 128"),
        ({"input": INPUT, "job_id": 7}, "field 'job_id' is 7: it must be text"),
        ({"input": INPUT, "language": "english"}, "'english': it must be a Whisper language code"),
        ({"input": INPUT, "language": "english"}, "did you mean 'en'?"),
        ({"input": INPUT, "language": "EN"}, "did you mean 'en'?"),
        ({"input": INPUT, "language": "auto"}, "send null, to detect it"),
        ({"input": INPUT, "language": ""}, "send null, to detect it"),
        ({"input": INPUT, "language": True}, "field 'language' is true: it must be text"),
        ({"input": INPUT, "task": "summarize"}, "it must be 'transcribe' or 'translate'"),
        ({"input": INPUT, "task": None}, "field 'task' is null: it must be"),
        ({"input": INPUT, "formats": "srt"}, "field 'formats' is 'srt': it must be a list"),
        ({"input": INPUT, "formats": None}, "field 'formats' is null: it must be a list"),
        ({"input": INPUT, "formats": ["srt", "ass"]}, "field 'formats' item 2 is 'ass': it must"),
        ({"input": INPUT, "formats": [["srt"]]}, "field 'formats' item 1 is a list: it must"),
        ({"input": INPUT, "formats": ["srt"] * 21}, "field 'formats' is a list: it must name each"),
        ({"input": INPUT, "words": "yes"}, "field 'words' is 'yes': it must be true or false"),
        ({"input": INPUT, "words": 1}, "field 'words' is 1: it must be true or false"),
        ({"input": INPUT, "prompt": ["a"]}, "field 'prompt' is a list: it must be text"),
        ({"input": INPUT, "prompt": "x" * 4097}, "has 4097 characters and may have 4096"),
        ({"input": INPUT, "prompt": "x" * 200_000}, "has 200000 characters and may have 4096"),
        ({"input": INPUT, "hotwords": {}}, "field 'hotwords' is an object: it must be text"),
        ({"input": INPUT, "hotwords": "\ud800"}, "field 'hotwords' is text: it must be valid Uni"),
        ({"input": INPUT, "carry_context": "yes"}, "field 'carry_context' is 'yes': it must be 'a"),
        ({"input": INPUT, "carry_context": True}, "field 'carry_context' is true: it must be 'a"),
        ({"input": INPUT, "language_options": "de"}, "'language_options' is 'de': it must be a l"),
        ({"input": INPUT, "language_options": {"de": 1}}, "is an object: it must be a list"),
        ({"input": INPUT, "language_options": ["de", 1]}, "item 2 is 1: it must be text"),
        ({"input": INPUT, "language_options": ["de"] * 101}, "it must name each language once"),
        (
            {"input": INPUT, "language_options": ["de", "German", "x"]},
            "field 'language_options': 'German' is no Whisper language code; did you mean 'de'?",
        ),
        (
            {"input": INPUT, "language_options": ["\ud800"]},
            "field 'language_options': '\\ud800' is no Whisper language code; leave it out",
        ),
        (
            {"input": INPUT, "language": "fr", "language_options": ["en", "de"]},
            "field 'language_options': it has de, en and not 'fr', which is the job's 'language';"
            " add it, or send only one of the two fields",
        ),
        ({"input": INPUT, "multilingual": "yes"}, "field 'multilingual' is 'yes': it must be true"),
        ({"input": INPUT, "multilingual": 1}, "field 'multilingual' is 1: it must be true"),
        (
            {"input": INPUT, "language": "fr", "multilingual": True},
            "field 'multilingual' is true: the job's 'language' is 'fr', which is one for all of"
            " it: send only one of the two fields",
        ),
        (
            {"input": INPUT, "max_line_width": 4.5},
            "field 'max_line_width' is 4.5: it must be a whole number",
        ),
        ({"input": INPUT, "max_cue_seconds": 10**400}, "field 'max_cue_seconds' is 10000"),
        ({"input": INPUT, "highlight_words": 1}, "'highlight_words' is 1: it must be true or"),
        ({"input": INPUT, "metadata": []}, "field 'metadata' is a list: it must be an object"),
        ({"input": INPUT, "metadata": None}, "field 'metadata' is null: it must be an object"),
        ({"input": INPUT, "metadata": {"a": 1}}, "field 'metadata' 'a' is a number: it must"),
        ({"input": INPUT, "metadata": {"a": "\udfff"}}, "valid Unicode"),
        ({"input": INPUT, "metadata": {"\udfff": "a"}}, "valid Unicode"),
        (
            {"input": INPUT, "metadata": {str(i): "" for i in range(65)}},
            "field 'metadata' has 65 entries and may have 64",
        ),
        (
            {"input": INPUT, "metadata": {"é": "é" * 1024}},
            "field 'metadata' has 2050 bytes of names and values and may have 2048",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_the_fix(job: object, says: str) -> None:
    failure = only_failure(job)
    assert failure.error.code is ErrorCode.INVALID_JOB
    assert says in failure.error.message
    assert failure.error.message.isprintable()
    assert len(failure.error.message) < 600


def test_several_wrong_fields_are_reported_at_once() -> None:
    failure = only_failure({"input": "x", "langage": 1, "task": 2, "words": 3, "formats": 4})
    message = failure.error.message
    assert message.startswith("field 'langage' is unknown")
    assert message.count("field '") == 3
    assert message.endswith("; and 2 more")


def test_thousands_of_unknown_fields_take_no_time() -> None:
    started = time.process_time()
    failure = only_failure({f"{'x' * 30}{i}": 0 for i in range(5000)})
    assert time.process_time() - started < 1
    assert "; 5000 fields in all are unknown; and 1 more" in failure.error.message


def test_no_message_shows_what_is_private_or_secret() -> None:
    secret = "swordfish"
    bodies: list[object] = [
        {"input": INPUT, "prompt": secret * 1000},
        {"input": INPUT, "prompt": [secret]},
        {"input": INPUT, "prompt": f"{secret}\ud800"},
        {"input": INPUT, "hotwords": {"a": secret}, "words": 7},
        {"input": INPUT, "metadata": secret},
        {"input": INPUT, "metadata": {"a": [secret]}},
        {"input": INPUT, "metadata": {"a": secret * 1000}},
        {"input": f"https://recordings.s3.amazonaws.com/k?X-Amz-Signature={secret}"},
        {"input": f"s3://recordings/k?X-Amz-Signature={secret}"},
        {"input": f"https://me:{secret}@host/k"},
        {"input": INPUT, "output": f"s3://results/?AWSAccessKeyId=a&Signature={secret}"},
    ]
    for body in bodies:
        failure = only_failure(body)
        assert secret not in failure.error.message
        assert secret not in failure.input
        assert secret not in repr(failure.error)
    with pytest.raises(JobError) as caught:
        parse_request({"input": INPUT, "prompt": secret * 1000})
    shown: BaseException | None = caught.value
    while shown is not None:
        assert secret not in str(shown)
        shown = shown.__cause__ or shown.__context__


def test_a_rejected_job_keeps_what_is_known_of_it() -> None:
    whole = {"input": INPUT, "job_id": "call-17", "metadata": {"a": "b"}, "words": 7}
    failure = only_failure(whole | {"output": "s3://results/calls/"})
    assert failure.job_id == "call-17"
    assert failure.input == INPUT
    assert failure.output == S3Prefix("results", "calls/")
    assert failure.metadata == {"a": "b"}

    failure = only_failure(whole)
    assert failure.output == S3Prefix("recordings", "transcripts/")

    failure = only_failure({"input": "call.flac", "job_id": "a b", "metadata": {"a": 1}})
    assert failure.job_id == MESSAGE_ID
    assert failure.input == "call.flac"
    assert failure.output is None
    assert failure.metadata == {}

    somewhere = JobDefaults(output=S3Prefix("results", "all/"))
    assert only_failure({"input": "call.flac"}, somewhere).output == S3Prefix("results", "all/")
    wrong_output = whole | {"output": "nowhere"}
    assert only_failure(wrong_output, somewhere).output == S3Prefix("results", "all/")


# --- buckets ----------------------------------------------------------------------------------


def test_only_allowed_buckets_may_be_named() -> None:
    defaults = JobDefaults(allowed_buckets=frozenset({"recordings", "results"}))
    job = only_job({"input": INPUT, "output": "s3://results/x/"}, defaults)
    assert job.output == S3Prefix("results", "x/")

    failure = only_failure({"input": "s3://elsewhere/k", "job_id": "j"}, defaults)
    assert failure.error.code is ErrorCode.BUCKET_NOT_ALLOWED
    assert failure.error.message == (
        "field 'input' names bucket 'elsewhere', which the setting 'allowed_buckets' does not"
        " list: use one that it lists, or have this one added"
    )
    assert (failure.job_id, failure.input) == ("j", "s3://elsewhere/k")
    assert failure.output is None

    failure = only_failure({"input": INPUT, "output": "s3://elsewhere/x/"}, defaults)
    assert failure.error.code is ErrorCode.BUCKET_NOT_ALLOWED
    assert "field 'output' names bucket 'elsewhere'" in failure.error.message
    assert failure.output == S3Prefix("recordings", "transcripts/")


def test_an_error_of_a_forbidden_input_goes_where_it_may() -> None:
    defaults = JobDefaults(allowed_buckets=frozenset({"recordings"}))
    failure = only_failure({"input": "s3://elsewhere/k", "output": "s3://recordings/x/"}, defaults)
    assert failure.output == S3Prefix("recordings", "x/")


def test_the_operators_output_is_allowed_though_no_job_may_name_its_bucket() -> None:
    defaults = JobDefaults(
        output=S3Prefix("results", "calls/"), allowed_buckets=frozenset({"recordings"})
    )
    assert only_job({"input": INPUT}, defaults).output == S3Prefix("results", "calls/")
    below = only_job({"input": INPUT, "output": "s3://results/calls/today/"}, defaults)
    assert below.output == S3Prefix("results", "calls/today/")
    failure = only_failure({"input": INPUT, "output": "s3://results/"}, defaults)
    assert failure.error.code is ErrorCode.BUCKET_NOT_ALLOWED
    assert failure.output == S3Prefix("results", "calls/")


# --- several jobs -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda jobs: jobs, lambda jobs: {"jobs": jobs}])
def test_several_jobs_are_numbered(wrap: Any) -> None:
    parsed = parse(wrap([{"input": INPUT}, {"input": INPUT, "job_id": "mine"}, {"input": INPUT}]))
    assert [job.job_id for job in parsed.jobs] == [f"{MESSAGE_ID}-1", "mine", f"{MESSAGE_ID}-3"]
    parsed = parse(wrap([{"input": INPUT}]))
    assert [job.job_id for job in parsed.jobs] == [MESSAGE_ID]


def test_a_wrong_job_does_not_harm_the_others() -> None:
    parsed = parse([{"input": INPUT}, {"input": "x"}, 7, None, {"input": INPUT, "words": False}])
    assert [job.job_id for job in parsed.jobs] == [f"{MESSAGE_ID}-1", f"{MESSAGE_ID}-5"]
    assert [failure.job_id for failure in parsed.failures] == [
        f"{MESSAGE_ID}-{n}" for n in (2, 3, 4)
    ]
    assert "the job is a number" in parsed.failures[1].error.message
    assert "the job is null" in parsed.failures[2].error.message


def test_the_same_job_twice_is_done_once() -> None:
    job = {"input": INPUT, "job_id": "mine"}
    parsed = parse([job, job | {"task": "transcribe"}])
    assert len(parsed.jobs) == 1
    assert parsed.dropped == ("job 'mine': it stands in the message twice",)


def test_two_jobs_of_one_id_are_a_conflict_for_the_second() -> None:
    job = {"input": INPUT, "job_id": "mine"}
    parsed = parse([job, job | {"task": "translate", "metadata": {"a": "b"}}])
    assert [job.task for job in parsed.jobs] == ["transcribe"]
    (failure,) = parsed.failures
    assert failure.error.code is ErrorCode.JOB_ID_CONFLICT
    assert failure.job_id == f"{MESSAGE_ID}-2"
    assert failure.metadata == {"a": "b"}


def test_a_message_has_a_bounded_number_of_jobs() -> None:
    jobs = [{"input": INPUT}] * 100
    assert len(parse(jobs).jobs) == 100
    failure = only_failure([*jobs, jobs[0]])
    assert failure.error.code is ErrorCode.INVALID_MESSAGE
    assert "has 101 jobs and may have 100" in failure.error.message


# --- bodies that are no job -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "not valid JSON"),
        ("not json", "not valid JSON: Expecting value at line 1 column 1"),
        ('{"input": }', "not valid JSON"),
        ("\x00", "not valid JSON"),
        ("\ufeff{}", "not valid JSON"),
        ("\ud800", "not valid JSON"),
        ('{"input": NaN}', "NaN is not a JSON number"),
        ('{"input": -Infinity}', "-Infinity is not a JSON number"),
        (f'{{"input": {"9" * 5000}}}', "too many digits"),
        ('{"input": "s3://b/k", "input": "s3://b/l"}', "'input' appears twice in one object"),
        ('{"input": "s3://b/k", "metadata": {"a": "", "a": ""}}', "'a' appears twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 40_000 + "1" + "}" * 40_000, "nested too deeply"),
        ("null", "the message body is null"),
        ("17", "the message body is a number"),
        ("1e999", "the message body is a number"),
        ('"s3://bucket/key"', "the message body is text"),
        ("true", "the message body is true"),
        ("[]", "empty list of jobs"),
        ('{"jobs": []}', "empty list of jobs"),
        ('{"jobs": {"input": "s3://bucket/key"}}', "field 'jobs' is an object"),
        ('{"jobs": [], "langage": "en"}', "field 'langage' is unknown"),
        ('{"Records": {}}', "field 'Records' is an object"),
        ("x" * 300_000, "has 300000 bytes and may have 262144"),
        (json.dumps({"input": "é" * 140_000}, ensure_ascii=False), "bytes and may have 262144"),
    ],
)
def test_a_body_that_is_no_job(body: str, says: str) -> None:
    failure = only_failure(body)
    assert failure.error.code is ErrorCode.INVALID_MESSAGE
    assert says in failure.error.message
    assert failure.error.message.isprintable()
    assert (failure.job_id, failure.input, failure.output) == (MESSAGE_ID, "", None)
    somewhere = JobDefaults(output=S3Prefix("results", ""))
    assert only_failure(body, somewhere).output == S3Prefix("results", "")


def test_half_a_surrogate_pair_in_the_body_is_no_input() -> None:
    failure = only_failure('{"input": "s3://recordings/\\ud800"}')
    assert failure.error.code is ErrorCode.INVALID_JOB
    assert "surrogate" in failure.error.message
    failure.input.encode()


@pytest.mark.parametrize("message_id", ["", "..", "a b", "\ud800", "x" * 500, "é" * 64])
def test_a_message_id_that_may_not_name_a_job_is_hashed(message_id: str) -> None:
    (job,) = parse({"input": INPUT}, message_id=message_id).jobs
    assert is_job_id(job.job_id)
    assert job.job_id.startswith("message-")
    (again,) = parse({"input": INPUT}, message_id=message_id).jobs
    assert job == again


def test_numbers_never_make_an_id_too_long() -> None:
    parsed = parse([{"input": INPUT}] * 100, message_id="x" * 128)
    assert all(is_job_id(job.job_id) for job in parsed.jobs)
    assert len(parsed.jobs) == 100


# --- S3's events ------------------------------------------------------------------------------


def record(key: str = "in/call-17.flac", **changes: Any) -> dict[str, Any]:
    """One of an S3 notification's records, as AWS documents it."""
    item = {
        "key": key,
        "size": 265969,
        "eTag": "9b2cf535f27731c974343645a3985328",
        "sequencer": "0055AED6DCD90281E5",
    }
    return {
        "eventVersion": "2.1",
        "eventSource": changes.get("source", "aws:s3"),
        "awsRegion": "us-east-1",
        "eventTime": "2024-05-01T12:00:00.000Z",
        "eventName": changes.get("name", "ObjectCreated:Put"),
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "recordings",
            "bucket": {
                "name": changes.get("bucket", "recordings"),
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::recordings",
            },
            "object": item | changes.get("item", {}),
        },
    }


def notification(*records: object) -> dict[str, Any]:
    return {"Records": list(records)}


def eventbridge(key: str = "in/call-17.flac", **changes: Any) -> dict[str, Any]:
    """An S3 event from EventBridge, as AWS documents it."""
    item = {
        "key": key,
        "size": 265969,
        "etag": "9b2cf535f27731c974343645a3985328",
        "sequencer": "0055AED6DCD90281E5",
    }
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": changes.get("name", "Object Created"),
        "source": changes.get("source", "aws.s3"),
        "account": "111122223333",
        "time": "2024-05-01T12:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:s3:::recordings"],
        "detail": {
            "version": "0",
            "bucket": {"name": changes.get("bucket", "recordings")},
            "object": item | changes.get("item", {}),
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "reason": "PutObject",
        },
    }


def sns(message: str, **changes: Any) -> dict[str, Any]:
    """What SNS makes of a message where raw delivery is off."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:recordings",
        "Subject": "Amazon S3 Notification",
        "Message": message,
        "Timestamp": "2024-05-01T12:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLEw6JRN",
    } | changes


TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2024-05-01T12:00:00.000Z",
    "Bucket": "recordings",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def test_an_event_becomes_a_job() -> None:
    job = only_job(notification(record()))
    assert str(job.input) == INPUT
    assert job.output == S3Prefix("recordings", "transcripts/")
    assert job.etag == "9b2cf535f27731c974343645a3985328"
    assert job.version_id is None
    assert job.job_id == "call-17.flac-5bc48c80c78d42cb"
    assert job.formats == ("json", "srt", "vtt", "txt")


def test_the_same_event_is_the_same_job_whichever_way_it_comes() -> None:
    bodies: list[object] = [
        notification(record()),
        notification(record(name="s3:ObjectCreated:CompleteMultipartUpload")),
        notification(record(item={"sequencer": "FFFF", "size": 1})),
        notification(record(item={"eTag": '"9b2cf535f27731c974343645a3985328"'})),
        eventbridge(),
        sns(json.dumps(notification(record()))),
        sns(json.dumps(eventbridge())),
    ]
    assert len({only_job(body).job_id for body in bodies}) == 1


def test_another_object_or_another_version_is_another_job() -> None:
    bodies = [
        record(),
        record("in/call-18.flac"),
        record("other/call-17.flac"),
        record(bucket="recordings2"),
        record(item={"eTag": "0"}),
        record(item={"versionId": "v1"}),
        record(item={"versionId": "v2"}),
    ]
    ids = [only_job(notification(body)).job_id for body in bodies]
    assert len(set(ids)) == len(ids)
    versioned = only_job(notification(record(item={"versionId": "v1"})))
    assert versioned.version_id == "v1"
    copied = only_job(notification(record(item={"versionId": "v1", "eTag": "0"})))
    assert copied.job_id == versioned.job_id
    bridged = only_job(eventbridge(item={"version-id": "v1"}))
    assert (bridged.job_id, bridged.version_id) == (versioned.job_id, "v1")


def test_the_version_of_suspended_versioning_tells_nothing_apart() -> None:
    suspended = only_job(notification(record(item={"versionId": "null"})))
    assert suspended.version_id is None
    assert suspended == only_job(notification(record()))


def test_without_version_and_etag_the_sequencer_tells_apart() -> None:
    bare = {"eTag": "", "versionId": ""}
    first = only_job(notification(record(item=bare)))
    second = only_job(notification(record(item=bare | {"sequencer": "0055AED6DCD90281E6"})))
    assert first.job_id != second.job_id
    assert first.etag is None


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("in/a+b.wav", "in/a b.wav"),
        ("in/a%2Bb.wav", "in/a+b.wav"),
        ("in/100%25.wav", "in/100%.wav"),
        ("in/%E9%8C%B2%E9%9F%B3.wav", "in/録音.wav"),
        ("in/what%3F%26why%3D%22.wav", 'in/what?&why=".wav'),
        ("%2Fin%2F..%2Fcall.wav", "/in/../call.wav"),
    ],
)
def test_keys_of_notifications_are_url_encoded_and_those_of_eventbridge_are_not(
    encoded: str, key: str
) -> None:
    assert key_of(only_job(notification(record(encoded)))) == key
    assert key_of(only_job(eventbridge(key))) == key
    assert only_job(notification(record(encoded))).job_id == only_job(eventbridge(key)).job_id


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("in/call-17.flac", "call-17.flac-"),
        ("call 17 (final).flac", "call-17-final-.flac-"),
        ("in/録音.wav", "録音.wav-"),
        ("in/Mu\u0308ller (2).wav", "Müller-2-.wav-"),
        ("in/☎", "object-"),
        ("...", "object-"),
        ("x/" + "y" * 200 + "-end.wav", "y" * 72 + "-end.wav-"),
    ],
)
def test_an_events_job_id_can_be_read(key: str, start: str) -> None:
    job = only_job(eventbridge(key))
    assert job.job_id.startswith(start)
    assert len(job.job_id) == len(start) + 16
    assert is_job_id(job.job_id)


def test_several_records_are_several_jobs() -> None:
    parsed = parse(
        notification(
            record("in/a.wav"),
            record("in/b.wav", name="ObjectRemoved:Delete"),
            record("transcripts/c/transcript.json"),
            record("in/a.wav"),
            record("in/d.wav", bucket="No"),
            record("in/e.wav"),
        )
    )
    assert [key_of(job) for job in parsed.jobs] == ["in/a.wav", "in/e.wav"]
    assert len(parsed.dropped) == 3
    (failure,) = parsed.failures
    assert failure.input == "s3://No/in/d.wav"
    assert failure.output is None


def test_the_test_event_is_dropped() -> None:
    assert only_reason(TEST_EVENT) == "S3's test event for bucket 'recordings'"
    assert only_reason(sns(json.dumps(TEST_EVENT))) == "S3's test event for bucket 'recordings'"
    assert only_reason({"Event": "s3:TestEvent"}) == "S3's test event for bucket null"


@pytest.mark.parametrize(
    "body",
    [
        notification(record(name="ObjectRemoved:Delete")),
        notification(record(name="ObjectRemoved:DeleteMarkerCreated")),
        notification(record(name="s3:LifecycleExpiration:Delete")),
        eventbridge(name="Object Deleted"),
    ],
)
def test_deletions_are_dropped(body: object) -> None:
    assert only_reason(body).endswith(f" of '{INPUT}': a deletion")


@pytest.mark.parametrize(
    "body",
    [
        notification(record(name="ObjectRestore:Completed")),
        notification(record(name="ObjectTagging:Put")),
        eventbridge(name="Object Tags Added"),
        eventbridge(name="Object Access Tier Changed"),
    ],
)
def test_events_that_create_nothing_are_dropped(body: object) -> None:
    assert only_reason(body).endswith(": not the creation of an object")


def test_folders_of_the_console_are_dropped() -> None:
    reason = only_reason(notification(record("in/new+folder/", item={"size": 0})))
    assert reason.endswith(
        "of 's3://recordings/in/new folder/': an empty object that stands for a folder"
    )
    assert key_of(only_job(notification(record("in/folder/", item={"size": 1})))) == "in/folder/"


def test_an_event_without_records_is_dropped() -> None:
    assert only_reason({"Records": []}) == "an event notification without records"


OWN = ": under the worker's own output prefix"


@pytest.mark.parametrize(
    ("output", "bucket", "key", "dropped"),
    [
        (None, "recordings", "transcripts/call-17/transcript.json", True),
        (None, "recordings", "transcripts/call-17/transcript.txt", True),
        (None, "recordings", "transcripts/upload.wav", True),
        (None, "recordings", "transcriptsX/upload.wav", False),
        (None, "recordings", "in/transcripts/upload.wav", False),
        ("s3://recordings/out/", "recordings", "out/call-17/error.json", True),
        ("s3://recordings/out/", "recordings", "output/upload.wav", False),
        ("s3://recordings/out/", "recordings", "transcripts/upload.wav", False),
        ("s3://results/out/", "recordings", "out/upload.wav", False),
        ("s3://results/out/", "results", "out/call-17/transcript.json", True),
        ("s3://recordings/", "recordings", "anything.wav", True),
    ],
)
def test_what_the_worker_writes_becomes_no_job(
    output: str | None, bucket: str, key: str, dropped: bool
) -> None:
    defaults = JobDefaults(output=S3Prefix.parse(output) if output else None)
    for body in (notification(record(key, bucket=bucket)), eventbridge(key, bucket=bucket)):
        if dropped:
            assert only_reason(body, defaults).endswith(OWN)
        else:
            assert key_of(only_job(body, defaults)) == key


def test_every_result_of_a_job_is_an_event_that_is_dropped() -> None:
    for defaults in (DEFAULTS, JobDefaults(output=S3Prefix("recordings", "a/b/"))):
        job = only_job(notification(record()), defaults)
        for name in ("transcript.json", "transcript.srt", "error.json", "checkpoint.json"):
            key = job.place.prefix + name
            written = notification(record(key, bucket=job.output.bucket))
            assert only_reason(written, defaults).endswith(OWN)


def test_a_sender_may_still_name_an_object_under_the_output_prefix() -> None:
    assert only_job({"input": "s3://recordings/transcripts/upload.wav"}).job_id == MESSAGE_ID


def test_an_event_of_a_bucket_that_is_not_allowed() -> None:
    defaults = JobDefaults(allowed_buckets=frozenset({"elsewhere"}))
    failure = only_failure(notification(record()), defaults)
    assert failure.error.code is ErrorCode.BUCKET_NOT_ALLOWED
    assert failure.input == INPUT
    assert failure.output is None
    assert failure.job_id is not None
    assert failure.job_id.startswith("call-17.flac-")


def broken(path: str, value: object, event: dict[str, Any]) -> dict[str, Any]:
    """The event with one thing in it replaced, or taken out where the value is `...`."""
    *above, last = path.split("/")
    inner = event
    for name in above:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return event


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("eventSource", ..., "the event record has no 'eventSource'"),
        ("eventSource", "aws:ses", "'aws:ses': only aws:s3 events"),
        ("eventName", ..., "the event record has no 'eventName'"),
        ("eventName", 3, "the event record has no 'eventName'"),
        ("s3", ..., "'s3' of the event record is missing"),
        ("s3", [], "'s3' of the event record is missing or is not an object"),
        ("s3/bucket", ..., "'s3.bucket' of the event record is missing"),
        ("s3/bucket/name", "", "'s3.bucket' of the event record has no 'name'"),
        ("s3/object", "k", "'s3.object' of the event record is missing"),
        ("s3/object/key", ..., "'s3.object' of the event record has no 'key'"),
        ("s3/object/key", 7, "'s3.object' of the event record has no 'key'"),
        ("s3/object/key", "in/%FF.wav", "'in/%FF.wav' is not URL-encoded UTF-8"),
        ("s3/object/eTag", 7, "'eTag' is not one that S3 writes"),
        ("s3/object/eTag", "a\r\nx-evil: 1", "'eTag' is not one that S3 writes"),
        ("s3/object/versionId", "\ud800", "'versionId' is not one that S3 writes"),
    ],
)
def test_a_broken_record_is_an_invalid_message(path: str, value: object, says: str) -> None:
    failure = only_failure(notification(broken(path, value, record())))
    assert failure.error.code is ErrorCode.INVALID_MESSAGE
    assert says in failure.error.message
    assert failure.job_id == MESSAGE_ID


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("source", ..., "the event has no 'source'"),
        ("source", "my.app", "'my.app': only aws.s3 events"),
        ("detail", [], "'detail' of the event is missing or is not an object"),
        ("detail/bucket", ..., "'detail.bucket' of the event is missing"),
        ("detail/bucket/name", None, "'detail.bucket' of the event has no 'name'"),
        ("detail/object", ..., "'detail.object' of the event is missing"),
        ("detail/object/key", "", "'detail.object' of the event has no 'key'"),
        ("detail/object/etag", "a b", "'etag' is not one that S3 writes"),
        ("detail-type", 7, "the event has no 'detail-type'"),
    ],
)
def test_a_broken_eventbridge_event_is_an_invalid_message(
    path: str, value: object, says: str
) -> None:
    failure = only_failure(broken(path, value, eventbridge()))
    assert failure.error.code is ErrorCode.INVALID_MESSAGE
    assert says in failure.error.message


@pytest.mark.parametrize("value", [None, 7, "text", [], {}])
def test_records_may_be_anything(value: object) -> None:
    failure = only_failure(notification(value))
    assert failure.error.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize(
    ("bucket", "key", "says"),
    [
        ("Upper", "k", "the event's object 's3://Upper/k' does not name a possible bucket"),
        ("a/b", "k", "possible bucket"),
        ("recordings", "a%00b", "control character"),
        ("recordings", "a%0Ab", "control character"),
        ("recordings", "\ud800", "surrogate"),
        ("recordings", "k" * 1025, "1025 bytes"),
    ],
)
def test_an_event_of_an_object_that_can_not_be_is_an_invalid_job(
    bucket: str, key: str, says: str
) -> None:
    failure = only_failure(notification(record(key, bucket=bucket)))
    assert failure.error.code is ErrorCode.INVALID_JOB
    assert says in failure.error.message
    assert failure.error.message.isprintable()
    failure.input.encode()
    assert failure.job_id is not None
    assert is_job_id(failure.job_id)


# --- SNS --------------------------------------------------------------------------------------


def test_jobs_may_come_through_sns() -> None:
    parsed = parse(sns(json.dumps([{"input": INPUT}, {"input": INPUT, "job_id": "mine"}])))
    assert [job.job_id for job in parsed.jobs] == [f"{MESSAGE_ID}-1", "mine"]
    assert only_job(sns(json.dumps({"input": INPUT}))).job_id == MESSAGE_ID


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (sns("not json"), "the SNS notification's 'Message' is not valid JSON"),
        (sns("7"), "the message body is a number"),
        (sns("[" * 50_000), "nested too deeply"),
        (sns('{"a": 1, "a": 2}'), "'a' appears twice"),
        (sns("", Message={"input": INPUT}), "has no text in 'Message'"),
        (sns("", Message=None), "has no text in 'Message'"),
        (sns(json.dumps(sns(json.dumps({"input": INPUT})))), "wrapped by SNS twice"),
        (
            sns("You have chosen to subscribe", Type="SubscriptionConfirmation", Token="t0ken"),
            "SNS's 'SubscriptionConfirmation' for topic 'arn:aws:sns:",
        ),
        (sns("", Type=7), "SNS's 7 for topic"),
    ],
)
def test_wrong_sns_messages(body: object, says: str) -> None:
    failure = only_failure(body)
    assert failure.error.code is ErrorCode.INVALID_MESSAGE
    assert says in failure.error.message
    assert "t0ken" not in failure.error.message


# --- whatever a body may be -------------------------------------------------------------------


def check(parsed: Parsed, defaults: JobDefaults) -> None:
    """What holds of every answer."""
    assert parsed.jobs or parsed.dropped or parsed.failures
    assert len({job.job_id for job in parsed.jobs}) == len(parsed.jobs)
    for job in parsed.jobs:
        assert is_job_id(job.job_id)
        assert defaults.allows(job.input.bucket)
        assert defaults.allows_output(job.output)
        assert len(job.request_hash) == 64
        json.loads(job.model_dump_json().encode())
        assert len(job.place.uri("checkpoint.json").encode()) <= 1024 + len(
            f"s3://{job.output.bucket}/"
        )
    for failure in parsed.failures:
        assert failure.job_id is not None
        assert is_job_id(failure.job_id)
        assert failure.output is None or defaults.allows_output(failure.output)
        assert failure.error.message.isprintable()
        assert 0 < len(failure.error.message) <= 1000
        assert len(failure.input.encode()) <= 1200
        assert all(isinstance(text, str) for text in failure.metadata.values())
    for reason in parsed.dropped:
        assert reason.isprintable()
        assert len(reason) <= 400


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=()), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*JobRequest.model_fields, "jobs", "Records", "Type", "detail"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@examples
@given(st.text(alphabet=st.characters(exclude_categories=())), st.text(max_size=200))
def test_any_text_is_answered(body: str, message_id: str) -> None:
    parsed = parse_message(body, message_id=message_id, defaults=DEFAULTS)
    check(parsed, DEFAULTS)


@examples
@given(JSON_VALUES)
def test_any_json_is_answered(value: object) -> None:
    check(parse(json.dumps(value)), DEFAULTS)


@examples
@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=200),
    st.text(alphabet=string.hexdigits, min_size=1, max_size=32),
)
def test_any_key_makes_the_same_job_both_ways(key: str, etag: str) -> None:
    from urllib.parse import quote_plus

    one = parse(notification(record(quote_plus(key, safe="/"), item={"eTag": etag})))
    two = parse(eventbridge(key, item={"etag": etag}))
    assert one.jobs == two.jobs
    for job in one.jobs:
        assert key_of(job) == key


def mad_bodies(count: int, seed: int) -> list[str]:
    """Bodies as a broken or hostile sender might write them; the same for the same seed."""
    chance = random.Random(seed)
    good: list[object] = [
        {"input": INPUT},
        {
            "input": INPUT,
            "job_id": "call-17",
            "output": "s3://results/calls/",
            "language": "de",
            "task": "translate",
            "formats": ["json", "srt", "tsv"],
            "words": False,
            "prompt": "Grüße",
            "hotwords": "a b",
            "metadata": {"a": "b"},
        },
        {"input": INPUT, "diarize": True, "min_speakers": 2, "audio_stream": 1},
        {"input": INPUT, "channel_identification": True, "channel_labels": ["agent", "客服"]},
        {"jobs": [{"input": INPUT}, {"input": INPUT, "job_id": "x"}]},
        [{"input": INPUT}, {"input": INPUT, "language": None}],
        notification(record(), record("in/b+c.wav", item={"versionId": "v"})),
        notification(record(name="ObjectRemoved:Delete")),
        eventbridge(),
        sns(json.dumps(notification(record()))),
        sns(json.dumps({"input": INPUT})),
        TEST_EVENT,
    ]
    names = [
        *JobRequest.model_fields,
        *("jobs", "Records", "Event", "Type", "TopicArn", "Message"),
        *("detail", "detail-type", "source", "s3", "object", "key"),
        "",
        "\ud800",
        "input ",
        "x" * 500,
    ]
    odd: list[object] = [
        None,
        True,
        0,
        -1,
        1e308,
        10**30,
        "",
        "\x00",
        "\ud800",
        "s3://",
        "s3://b",
        INPUT,
        "..",
        "aws:s3",
        "aws.s3",
        "s3:TestEvent",
        "Notification",
        "x" * 3000,
        [],
        {},
        [[]],
        [{}],
        {"": ""},
        float("nan"),
        float("inf"),
    ]

    def anything(depth: int) -> object:
        roll = chance.random()
        if depth == 0 or roll < 0.4:
            return chance.choice(odd)
        if roll < 0.6:
            return [anything(depth - 1) for _ in range(chance.randint(0, 4))]
        return {chance.choice(names): anything(depth - 1) for _ in range(chance.randint(0, 5))}

    def with_odd_place(value: object) -> object:
        """A good body with one of its values replaced, taken out or put in."""
        value = json.loads(json.dumps(value))
        place = value
        while True:
            if not isinstance(place, dict | list) or not place:
                return value
            step: Any = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            inner = place[step]
            if isinstance(inner, dict | list) and chance.random() < 0.8:
                place = inner
                continue
            if isinstance(place, dict) and chance.random() < 0.3:
                place[chance.choice(names)] = place.pop(step)
            else:
                place[step] = anything(2)
            return value

    def damaged(text: str) -> str:
        letters = list(text)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(letters) + 1)
            match chance.randrange(4):
                case 0:
                    letters[at : at + chance.randint(1, 9)] = []
                case 1:
                    letters.insert(at, chance.choice('{}[]",:\\\x00\ud800é0e-'))
                case 2:
                    letters[at:at] = letters[at : at + chance.randint(1, 40)]
                case _:
                    letters[at : at + 1] = chr(chance.randrange(0x110000))
        return "".join(letters)

    def nested() -> str:
        deep = chance.choice([10, 900, 1100, 20_000])
        return chance.choice(
            ["[" * deep, "[" * deep + "]" * deep, '{"input":' * deep + "1" + "}" * deep]
        )

    def body() -> str:
        roll = chance.random()
        if roll < 0.40:
            return damaged(json.dumps(chance.choice(good), ensure_ascii=chance.random() < 0.5))
        if roll < 0.75:
            return json.dumps(with_odd_place(chance.choice(good)))
        if roll < 0.95:
            return json.dumps(anything(4))
        if roll < 0.98:
            return "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randint(0, 80)))
        return nested()

    return [body() for _ in range(count)]


def test_ten_thousand_mad_bodies_are_all_answered_in_seconds() -> None:
    defaults = JobDefaults(allowed_buckets=frozenset({"recordings", "results"}))
    bodies = mad_bodies(10_000, seed=17)
    started = time.process_time()
    answers = [parse_message(body, message_id=MESSAGE_ID, defaults=defaults) for body in bodies]
    seconds = time.process_time() - started
    for answer in answers:
        check(answer, defaults)
    codes = {failure.error.code for answer in answers for failure in answer.failures}
    assert {ErrorCode.INVALID_MESSAGE, ErrorCode.INVALID_JOB} <= codes
    # The seeds reach all outcomes, not one refusal ten thousand times.
    assert sum(bool(answer.jobs) for answer in answers) > 500
    assert sum(bool(answer.dropped) for answer in answers) > 400
    assert sum(bool(answer.failures) for answer in answers) > 3000
    assert seconds < 10


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"input": "s3://" + "a" * 250_000}),
        json.dumps({"input": "s3://recordings/" + "?" * 250_000}),
        json.dumps({"input": INPUT, "language": "e" * 250_000}),
        json.dumps({"input": INPUT, "job_id": "-" * 250_000}),
        json.dumps({"input": INPUT, "formats": ["x"] * 50_000}),
        json.dumps({"input": INPUT, "language_options": ["x"] * 50_000}),
        json.dumps([{"input": INPUT, "language_options": ["germun" * 5] * 75}] * 95),
        json.dumps({"input": INPUT, "audio_stream": "9" * 250_000}),
        json.dumps([{"input": INPUT, "channel_labels": [" " * 70] * 32}] * 95),
        json.dumps({"input": INPUT, "metadata": {str(i): i for i in range(20_000)}}),
        json.dumps({"x" * 250_000: 1}),
        json.dumps({f"{i}": 1 for i in range(20_000)}),
        json.dumps([1] * 80_000),
        json.dumps({"jobs": [{"input": 1, **{f"{i}": 1 for i in range(200)}}] * 100}),
        json.dumps(notification(record("%FF" * 80_000))),
        json.dumps(notification(record("a" * 250_000))),
        json.dumps(notification(record("/" * 250_000))),
        json.dumps(sns('"' * 120_000)),
        '{"a":1,' * 30_000,
        "1" * 250_000,
        '"' + "\\ud800" * 40_000 + '"',
    ],
)
def test_a_full_sized_body_takes_no_time(body: str) -> None:
    started = time.process_time()
    check(parse(body), DEFAULTS)
    assert time.process_time() - started < 1


def test_reading_messages_needs_no_heavy_module() -> None:
    heavy = "{'torch', 'whisperx', 'faster_whisper', 'ctranslate2', 'av', 'numpy', 'boto3'}"
    modules = "sys, worker.jobs.message, worker.results.names"
    code = f"import {modules}; print(*({heavy} & sys.modules.keys()))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == ""


@pytest.mark.parametrize(
    "target",
    [
        "arn:aws:sns:us-east-1:123456789012:done",
        "https://sqs.us-east-1.amazonaws.com/123456789012/done.fifo",
        "http://127.0.0.1:5000/123456789012/done",
    ],
)
def test_notices_may_go_to_a_topic_or_a_queue(target: str) -> None:
    body = json.dumps({"input": "s3://bucket/a.wav", "notify": target})
    parsed = parse_message(body, message_id="m", defaults=JobDefaults())
    (job,) = parsed.jobs
    assert job.notify == target
    plain = parse_message('{"input": "s3://bucket/a.wav"}', message_id="m", defaults=JobDefaults())
    assert job.request_hash == plain.jobs[0].request_hash, "where its notice goes decides no result"


@pytest.mark.parametrize("target", ["done", "arn:aws:s3:::bucket", "https://", "mailto:a@b.c", ""])
def test_notices_may_go_nowhere_else(target: str) -> None:
    body = json.dumps({"input": "s3://bucket/a.wav", "notify": target})
    (rejected,) = parse_message(body, message_id="m", defaults=JobDefaults()).failures
    assert "notify" in rejected.error.message
    assert "arn:aws:sns" in rejected.error.message
