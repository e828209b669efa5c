"""scripts/submit-job.py and scripts/queue-status.py against the protocol server."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from tests.conftest import REPOSITORY, Aws, Queues
from tests.scripts import load_script
from worker.aws.dead_letter import DeadLetters
from worker.aws.queue import Queue
from worker.jobs.message import parse_message
from worker.jobs.request import JobDefaults

SUBMIT = REPOSITORY / "scripts" / "submit-job.py"
STATUS = REPOSITORY / "scripts" / "queue-status.py"


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def run(script: Path, *arguments: str, stdin: str = "") -> Result:
    """The script's `main` in this process, as it would run in one of its own."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = int(load_script(script).main(arguments))
        except SystemExit as end:  # argparse's
            code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def bodies(aws: Aws, url: str) -> list[dict[str, object]]:
    """Everything on the queue; taken off it."""
    found = []
    while messages := aws.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0
    ).get("Messages", []):
        found += [json.loads(message["Body"]) for message in messages]
    return found


@pytest.fixture
def queues(aws: Aws) -> Queues:
    return aws.make_queues()


@pytest.mark.parametrize("script", [SUBMIT, STATUS])
def test_help(script: Path) -> None:
    """In a process of its own, as a person starts it."""
    result = subprocess.run(
        [sys.executable, script, "--help"],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "--dry-run" in result.stdout
    assert "Exit codes" in result.stdout


# --- submit-job.py ------------------------------------------------------------------------------


def test_submits_objects_and_prints_their_job_ids(aws: Aws, queues: Queues) -> None:
    result = run(
        SUBMIT,
        "s3://audio/one.wav",
        "s3://audio/two.wav",
        "--queue-url",
        queues.url,
        "--language",
        "de",
        "--formats",
        "json,srt",
        "--no-words",
        "--metadata",
        "case=17",
    )
    assert result.returncode == 0, result.stderr
    sent = bodies(aws, queues.url)
    assert result.stdout.splitlines() == [body["job_id"] for body in sent]
    assert {body["input"] for body in sent} == {"s3://audio/one.wav", "s3://audio/two.wav"}
    assert sent[0]["language"] == "de"
    assert sent[0]["words"] is False
    assert sent[0]["metadata"] == {"case": "17"}


def test_submits_every_object_below_a_prefix_once(aws: Aws, queues: Queues) -> None:
    bucket = aws.make_bucket()
    for n in range(12):
        aws.s3.put_object(Bucket=bucket, Key=f"calls/{n:02}.wav", Body=b"RIFF")
    aws.s3.put_object(Bucket=bucket, Key="calls/", Body=b"")
    aws.s3.put_object(Bucket=bucket, Key="calls/empty.wav", Body=b"")
    aws.s3.put_object(Bucket=bucket, Key="other/a.wav", Body=b"RIFF")
    arguments = ["--prefix", f"s3://{bucket}/calls/", "--queue-url", queues.url, "--stable-ids"]
    first = run(SUBMIT, *arguments)
    assert first.returncode == 0, first.stderr
    assert {body["input"] for body in bodies(aws, queues.url)} == {
        f"s3://{bucket}/calls/{n:02}.wav" for n in range(12)
    }
    # The same list again makes the same jobs: the worker ends them as already done.
    again = run(SUBMIT, *arguments)
    assert again.stdout == first.stdout
    assert len(set(first.stdout.split())) == 12


def test_submits_and_uploads_the_lines_of_standard_input(
    aws: Aws, queues: Queues, tmp_path: Path
) -> None:
    bucket = aws.make_bucket()
    recording = tmp_path / "call 1.wav"
    recording.write_bytes(b"RIFF")
    result = run(
        SUBMIT,
        "--from-file",
        "-",
        "--upload-to",
        f"s3://{bucket}/in/",
        "--queue-url",
        queues.url,
        stdin=f"{recording}\n\n",
    )
    assert result.returncode == 0, result.stderr
    (body,) = bodies(aws, queues.url)
    key = str(body["input"]).removeprefix(f"s3://{bucket}/")
    assert key.startswith("in/call-1-")
    assert aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"RIFF"


def test_waiting_ends_with_what_became_of_the_jobs(aws: Aws, queues: Queues) -> None:
    bucket = aws.make_bucket()
    arguments = [f"s3://{bucket}/in/{n}.wav" for n in ("good", "bad")]
    ids = run(SUBMIT, *arguments, "--stable-ids", "--queue-url", queues.url).stdout.split()
    folder = f"transcripts/{ids[0]}"
    aws.s3.put_object(Bucket=bucket, Key=f"{folder}/transcript.json", Body=b"{}")
    error = {"code": "not_media", "message": "No decoder knows in/bad.wav."}
    aws.s3.put_object(
        Bucket=bucket, Key=f"transcripts/{ids[1]}/error.json", Body=json.dumps(error).encode()
    )
    waited = ["--stable-ids", "--wait", "--timeout", "20", "--queue-url", queues.url]
    result = run(SUBMIT, *arguments, *waited)
    assert result.returncode == 1
    assert f"{ids[1]}: not_media: No decoder knows in/bad.wav." in result.stderr
    assert run(SUBMIT, arguments[0], *waited).returncode == 0


def test_dry_run_prints_messages_that_the_worker_takes(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"RIFF")
    result = run(
        SUBMIT,
        "s3://audio/one.wav",
        str(recording),
        "--upload-to",
        "s3://audio/in/",
        "--dry-run",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        parsed = parse_message(line, message_id="m", defaults=JobDefaults())
        assert not parsed.failures
        assert len(parsed.jobs) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give INPUT"),
        (["s3://audio/one.wav"], "--queue-url is missing"),
        (["s3://audio/one.wav", "--dry-run", "--language", "klingon"], "klingon"),
        (["no-such-file.wav", "--dry-run"], "there is no such file"),
        (["--from-file", "no-such-list", "--dry-run"], "no-such-list"),
        (["s3://audio/one.wav", "--dry-run", "--metadata", "case"], "NAME=VALUE"),
        (["--prefix", "audio/calls", "--dry-run"], "--prefix"),
    ],
)
def test_wrong_input_exits_2_and_says_why(arguments: list[str], complaint: str) -> None:
    result = run(SUBMIT, *arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_a_queue_that_is_not_there_exits_1(aws: Aws, queues: Queues) -> None:
    result = run(SUBMIT, "s3://audio/b.wav", "--queue-url", queues.url + "-gone")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


# --- queue-status.py ----------------------------------------------------------------------------


def fail(aws: Aws, queues: Queues, body: str, *failures: tuple[str, str, str]) -> str:
    """Sends a message and dead-letters it as the worker does, once a failure; its MessageId."""
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody=body)
    queue = Queue(aws.sqs, queues.url, visibility_timeout=120)
    (message,) = queue.receive(1, 0)
    dead_letters = DeadLetters(aws.sqs, queue)
    for job_id, code, reason in failures:
        assert dead_letters.send(message, job_id=job_id, code=code, reason=reason)
    queue.delete([message])
    return message.message_id


def test_shows_depth_and_why_jobs_failed(aws: Aws, queues: Queues) -> None:
    fail(aws, queues, '{"input": "s3://a/x.txt"}', ("call-1", "not_media", "No decoder knows it."))
    fail(aws, queues, "no json", ("m-2", "invalid_message", "The body is not JSON."))
    fail(aws, queues, "none either", ("m-3", "invalid_message", "The body is not JSON."))
    for _ in range(3):
        aws.sqs.send_message(QueueUrl=queues.url, MessageBody="{}")
    aws.sqs.send_message(QueueUrl=queues.url, MessageBody="{}", DelaySeconds=600)
    aws.sqs.receive_message(QueueUrl=queues.url, WaitTimeSeconds=0)
    result = run(STATUS, "--queue-url", queues.url)
    assert result.returncode == 0, result.stderr
    shown = result.stdout.splitlines()
    assert shown[:3] == ["waiting    2", "in flight  1", "delayed    1"]
    assert "dead       3" in shown
    assert "       2  invalid_message" in shown
    assert "call-1" in result.stdout
    assert "No decoder knows it." in result.stdout
    # It looked; it took nothing, and hides nothing.
    assert aws.depth(queues.dead_letter_url) == (3, 0, 0)


def test_json_is_for_programs_and_check_for_cron(aws: Aws, queues: Queues) -> None:
    quiet = run(STATUS, "--queue-url", queues.url, "--check")
    assert quiet.returncode == 0
    fail(aws, queues, "{}", ("call-1", "input_not_found", "There is no such object."))
    result = run(STATUS, "--queue-url", queues.url, "--json", "--check")
    assert result.returncode == 4
    document = json.loads(result.stdout)
    assert document["dead_letters"] == 1
    assert document["codes"] == {"input_not_found": 1}
    assert document["letters"][0]["job_id"] == "call-1"
    # A body may hold a prompt.
    assert "body" not in document["letters"][0]


def test_age_is_cloudwatchs(aws: Aws, queues: Queues) -> None:
    name = queues.url.rpartition("/")[2]
    boto3.client("cloudwatch", region_name="us-east-1").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": name}],
                "Timestamp": datetime.now(UTC) - timedelta(seconds=90),
                "Value": 77.0,
            }
        ],
    )
    result = run(STATUS, "--queue-url", queues.url)
    assert "oldest     77 s" in result.stdout, result.stdout + result.stderr


def test_redrive_sends_back_what_was_fixed_and_no_more(aws: Aws, queues: Queues) -> None:
    fixed = fail(aws, queues, '{"input": "s3://a/1"}', ("m", "input_forbidden", "May not be read."))
    fail(aws, queues, '{"input": "s3://a/2"}', ("call-2", "not_media", "No decoder knows it."))
    arguments = ["--queue-url", queues.url, "--redrive", "--code", "input_forbidden"]
    dry = run(STATUS, *arguments, "--dry-run")
    assert dry.stdout == "m  input_forbidden\n"
    assert aws.depth(queues.dead_letter_url) == (2, 0, 0)
    result = run(STATUS, *arguments)
    assert result.returncode == 0, result.stderr
    assert "sent back: 1" in result.stderr
    assert aws.depth(queues.dead_letter_url) == (1, 0, 0)
    (message,) = Queue(aws.sqs, queues.url, visibility_timeout=120).receive(10, 0)
    assert message.body == '{"input": "s3://a/1"}'
    assert message.message_id != fixed
    # A job without an id of its own must come back under the one it had.
    assert message.origin_id == fixed


def test_redrive_by_job(aws: Aws, queues: Queues) -> None:
    for n in range(3):
        fail(aws, queues, f'{{"input": "s3://a/{n}"}}', (f"call-{n}", "not_media", "No."))
    run(STATUS, "--queue-url", queues.url, "--redrive", "--job-id", "call-1")
    assert bodies(aws, queues.url) == [{"input": "s3://a/1"}]
    assert aws.depth(queues.dead_letter_url) == (2, 0, 0)


def test_redrive_sends_a_message_of_several_failed_jobs_once(aws: Aws, queues: Queues) -> None:
    failures = [(f"m-{n}", "input_not_found", "There is no such object.") for n in (1, 2, 3)]
    fail(aws, queues, '{"jobs": []}', *failures)
    assert aws.depth(queues.dead_letter_url)[0] == 3
    result = run(STATUS, "--queue-url", queues.url, "--redrive")
    assert result.returncode == 0, result.stderr
    assert bodies(aws, queues.url) == [{"jobs": []}]
    assert aws.depth(queues.dead_letter_url) == (0, 0, 0)


def test_redrive_of_what_sqs_moved_by_itself(aws: Aws) -> None:
    queues = aws.make_queues(max_receives=1)
    sent = aws.sqs.send_message(QueueUrl=queues.url, MessageBody='{"input": "s3://a/1"}')
    for _ in range(2):
        aws.sqs.receive_message(QueueUrl=queues.url, VisibilityTimeout=0, WaitTimeSeconds=0)
    assert aws.depth(queues.dead_letter_url)[0] == 1
    shown = run(STATUS, "--queue-url", queues.url)
    assert "max_receives" in shown.stdout
    run(STATUS, "--queue-url", queues.url, "--redrive")
    (message,) = Queue(aws.sqs, queues.url, visibility_timeout=120).receive(10, 0)
    assert message.origin_id == sent["MessageId"]


def test_redrive_leaves_what_was_cut(aws: Aws, queues: Queues) -> None:
    attributes = {"job_id": "big", "code": "invalid_message", "original_bytes": "300000"}
    aws.sqs.send_message(
        QueueUrl=queues.dead_letter_url,
        MessageBody='{"jobs": [',
        MessageAttributes={
            name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()
        },
    )
    result = run(STATUS, "--queue-url", queues.url, "--redrive")
    assert result.returncode == 1
    assert "big" in result.stderr
    assert aws.depth(queues.url) == (0, 0, 0)
    assert aws.depth(queues.dead_letter_url) == (1, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--queue-url is missing"),
        (["--queue-url", "https://q", "--code", "x"], "go with --redrive"),
        (["--queue-url", "https://q", "--most", "0"], "--most"),
    ],
)
def test_wrong_arguments_exit_2(arguments: list[str], complaint: str) -> None:
    result = run(STATUS, *arguments)
    assert result.returncode == 2
    assert complaint in result.stderr


def test_no_such_queue_is_one_sentence(aws: Aws, queues: Queues) -> None:
    result = run(STATUS, "--queue-url", queues.url + "-gone")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "-gone" in result.stderr
