from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from worker.aws.queue import Message, Queue, dead_letter_entry
from worker.errors import SettingsError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
DEAD_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs-dead"
ARN = "arn:aws:sqs:us-east-1:123456789012:jobs"

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


ACTIVE: list[Stubber] = []


@pytest.fixture(autouse=True)
def _no_script_outlives_its_test() -> Iterator[None]:
    yield
    while ACTIVE:
        ACTIVE.pop().deactivate()


@cache
def shared_client() -> SQSClient:
    """Making a client takes a tenth of a second."""
    return boto3.client("sqs")


class Stubbed:
    """A queue whose client answers from a script."""

    def __init__(self, url: str = URL, dead_letter_url: str | None = None) -> None:
        self.client = shared_client()
        self.script = Stubber(self.client)
        ACTIVE.append(self.script)
        self.queue = Queue(
            self.client,
            url,
            visibility_timeout=30,
            dead_letter_url=dead_letter_url,
            clock=lambda: 1000.0,
            sleep=lambda _: None,
        )
        self.script.activate()

    def done(self) -> None:
        self.script.assert_no_pending_responses()


def messages(count: int) -> list[Message]:
    return [
        Message(f"m{n}", f"r{n}", "b", received_at=1000.0, requested_at=1000.0)
        for n in range(count)
    ]


def test_a_cut_off_batch_answer_confirms_nothing() -> None:
    stubbed = Stubbed()
    # What botocore makes of a JSON body that ends too early: no Failed, no Successful.
    stubbed.script.add_response("change_message_visibility_batch", {"Successful": [], "Failed": []})
    outcome = stubbed.queue.extend(messages(2), 30)
    assert (outcome.confirmed, outcome.lost) == ((), ())
    assert [m.message_id for m in outcome.failed] == ["m0", "m1"]


def test_extending_tells_lost_from_failed() -> None:
    stubbed = Stubbed()
    failed = [
        ("1", "ReceiptHandleIsInvalid", "not a valid receipt handle", True),
        ("2", "InternalError", "", False),
        (
            "3",
            "InvalidParameterValue",
            "Value 30 for parameter VisibilityTimeout is invalid. Reason: Total "
            "VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            True,
        ),
        (
            "4",
            "InvalidParameterValue",
            "Value x for parameter ReceiptHandle is invalid. Reason: Message does not exist or "
            "is not available for visibility timeout change.",
            True,
        ),
    ]
    stubbed.script.add_response(
        "change_message_visibility_batch",
        {
            "Successful": [{"Id": "0"}],
            "Failed": [
                {"Id": i, "Code": code, "Message": text, "SenderFault": fault}
                for i, code, text, fault in failed
            ],
        },
    )
    outcome = stubbed.queue.extend(messages(5), 30)
    assert [m.message_id for m in outcome.confirmed] == ["m0"]
    assert [m.message_id for m in outcome.lost] == ["m1", "m4"]
    assert [m.message_id for m in outcome.failed] == ["m2", "m3"]


def test_deleting_repeats_what_failed_and_only_that() -> None:
    stubbed = Stubbed()
    stubbed.script.add_response(
        "delete_message_batch",
        {
            "Successful": [{"Id": "0"}],
            "Failed": [
                {"Id": "1", "Code": "InternalError", "SenderFault": False},
                {"Id": "2", "Code": "ReceiptHandleIsInvalid", "SenderFault": True},
            ],
        },
    )
    stubbed.script.add_client_error("delete_message_batch", "ServiceUnavailable", "", 503)
    stubbed.script.add_response(
        "delete_message_batch",
        {"Successful": [{"Id": "0"}], "Failed": []},
        {"QueueUrl": URL, "Entries": [{"Id": "0", "ReceiptHandle": "r1"}]},
    )
    assert [m.message_id for m in stubbed.queue.delete(messages(3))] == ["m2"]
    stubbed.done()


def test_releasing_never_asks_for_more_than_twelve_hours() -> None:
    stubbed = Stubbed()
    old = Message("m", "r", "b", received_at=1000 - 43000.0, requested_at=1000 - 43000.0)
    stubbed.script.add_response(
        "change_message_visibility_batch",
        {"Successful": [{"Id": "0"}], "Failed": []},
        {
            "QueueUrl": URL,
            "Entries": [{"Id": "0", "ReceiptHandle": "r", "VisibilityTimeout": 200}],
        },
    )
    stubbed.queue.release([old], 900)
    stubbed.done()


def test_a_fifo_queue_is_asked_for_one_message() -> None:
    stubbed = Stubbed(URL + ".fifo")
    stubbed.script.add_response(
        "receive_message",
        {"ResponseMetadata": {"HTTPHeaders": {"content-length": "2"}}},
        {
            "QueueUrl": URL + ".fifo",
            "MaxNumberOfMessages": 1,
            "WaitTimeSeconds": 20,
            "VisibilityTimeout": 30,
            "MessageSystemAttributeNames": ANY,
            "MessageAttributeNames": ["All"],
            "ReceiveRequestAttemptId": ANY,
        },
    )
    assert stubbed.queue.receive(10, 20) == []
    stubbed.done()


def test_a_cut_off_receive_is_no_empty_queue() -> None:
    stubbed = Stubbed()
    stubbed.script.add_response(
        "receive_message", {"ResponseMetadata": {"HTTPHeaders": {"content-length": "900"}}}
    )
    with pytest.raises(TransientError, match="cut off"):
        stubbed.queue.receive()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", 400, SettingsError),
        ("AccessDenied", 403, SettingsError),
        ("ExpiredToken", 403, TransientError),
        ("ServiceUnavailable", 503, TransientError),
    ],
)
def test_a_receive_that_fails_says_whether_it_may_pass(
    code: str, status: int, kind: type[Exception]
) -> None:
    stubbed = Stubbed()
    stubbed.script.add_client_error("receive_message", code, "why", status)
    with pytest.raises(kind):
        stubbed.queue.receive()


def test_a_dead_letter_that_cannot_be_kept_is_never_taken_for_kept() -> None:
    stubbed = Stubbed(dead_letter_url=DEAD_URL)
    stubbed.script.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})
    stubbed.script.add_client_error("get_queue_attributes", "AccessDenied", "no", 403)
    stubbed.script.add_client_error("send_message", "AccessDenied", "no", 403)
    with pytest.raises(TransientError, match="AccessDenied"):
        stubbed.queue.dead_letter(messages(1)[0], job_id="j", code="c", reason="r")
    stubbed.done()


def test_a_cut_off_send_is_sent_again() -> None:
    stubbed = Stubbed(dead_letter_url=DEAD_URL)
    stubbed.script.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})
    stubbed.script.add_response(
        "get_queue_attributes", {"Attributes": {"QueueArn": ARN, "MaximumMessageSize": "1024"}}
    )
    stubbed.script.add_response("send_message", {})
    stubbed.script.add_response("send_message", {"MessageId": "x"})
    assert stubbed.queue.dead_letter(messages(1)[0], job_id="j", code="c", reason="r")
    stubbed.done()


def test_without_a_dead_letter_queue_nothing_is_kept() -> None:
    stubbed = Stubbed()
    stubbed.script.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})
    assert not stubbed.queue.dead_letter(messages(1)[0], job_id="j", code="c", reason="r")


def test_cut_off_attributes_are_asked_for_again() -> None:
    stubbed = Stubbed()
    stubbed.script.add_response("get_queue_attributes", {})
    stubbed.script.add_response(
        "get_queue_attributes",
        {
            "Attributes": {
                "QueueArn": ARN,
                "ApproximateNumberOfMessages": "1",
                "ApproximateNumberOfMessagesNotVisible": "2",
                "ApproximateNumberOfMessagesDelayed": "3",
            }
        },
    )
    depth = stubbed.queue.depth()
    assert (depth.visible, depth.in_flight, depth.delayed) == (1, 2, 3)
