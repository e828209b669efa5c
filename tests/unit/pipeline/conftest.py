"""What the tests of the pipeline's parts share: real parts over S3 and SQS in memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine import FakeEngine, fake_audio
from tests.fakes.memory_aws import MemoryS3, MemorySqs, Stored
from worker.aws.dead_letter import DeadLetters
from worker.aws.inputs import S3Inputs
from worker.aws.lease import LeaseTable
from worker.aws.notices import Notices
from worker.aws.queue import Message, Queue
from worker.aws.results import ResultStore
from worker.aws.source import Source
from worker.jobs.message import Job, JobDefaults, parse_message
from worker.pipeline.checkpoint_store import CheckpointStore
from worker.pipeline.commit import Commit
from worker.pipeline.endings import Endings
from worker.pipeline.failures import Failures
from worker.pipeline.fetch import Fetch
from worker.pipeline.inputs import InputReaders
from worker.pipeline.submit import Submit
from worker.pipeline.task import Held, Task
from worker.pipeline.workdir import WorkDir
from worker.speech.api import Options

BUCKET = "audio"
INPUT = f"s3://{BUCKET}/in/a"
NOTICES = "https://sqs.us-east-1.amazonaws.com/123456789012/notices"


class Kit:
    """Makes jobs, and each part of the pipeline as its tests want it."""

    def __init__(self, folder: Path, engine: FakeEngine) -> None:
        self.engine = engine
        self.s3 = MemoryS3(BUCKET)
        self.sqs = MemorySqs()
        self.source = self.make_source("work")
        self.results = ResultStore(self.s3.client, sleep=lambda _: None)
        self.inputs = InputReaders({"s3": S3Inputs(self.s3.client, sleep=lambda _: None)})
        self.notices = Notices(self.sqs.clients, NOTICES)
        self.work = WorkDir(folder)
        self.failures = Failures(self.results, self.notices)
        self.options = Options()
        self.draining = False
        self.slept: list[float] = []
        self._numbers = itertools.count(1)
        self._ticks = itertools.count()

    def make_source(self, name: str, *, receives: int | None = 10) -> Source:
        """A queue of that name, whose redrive policy allows that many; None without a policy."""
        self.sqs.max_receives[name] = receives
        url = f"https://sqs.us-east-1.amazonaws.com/123456789012/{name}"
        queue = Queue(self.sqs.client, url, visibility_timeout=60)
        letters = DeadLetters(self.sqs.client, queue, sleep=lambda _: None)
        return Source(queue, letters, LeaseTable(60, clock=lambda: 0.0))

    # -- jobs ---------------------------------------------------------------------------------

    def upload(self, seconds: float = 65.0, *, body: bytes | None = None, **more: Any) -> str:
        """Put an input; returns its ETag."""
        stored = Stored(body or fake_audio(seconds, **more))
        self.s3.objects[BUCKET, "in/a"] = stored
        return stored.etag

    def job(self, job_id: str = "job", **fields: Any) -> Job:
        """A job as a sender asks for it."""
        body = json.dumps({"input": INPUT, "job_id": job_id} | fields)
        (job,) = parse_message(body, message_id="m", defaults=JobDefaults()).jobs
        return job

    def message(self, count: int = 1, message_id: str | None = None) -> Message:
        """A delivery, the `count`th of its message."""
        number = next(self._numbers)
        return Message(
            message_id or f"message-{number}",
            f"receipt-{number}",
            "{}",
            receive_count=count,
            origin_id=message_id or f"message-{number}",
        )

    def task(
        self, job: Job | None = None, *, count: int = 1, message: Message | None = None
    ) -> Task:
        """A job of a message that is held."""
        message = message or self.message(count)
        return Task(job or self.job(), message, self.source.hold(message), self.source)

    def held(self, message: Message | None = None) -> Held:
        """A held message without jobs."""
        message = message or self.message()
        return Held(message, self.source.hold(message), self.source, (), open=1)

    def fetched(self, task: Task | None = None) -> Task:
        """A job whose input is here."""
        task = task or self.task()
        assert self.fetch.fetch(task) is None
        return task

    def transcribed(self, task: Task | None = None) -> Task:
        """A job that the engine is done with."""
        task = self.fetched(task)
        self.submit.submit(task)
        assert task.submission is not None
        wait([task.submission.future], timeout=10)
        return task

    # -- parts --------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.results, self.engine, self.options)

    @property
    def commit(self) -> Commit:
        return Commit(
            results=self.results,
            inputs=self.inputs,
            engine=self.engine,
            notices=self.notices,
            vtt_word_times=False,
            sleep=self.slept.append,
            clock=lambda: float(next(self._ticks)),
        )

    @property
    def fetch(self) -> Fetch:
        return Fetch(
            inputs=self.inputs,
            results=self.results,
            failures=self.failures,
            checkpoints=self.checkpoints,
            commit=self.commit,
            work=self.work,
            max_input_bytes=1000,
            max_failures=3,
            draining=lambda: self.draining,
            clock=lambda: float(next(self._ticks)),
        )

    @property
    def submit(self) -> Submit:
        return Submit(
            engine=self.engine,
            failures=self.failures,
            checkpoints=self.checkpoints,
            options=self.options,
            draining=lambda: self.draining,
        )

    @property
    def endings(self) -> Endings:
        return Endings(failures=self.failures, checkpoints=self.checkpoints, max_failures=3)

    # -- what came of it ----------------------------------------------------------------------

    def names(self, job_id: str = "job") -> set[str]:
        """The files of a job."""
        folder = f"transcripts/{job_id}/"
        return {key.removeprefix(folder) for _, key in self.s3.objects if key.startswith(folder)}

    def stored(self, name: str, job_id: str = "job") -> Stored:
        """One of a job's files."""
        return self.s3.objects[BUCKET, f"transcripts/{job_id}/{name}"]

    def read(self, name: str, job_id: str = "job") -> Any:
        """The content of one of a job's JSON files."""
        return json.loads(self.stored(name, job_id).body)

    def sent_notices(self) -> list[tuple[str, str]]:
        """(job id, status) of each."""
        bodies = [json.loads(entry["MessageBody"]) for entry in self.sqs.sent.get("notices", [])]
        return [(body["job_id"], body["status"]) for body in bodies]

    def dead_letters(self, queue: str = "work") -> list[tuple[str, str]]:
        """(job id, code) of each."""
        attributes = [
            entry["MessageAttributes"] for entry in self.sqs.sent.get(f"{queue}-dead", [])
        ]
        return [(each["job_id"]["StringValue"], each["code"]["StringValue"]) for each in attributes]


@pytest.fixture(scope="session")
def engine() -> Iterator[FakeEngine]:
    """Started once; it keeps nothing from one test to the next."""
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def kit(tmp_path: Path, engine: FakeEngine) -> Iterator[Kit]:
    kit = Kit(tmp_path, engine)
    yield kit
    kit.work.close()
