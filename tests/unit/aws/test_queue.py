from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.stub import ANY

from tests.fakes.scripted import script_of, sqs_client
from worker.aws.queue import Message, Queue
from worker.errors import SettingsError, TransientError

if TYPE_CHECKING:
    pass

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
ARN = "arn:aws:sqs:us-east-1:123456789012:jobs"


class Stubbed:
    """A queue whose client answers from a script."""

    def __init__(self, url: str = URL) -> None:
        self.client = sqs_client()
        self.script = script_of(self.client)
        self.queue = Queue(
            self.client,
            url,
            visibility_timeout=30,
            clock=lambda: 1000.0,
            sleep=lambda _: None,
        )

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
