"""Secrets taken out of text, and nothing else; errors named by their place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from worker.errors import TransientError
from worker.redact import location, printable, redact, summary

SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "text",
    [
        f"http://user:{SECRET}@host/path",
        f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=A&X-Amz-Signature={SECRET}&x=1",
        f"https://b.s3.amazonaws.com/k?AWSAccessKeyId=a&Signature={SECRET}&Expires=1",
        f"GET /k?x-amz-security-token={SECRET}",
        f"'Authorization': 'AWS4-HMAC-SHA256 Credential={SECRET}'",
        f"X-Amz-Security-Token: {SECRET}",
        f"https://host/?api_key={SECRET}",
    ],
)
def test_secrets_go(text: str) -> None:
    assert SECRET not in redact(text)


def test_access_keys_go() -> None:
    assert redact("used AKIAIOSFODNN7EXAMPLE here") == "used *** here"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a key with = and & and: colons.flac",
        "https://sqs.us-east-1.amazonaws.com/1234/queue",
        "user@example.org said: a=b",
        "",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(), st.sampled_from(["", "\n"]))
def test_what_is_shown_holds_nothing_but_what_can_be_seen(text: str, keep: str) -> None:
    shown = printable(text, keep=keep)
    assert "".join(c for c in shown if c not in keep).isprintable()
    assert printable(shown, keep=keep) == shown
    assert not text.isprintable() or shown == text


class Model(BaseModel):
    number: int


def _quote(text: str) -> ValidationError:
    try:
        Model.model_validate({"number": text})
    except ValidationError as error:
        return error
    raise AssertionError("it was taken")


def test_an_unexpected_error_is_reported_by_its_place_and_not_by_its_words() -> None:
    error = _quote("what a customer said")
    assert "what a customer said" in str(error)
    assert "customer" not in summary(error)
    assert summary(error).startswith("ValidationError at ")
    assert "test_redact.py" in location(error)
    assert "in _quote" in location(error)


def test_our_own_errors_are_reported_in_their_words() -> None:
    assert summary(TransientError("the queue does not answer")) == "the queue does not answer"


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert location(ValueError("x")) == "an unknown place"
