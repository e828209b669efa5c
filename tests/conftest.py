"""What tests share: the speech beside the checkout, and SQS and S3 over their real protocols."""

from __future__ import annotations

import gc
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import boto3
import hypothesis
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

# The same examples in every run; a busy machine is no failure.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")

REPOSITORY = Path(__file__).resolve().parents[1]
REGION = "us-east-1"


@pytest.fixture(scope="session")
def speech_dir() -> Path:
    """Recorded speech, kept beside the checkout and not part of it."""
    folder = REPOSITORY.parent / "shared" / "speech"
    if not folder.is_dir():
        pytest.skip(f"needs the recordings in {folder}")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _little_for_the_garbage_collector() -> None:
    """Takes all that is there by now (tests, modules, servers) out of its sight.

    faster-whisper collects garbage after each file that it decodes; to look through everything that
    a long run has made takes longer than the file.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads this machine's settings or credentials, or reaches beyond loopback."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "WORKER_")):
            monkeypatch.delenv(name)
    for name, value in aws_variables().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def loggers_as_before() -> Iterator[None]:
    """Undoes what a test does to the process's loggers."""
    root = logging.getLogger()
    levels = root.level, logging.getLogger("worker").level
    handlers = list(root.handlers)
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    logging.getLogger("worker").setLevel(levels[1])
    logging.captureWarnings(False)


def aws_variables(endpoint: str | None = None) -> dict[str, str]:
    """AWS's own variables for a process under test."""
    variables = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    return variables | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})


@dataclass(frozen=True)
class Queues:
    """A queue and the dead-letter queue that its redrive policy names."""

    url: str
    dead_letter_url: str


@dataclass(frozen=True)
class Aws:
    """A protocol server that is this test's alone, and clients of it."""

    endpoint: str
    sqs: SQSClient
    s3: S3Client

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process that is to use this server."""
        return dict(os.environ) | aws_variables(self.endpoint)

    def make_bucket(self, name: str | None = None, *, versioned: bool = False) -> str:
        bucket = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=bucket)
        if versioned:
            self.s3.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        return bucket

    def make_queues(
        self, name: str | None = None, *, max_receives: int = 10, fifo: bool = False
    ) -> Queues:
        name = name or f"queue-{uuid.uuid4().hex[:12]}"
        end = ".fifo" if fifo else ""
        kind: dict[QueueAttributeNameType, str] = {"FifoQueue": "true"} if fifo else {}
        dead = self.sqs.create_queue(QueueName=f"{name}-dead{end}", Attributes=kind)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        policy = (
            f'{{"deadLetterTargetArn": "{arn["Attributes"]["QueueArn"]}",'
            f' "maxReceiveCount": {max_receives}}}'
        )
        url = self.sqs.create_queue(
            QueueName=f"{name}{end}", Attributes={**kind, "RedrivePolicy": policy}
        )["QueueUrl"]
        return Queues(url, dead)

    def depth(self, url: str) -> tuple[int, int, int]:
        """(visible, in flight, delayed) messages of a queue."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = attributes["Attributes"]
        return (
            int(counts["ApproximateNumberOfMessages"]),
            int(counts["ApproximateNumberOfMessagesNotVisible"]),
            int(counts["ApproximateNumberOfMessagesDelayed"]),
        )


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """The endpoint of the session's protocol server; take `aws`, which starts it empty."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests measured: `record_property("figure", ...)`, whichever process ran them."""
    figures = [
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)


def fresh_aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Empties the protocol server and points this process's own clients at it."""
    with urlopen(Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=10):
        pass
    for name, value in aws_variables(endpoint).items():
        monkeypatch.setenv(name, value)
    return _aws_clients(endpoint)


@cache
def _aws_clients(endpoint: str) -> Aws:
    """Clients of the session's server, made once: that takes longer than many tests."""
    session = boto3.session.Session(region_name=REGION)
    return Aws(
        endpoint=endpoint,
        sqs=session.client("sqs", endpoint_url=endpoint),
        s3=session.client("s3", endpoint_url=endpoint),
    )


@pytest.fixture
def aws(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """An empty protocol server; this process's own clients reach it as well."""
    return fresh_aws(aws_server, monkeypatch)
