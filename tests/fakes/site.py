"""A whole set-up for tests: a strict queue, a bucket, and workers as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.fakes.engine import LOG_VARIABLE, fake_audio
from tests.fakes.sqs_strict import StrictSqs

REPOSITORY = Path(__file__).resolve().parents[2]
POLL = 0.05
FAKE_WORKER = ("-m", "tests.fakes.run_worker")
REAL_WORKER = ("-m", "worker", "run")


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition` is true; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        time.sleep(POLL)


class Worker:
    """One worker process. Its log lines are JSON in `log`.

    Args:
        environ: its whole environment.
        log: where its output goes.
        command: arguments of Python; the daemon with the fake engine, or the real one.
    """

    def __init__(self, environ: Mapping[str, str], log: Path, command: Sequence[str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=REPOSITORY,
                env=dict(environ),
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL, and wait for its end."""
        if self.running:
            self.process.kill()
        self.process.wait(10)

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code; fails with its last lines if it does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            tail = "".join(self.log.read_text().splitlines(keepends=True)[-15:])
            raise AssertionError(f"the worker still runs after {seconds} s:\n{tail}") from None

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Its log lines as objects, those of one event or all."""
        lines = self.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if name is None or line["event"] == name]

    def wait_for_event(self, name: str, count: int = 1, seconds: float = 60.0) -> None:
        wait_for(
            lambda: len(self.events(name)) >= count, seconds, f"no {count} x {name} in {self.log}"
        )


class Site:
    """Queue, dead-letter queue, bucket and workers.

    Args:
        s3: a client of the object store.
        endpoint: where workers reach the object store.
        sqs: the queue's server, started.
        folder: for logs and temporary files.
        environ: environment variables of every worker.
        sqs_endpoint: where workers reach the queue, if not at `sqs` itself.
        max_receives: of the redrive policy.
        bucket: its name; it is made.
        versioned: whether the bucket keeps versions.
    """

    def __init__(
        self,
        *,
        s3: Any,
        endpoint: str,
        sqs: StrictSqs,
        folder: Path,
        environ: Mapping[str, str],
        sqs_endpoint: str | None = None,
        max_receives: int = 10,
        bucket: str = "site",
        versioned: bool = False,
    ) -> None:
        self.s3 = s3
        self.sqs = sqs
        self.folder = folder
        self.bucket = bucket
        self.window_log = folder / "windows.log"
        self._environ = dict(environ) | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ENDPOINT_URL_SQS": sqs_endpoint or sqs.endpoint,
        }
        self._workers: list[Worker] = []
        s3.create_bucket(Bucket=bucket)
        if versioned:
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.dead_letter_url = sqs.create_queue("dead")
        self.queue_url = sqs.create_queue(
            "work",
            RedrivePolicy=json.dumps(
                {
                    "deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead",
                    "maxReceiveCount": max_receives,
                }
            ),
        )

    # -- work ---------------------------------------------------------------------------------

    def upload(self, name: str, body: bytes) -> str:
        """Put an input; returns its URI."""
        self.s3.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=body)
        return f"s3://{self.bucket}/in/{name}"

    def send(self, body: object) -> None:
        self.sqs.send(self.queue_url, body if isinstance(body, str) else json.dumps(body))

    def job(self, job_id: str, seconds: float = 20.0, **more: Any) -> None:
        """Upload fake audio and send a job for it; `more` goes to `fake_audio`."""
        uri = self.upload(job_id, fake_audio(seconds, **more))
        self.send({"input": uri, "job_id": job_id, "formats": ["json"]})

    # -- workers ------------------------------------------------------------------------------

    def environ(
        self,
        *,
        engine: Mapping[str, Any] | None = None,
        pace: Mapping[str, Any] | None = None,
        visibility: int = 6,
        **settings: object,
    ) -> dict[str, str]:
        """The environment of a worker; settings by their names."""
        values = {"idle_timeout": 1, "log_format": "json"} | settings
        return self._environ | {
            "WORKER_QUEUE_URL": self.queue_url,
            "WORKER_WORK_DIR": str(self.folder / "work"),
            LOG_VARIABLE: str(self.window_log),
            "FAKE_ENGINE": json.dumps(engine or {}),
            "FAKE_VISIBILITY": str(visibility),
            "FAKE_PACE": json.dumps({"poll": 1, "tick": 0.1, "watch": 0.2} | dict(pace or {})),
            **{f"WORKER_{name.upper()}": str(value) for name, value in values.items()},
        }

    def worker(
        self,
        *,
        extra: Mapping[str, str] | None = None,
        command: Sequence[str] = FAKE_WORKER,
        **keywords: Any,
    ) -> Worker:
        """Start a worker; `keywords` as of `environ`, `extra` environment variables."""
        log = self.folder / f"worker-{len(self._workers)}.log"
        worker = Worker(self.environ(**keywords) | dict(extra or {}), log, command)
        self._workers.append(worker)
        return worker

    def end_workers(self) -> None:
        for worker in self._workers:
            worker.kill()

    # -- results ------------------------------------------------------------------------------

    def keys(self, prefix: str = "transcripts/") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, job_id: str, name: str = "transcript.json") -> dict[str, Any]:
        key = f"transcripts/{job_id}/{name}"
        found = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        assert isinstance(found, dict)
        return found

    def done(self) -> set[str]:
        """The ids of committed jobs."""
        return {key.split("/")[1] for key in self.keys() if key.endswith("/transcript.json")}

    def failed(self) -> dict[str, str]:
        """The error codes of failed jobs, by id."""
        keys = [key for key in self.keys() if key.endswith("/error.json")]
        return {
            key.split("/")[1]: self.read(key.split("/")[1], "error.json")["code"] for key in keys
        }

    def versions(self) -> Counter[str]:
        """How often each object was written (in a versioned bucket), delete markers left out."""
        pages = self.s3.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix="transcripts/"
        )
        return Counter(item["Key"] for page in pages for item in page.get("Versions", []))

    def waiting(self) -> list[str]:
        """Bodies of the messages that are not deleted."""
        return self.sqs.bodies(self.queue_url)

    def dead(self) -> list[str]:
        """Bodies on the dead-letter queue."""
        return self.sqs.bodies(self.dead_letter_url)

    def decoded(self) -> Counter[tuple[str, int]]:
        """How often each window (job id, index) was decoded, by all workers together."""
        if not self.window_log.exists():
            return Counter()
        rows = [line.split() for line in self.window_log.read_text().splitlines()]
        return Counter((name, int(index)) for _pid, name, index in rows)

    def windows_of(self, job_id: str) -> Counter[int]:
        """How often each window of one job was decoded."""
        counted: Counter[int] = Counter()
        for (name, index), count in self.decoded().items():
            if name == job_id:
                counted[index] = count
        return counted

    def depth(self) -> tuple[int, int]:
        """(visible, in flight) messages on the queue."""
        found = self.sqs.act(
            "GetQueueAttributes", {"QueueUrl": self.queue_url, "AttributeNames": ["All"]}
        )["Attributes"]
        return (
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
        )

    def receive_count(self) -> int:
        """How often the next message has been received, this time included."""
        found = self.sqs.act(
            "ReceiveMessage", {"QueueUrl": self.queue_url, "MaxNumberOfMessages": 1}
        )["Messages"]
        return int(found[0]["Attributes"]["ApproximateReceiveCount"])

    def leftovers(self) -> list[Path]:
        """Files of jobs that lie in the work folder still."""
        return [path for path in (self.folder / "work").rglob("input*") if path.is_file()]


@contextmanager
def site(aws: Any, folder: Path, *, sqs: StrictSqs | None = None, **more: Any) -> Iterator[Site]:
    """A site whose object store is `aws` and whose queue is strict; ends its workers.

    Args:
        aws: the protocol server for objects.
        folder: for logs and temporary files.
        sqs: a started queue server; without it the site starts its own.
        more: see `Site`.
    """
    with nullcontext(sqs) if sqs else StrictSqs() as server:
        place = Site(
            s3=aws.s3,
            endpoint=more.pop("endpoint", aws.endpoint),
            sqs=server,
            folder=folder,
            environ=dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)},
            **more,
        )
        try:
            yield place
        finally:
            place.end_workers()
