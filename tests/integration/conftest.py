"""What the integration tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest

from tests.conftest import Aws
from tests.engines import Make, making_engines
from worker.aws.clients import Clients, make_clients


@cache
def _worker_clients(endpoint: str) -> Clients:
    """The worker's own clients of the session's server, made once: that takes half a second."""
    assert os.environ["AWS_ENDPOINT_URL"] == endpoint
    return make_clients()


@pytest.fixture
def clients(aws: Aws) -> Clients:
    """The worker's own clients of the empty protocol server."""
    return _worker_clients(aws.endpoint)


@pytest.fixture
def server(aws: Aws, clients: Clients) -> tuple[Aws, Clients]:
    """An empty protocol server, and the worker's own clients of it."""
    return aws, clients


@pytest.fixture
def engines() -> Iterator[Make]:
    """Makes engines around models that fail on demand."""
    with making_engines() as make:
        yield make
