"""`submit` as a process, against SQS and S3 over their real protocols."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Aws
from tests.fakes.model_hosts import REFUSED
from tests.fakes.scripted import end_scripts, script_of
from worker.__main__ import INTERRUPTED
from worker.aws.clients import make_clients
from worker.errors import ExitCode
from worker.sender.send import ask_first

HEAVY = {"torch", "whisperx", "ctranslate2", "faster_whisper", "numpy"}


def submit(
    aws: Aws, *arguments: str, python: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-m", "worker", "submit", *arguments],
        env=aws.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def bodies(aws: Aws, url: str) -> list[dict[str, Any]]:
    found = []
    while messages := aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_ids_go_to_stdout_and_messages_to_the_queue(aws: Aws) -> None:
    url = aws.make_queues().url
    inputs = [f"s3://bucket/in/{n}.flac" for n in range(23)]
    done = submit(
        aws, *inputs, "--queue-url", url, "--language", "de", "--no-words", "--formats", "srt",
        "--metadata", "case=17", "--metadata", "note=a=b", "--output", "s3://results/x",
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stderr == ""
    found = {body["job_id"]: body for body in bodies(aws, url)}
    ids = done.stdout.splitlines()
    assert [found[job_id]["input"] for job_id in ids] == inputs
    assert len(found) == 23
    first = found[ids[0]]
    assert first["language"] == "de"
    assert first["words"] is False
    assert first["formats"] == ["json", "srt"]
    assert first["metadata"] == {"case": "17", "note": "a=b"}
    assert first["output"] == "s3://results/x/"


def test_nothing_of_speech_is_imported(aws: Aws) -> None:
    url = aws.make_queues().url
    done = submit(aws, "s3://bucket/a", "--queue-url", url, python=["-X", "importtime"])
    assert done.returncode == ExitCode.OK
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    packages = {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in lines}
    assert "boto3" in packages
    assert not packages & HEAVY


def test_everything_typed_is_checked_before_anything_is_sent(aws: Aws) -> None:
    url = aws.make_queues().url
    inputs = [f"s3://bucket/{n}" for n in range(1200)]
    done = submit(aws, *inputs, "s3://Bucket/wrong", "--queue-url", url)
    assert done.returncode == ExitCode.SETTINGS
    assert done.stderr.startswith("error: s3://Bucket/wrong: ")
    assert done.stdout == ""
    assert bodies(aws, url) == []


def test_a_list_of_more_than_a_chunk_is_planned_whole(aws: Aws, tmp_path: Path) -> None:
    names = [f"s3://bucket/{n}" for n in range(2005)]
    (tmp_path / "list").write_text("\n".join(names))
    done = submit(aws, "--from-file", str(tmp_path / "list"), "--dry-run")
    assert done.returncode == ExitCode.OK, done.stderr
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == names


@pytest.mark.long  # the server takes a sixth of a second for ten messages
def test_a_list_of_more_than_a_chunk_is_sent_whole(aws: Aws, tmp_path: Path) -> None:
    url = aws.make_queues().url
    names = [f"s3://bucket/{n}" for n in range(1005)]
    (tmp_path / "list").write_text("\n".join(names))
    done = submit(aws, "--from-file", str(tmp_path / "list"), "--queue-url", url)
    assert done.returncode == ExitCode.OK, done.stderr
    assert len(set(done.stdout.splitlines())) == len(names)
    assert aws.depth(url)[0] == len(names)


def test_a_prefix_that_can_not_be_listed_is_one_message(aws: Aws) -> None:
    url = aws.make_queues().url
    done = submit(aws, "--prefix", "s3://no-such-bucket/in/", "--queue-url", url)
    assert done.returncode == ExitCode.SETTINGS
    assert done.stderr.startswith("error: --prefix s3://no-such-bucket/in/ can't be listed: ")
    assert "Traceback" not in done.stderr


def test_a_dry_run_prints_messages_and_sends_and_uploads_nothing(aws: Aws, tmp_path: Path) -> None:
    url, bucket = aws.make_queues().url, aws.make_bucket()
    path = tmp_path / "a.flac"
    path.write_bytes(b"x")
    done = submit(
        aws, str(path), "s3://bucket/b", "--queue-url", url, "--upload-to", f"s3://{bucket}/in/",
        "--stable-ids", "--dry-run",
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    local, named = [json.loads(line) for line in done.stdout.splitlines()]
    assert local["input"] == f"s3://{bucket}/in/{local['job_id']}.flac"
    assert named["input"] == "s3://bucket/b"
    assert bodies(aws, url) == []
    assert aws.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_bodies_too_large_to_share_a_batch_are_sent_in_several(aws: Aws) -> None:
    url = aws.make_queues().url
    prompt = "語" * 4000  # 12 000 bytes a message; 26 of them are over one batch's limit
    inputs = [f"s3://bucket/{n}" for n in range(30)]
    done = submit(aws, *inputs, "--queue-url", url, "--prompt", prompt)
    assert done.returncode == ExitCode.OK, done.stderr
    assert len(bodies(aws, url)) == 30


def test_a_local_file_is_uploaded_first(aws: Aws, tmp_path: Path) -> None:
    url, bucket = aws.make_queues().url, aws.make_bucket()
    path = tmp_path / "talk 1.flac"
    path.write_bytes(b"sound")
    done = submit(aws, str(path), "--queue-url", url, "--upload-to", f"s3://{bucket}/in/")
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stderr == "Uploading 1 file ...\n"
    job_id = done.stdout.strip()
    (body,) = bodies(aws, url)
    assert body["input"] == f"s3://{bucket}/in/{job_id}.flac"
    stored = aws.s3.get_object(Bucket=bucket, Key=f"in/{job_id}.flac")
    assert stored["Body"].read() == b"sound"


def test_a_fifo_queue_gets_groups_and_deduplication_ids(aws: Aws) -> None:
    url = aws.make_queues(fifo=True).url
    done = submit(aws, "s3://bucket/a", "s3://bucket/b", "--queue-url", url)
    assert done.returncode == ExitCode.OK, done.stderr
    assert {body["input"] for body in bodies(aws, url)} == {"s3://bucket/a", "s3://bucket/b"}


def test_a_file_keeps_the_letters_of_its_name(aws: Aws, tmp_path: Path) -> None:
    url, bucket = aws.make_queues(fifo=True).url, aws.make_bucket()
    path = tmp_path / "Mu\u0308ller 録音.wav"
    path.write_bytes(b"sound")
    done = submit(aws, str(path), "--queue-url", url, "--upload-to", f"s3://{bucket}/in/")
    assert done.returncode == ExitCode.OK, done.stderr
    job_id = done.stdout.strip()
    assert job_id.startswith("Müller-録音-")
    assert aws.s3.get_object(Bucket=bucket, Key=f"in/{job_id}.wav")["Body"].read() == b"sound"
    (message,) = aws.sqs.receive_message(
        QueueUrl=url, MessageSystemAttributeNames=["MessageGroupId", "MessageDeduplicationId"]
    )["Messages"]
    assert json.loads(message["Body"])["job_id"] == job_id
    assert all(value.isascii() for value in message["Attributes"].values())


def test_waiting_ends_well_if_every_job_does(aws: Aws) -> None:
    url, bucket = aws.make_queues().url, aws.make_bucket()
    answering = answer_everything(aws, url, jobs=2)
    done = submit(aws, f"s3://{bucket}/a", f"s3://{bucket}/b", "--queue-url", url, "--wait")
    answering.join(timeout=30)
    assert done.returncode == ExitCode.OK, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.splitlines()[-1] == (
        f"2 jobs: 2 succeeded; results: s3://{bucket}/transcripts/<job id>/"
    )


def test_an_interrupted_wait_says_that_the_jobs_go_on(aws: Aws) -> None:
    url, bucket = aws.make_queues().url, aws.make_bucket()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "submit", f"s3://{bucket}/a", "--stable-ids",
         "--queue-url", url, "--wait"],
        env=aws.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Waiting for results")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert "no longer waiting: 0 of 1 job answered, the others go on" in errors
    assert f"results: s3://{bucket}/transcripts/<job id>/" in errors
    assert "the same command waits for them again" in errors
    assert "Traceback" not in errors
    assert aws.depth(url)[0] == 1


def test_waiting_reports_a_failure_and_exits_1(aws: Aws) -> None:
    url, bucket = aws.make_queues().url, aws.make_bucket()
    answering = answer_everything(aws, url, jobs=2, failing="/bad")
    done = submit(aws, f"s3://{bucket}/good", f"s3://{bucket}/bad", "--queue-url", url, "--wait")
    answering.join(timeout=30)
    assert done.returncode == ExitCode.FAILURE
    good, bad = done.stdout.splitlines()
    _, problem, summary = done.stderr.splitlines()
    assert problem == f"{bad}: not_media: No decoder recognises it."
    assert summary == (
        f"2 jobs: 1 succeeded, 1 failed; its result: s3://{bucket}/transcripts/{good}"
        "/transcript.json"
    )


def test_waiting_is_bounded(aws: Aws) -> None:
    url, bucket = aws.make_queues().url, aws.make_bucket()
    done = submit(
        aws, f"s3://{bucket}/a", "--queue-url", url, "--wait", "--timeout", "0.5"
    )  # fmt: skip
    assert done.returncode == ExitCode.FAILURE
    assert "no answer within 0.5 s from 1 job:" in done.stderr
    assert done.stdout.strip() in done.stderr
    assert done.stderr.splitlines()[-1] == "1 job: 0 succeeded, 1 unanswered"


def test_a_bucket_that_is_not_there_ends_the_waiting(aws: Aws) -> None:
    url = aws.make_queues().url
    done = submit(aws, "s3://no-such-bucket/a", "--queue-url", url, "--wait", "--timeout", "20")
    assert done.returncode == ExitCode.FAILURE
    assert "results can't be looked for: NoSuchBucket" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_queue_that_is_not_there_is_one_message(aws: Aws) -> None:
    done = submit(aws, "s3://bucket/a", "--queue-url", f"{aws.endpoint}/123456789012/none")
    assert done.returncode == ExitCode.FAILURE
    assert done.stdout == ""
    assert "took no message" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_uploaded_for_a_queue_that_is_not_there(aws: Aws, tmp_path: Path) -> None:
    bucket = aws.make_bucket()
    (tmp_path / "a.flac").write_bytes(b"x")
    done = submit(
        aws, str(tmp_path / "a.flac"), "--queue-url", f"{aws.endpoint}/123456789012/none",
        "--upload-to", f"s3://{bucket}/in/",
    )  # fmt: skip
    assert done.returncode == ExitCode.FAILURE
    assert "there is no queue" in done.stderr
    assert aws.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_queue_that_does_not_answer_is_said_before_it_is_tried_again(
    aws: Aws, tmp_path: Path
) -> None:
    (tmp_path / "a.flac").write_bytes(b"x")
    done = submit(
        replace(aws, endpoint=REFUSED),
        str(tmp_path / "a.flac"), "--queue-url", f"{REFUSED}/123456789012/jobs",
        "--upload-to", "s3://bucket/in/",
    )  # fmt: skip
    assert done.returncode == ExitCode.FAILURE
    asked, uploading, failed = done.stderr.splitlines()
    assert "see whether this machine reaches AWS" in asked
    assert asked.endswith("; still trying ...")
    assert uploading == "Uploading 1 file ..."
    assert "was not uploaded" in failed


def test_who_may_only_send_is_not_kept_from_it() -> None:
    clients = make_clients(region="us-east-1", patient=False)
    script_of(clients.sqs).add_client_error("get_queue_attributes", "AccessDenied", "no", 403)
    try:
        assert ask_first(clients.sqs, "http://127.0.0.1/123456789012/jobs") == ""
    finally:
        end_scripts()


def test_a_place_without_inputs_is_said_and_exits_1(aws: Aws) -> None:
    bucket = aws.make_bucket()
    aws.s3.put_object(Bucket=bucket, Key="empty/", Body=b"")
    place = f"s3://{bucket}/empty/"
    url = f"{aws.endpoint}/123456789012/never-asked"
    for options, lacking in (
        (["--prefix", place, "--dry-run"], f"no object below {place}"),
        (["--from-file", os.devnull, "--queue-url", url, "--wait"], f"no input in {os.devnull}"),
    ):
        done = submit(aws, *options)
        assert done.returncode == ExitCode.FAILURE
        assert (done.stdout, done.stderr) == ("", f"error: nothing to send: {lacking}\n")


def test_an_upload_that_fails_is_one_message(aws: Aws, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(b"x")
    url = aws.make_queues().url
    done = submit(aws, str(path), "--queue-url", url, "--upload-to", "s3://no-such-bucket/in/")
    assert done.returncode == ExitCode.FAILURE
    assert f"error: {path} was not uploaded to s3://no-such-bucket/in/" in done.stderr
    assert "Traceback" not in done.stderr
    assert bodies(aws, url) == []


def answer_everything(
    aws: Aws, url: str, *, jobs: int, failing: str | None = None
) -> threading.Thread:
    """Plays the worker: answers that many jobs, those whose input ends with `failing` badly."""

    def answer() -> None:
        ends = time.monotonic() + 30
        left = jobs
        while left and time.monotonic() < ends:
            for body in bodies(aws, url):
                bucket, _, prefix = body["output"].removeprefix("s3://").partition("/")
                folder = f"{prefix}{body['job_id']}"
                failed = failing is not None and body["input"].endswith(failing)
                name = "error" if failed else "transcript"
                document = {"code": "not_media", "message": "No decoder recognises it."}
                aws.s3.put_object(
                    Bucket=bucket, Key=f"{folder}/{name}.json", Body=json.dumps(document).encode()
                )
                left -= 1
            time.sleep(0.1)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread
