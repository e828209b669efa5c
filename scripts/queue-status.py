"""How the queue is: depth, age, and the dead letters with their reasons; sends those back.

    .venv/bin/python scripts/queue-status.py --queue-url URL
    .venv/bin/python scripts/queue-status.py --queue-url URL --redrive --code input_forbidden

`--redrive` is for after a fix: what failed is put on the queue again, and its success removes the
`error.json`. A copy keeps the id under which it failed first (message attribute `message_id`),
because jobs that name no id of their own take that one. It is sent before it is taken off the
dead-letter queue, so a run that is cut off loses nothing; the worker ends a job that is done.

Looking hides dead letters from others for half a minute at most.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3

from worker.aws.clients import make_clients
from worker.aws.faults import AWS_ERRORS, describe
from worker.aws.queue import Depth, Queue
from worker.aws.sqs import MESSAGES_PER_CALL, is_fifo
from worker.errors import ExitCode, SettingsError, TransientError, WorkerError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef, SendMessageRequestTypeDef

HIDDEN_SECONDS = 30
"""How long a look may hide dead letters; they are shown again as soon as it is over."""
MOVE_SECONDS = 120
"""How long one may be hidden while it is sent back."""

NO_CODE = "max_receives"
"""Shown for messages that SQS moved by itself: they carry no reason."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message on the dead-letter queue. `sent_at` in epoch seconds."""

    message_id: str
    origin_id: str
    job_id: str
    code: str
    reason: str
    sent_at: float
    cut: bool
    body: str
    receipt: str
    group_id: str | None


def dead_letter(message: MessageTypeDef) -> DeadLetter:
    """What a message of the dead-letter queue says."""
    texts = {
        name: value.get("StringValue", "")
        for name, value in message.get("MessageAttributes", {}).items()
    }
    system: Mapping[Any, str] = message.get("Attributes", {})
    # A message that SQS moved keeps its MessageId: then that is the first one.
    origin = texts.get("message_id") or message["MessageId"]
    return DeadLetter(
        message_id=message["MessageId"],
        origin_id=origin,
        job_id=texts.get("job_id") or origin,
        code=texts.get("code") or NO_CODE,
        reason=texts.get("reason") or "delivered too often; its error.json may say more",
        sent_at=int(system.get("SentTimestamp", "0")) / 1000,
        cut="original_bytes" in texts,
        body=message["Body"],
        receipt=message["ReceiptHandle"],
        group_id=system.get("MessageGroupId"),
    )


def held(sqs: SQSClient, url: str, *, most: int, seconds: int) -> Iterator[list[DeadLetter]]:
    """Batches of dead letters, hidden for `seconds`, until there are no more (or `most`).

    The caller gives them back (`show_again`) or deletes them.
    """
    seen: set[str] = set()
    while len(seen) < most:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(MESSAGES_PER_CALL, most - len(seen)),
            VisibilityTimeout=seconds,
            WaitTimeSeconds=1,  # a long poll asks all of SQS's servers: empty means empty
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        letters = [dead_letter(message) for message in answer.get("Messages", [])]
        if not letters:
            return
        yield letters
        known = len(seen)
        seen.update(letter.message_id for letter in letters)
        if len(seen) == known:
            return  # only such as came back: the look has lasted longer than they were hidden


def show_again(sqs: SQSClient, url: str, letters: Sequence[DeadLetter]) -> None:
    """Makes dead letters visible at once; one that can't be will be when its time is over."""
    for start in range(0, len(letters), MESSAGES_PER_CALL):
        sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(n), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
                for n, letter in enumerate(letters[start : start + MESSAGES_PER_CALL])
            ],
        )


def look(sqs: SQSClient, url: str, most: int) -> list[DeadLetter]:
    """The dead letters, oldest first, each once, left where they are."""
    letters: dict[str, DeadLetter] = {}
    try:
        for batch in held(sqs, url, most=most, seconds=HIDDEN_SECONDS):
            letters.update((letter.message_id, letter) for letter in batch)
    finally:
        show_again(sqs, url, list(letters.values()))
    return sorted(letters.values(), key=lambda letter: letter.sent_at)


def redrive(
    sqs: SQSClient, url: str, dead_url: str, *, codes: set[str], job_ids: set[str], most: int
) -> tuple[list[DeadLetter], list[DeadLetter]]:
    """Sends dead letters back to the queue.

    Args:
        sqs: client.
        url: the queue.
        dead_url: the dead-letter queue.
        codes: only letters with one of these codes; empty for any.
        job_ids: only letters of these jobs; empty for any.
        most: letters looked at, at most.

    Returns:
        Those that were sent back, and those that can't be, because their body was cut.
    """
    sent: list[DeadLetter] = []
    cut: list[DeadLetter] = []
    # A message with several failed jobs lies there once for each, with the same body.
    bodies: set[tuple[str, str]] = set()
    others: list[DeadLetter] = []
    try:
        for batch in held(sqs, dead_url, most=most, seconds=MOVE_SECONDS):
            for letter in batch:
                if (codes and letter.code not in codes) or (
                    job_ids and letter.job_id not in job_ids
                ):
                    others.append(letter)
                elif letter.cut:
                    others.append(letter)
                    cut.append(letter)
                else:
                    if (letter.origin_id, letter.body) not in bodies:
                        sqs.send_message(**_copy(url, letter))
                        bodies.add((letter.origin_id, letter.body))
                    sqs.delete_message(QueueUrl=dead_url, ReceiptHandle=letter.receipt)
                    sent.append(letter)
    finally:
        show_again(sqs, dead_url, others)
    return sent, cut


def _copy(url: str, letter: DeadLetter) -> SendMessageRequestTypeDef:
    copy: SendMessageRequestTypeDef = {
        "QueueUrl": url,
        "MessageBody": letter.body,
        "MessageAttributes": {
            "message_id": {"DataType": "String", "StringValue": letter.origin_id}
        },
    }
    if is_fifo(url):
        copy["MessageGroupId"] = letter.group_id or letter.origin_id
        # The dead letter's own id: sent again after the same failure it must not count as a copy.
        copy["MessageDeduplicationId"] = letter.message_id
    return copy


def oldest_age(url: str, region: str) -> float | None:
    """Seconds that the oldest message has waited, from CloudWatch (SQS itself doesn't say).

    None where there is no figure: a queue nobody has used for hours, or no permission.
    """
    now = datetime.now(UTC)
    try:
        answer = boto3.client("cloudwatch", region_name=region).get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": url.rpartition("/")[2]}],
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
    except AWS_ERRORS as error:
        print(f"age of the oldest message: {describe(error)}", file=sys.stderr)
        return None
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    return float(points[-1]["Maximum"]) if points else None


def show(
    depth: Depth, age: float | None, dead: Depth | None, letters: Sequence[DeadLetter], detail: int
) -> None:
    """Print it for a person."""
    print(f"waiting    {depth.visible}")
    print(f"in flight  {depth.in_flight}")
    print(f"delayed    {depth.delayed}")
    oldest = "not known (CloudWatch has no figure)" if age is None else f"{age:.0f} s"
    print(f"oldest     {oldest}")
    if dead is None:
        print("dead letters: the queue has no dead-letter queue")
        return
    print(f"dead       {dead.visible + dead.in_flight}")
    if not letters:
        return
    print("\nby code:")
    for code, count in Counter(letter.code for letter in letters).most_common():
        print(f"  {count:6}  {code}")
    print(f"\nnewest {min(detail, len(letters))} of {len(letters)} looked at:")
    for letter in letters[-detail:][::-1]:
        when = datetime.fromtimestamp(letter.sent_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        print(f"  {when}  {letter.code}  {letter.job_id}\n      {letter.reason}")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Depth, age and dead letters of the worker's queue; sends dead letters back.",
        epilog="Exit codes: 0, 1 a call failed, 2 wrong arguments, 4 (--check) there are dead "
        "letters.",
    )
    parser.add_argument(
        "--queue-url", default=os.environ.get("WORKER_QUEUE_URL"), help="default: WORKER_QUEUE_URL"
    )
    parser.add_argument(
        "--dead-letter-url",
        default=os.environ.get("WORKER_DEAD_LETTER_URL"),
        help="default: from the queue's redrive policy",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--detail", type=int, default=10, help="dead letters shown one by one")
    parser.add_argument("--most", type=int, default=1000, help="dead letters looked at, at most")
    parser.add_argument("--check", action="store_true", help="exit 4 if there are dead letters")
    parser.add_argument("--redrive", action="store_true", help="send dead letters back")
    parser.add_argument("--code", action="append", default=[], help="only this code; repeatable")
    parser.add_argument("--job-id", action="append", default=[], help="only this job; repeatable")
    parser.add_argument(
        "--dry-run", action="store_true", help="with --redrive: say what would be sent back"
    )
    arguments = parser.parse_args(argv)
    if not arguments.queue_url:
        parser.error("--queue-url is missing (or WORKER_QUEUE_URL)")
    if arguments.most < 1 or arguments.detail < 0:
        parser.error("--most must be at least 1 and --detail at least 0")
    if (arguments.code or arguments.job_id or arguments.dry_run) and not arguments.redrive:
        parser.error("--code, --job-id and --dry-run go with --redrive")
    return arguments


def status(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; returns the exit code.

    Raises:
        SettingsError: there is no such queue.
        TransientError: SQS could not be asked.
    """
    clients = make_clients(queue_url=arguments.queue_url)
    sqs, url = clients.sqs, arguments.queue_url
    queue = Queue(sqs, url, visibility_timeout=120, dead_letter_url=arguments.dead_letter_url)
    dead_url = queue.describe().dead_letter_url
    if arguments.redrive:
        return _redrive(sqs, url, dead_url, arguments)
    depth, age = queue.depth(), oldest_age(url, sqs.meta.region_name)
    dead = Queue(sqs, dead_url, visibility_timeout=120).depth() if dead_url else None
    letters = look(sqs, dead_url, arguments.most) if dead_url else []
    if arguments.json:
        print(json.dumps(_document(depth, age, dead, letters), indent=2))
    else:
        show(depth, age, dead, letters, arguments.detail)
    return 4 if arguments.check and letters else ExitCode.OK


def _document(
    depth: Depth, age: float | None, dead: Depth | None, letters: Sequence[DeadLetter]
) -> dict[str, Any]:
    shown = ("message_id", "job_id", "code", "reason", "sent_at")
    return {
        "at": time.time(),
        "queue": asdict(depth),
        "oldest_message_seconds": age,
        "dead_letters": None if dead is None else dead.visible + dead.in_flight,
        "codes": dict(Counter(letter.code for letter in letters)),
        "letters": [{name: getattr(letter, name) for name in shown} for letter in letters],
    }


def _redrive(sqs: SQSClient, url: str, dead_url: str | None, arguments: argparse.Namespace) -> int:
    if dead_url is None:
        raise SettingsError(f"{url} has no dead-letter queue; name one with --dead-letter-url")
    codes, job_ids = set(arguments.code), set(arguments.job_id)
    if arguments.dry_run:
        for letter in look(sqs, dead_url, arguments.most):
            if (not codes or letter.code in codes) and (not job_ids or letter.job_id in job_ids):
                note = "  (cut: can't be sent back)" if letter.cut else ""
                print(f"{letter.job_id}  {letter.code}{note}")
        return ExitCode.OK
    sent, cut = redrive(sqs, url, dead_url, codes=codes, job_ids=job_ids, most=arguments.most)
    for letter in sent:
        print(f"{letter.job_id}  {letter.code}")
    print(f"sent back: {len(sent)}", file=sys.stderr)
    for letter in cut:
        print(
            f"{letter.job_id}: its message was too large to be kept whole, send it anew",
            file=sys.stderr,
        )
    return ExitCode.FAILURE if cut else ExitCode.OK


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run; errors that were foreseen are one message."""
    arguments = _arguments(argv)
    try:
        return int(status(arguments))
    except AWS_ERRORS as error:
        sys.stderr.write(f"queue-status.py: {describe(error)}\n")
    except SettingsError as error:
        sys.stderr.write(f"queue-status.py: {error}\n")
        return int(ExitCode.SETTINGS)
    except (TransientError, WorkerError) as error:
        sys.stderr.write(f"queue-status.py: {error}\n")
    return int(ExitCode.FAILURE)


if __name__ == "__main__":
    sys.exit(main())
