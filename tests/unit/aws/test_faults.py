from __future__ import annotations

import botocore.exceptions as boto
import pytest
from botocore.parsers import ResponseParserError

from worker.aws.faults import AWS_ERRORS, Fault, call_with_retries, classify, describe, error_code
from worker.errors import LeaseLost, TransientError


def answer(code: str, status: int, message: str = "") -> boto.ClientError:
    return boto.ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "r",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
                "HostId": "h",
            },
        },
        "Operation",
    )


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (answer("SlowDown", 503), Fault.TRANSIENT),
        (answer("Whatever", 500), Fault.TRANSIENT),
        (answer("RequestTimeout", 400), Fault.TRANSIENT),
        (answer("KMS.ThrottlingException", 400), Fault.TRANSIENT),
        (answer("OverLimit", 403), Fault.TRANSIENT),
        (answer("400", 400), Fault.TRANSIENT),
        (answer("ExpiredToken", 400), Fault.CREDENTIALS),
        (answer("InvalidClientTokenId", 403), Fault.CREDENTIALS),
        (answer("RequestTimeTooSkewed", 403), Fault.CREDENTIALS),
        (answer("SignatureDoesNotMatch", 403), Fault.CREDENTIALS),
        (answer("AccessDenied", 403), Fault.FORBIDDEN),
        (answer("403", 403), Fault.FORBIDDEN),
        (answer("NoSuchKey", 404), Fault.NOT_FOUND),
        (answer("AWS.SimpleQueueService.NonExistentQueue", 400), Fault.NOT_FOUND),
        (answer("MethodNotAllowed", 405), Fault.NOT_FOUND),
        (answer("PreconditionFailed", 412), Fault.PRECONDITION),
        (answer("ConditionalRequestConflict", 409), Fault.CONFLICT),
        (answer("KeyTooLongError", 400), Fault.INVALID),
        (boto.NoCredentialsError(), Fault.CREDENTIALS),
        (boto.EndpointConnectionError(endpoint_url="http://x"), Fault.TRANSIENT),
        (boto.ReadTimeoutError(endpoint_url="http://x"), Fault.TRANSIENT),
        (boto.ConnectionClosedError(endpoint_url="http://x"), Fault.TRANSIENT),
        (boto.ResponseStreamingError(error="x"), Fault.TRANSIENT),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Fault.TRANSIENT),
        (boto.FlexibleChecksumError(error_msg="x"), Fault.TRANSIENT),
        (ResponseParserError("cut off"), Fault.TRANSIENT),
        (ConnectionResetError(), Fault.TRANSIENT),
        (boto.ParamValidationError(report="x"), Fault.INVALID),
    ],
)
def test_every_failure_has_one_meaning(error: BaseException, fault: Fault) -> None:
    assert classify(error) is fault
    assert isinstance(error, AWS_ERRORS), "callers catch it"


def test_the_code_loses_its_prefix() -> None:
    assert error_code(answer("AWS.SimpleQueueService.NonExistentQueue", 400)) == "NonExistentQueue"
    assert error_code(boto.NoCredentialsError()) == ""


def test_a_description_is_one_short_line_without_secrets() -> None:
    text = describe(
        answer("Odd", 400, "see\nhttps://b/k?X-Amz-Signature=deadbeef&a=1 " + "x" * 1000)
    )
    assert text.startswith("Odd (400): see https://b/k")
    assert "deadbeef" not in text
    assert "\n" not in text
    assert len(text) <= 400


def test_what_may_pass_is_tried_again_and_waited_for() -> None:
    answers: list[BaseException | str] = [answer("SlowDown", 503), ConnectionResetError(), "done"]
    waits: list[float] = []

    def call() -> str:
        outcome = answers.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    assert call_with_retries(call, "do it", base=1, sleep=waits.append) == "done"
    assert len(waits) == 2
    assert 0 <= waits[0] <= 1
    assert 0 <= waits[1] <= 2


def test_attempts_end_with_a_transient_error() -> None:
    waits: list[float] = []

    def call() -> None:
        raise answer("SlowDown", 503, "reduce your rate")

    with pytest.raises(TransientError, match=r"could not write it: SlowDown \(503\): reduce"):
        call_with_retries(call, "write it", attempts=3, sleep=waits.append)
    assert len(waits) == 2, "no wait after the last attempt"


def test_a_refusal_is_not_repeated() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise answer("AccessDenied", 403)

    with pytest.raises(boto.ClientError):
        call_with_retries(call, "do it", sleep=lambda _: None)
    assert len(calls) == 1


def test_the_check_before_an_attempt_ends_the_trying() -> None:
    checks = []

    def before() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise LeaseLost("gone")

    def call() -> None:
        raise answer("SlowDown", 503)

    with pytest.raises(LeaseLost):
        call_with_retries(call, "do it", before=before, sleep=lambda _: None)
