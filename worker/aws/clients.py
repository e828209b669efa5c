"""The boto3 clients: made once, with bounded time-outs, and shared between threads.

A client may be used from any thread; the session that makes clients may not. Making one costs
tens of milliseconds and some megabytes, so all but the queue's are made when first used, under
a lock. Region, endpoints (`AWS_ENDPOINT_URL`) and credentials are found as in every program
that uses boto3.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from worker.aws.sqs import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

__all__ = ["Clients", "make_clients", "queue_region"]

DEFAULT_REGION = "us-east-1"
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 20.0
_POLL_MARGIN_SECONDS = 15.0
_MAX_ATTEMPTS = 3
"""botocore's own attempts at each call; `faults.call_with_retries` repeats the whole."""
_ASK_FIRST_BYTES = 1024 * 1024
"""An object with as many bytes or more is announced before it is sent."""
_IMPATIENT = Config(
    connect_timeout=2.0, read_timeout=4.0, retries={"mode": "standard", "total_max_attempts": 1}
)
"""For a person who waits: a service that is there answers within a fraction of a second."""
_PATH_STYLE = Config(s3={"addressing_style": "path"})
_QUEUE_HOSTS = (
    re.compile(r"^sqs\.(?P<region>[a-z0-9-]+)\.(amazonaws|api\.aws)"),
    re.compile(r"^(?P<region>[a-z0-9-]+)\.queue\.amazonaws\.com"),  # the older form
)


def queue_region(url: str) -> str | None:
    """The region that an AWS queue URL names; None for other hosts (pure)."""
    host = urlsplit(url).hostname or ""
    for pattern in _QUEUE_HOSTS:
        if match := pattern.match(host):
            return match["region"]
    return None


class Clients:
    """The clients of one process.

    Args:
        session: used here only, always under a lock.
        region: of everything but the queue.
        queue_region: of the queue; None: `region`.
        visibility_timeout: seconds, of the queue's messages. Time-outs of calls are derived from
            it: a call that hangs must end well before a lease does.
        patient: whether calls wait and are repeated as a worker's should be; not where a person
            waits for the answer.

    Attributes:
        sqs: SQS for everything but ReceiveMessage; short time-outs.
    """

    def __init__(
        self,
        session: boto3.Session,
        *,
        region: str,
        queue_region: str | None = None,
        visibility_timeout: int = 120,
        patient: bool = True,
    ) -> None:
        self._session = session
        self._patient = patient
        self._region = region
        self._lock = threading.RLock()
        # A third of the visibility time-out lies between heartbeats: two hung calls must fit.
        control_seconds = min(10.0, max(2.0, visibility_timeout / 6))
        queue_region = queue_region or region
        self.sqs: SQSClient = session.client(
            "sqs",
            region_name=queue_region,
            config=self._config(read_seconds=control_seconds, connections=16),
        )
        self._queue_region = queue_region

    def _config(self, *, read_seconds: float = _READ_SECONDS, connections: int = 32) -> Config:
        """What every client gets: time-outs, attempts, connections."""
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": _MAX_ATTEMPTS},
            max_pool_connections=connections,
            tcp_keepalive=True,
        )
        return config if self._patient else config.merge(_IMPATIENT)

    @cached_property
    def sqs_poll(self) -> SQSClient:
        """SQS for ReceiveMessage; its read time-out is longer than the longest long poll."""
        with self._lock:
            return self._session.client(
                "sqs",
                region_name=self._queue_region,
                config=self._config(
                    read_seconds=MAX_WAIT_SECONDS + _POLL_MARGIN_SECONDS, connections=4
                ),
            )

    @cached_property
    def s3(self) -> S3Client:
        """S3; with path-style addresses at endpoints that are not AWS's."""
        with self._lock:
            return self._make_s3()

    def _make_s3(self) -> S3Client:
        client = self._session.client("s3", region_name=self._region, config=self._config())
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        if not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
            # Other servers seldom have a wildcard name in the DNS: http://bucket.minio:9000.
            client = self._session.client(
                "s3", region_name=self._region, config=self._config().merge(_PATH_STYLE)
            )
        client.meta.events.register("before-send.s3.PutObject", _send_small_at_once)
        return client

    @cached_property
    def autoscaling(self) -> AutoScalingClient:
        """Auto Scaling, made when first used."""
        with self._lock:
            return self._session.client(
                "autoscaling", region_name=self._region, config=self._config(connections=4)
            )

    @cached_property
    def ec2(self) -> EC2Client:
        """EC2, made when first used."""
        with self._lock:
            return self._session.client(
                "ec2", region_name=self._region, config=self._config(connections=4)
            )

    @cached_property
    def sns(self) -> SNSClient:
        """SNS, made when first used."""
        with self._lock:
            return self._session.client(
                "sns", region_name=self._region, config=self._config(connections=8)
            )


def _send_small_at_once(request: AWSPreparedRequest, **_: object) -> None:
    """Send a small object without asking first whether it may be sent.

    botocore has every PUT wait for the server's `100 Continue`, a round trip more than the object
    needs. What asking saves, where the answer is no, is a small body. The header is not signed.
    """
    headers = request.headers
    # A request without a body must not ask (RFC 9110), and a silent file's txt has no bytes.
    # Over TLS the body goes in chunks, and only the first of these two says how long it is.
    size = headers.get("X-Amz-Decoded-Content-Length") or headers.get("Content-Length")
    if size is not None and int(size) < _ASK_FIRST_BYTES and "Expect" in headers:
        del headers["Expect"]


def make_clients(
    *,
    queue_url: str | None = None,
    region: str | None = None,
    visibility_timeout: int = 120,
    patient: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Clients:
    """The clients for this process.

    Args:
        queue_url: its region is the queue's, whatever else is set (SQS refuses other
            signatures), and the others' where nothing else names one.
        region: for all but the queue. Without it: `AWS_REGION`, then what boto3 finds
            (`AWS_DEFAULT_REGION`, the profile), then the queue's, then us-east-1.
        visibility_timeout: seconds, of the queue's messages.
        patient: as in `Clients`.
        environ: where `AWS_REGION` is looked for; boto3 itself reads only
            `AWS_DEFAULT_REGION`, though containers and functions set the other.
    """
    environ = os.environ if environ is None else environ
    session = boto3.Session()
    of_queue = queue_region(queue_url) if queue_url else None
    return Clients(
        session,
        region=region
        or environ.get("AWS_REGION")
        or session.region_name
        or of_queue
        or DEFAULT_REGION,
        queue_region=of_queue,
        visibility_timeout=visibility_timeout,
        patient=patient,
    )
