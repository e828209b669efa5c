"""What is asked of AWS and changes nothing: each failure is one of ours, with what to do."""

from __future__ import annotations

import re

import pytest

from tests.fakes.scripted import script_of, worker_clients
from worker.aws.faults import Forbidden
from worker.aws.probes import ask_bucket, ask_queue
from worker.errors import SettingsError, TransientError
from worker.uris import S3Prefix

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
PLACE = S3Prefix("bucket", "out/")

CREDENTIALS = "give AWS credentials that are valid"
NETWORK = "see whether this machine reaches AWS"


@pytest.mark.parametrize(
    ("code", "status", "error", "cure"),
    [
        ("AccessDenied", 403, Forbidden, "correct the URL or the permissions"),
        ("NonExistentQueue", 400, SettingsError, "correct the URL"),
        ("ExpiredToken", 403, TransientError, CREDENTIALS),
        ("ServiceUnavailable", 503, TransientError, NETWORK),
    ],
)
def test_a_queue_that_gives_no_attributes(
    code: str, status: int, error: type[Exception], cure: str
) -> None:
    clients = worker_clients()
    script_of(clients.sqs).add_client_error("get_queue_attributes", code, "why", status)
    with pytest.raises(error, match=f"{re.escape(URL)}.*{cure}") as raised:
        ask_queue(clients.sqs, URL)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("code", "status", "error", "cure"),
    [
        ("AccessDenied", 403, Forbidden, "allow it in the role"),
        ("NoSuchBucket", 404, SettingsError, "correct the name, the account or AWS_REGION"),
        ("InvalidAccessKeyId", 403, TransientError, CREDENTIALS),
        ("SlowDown", 503, TransientError, NETWORK),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_bucket_that_can_not_be_listed_or_read(
    code: str, status: int, error: type[Exception], cure: str, listed: bool
) -> None:
    clients = worker_clients()
    script = script_of(clients.s3)
    if listed:
        script.add_response("list_objects_v2", {"Contents": [{"Key": "out/a.wav"}]})
    script.add_client_error(
        "head_object" if listed else "list_objects_v2", code, "why", http_status_code=status
    )
    with pytest.raises(error, match=f"s3://bucket/out/: {code} .*{cure}") as raised:
        ask_bucket(clients.s3, PLACE, read=True)
    assert type(raised.value) is error
