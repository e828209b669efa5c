from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import FakeEngine
from tests.fakes.sqs_strict import StrictSqs
from worker import logs
from worker.aws.queue import Queue
from worker.daemon.preflight import check_options, check_queue
from worker.errors import SettingsError
from worker.speech.api import Options

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def _warnings(
    server: StrictSqs,
    client: SQSClient,
    capsys: pytest.CaptureFixture[str],
    *,
    max_receives: int | None,
    dead_letter_url: str | None = None,
) -> list[str]:
    """The events that are logged about a queue with this redrive policy."""
    name = uuid.uuid4().hex
    policy = {}
    if max_receives is not None:
        server.create_queue(f"dead-{name}")
        arn = f"arn:aws:sqs:us-east-1:123456789012:dead-{name}"
        policy["RedrivePolicy"] = json.dumps(
            {"deadLetterTargetArn": arn, "maxReceiveCount": max_receives}
        )
    url = server.create_queue(name, **policy)
    logs.configure("INFO", "json")
    check_queue(Queue(client, url, visibility_timeout=30, dead_letter_url=dead_letter_url))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line["event"] for line in lines]


def test_a_queue_with_enough_receives_and_dead_letters_is_fine(
    strict_sqs: StrictSqs, sqs_client: SQSClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _warnings(strict_sqs, sqs_client, capsys, max_receives=10) == []


def test_a_queue_that_would_lose_jobs_is_warned_of(
    strict_sqs: StrictSqs, sqs_client: SQSClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _warnings(strict_sqs, sqs_client, capsys, max_receives=9) == ["queue.few_receives"]
    assert _warnings(strict_sqs, sqs_client, capsys, max_receives=None) == [
        "queue.no_dead_letter_queue"
    ]
    named = strict_sqs.create_queue("named")
    assert _warnings(strict_sqs, sqs_client, capsys, max_receives=None, dead_letter_url=named) == []


def test_a_queue_that_is_not_there_is_a_wrong_setting(
    strict_sqs: StrictSqs, sqs_client: SQSClient
) -> None:
    url = f"{strict_sqs.endpoint}/123456789012/nowhere"
    with pytest.raises(SettingsError, match="nowhere"):
        check_queue(Queue(sqs_client, url, visibility_timeout=30))


def test_settings_that_every_job_would_fail_for_are_wrong_settings() -> None:
    check_options(FakeEngine(), Options(language_options=("de",)))
    with pytest.raises(SettingsError, match="'yue'"):
        check_options(FakeEngine(), Options(language_options=("de", "yue")))
