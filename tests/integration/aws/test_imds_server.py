"""The client of the metadata service against a server of its kind."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.fakes.imds import INSTANCE_ID, FakeImds
from worker.aws.imds import Imds
from worker.errors import TransientError


@pytest.fixture
def server() -> Iterator[FakeImds]:
    with FakeImds() as fake:
        yield fake


def imds_of(server: FakeImds) -> Imds:
    return Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint})


def test_a_token_is_fetched_once_and_renewed_when_refused(server: FakeImds) -> None:
    imds = imds_of(server)
    assert imds.available()
    assert imds.instance_id() == INSTANCE_ID
    assert imds.get("spot/instance-action") is None
    assert server.calls["token"] == 1
    server.forget_tokens()
    assert imds.instance_id() == INSTANCE_ID
    assert server.calls["token"] == 2


def test_a_token_is_renewed_before_it_ends(server: FakeImds) -> None:
    now = [0.0]
    imds = Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint}, clock=lambda: now[0])
    imds.instance_id()
    now[0] = 21600 * 0.95
    imds.instance_id()
    assert server.calls["token"] == 2


def test_a_broken_service_is_not_taken_for_an_absent_answer(server: FakeImds) -> None:
    imds = imds_of(server)
    assert imds.available()
    server.broken = True
    with pytest.raises(TransientError, match="500"):
        imds.get("spot/instance-action")
    server.forget_tokens()
    assert imds.available(), "a silent moment does not mean that we left EC2"


def test_off_ec2_the_answer_is_quick() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    # Listening, but never answering: what a firewall makes of it.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for endpoint in (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{silent.getsockname()[1]}"):
            began = time.monotonic()
            assert not Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint}).available()
            assert time.monotonic() - began < 2.5
    assert not Imds({"AWS_EC2_METADATA_DISABLED": "true"}).available()
