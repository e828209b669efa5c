from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.scripted import script_of, sqs_client
from worker.aws.dead_letter import DeadLetters, dead_letter_entry
from worker.aws.queue import Message, Queue
from worker.errors import TransientError

if TYPE_CHECKING:
    pass

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
DEAD_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs-dead"
ARN = "arn:aws:sqs:us-east-1:123456789012:jobs"
MESSAGE = Message("m0", "r0", "b")

any_text = st.text(st.characters(exclude_categories=[]), max_size=300)


def size(entry: dict[str, object]) -> int:
    body = entry["MessageBody"]
    attributes = entry["MessageAttributes"]
    assert isinstance(body, str)
    assert isinstance(attributes, dict)
    return len(body.encode()) + sum(
        len(name.encode()) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in attributes.items()
    )


def allowed(character: str) -> bool:
    return character in "\t\n\r" or (
        0x20 <= ord(character) <= 0xD7FF
        or 0xE000 <= ord(character) <= 0xFFFD
        or 0x10000 <= ord(character) <= 0x10FFFF
    )


@given(
    body=any_text.filter(bool),
    job_id=st.none() | any_text,
    code=any_text,
    reason=st.text(st.characters(exclude_categories=[]), max_size=3000),
    max_bytes=st.integers(1024, 4000),
    fifo=st.booleans(),
)
def test_a_copy_is_always_one_that_sqs_takes(
    body: str, job_id: str | None, code: str, reason: str, max_bytes: int, fifo: bool
) -> None:
    message = Message("id-1", "receipt", body * 10, origin_id="id-1")
    entry = dead_letter_entry(
        message, job_id=job_id, code=code, reason=reason, max_bytes=max_bytes, fifo=fifo
    )
    texts = [a["StringValue"] for a in entry["MessageAttributes"].values()]
    assert all(texts), "SQS refuses empty attributes"
    assert all(allowed(c) for text in (*texts, entry["MessageBody"]) for c in text)
    assert entry["MessageBody"]
    # Attributes alone fit into SQS's smallest limit unless all of them are exotic.
    assert size(entry) <= max(max_bytes, 2200)
    assert {"job_id", "code", "reason", "message_id"} <= set(entry["MessageAttributes"])
    assert fifo == ("MessageGroupId" in entry)


def test_a_copy_says_why_and_from_where() -> None:
    message = Message("new-id", "receipt", '{"input": 1}', origin_id="first-id")
    entry = dead_letter_entry(
        message, job_id=None, code="invalid_job", reason="no\x00pe", max_bytes=262144, fifo=False
    )
    values = {name: a["StringValue"] for name, a in entry["MessageAttributes"].items()}
    assert entry["MessageBody"] == '{"input": 1}'
    assert values == {
        "job_id": "first-id",
        "code": "invalid_job",
        "reason": "no\ufffdpe",
        "message_id": "first-id",
    }


def test_the_reason_is_cut_before_the_body() -> None:
    message = Message("id", "receipt", "é" * 1000, origin_id="id")
    entry = dead_letter_entry(
        message, job_id="j", code="c", reason="r" * 500, max_bytes=2300, fifo=False
    )
    assert entry["MessageBody"] == message.body
    assert "original_bytes" not in entry["MessageAttributes"]
    assert 64 <= len(entry["MessageAttributes"]["reason"]["StringValue"]) < 500
    assert size(entry) <= 2300


def test_a_body_at_the_limit_is_cut_between_characters_and_says_so() -> None:
    message = Message("id", "receipt", "é" * 131072, origin_id="id")
    entry = dead_letter_entry(
        message, job_id="j", code="c", reason="r" * 500, max_bytes=262144, fifo=False
    )
    body = entry["MessageBody"]
    assert set(body) == {"é"}
    assert entry["MessageAttributes"]["original_bytes"]["StringValue"] == "262144"
    assert len(entry["MessageAttributes"]["reason"]["StringValue"]) == 64
    assert 262140 <= size(entry) <= 262144


def test_a_copy_for_a_fifo_queue_keeps_its_group_and_is_sent_once() -> None:
    def entry(code: str, group: str | None = "g") -> dict[str, object]:
        message = Message("id", "receipt", "b", group_id=group, origin_id="id")
        return dead_letter_entry(
            message, job_id="j", code=code, reason="r", max_bytes=262144, fifo=True
        )

    assert entry("a")["MessageGroupId"] == "g"
    assert entry("a", group=None)["MessageGroupId"] == "id"
    assert entry("a")["MessageDeduplicationId"] == entry("a")["MessageDeduplicationId"]
    assert entry("a")["MessageDeduplicationId"] != entry("b")["MessageDeduplicationId"]


class Stubbed:
    """A dead-letter queue whose client answers from a script."""

    def __init__(self, dead_letter_url: str | None = None) -> None:
        client = sqs_client()
        self.script = script_of(client)
        queue = Queue(
            client,
            URL,
            visibility_timeout=30,
            dead_letter_url=dead_letter_url,
            sleep=lambda _: None,
        )
        self.dead_letters = DeadLetters(client, queue, sleep=lambda _: None)

    def done(self) -> None:
        self.script.assert_no_pending_responses()


def test_a_dead_letter_that_cannot_be_kept_is_never_taken_for_kept() -> None:
    stubbed = Stubbed(dead_letter_url=DEAD_URL)
    stubbed.script.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})
    stubbed.script.add_client_error("get_queue_attributes", "AccessDenied", "no", 403)
    stubbed.script.add_client_error("send_message", "AccessDenied", "no", 403)
    with pytest.raises(TransientError, match="AccessDenied"):
        stubbed.dead_letters.send(MESSAGE, job_id="j", code="c", reason="r")
    stubbed.done()


def test_a_cut_off_send_is_sent_again() -> None:
    stubbed = Stubbed(dead_letter_url=DEAD_URL)
    stubbed.script.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})
    stubbed.script.add_response(
        "get_queue_attributes", {"Attributes": {"QueueArn": ARN, "MaximumMessageSize": "1024"}}
    )
    stubbed.script.add_response("send_message", {})
    stubbed.script.add_response("send_message", {"MessageId": "x"})
    assert stubbed.dead_letters.send(MESSAGE, job_id="j", code="c", reason="r")
    stubbed.done()


def test_without_a_dead_letter_queue_nothing_is_kept() -> None:
    stubbed = Stubbed()
    stubbed.script.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})
    assert not stubbed.dead_letters.send(MESSAGE, job_id="j", code="c", reason="r")
