"""Secrets taken out of text, and nothing else."""

import pytest

from worker.redact import redact

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
