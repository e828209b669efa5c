"""AWS clients that answer from a script (botocore's Stubber), each made once: that takes time."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.stub import Stubber

from worker.aws.clients import Clients, make_clients

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

__all__ = ["end_scripts", "s3_client", "script_of", "sqs_client", "worker_clients"]

_active: list[Stubber] = []


@cache
def sqs_client() -> SQSClient:
    """A client of SQS."""
    return boto3.client("sqs")


@cache
def s3_client() -> S3Client:
    """A client of S3."""
    return boto3.client("s3")


@cache
def worker_clients() -> Clients:
    """The worker's own clients."""
    return make_clients()


def script_of(client: Any) -> Stubber:
    """An empty script from which the client answers until `end_scripts`."""
    script = Stubber(client)
    _active.append(script)
    script.activate()
    return script


def end_scripts() -> None:
    """Ends every script: clients are shared, and none may outlive its test."""
    while _active:
        _active.pop().deactivate()
