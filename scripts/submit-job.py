r"""Sends jobs to the worker's queue, also by the thousand; prints one job id a line.

`transcription-worker submit` sends the files that it is given. This sends lists: every object
below a prefix, or the lines of a file, and with `--stable-ids` so that the same list sent twice
makes the same jobs, of which the second ends at once as already done.

    .venv/bin/python scripts/submit-job.py --queue-url URL --prefix s3://bucket/audio/ --stable-ids
    find . -name '*.wav' | .venv/bin/python scripts/submit-job.py --queue-url URL \
        --from-file - --upload-to s3://bucket/in/ --dry-run
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker.aws.clients import Clients, make_clients
from worker.aws.faults import AWS_ERRORS, describe
from worker.errors import ExitCode, SettingsError, WorkerError
from worker.sender.plan import Planned, make_job_id, plan
from worker.sender.send import send, upload, wait
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 1000
"""Inputs planned at a time: a prefix may have millions."""


def stable_id(name: str) -> str:
    """A job id that depends on the input's name alone: its stem, and 16 hex digits of SHA-256."""
    stem = make_job_id(name).rpartition("-")[0]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def listed(s3: S3Client, prefix: S3Prefix) -> Iterator[str]:
    """URIs of the objects below a prefix; without folder markers and empty objects.

    Raises:
        SettingsError: the bucket can't be listed.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.prefix)
    try:
        for page in pages:
            for item in page.get("Contents", []):
                if item["Size"] and not item["Key"].endswith("/"):
                    yield f"s3://{prefix.bucket}/{item['Key']}"
    except AWS_ERRORS as error:
        raise SettingsError(f"--prefix {prefix} can't be listed: {describe(error)}") from error


def lines(path: str) -> Iterator[str]:
    """The non-empty lines of a file, or of standard input for `-`.

    Raises:
        SettingsError: there is no such file.
    """
    if path == "-":
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from (line.strip() for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--from-file {path}: {error}") from error


def chunks(inputs: Iterable[str], size: int = CHUNK) -> Iterator[list[str]]:
    """Lists of at most `size`."""
    chunk: list[str] = []
    for name in inputs:
        chunk.append(name)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Sends jobs to the worker's queue and prints one job id a line.",
        epilog="Exit codes: 0 sent (and, with --wait, all completed), 1 not, 2 wrong arguments.",
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="s3://bucket/key or local file")
    parser.add_argument("--prefix", help="s3://bucket/prefix/: a job for every object below it")
    parser.add_argument("--from-file", metavar="FILE", help="inputs, one a line; - for stdin")
    parser.add_argument(
        "--queue-url", default=os.environ.get("WORKER_QUEUE_URL"), help="default: WORKER_QUEUE_URL"
    )
    parser.add_argument("--upload-to", help="s3://bucket/prefix/ that local files are put under")
    parser.add_argument(
        "--output",
        default=os.environ.get("WORKER_OUTPUT"),
        help="s3://bucket/prefix/ for results; default: WORKER_OUTPUT, else the worker's setting",
    )
    parser.add_argument("--language", help="Whisper code; detected if not given")
    parser.add_argument("--task", choices=("transcribe", "translate"), default="transcribe")
    parser.add_argument("--formats", default="json,srt,vtt,txt", help="default: %(default)s")
    parser.add_argument("--words", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--prompt", help="text taken as having been said before")
    parser.add_argument("--hotwords", help="words and names to favour")
    parser.add_argument(
        "--metadata", action="append", default=[], metavar="NAME=VALUE", help="repeatable"
    )
    parser.add_argument(
        "--stable-ids", action="store_true", help="job ids from the inputs' names alone"
    )
    parser.add_argument("--wait", action="store_true", help="wait; exit 1 if a job failed")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds that --wait waits")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the messages, send and upload nothing"
    )
    arguments = parser.parse_args(argv)
    if not (arguments.inputs or arguments.prefix or arguments.from_file):
        parser.error("give INPUT..., --prefix or --from-file")
    if not arguments.queue_url and not arguments.dry_run:
        parser.error("--queue-url is missing (or WORKER_QUEUE_URL)")
    if wrong := [pair for pair in arguments.metadata if pair.find("=") < 1]:
        parser.error(f"--metadata {wrong[0]}: write NAME=VALUE")
    return arguments


def _inputs(arguments: argparse.Namespace, clients: Clients | None) -> Iterator[str]:
    yield from arguments.inputs
    if arguments.from_file:
        yield from lines(arguments.from_file)
    if arguments.prefix:
        try:
            prefix = S3Prefix.parse(arguments.prefix)
        except ValueError as error:
            raise SettingsError(f"--prefix: {error}") from None
        clients = clients or make_clients(queue_url=arguments.queue_url)
        yield from listed(clients.s3, prefix)


def _planned(
    arguments: argparse.Namespace, clients: Clients | None = None
) -> Iterator[list[Planned]]:
    fields = {
        "language": arguments.language,
        "task": arguments.task,
        "formats": [name.strip() for name in arguments.formats.split(",") if name.strip()],
        "words": arguments.words,
        "prompt": arguments.prompt,
        "hotwords": arguments.hotwords,
        "metadata": dict(pair.split("=", 1) for pair in arguments.metadata),
    }
    for names in chunks(_inputs(arguments, clients)):
        yield plan(
            names,
            fields,
            upload_to=arguments.upload_to,
            output=arguments.output,
            fix_output=arguments.wait,
            new_id=stable_id if arguments.stable_ids else make_job_id,
        )


def submit(arguments: argparse.Namespace) -> int:
    """Send (or, on a dry run, print) everything; returns the exit code.

    Raises:
        WorkerError: what is wrong with the inputs, or why the queue or S3 refused.
    """
    if arguments.dry_run:
        for jobs in _planned(arguments):
            for job in jobs:
                print(job.request.body())
        return ExitCode.OK
    clients = make_clients(queue_url=arguments.queue_url)
    sent: list[Planned] = []

    def uploaded(jobs: Sequence[Planned]) -> Iterator[Planned]:
        for job in jobs:
            upload(clients.s3, job)
            yield job

    for jobs in _planned(arguments, clients):
        for job in send(clients.sqs, arguments.queue_url, uploaded(jobs)):
            print(job.job_id, flush=True)
            if arguments.wait:
                sent.append(job)
    if arguments.wait:
        answers = wait(clients.s3, sent, timeout=arguments.timeout)
        told = answers.tell(arguments.timeout, lambda line: print(line, file=sys.stderr))
        return ExitCode.OK if told else ExitCode.FAILURE
    return ExitCode.OK


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and send; errors that were foreseen are one message."""
    arguments = _arguments(argv)
    try:
        return int(submit(arguments))
    except SettingsError as error:
        sys.stderr.write(f"submit-job.py: {error}\n")
        return int(ExitCode.SETTINGS)
    except WorkerError as error:
        sys.stderr.write(f"submit-job.py: {error}\n")
        return int(ExitCode.FAILURE)


if __name__ == "__main__":
    sys.exit(main())
