from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from worker.aws.clients import make_clients, queue_region

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (QUEUE, "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://sqs.us-east-1.api.aws/1/q", "us-east-1"),
        ("https://eu-central-1.queue.amazonaws.com/1/q", "eu-central-1"),
        ("http://127.0.0.1:5000/1/q", None),
        ("http://localhost:9324/queue/q", None),
    ],
)
def test_a_queue_url_names_its_region(url: str, region: str | None) -> None:
    assert queue_region(url) == region


def test_the_queues_region_wins_for_the_queue_and_the_environments_for_the_rest() -> None:
    clients = make_clients(queue_url=QUEUE, environ={"AWS_REGION": "ap-south-1"})
    assert clients.sqs.meta.region_name == clients.sqs_poll.meta.region_name == "eu-west-1"
    assert clients.s3.meta.region_name == clients.autoscaling.meta.region_name == "ap-south-1"


def test_without_any_word_of_a_region_it_is_the_queues_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert make_clients(queue_url=QUEUE, environ={}).s3.meta.region_name == "eu-west-1"
    assert make_clients(environ={}).sqs.meta.region_name == "us-east-1"


def test_a_given_region_comes_first() -> None:
    clients = make_clients(region="sa-east-1", environ={"AWS_REGION": "ap-south-1"})
    assert clients.s3.meta.region_name == "sa-east-1"


def read_timeout(client: SQSClient) -> float:
    # botocore sets Config's options as attributes that its stubs don't list.
    return float(vars(client.meta.config)["read_timeout"])


def test_time_outs_fit_their_calls() -> None:
    clients = make_clients(visibility_timeout=10)
    assert read_timeout(clients.sqs_poll) > 20, "a long poll lasts 20 s"
    assert read_timeout(clients.sqs) == 2, "a hung call must not cost a lease"
    assert read_timeout(make_clients(visibility_timeout=43200).sqs) == 10


def test_other_servers_get_path_style_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        make_clients()
        .s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
        .startswith("https://bucket.s3.")
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage:9000")
    assert (
        make_clients()
        .s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
        .startswith("http://storage:9000/bucket/k")
    )


def test_clients_are_made_once() -> None:
    clients = make_clients()
    assert clients.autoscaling is clients.autoscaling
    assert clients.ec2 is clients.ec2
    assert clients.sns is clients.sns


class _Nothing(io.BytesIO):
    """The body of an answer."""

    def stream(self, **_: object) -> list[bytes]:
        return []


@pytest.mark.parametrize("endpoint", [None, "http://storage:9000"])
@pytest.mark.parametrize(("size", "asks"), [(0, False), (1000, False), (1024 * 1024, True)])
def test_only_large_objects_are_announced_before_they_are_sent(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, size: int, asks: bool
) -> None:
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    asked: list[bool] = []

    def answer(request: AWSPreparedRequest, **_: object) -> Any:
        asked.append("Expect" in request.headers)
        return AWSResponse(request.url, 200, HTTPHeaders(), _Nothing())

    client = make_clients().s3
    client.meta.events.register_last("before-send.s3.PutObject", cast("Any", answer))
    client.put_object(Bucket="bucket", Key="k", Body=b"x" * size)
    assert asked == [asks]
