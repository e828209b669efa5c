"""Questions to AWS that change nothing, for a person who wants to know whether it is all there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import NoCredentialsError

from worker.aws.faults import AWS_ERRORS, Fault, Forbidden, classify, describe, transient
from worker.aws.queue import QueueInfo, ask_attributes, queue_info, refusal
from worker.aws.sqs import is_fifo
from worker.errors import SettingsError, TransientError
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

__all__ = ["QueueState", "ask_bucket", "ask_credentials", "ask_queue"]


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a queue says of itself.

    Attributes:
        info: of its dead letters.
        fifo: whether it keeps the order of each message group.
        waiting: messages that a receive would find, about.
        in_flight: messages that somebody holds, about.
        visibility_seconds: how long a receive hides a message that doesn't say how long.
    """

    info: QueueInfo
    fifo: bool
    waiting: int
    in_flight: int
    visibility_seconds: int


def ask_credentials() -> str:
    """Where boto3 finds credentials, such as `env`; whether they are valid is not asked.

    Raises:
        SettingsError: there are none.
    """
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        raise SettingsError(f"none found: {_remedy(NoCredentialsError())}")
    return str(found.method)


def ask_queue(client: SQSClient, url: str, *, dead_letter_url: str | None = None) -> QueueState:
    """Ask a queue for its attributes, once.

    Args:
        client: with short time-outs.
        url: the queue's.
        dead_letter_url: instead of the one in the queue's redrive policy.

    Raises:
        Forbidden: we may not ask.
        SettingsError: there is no such queue.
        TransientError: no usable answer, or no valid credentials.
    """
    names = (
        "RedrivePolicy",
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "VisibilityTimeout",
    )
    try:
        attributes = ask_attributes(client, url, names)
    except AWS_ERRORS as error:
        if transient(error):
            said = f"could not read the attributes of {url}: {_with_remedy(error)}"
            raise TransientError(said) from error
        raise refusal(error, "sqs:GetQueueAttributes", url) from error
    return QueueState(
        info=queue_info(attributes, url, dead_letter_url),
        fifo=is_fifo(url),
        waiting=int(attributes.get("ApproximateNumberOfMessages", "0")),
        in_flight=int(attributes.get("ApproximateNumberOfMessagesNotVisible", "0")),
        visibility_seconds=int(attributes.get("VisibilityTimeout", "30")),
    )


def ask_bucket(client: S3Client, prefix: S3Prefix, *, read: bool) -> str | None:
    """List one object below a prefix, and look at its head if it is to be read.

    Args:
        client: with short time-outs.
        prefix: the bucket, and where in it.
        read: whether objects there are inputs. That an object may be written is not asked: it
            would write one.

    Returns:
        The object's key; None where there is none.

    Raises:
        Forbidden: we may not list the bucket, or not read the object.
        SettingsError: there is no such bucket.
        TransientError: no usable answer, or no valid credentials.
    """
    try:
        listed = client.list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.prefix, MaxKeys=1)
        key = next((item["Key"] for item in listed.get("Contents", [])), None)
        if key is not None and read:
            client.head_object(Bucket=prefix.bucket, Key=key)
    except AWS_ERRORS as error:
        said = f"{prefix}: {_with_remedy(error)}"
        if transient(error):
            raise TransientError(said) from error
        kind = Forbidden if classify(error) is Fault.FORBIDDEN else SettingsError
        raise kind(said) from error
    return key


def _with_remedy(error: BaseException) -> str:
    return f"{describe(error)}: {_remedy(error)}"


def _remedy(error: BaseException) -> str:
    """What to do about a failed call, for people."""
    match classify(error):
        case Fault.CREDENTIALS:
            return (
                "give AWS credentials that are valid: the role of the instance or container,"
                " AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        case Fault.FORBIDDEN:
            return 'allow it in the role ("Permissions" in config/README.md), or correct the name'
        case Fault.NOT_FOUND:
            return "correct the name, the account or AWS_REGION"
        case _:
            return "see whether this machine reaches AWS: network, proxy, AWS_ENDPOINT_URL"
