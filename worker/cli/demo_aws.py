"""The demo's AWS: SQS and S3 over their real protocols on loopback, and their environment."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import SettingsError

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["BUCKET", "DemoAws", "demo_aws"]

BUCKET = "demo"
MAX_RECEIVES = 10


@dataclass(frozen=True, slots=True)
class DemoAws:
    """Clients of the local server, and the queues on it. Its bucket is `BUCKET`."""

    clients: Clients
    queue_url: str
    dead_letter_url: str

    def leftovers(self) -> list[str]:
        """A sentence for each queue that still has messages."""
        found = []
        for name, url in (("queue", self.queue_url), ("dead-letter queue", self.dead_letter_url)):
            answer = self.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            left = sum(
                int(value)
                for attribute, value in answer["Attributes"].items()
                if attribute.startswith("ApproximateNumberOf")
            )
            if left:
                found.append(f"{left} messages are still on the {name}")
        return found


@contextmanager
def demo_aws() -> Iterator[DemoAws]:
    """A local server with a queue and a bucket; this process and its children use no other.

    Raises:
        SettingsError: the extra `demo` isn't installed.
    """
    with _server() as endpoint, _environment(endpoint):
        yield _make_queues(endpoint)


@contextmanager
def _server() -> Iterator[str]:
    """The endpoint of a server on a free port of loopback."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise SettingsError(
            "the demo needs the extra `demo`: pip install 'transcription-worker[demo]'"
        ) from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def _environment(endpoint: str) -> Iterator[None]:
    """AWS's variables for this process and the daemon, so that nothing real is reached."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("AWS_", "WORKER_")):
            del os.environ[name]
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= kept


def _make_queues(endpoint: str) -> DemoAws:
    from worker.aws.clients import make_clients

    clients = make_clients(queue_url=endpoint)
    clients.s3.create_bucket(Bucket=BUCKET)
    dead = clients.sqs.create_queue(QueueName="demo-dead")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    policy = {
        "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
        "maxReceiveCount": MAX_RECEIVES,
    }
    queue = clients.sqs.create_queue(
        QueueName="demo", Attributes={"RedrivePolicy": json.dumps(policy)}
    )["QueueUrl"]
    return DemoAws(clients, queue, dead)
