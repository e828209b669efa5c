"""S3 URIs keep S3's rules, and what is shown of a wrong one holds no secret."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from worker.redact import quoted
from worker.uris import MAX_JOB_ID, MAX_KEY_BYTES, MAX_PREFIX_BYTES, ResultPlace, S3Prefix, S3Uri


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://bucket/key.wav", "bucket", "key.wav"),
        ("s3://a.b-c.9/in/2024/call 17+%2B.flac", "a.b-c.9", "in/2024/call 17+%2B.flac"),
        ("s3://bucket//key", "bucket", "/key"),
        ("s3://bucket/../other/key", "bucket", "../other/key"),
        ("s3://bucket/what?.wav", "bucket", "what?.wav"),
        ("s3://bucket/録音.wav", "bucket", "録音.wav"),
        ("s3://bucket/" + "k" * 1024, "bucket", "k" * 1024),
        ("s3://" + "b" * 63 + "/k", "b" * 63, "k"),
    ],
)
def test_good_uris(text: str, bucket: str, key: str) -> None:
    uri = S3Uri.parse(text)
    assert (uri.bucket, uri.key) == (bucket, key)
    assert str(uri) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an S3 URI"),
        ("bucket/key", "not an S3 URI"),
        ("S3://bucket/key", "not an S3 URI"),
        ("https://bucket.s3.amazonaws.com/key", "not an S3 URI"),
        ("/etc/passwd", "not an S3 URI"),
        ("s3://bucket", "names no object"),
        ("s3://bucket/", "names no object"),
        ("s3:///key", "possible bucket"),
        ("s3://ab/key", "possible bucket"),
        ("s3://" + "b" * 64 + "/k", "possible bucket"),
        ("s3://Bucket/key", "possible bucket"),
        ("s3://buc_ket/key", "possible bucket"),
        ("s3://-bucket/key", "possible bucket"),
        ("s3://bucket./key", "possible bucket"),
        ("s3://buc..ket/key", "possible bucket"),
        ("s3://192.168.0.1/key", "possible bucket"),
        ("s3://buckét/key", "possible bucket"),
        ("s3://bucket\n/key", "possible bucket"),
        ("s3://bucket/a\x00b", "control character"),
        ("s3://bucket/a\nb", "control character"),
        ("s3://bucket/a\x7fb", "control character"),
        ("s3://bucket/\ud800", "surrogate"),
        ("s3://bucket/" + "k" * 1025, "1025 bytes"),
        ("s3://bucket/" + "é" * 513, "1026 bytes"),
        ("s3://bucket/key?X-Amz-Signature=abc", "presigned"),
        ("s3://bucket/key?versionId=1&x-amz-security-token=abc", "presigned"),
        ("s3://bucket/key?AWSAccessKeyId=abc", "presigned"),
    ],
)
def test_bad_uris_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        S3Uri.parse(text)
    message = str(caught.value)
    assert len(message) < 250
    assert message.isprintable()
    assert "abc" not in message


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("s3://bucket", ""),
        ("s3://bucket/", ""),
        ("s3://bucket/out", "out/"),
        ("s3://bucket/out/", "out/"),
        ("s3://bucket/out/2024", "out/2024/"),
    ],
)
def test_prefixes_end_with_a_slash(text: str, prefix: str) -> None:
    assert S3Prefix.parse(text).prefix == prefix


def test_a_prefix_leaves_room_for_the_longest_result() -> None:
    longest = S3Prefix.parse("s3://bucket/" + "p" * (MAX_PREFIX_BYTES - 1))
    assert len(longest.prefix + "j" * MAX_JOB_ID + "/checkpoint.json") == MAX_KEY_BYTES
    with pytest.raises(ValueError, match=f"leaves room for {MAX_PREFIX_BYTES}"):
        S3Prefix.parse("s3://bucket/" + "p" * MAX_PREFIX_BYTES)


def test_a_prefix_written_in_code_must_have_its_slash() -> None:
    with pytest.raises(ValueError, match="end with a slash"):
        S3Prefix("bucket", "out")


def test_a_prefix_holds_what_lies_under_it() -> None:
    prefix = S3Prefix.parse("s3://bucket/out/")
    assert prefix.holds("bucket", "out/job/transcript.json")
    assert prefix.holds("bucket", "out/")
    assert not prefix.holds("bucket", "output/job/transcript.json")
    assert not prefix.holds("other", "out/job/transcript.json")


def test_each_job_has_a_place_of_its_own_under_the_prefix() -> None:
    place = S3Prefix.parse("s3://bucket/out").place("call-17")
    assert place == ResultPlace("bucket", "out/call-17/")
    assert place.key("error.json") == "out/call-17/error.json"
    assert place.uri("error.json") == "s3://bucket/out/call-17/error.json"
    assert str(place) == "s3://bucket/out/call-17/"
    assert S3Prefix.parse("s3://bucket").place("call-17").key("error.json") == "call-17/error.json"


def test_in_a_model_prefixes_are_text() -> None:
    class Holder(BaseModel):
        model_config = ConfigDict(strict=True)
        uri: S3Prefix

    holder = Holder.model_validate({"uri": "s3://bucket/k{}"})
    assert holder.uri == S3Prefix("bucket", "k{}/")
    assert holder.model_dump_json() == '{"uri":"s3://bucket/k{}/"}'
    assert Holder(uri=holder.uri) == holder
    for wrong in (3, None, ["s3://bucket/k"], "s3://{why}/k"):
        with pytest.raises(ValidationError):
            Holder.model_validate({"uri": wrong})


def test_shown_leaves_out_queries_and_credentials() -> None:
    assert quoted("https://u:secret@host/key?X-Amz-Signature=1") == "'https://...@host/key?...'"
    assert quoted("x" * 100) == f"'{'x' * 60}...'"
    assert quoted("a\x00\n\ud800\u202eb") == r"'a\x00\n\ud800\u202eb'"


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=600))
def test_parse_returns_what_it_was_given_or_refuses(text: str) -> None:
    for candidate in (text, f"s3://bucket/{text}", f"s3://{text}/key"):
        refusal = ""
        try:
            uri = S3Uri.parse(candidate)
        except ValueError as error:
            refusal = str(error)
        if refusal:
            assert refusal.isprintable()
        else:
            assert str(uri) == candidate
            assert 1 <= len(uri.key.encode()) <= MAX_KEY_BYTES
