"""What a failed AWS call means, and retries of calls that may succeed later.

botocore raises some dozen kinds of exception, and services put what matters into an error
code. `classify` maps them all to a `Fault`; callers decide by that, never by exception type.
`call_with_retries` repeats a call as long as its failure may be temporary. botocore's own few
retries have been made before either sees a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
    ValidationError,
)
from botocore.parsers import ResponseParserError

from worker import retry
from worker.errors import SettingsError, TransientError
from worker.redact import redact

__all__ = [
    "AWS_ERRORS",
    "Fault",
    "Forbidden",
    "call_with_retries",
    "classify",
    "describe",
    "error_code",
    "transient",
]

T = TypeVar("T")

AWS_ERRORS = (ClientError, BotoCoreError, ResponseParserError, ConnectionError, TimeoutError)
"""Everything that a boto3 call may raise because of the network or AWS. `ResponseParserError`
(a response cut off inside its XML) is not a BotoCoreError; the last two are Python's own, raised
while a body is read."""

_MAX_DESCRIPTION = 400


class Fault(StrEnum):
    """What an AWS failure means to the caller."""

    TRANSIENT = "transient"
    """Throttling, a 5xx, a timeout, a broken or cut-off connection: try again."""
    CREDENTIALS = "credentials"
    """No credentials, expired or not yet known ones: they get renewed, so try again."""
    FORBIDDEN = "forbidden"
    """The credentials are good and may not do this."""
    NOT_FOUND = "not_found"
    """There is no such queue, bucket, object or version."""
    PRECONDITION = "precondition"
    """A conditional request found another state (412)."""
    CONFLICT = "conflict"
    """Another conditional write is under way (409): try again."""
    INVALID = "invalid"
    """The service refuses the request as it stands; repeating it can't help."""


class Forbidden(SettingsError):
    """The credentials are good and may not do what was asked."""


_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",  # the body was damaged on its way
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "IncompleteBody",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InvalidDigest",
        "LimitExceededException",
        "OverLimit",  # SQS: too many messages in flight; they get fewer
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",  # S3 says this with a 400
        "RequestTimeoutException",
        "ScalingActivityInProgress",
        "ServerBusy",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
        "Unavailable",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
        # A HEAD has no body to say more in; S3 sends a bare 400 for an expired token.
        "400",
    }
)
_CREDENTIAL_CODES = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",  # also said of a key so new that it is not known everywhere
        "InvalidSecurity",
        "InvalidToken",
        "MissingAuthenticationToken",
        "RequestExpired",
        "RequestTimeTooSkewed",  # this machine's clock is off; time services mend that
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_NOT_FOUND_CODES = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchVersion",
        "NonExistentQueue",
        "NotFound",
        "QueueDoesNotExist",
    }
)
_FORBIDDEN_CODES = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationError",
        "Forbidden",
        "InvalidObjectState",  # the object is archived and must be restored first
        "UnauthorizedOperation",
    }
)
_CREDENTIAL_ERRORS = (
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)
_INVALID_ERRORS = (ParamValidationError, ValidationError)


def error_code(error: BaseException) -> str:
    """The service's error code without its prefix; '' if the service did not answer.

    SQS says `AWS.SimpleQueueService.NonExistentQueue`, S3 passes on `KMS.ThrottlingException`.
    """
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", "")).rsplit(".", 1)[-1]


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def classify(error: BaseException) -> Fault:
    """What `error`, raised by a boto3 call, means. Codes decide before HTTP statuses."""
    if isinstance(error, ClientError):
        return _classify_answer(error_code(error), _status(error))
    if isinstance(error, _CREDENTIAL_ERRORS):
        return Fault.CREDENTIALS
    if isinstance(error, _INVALID_ERRORS):
        return Fault.INVALID
    # What never got an answer: the network's kinds, and any that botocore may add. To fail a
    # job for good takes an answer.
    return Fault.TRANSIENT


def _classify_answer(code: str, status: int) -> Fault:
    by_code = (
        (_TRANSIENT_CODES, Fault.TRANSIENT),
        (_CREDENTIAL_CODES, Fault.CREDENTIALS),
        (_NOT_FOUND_CODES, Fault.NOT_FOUND),
        (_FORBIDDEN_CODES, Fault.FORBIDDEN),
    )
    for codes, fault in by_code:
        if code in codes:
            return fault
    if status >= 500 or status in (408, 429):
        return Fault.TRANSIENT
    by_status = {
        401: Fault.FORBIDDEN,
        403: Fault.FORBIDDEN,
        404: Fault.NOT_FOUND,
        405: Fault.NOT_FOUND,  # S3's word for a version that is a delete marker
        409: Fault.CONFLICT,
        412: Fault.PRECONDITION,
    }
    return by_status.get(status, Fault.INVALID)


def transient(error: BaseException) -> bool:
    """Whether another attempt may help."""
    return classify(error) in (Fault.TRANSIENT, Fault.CREDENTIALS, Fault.CONFLICT)


def describe(error: BaseException) -> str:
    """One line for a person: code, status and message, without secrets, of bounded length."""
    if isinstance(error, ClientError):
        message = str(error.response.get("Error", {}).get("Message", "")).strip()
        text = f"{error_code(error)} ({_status(error)}){': ' if message else ''}{message}"
    else:
        text = f"{type(error).__name__}: {error}"
    return redact(" ".join(text.split()))[:_MAX_DESCRIPTION]


def call_with_retries(
    call: Callable[[], T],
    doing: str,
    *,
    attempts: int = 5,
    base: float = retry.CALL_SECONDS,
    cap: float = retry.CALL_CAP_SECONDS,
    before: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Repeat `call` as long as its failure may be temporary, waiting longer each time.

    Waits follow `retry.full_jitter`.

    Args:
        call: one boto3 call that may safely be repeated.
        doing: what the call does, for the error message: "could not <doing>".
        attempts: calls in all, at least 1.
        base: seconds, the scale of the first wait.
        cap: seconds, the longest wait.
        before: called before each attempt; if it raises, there are no more attempts.
        sleep: waits that many seconds.

    Raises:
        TransientError: the last attempt failed, for a reason that may be temporary.
        Exception: the failure itself, where another attempt can't help.
    """
    for attempt in range(1, attempts + 1):
        before()
        try:
            return call()
        except AWS_ERRORS as error:
            if not transient(error):
                raise
            if attempt == attempts:
                raise TransientError(f"could not {doing}: {describe(error)}") from error
            sleep(retry.full_jitter(attempt, base=base, cap=cap))
    raise ValueError(f"attempts must be at least 1, not {attempts}")
