"""What the integration tests share."""

from __future__ import annotations

import os
from functools import cache
from urllib.request import Request, urlopen

import boto3
import pytest

from tests.conftest import REGION, Aws
from worker.aws.clients import Clients, make_clients


@cache
def _made(endpoint: str) -> tuple[Aws, Clients]:
    """Clients of the session's server; making them takes longer than most tests."""
    assert os.environ["AWS_ENDPOINT_URL"] == endpoint
    session = boto3.session.Session(region_name=REGION)
    return Aws(endpoint, session.client("sqs"), session.client("s3")), make_clients()


@pytest.fixture
def server(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Aws, Clients]:
    """An empty protocol server, and the worker's own clients of it."""
    with urlopen(Request(f"{aws_server}/moto-api/reset", method="POST"), timeout=10):
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_server)
    return _made(aws_server)
