"""One job's way against real object and queue servers, with the fake engine."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Aws, Queues
from tests.fakes import local_input
from tests.fakes.engine import PRIVATE_TEXT, FakeEngine, fake_audio
from worker import logs
from worker.aws.clients import Clients
from worker.aws.notices import Notices
from worker.aws.results import ResultStore
from worker.aws.source import make_source
from worker.errors import TransientError
from worker.jobs.inputs import KINDS
from worker.jobs.message import JobDefaults, parse_message
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.inputs import open_readers
from worker.pipeline.pipeline import Limits, Pipeline
from worker.pipeline.record import Run
from worker.pipeline.task import Held, Task
from worker.pipeline.workdir import WorkDir
from worker.results.names import FORMAT_NAMES

BUCKET = "audio"


class Bench:
    """A pipeline whose parts a test can reach."""

    def __init__(self, aws: Aws, clients: Clients, folder: Path, *, max_receives: int = 10) -> None:
        self.aws = aws
        self.clients = clients
        self.queues: Queues = aws.make_queues("work", max_receives=max_receives)
        self.source = make_source(self.clients, self.queues.url, visibility_timeout=60)
        self.inputs = open_readers(self.clients)
        self.results = ResultStore(self.clients.s3, sleep=lambda _: None)
        self.engine = FakeEngine()
        self.engine.start()
        self.work = WorkDir(folder)
        self.draining = False
        self.notify: str | None = None
        self.slept: list[float] = []
        self.limits = Limits(max_input_bytes=10_000)
        aws.make_bucket(BUCKET)

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(
            inputs=self.inputs,
            results=self.results,
            engine=self.engine,
            notices=Notices(self.clients, self.notify),
            work=self.work,
            limits=self.limits,
            draining=lambda: self.draining,
            sleep=self.slept.append,
        )

    def upload(self, name: str = "in/a", seconds: float = 65.0, **more: Any) -> str:
        body = more.pop("body", None) or fake_audio(seconds, **more)
        self.aws.s3.put_object(Bucket=BUCKET, Key=name, Body=body)
        return f"s3://{BUCKET}/{name}"

    def deliver(self, body: object) -> list[Held]:
        """Send a message, receive it, take it over."""
        self.aws.sqs.send_message(QueueUrl=self.queues.url, MessageBody=json.dumps(body))
        return self.receive()

    def receive(self) -> list[Held]:
        held = []
        for message in self.source.queue.receive(10, 1):
            parsed = parse_message(
                message.body, message_id=message.origin_id, defaults=JobDefaults()
            )
            lease = self.source.hold(message)
            tasks = tuple(Task(job, message, lease, self.source) for job in parsed.jobs)
            held.append(Held(message, lease, self.source, tasks, open=len(tasks)))
        return held

    def task(self, job_id: str = "job", *, count: int = 1, **fields: Any) -> Task:
        """A job as it is received for the `count`th time."""
        fields = {"input": f"s3://{BUCKET}/in/a", "job_id": job_id} | fields
        (held,) = self.deliver(fields)
        (task,) = held.tasks
        return self.again(task, count)

    def again(self, task: Task, count: int) -> Task:
        """The same job, delivered again."""
        message = replace(task.message, receive_count=count)
        return Task(task.job, message, task.lease, task.source)

    def run(self, task: Task, pipeline: Pipeline | None = None) -> Outcome:
        """The whole way, as the daemon goes it."""
        pipeline = pipeline or self.pipeline
        ended = pipeline.fetch(task) or pipeline.submit(task)
        if ended is None:
            assert task.submission is not None
            wait([task.submission.future], timeout=10)
            ended = pipeline.finish(task)
        pipeline.discard(task)
        return ended

    def read(self, name: str, job_id: str = "job") -> Any:
        key = f"transcripts/{job_id}/{name}"
        return json.loads(self.aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def names(self, job_id: str = "job") -> set[str]:
        listed = self.aws.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"transcripts/{job_id}/")
        return {item["Key"].rpartition("/")[2] for item in listed.get("Contents", [])}

    def everything(self) -> list[str]:
        """Every object beside the inputs, and what S3 keeps with it."""
        listed = self.aws.s3.list_objects_v2(Bucket=BUCKET, Prefix="transcripts/")["Contents"]
        found = [self.aws.s3.get_object(Bucket=BUCKET, Key=item["Key"]) for item in listed]
        bodies = [one["Body"].read().decode() for one in found]
        return bodies + [str(one["ResponseMetadata"]) + str(one["Metadata"]) for one in found]

    def checkpoint(self, task: Task, **fields: Any) -> None:
        """Put a checkpoint as an earlier run would have left it."""
        found = self.inputs.head(task.job.input)
        assert found is not None
        document = Checkpoint(
            job_id=task.job.job_id,
            request_hash=task.job.request_hash,
            etag=found.etag,
            fingerprint=self.engine.fingerprint,
        ).model_copy(update=fields)
        self.aws.s3.put_object(
            Bucket=BUCKET, Key=task.job.place.key("checkpoint.json"), Body=document.dump()
        )

    def dead(self) -> list[dict[str, str]]:
        """The attributes of each dead letter."""
        answer = self.aws.sqs.receive_message(
            QueueUrl=self.queues.dead_letter_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
        )
        return [
            {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
            for message in answer.get("Messages", [])
        ]

    def files(self) -> list[Path]:
        return list(self.work.path.rglob("*"))


@pytest.fixture
def bench(server: tuple[Aws, Clients], tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(*server, tmp_path)
    yield bench
    bench.engine.stop()
    bench.work.close()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- the good way -----------------------------------------------------------------------------


def test_a_job_becomes_a_committed_transcript(bench: Bench) -> None:
    bench.upload()
    ended = bench.run(bench.task(formats=["srt", "vtt"], metadata={"case": "17"}))
    assert ended.answer is Answer.COMMITTED
    assert ended.audio_seconds == 65
    assert bench.names() == {"transcript.json", "transcript.srt", "transcript.vtt"}
    found = bench.read("transcript.json")
    assert found["status"] == "completed"
    assert found["input"]["uri"] == f"s3://{BUCKET}/in/a"
    assert found["input"]["bytes"] == len(fake_audio(65.0))
    assert found["metadata"] == {"case": "17"}
    assert [segment["end"] for segment in found["segments"]] == [30, 60, 65]
    assert found["timings"]["total"] >= found["timings"]["fetch"] > 0
    assert found["speed"] > 0
    head = bench.aws.s3.head_object(Bucket=BUCKET, Key="transcripts/job/transcript.json")
    assert head["Metadata"]["transcription-worker"] == "1"
    assert bench.files() == []
    assert bench.dead() == []


def test_what_the_job_asks_reaches_the_engine_and_nothing_of_it_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, Any]] = []
    submit = bench.engine.submit

    def spy(path: Path, options: Any, **more: Any) -> Any:
        seen.append((path, options))
        return submit(path, options, **more)

    monkeypatch.setattr(bench.engine, "submit", spy)
    bench.upload("in/../etc; rm -rf $HOME")
    task = bench.task(
        input=f"s3://{BUCKET}/in/../etc; rm -rf $HOME",
        language="de",
        task="translate",
        words=False,
        prompt="p",
        hotwords="h",
    )
    assert bench.run(task).answer is Answer.COMMITTED
    ((path, options),) = seen
    assert path.parent.parent == bench.work.path
    assert path.name == "input"
    assert (options.language, options.task, options.words) == ("de", "translate", False)
    assert (options.prompt, options.hotwords) == ("p", "h")
    found = bench.read("transcript.json")
    assert found["word_times"] is None
    assert found["language"] == {"code": "de", "probability": None, "detected": False}


@pytest.mark.usefixtures("loggers_as_before")
def test_what_must_not_show_shows_nowhere(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", "json")
    bench.notify = bench.aws.make_queues("notices").url
    bench.upload()
    asked: dict[str, Any] = {
        "formats": list(FORMAT_NAMES),
        "vocabulary": {"window": "swordfish", "0": "zero"},
        "vocabulary_filter": ["swordfish", "of"],
        "metadata": {"case": "17"},
    }
    assert bench.run(bench.task(**asked)).answer is Answer.COMMITTED
    found = bench.read("transcript.json")
    first = found["segments"][0]
    assert first["text"].startswith("*** zero *** ")
    assert [word["word"] for word in first["words"]] == first["text"].split()
    assert found["text"] == " ".join(segment["text"] for segment in found["segments"])
    assert bench.run(bench.task("bad", **asked, input=bench.upload("in/bad", marker="bad"))).answer
    assert bench.read("error.json", "bad")["code"] == "decode_failed"
    assert bench.names("bad") == {"error.json"}
    told = [*bench.everything(), *map(str, bench.dead())]
    notices = bench.aws.sqs.receive_message(QueueUrl=bench.notify, MaxNumberOfMessages=10)
    told += [message["Body"] for message in notices["Messages"]]
    told += capsys.readouterr()
    assert len(bench.names()) == len(FORMAT_NAMES)
    assert sum("job.completed" in text for text in told) == 1, "the log is among it"
    for text in told:
        assert "swordfish" not in text
        # The page's own markup has both words beside the text.
        plain = re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
        assert not re.search(r"\bwindow \d| of [0-9a-f]{12}", plain)


def test_audio_without_speech_commits_an_empty_transcript(bench: Bench) -> None:
    bench.upload(seconds=0.0)
    assert bench.run(bench.task()).answer is Answer.COMMITTED
    assert bench.read("transcript.json")["segments"] == []


def test_an_input_of_another_kind_goes_the_same_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(KINDS, "file", local_input.KIND)
    bench.inputs = open_readers(bench.clients)
    path = tmp_path / "17.audio"
    path.write_bytes(fake_audio(65.0))
    fields: dict[str, Any] = {"input": path.as_uri(), "output": f"s3://{BUCKET}/transcripts/"}
    assert bench.run(bench.task(**fields)).answer is Answer.COMMITTED
    found = bench.read("transcript.json")
    assert found["input"]["uri"] == path.as_uri()
    assert found["input"]["bytes"] == len(fake_audio(65.0))
    assert len(found["segments"]) == 3
    assert bench.run(bench.task(**fields)).answer is Answer.ALREADY
    path.write_bytes(fake_audio(65.0, seed=1))
    assert bench.run(bench.task(**fields)).answer is Answer.FAILED
    assert bench.read("error.json")["code"] == "job_id_conflict", "the file is another one now"
    path.unlink()
    assert bench.run(bench.task("gone", **fields)).answer is Answer.FAILED
    assert bench.read("error.json", "gone")["code"] == "input_not_found"


# -- done already -----------------------------------------------------------------------------


def test_the_same_job_twice_is_done_once(bench: Bench) -> None:
    bench.upload()
    bench.run(bench.task())
    before = bench.engine.stats.windows
    first = bench.read("transcript.json")
    assert bench.run(bench.task()).answer is Answer.ALREADY
    assert bench.engine.stats.windows == before, "nothing was decoded for it"
    assert bench.read("transcript.json") == first


def test_a_result_stands_when_its_input_is_gone(bench: Bench) -> None:
    bench.upload()
    bench.run(bench.task())
    bench.aws.s3.delete_object(Bucket=BUCKET, Key="in/a")
    assert bench.run(bench.task()).answer is Answer.ALREADY


@pytest.mark.parametrize("change", ["request", "input", "content"])
def test_a_job_id_is_not_used_twice_for_different_things(bench: Bench, change: str) -> None:
    bench.upload()
    bench.run(bench.task())
    first = bench.read("transcript.json")
    fields: dict[str, Any] = {}
    if change == "request":
        fields["language"] = "fr"
    elif change == "input":
        fields["input"] = bench.upload("in/b")
    else:
        bench.upload(seed=99)
    assert bench.run(bench.task(**fields)).answer is Answer.FAILED
    assert bench.read("error.json")["code"] == "job_id_conflict"
    assert bench.read("transcript.json") == first
    assert bench.dead()[0]["code"] == "job_id_conflict"


def test_of_two_who_race_for_a_commit_one_ends_quietly(bench: Bench) -> None:
    bench.upload()
    first, second = bench.task(), bench.task()
    pipeline = bench.pipeline
    for task in (first, second):
        assert pipeline.fetch(task) is None
        assert pipeline.submit(task) is None
    answers = []
    for task in (first, second):
        assert task.submission is not None
        wait([task.submission.future], timeout=10)
        answers.append(pipeline.finish(task).answer)
    assert answers == [Answer.COMMITTED, Answer.ALREADY]
    assert bench.names() == {
        "transcript.json",
        "transcript.srt",
        "transcript.vtt",
        "transcript.txt",
    }


def test_of_two_requests_that_race_for_a_job_id_one_fails(bench: Bench) -> None:
    bench.upload()
    first, second = bench.task(), bench.task(language="fr")
    pipeline = bench.pipeline
    for task in (first, second):
        assert pipeline.fetch(task) is None
        assert pipeline.submit(task) is None
        assert task.submission is not None
        wait([task.submission.future], timeout=10)
    assert pipeline.finish(first).answer is Answer.COMMITTED
    assert pipeline.finish(second).answer is Answer.FAILED
    assert bench.read("error.json")["code"] == "job_id_conflict"


# -- events -----------------------------------------------------------------------------------


def _event(key: str, etag: str) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": BUCKET}, "object": {"key": key, "eTag": etag}},
            }
        ]
    }


def _etag(bench: Bench, key: str) -> str:
    return bench.aws.s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')


def test_an_event_makes_a_job_once(bench: Bench) -> None:
    bench.upload()
    event = _event("in/a", _etag(bench, "in/a"))
    answers = []
    for _ in range(2):
        (held,) = bench.deliver(event)
        answers.append(bench.run(held.tasks[0]).answer)
    assert answers == [Answer.COMMITTED, Answer.ALREADY]


def test_an_event_for_what_the_worker_wrote_makes_no_job(bench: Bench) -> None:
    bench.upload()
    bench.run(bench.task(output=f"s3://{BUCKET}/in/results/", formats=["txt"]))
    key = "in/results/job/transcript.txt"
    (held,) = bench.deliver(_event(key, _etag(bench, key)))
    (task,) = held.tasks
    assert bench.run(task).answer is Answer.DROPPED
    assert bench.names(task.job.job_id) == set()


def test_an_event_for_what_the_worker_wrote_and_removed_makes_no_error(bench: Bench) -> None:
    (held,) = bench.deliver(_event("in/results/job/checkpoint.json", "abc"))
    assert bench.run(held.tasks[0]).answer is Answer.DROPPED
    assert bench.dead() == []


def test_an_event_whose_object_was_overwritten_since_fails(bench: Bench) -> None:
    bench.upload()
    event = _event("in/a", _etag(bench, "in/a"))
    bench.upload(seed=5)
    (held,) = bench.deliver(event)
    (task,) = held.tasks
    assert bench.run(task).answer is Answer.FAILED
    assert bench.read("error.json", task.job.job_id)["code"] == "input_changed"


# -- failures for good ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no media at all", "not_media"),
        (fake_audio(40, marker="bad"), "decode_failed"),
        (b"x" * 10_001, "input_too_large"),
    ],
)
def test_a_failure_for_good_is_kept_in_two_places(bench: Bench, body: bytes, code: str) -> None:
    bench.upload(body=body)
    ended = bench.run(bench.task(metadata={"case": "1"}))
    assert ended.answer is Answer.FAILED
    document = bench.read("error.json")
    assert document["code"] == code
    assert document["attempts"] == 1
    assert document["input"] == f"s3://{BUCKET}/in/a"
    assert document["metadata"] == {"case": "1"}
    (letter,) = bench.dead()
    assert (letter["job_id"], letter["code"]) == ("job", code)
    assert letter["reason"] == document["message"]
    assert bench.files() == []


def test_a_later_success_removes_the_error(bench: Bench) -> None:
    assert bench.run(bench.task()).answer is Answer.FAILED
    assert bench.read("error.json")["code"] == "input_not_found"
    bench.upload()
    assert bench.run(bench.task()).answer is Answer.COMMITTED
    assert "error.json" not in bench.names()


def test_what_the_engine_can_t_do_fails_the_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.upload()
    task = bench.task(language="la")
    monkeypatch.setattr(task, "job", task.job.model_copy(update={"language": "xx"}))
    assert bench.run(task).answer is Answer.FAILED
    assert bench.read("error.json")["code"] == "language_not_supported"


def test_a_failure_is_reported_once_however_often_its_message_comes_again(bench: Bench) -> None:
    bench.upload(body=b"no media")
    task = bench.task()
    assert bench.run(task).answer is Answer.FAILED
    assert len(bench.dead()) == 1
    first = bench.read("error.json")
    for count in (2, 3):
        assert bench.run(bench.again(task, count)).answer is Answer.FAILED
    assert bench.dead() == []
    assert bench.read("error.json") == first
    bench.upload()
    assert bench.run(bench.task()).answer is Answer.COMMITTED, "another message means it"


def test_an_output_that_can_t_be_written_leaves_a_dead_letter(bench: Bench) -> None:
    bench.upload()
    ended = bench.run(bench.task(output="s3://no-such-bucket-anywhere/x/"))
    assert ended.answer is Answer.FAILED
    (letter,) = bench.dead()
    assert letter["code"] == "output_forbidden"


def test_a_failure_that_can_be_kept_nowhere_keeps_the_message(bench: Bench) -> None:
    url = bench.aws.sqs.create_queue(QueueName="no-redrive")["QueueUrl"]
    bench.source = make_source(bench.clients, url, visibility_timeout=60)
    bench.queues = Queues(url, "")
    bench.upload()
    ended = bench.run(bench.task(output="s3://no-such-bucket-anywhere/x/"))
    assert (ended.answer, ended.delay) == (Answer.RELEASED, 900)


def test_a_message_that_is_no_json_is_answered(bench: Bench) -> None:
    bench.aws.sqs.send_message(QueueUrl=bench.queues.url, MessageBody="{not json")
    (message,) = bench.source.queue.receive(1, 1)
    parsed = parse_message(message.body, message_id=message.origin_id, defaults=JobDefaults())
    held = Held(message, bench.source.hold(message), bench.source, (), open=1)
    assert bench.pipeline.reject(held, parsed.failures[0]).answer is Answer.FAILED
    (letter,) = bench.dead()
    assert letter["code"] == "invalid_message"
    assert letter["job_id"] == message.message_id


# -- failures that may pass -------------------------------------------------------------------


def _broken(*_: object, **__: object) -> Any:
    raise TransientError("S3 is out for lunch")


def test_what_may_be_temporary_is_released_with_growing_delay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.upload()
    monkeypatch.setattr(bench.inputs, "fetch", _broken)
    delays = [bench.run(bench.again(bench.task(), count)) for count in (1, 4, 8)]
    assert [ended.answer for ended in delays] == [Answer.RELEASED] * 3
    assert delays[0].delay < delays[1].delay < delays[2].delay <= 900
    assert bench.names() == set()
    assert bench.files() == []


def test_on_the_last_delivery_what_may_pass_fails_for_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.upload()
    monkeypatch.setattr(bench.inputs, "fetch", _broken)
    assert bench.run(bench.task(count=10)).answer is Answer.FAILED
    document = bench.read("error.json")
    assert document["code"] == "too_many_attempts"
    assert "out for lunch" in document["message"]
    assert document["attempts"] == 10
    assert bench.dead()[0]["job_id"] == "job"


def test_a_file_that_was_removed_under_the_engine_is_not_the_job_s_fault(bench: Bench) -> None:
    bench.upload(marker="bad")
    task, pipeline = bench.task(), bench.pipeline
    assert pipeline.fetch(task) is None
    assert pipeline.submit(task) is None
    assert task.submission is not None
    wait([task.submission.future], timeout=10)
    task.input_file.unlink()
    outcome = pipeline.finish(task)
    assert (outcome.answer, outcome.ours) == (Answer.RELEASED, True)
    assert (bench.names(), bench.dead()) == ({"checkpoint.json"}, []), "what it has is kept"


def test_the_last_run_leaves_an_error_until_it_succeeds(bench: Bench) -> None:
    bench.upload()
    task = bench.task(count=10)
    pipeline = bench.pipeline
    assert pipeline.fetch(task) is None
    assert pipeline.submit(task) is None
    assert bench.read("error.json")["code"] == "too_many_attempts"
    assert task.submission is not None
    wait([task.submission.future], timeout=10)
    assert pipeline.finish(task).answer is Answer.COMMITTED
    assert "error.json" not in bench.names()


def test_a_commit_is_tried_again_with_patience(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.upload()
    commit, failures = bench.results.commit, [True, True]

    def sometimes(*args: Any, **more: Any) -> Any:
        if failures:
            failures.pop()
            raise TransientError("slow down")
        return commit(*args, **more)

    monkeypatch.setattr(bench.results, "commit", sometimes)
    assert bench.run(bench.task()).answer is Answer.COMMITTED
    assert bench.slept == [1.0, 2.0]


def test_a_commit_that_fails_for_long_costs_no_decoding(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.upload()
    with monkeypatch.context() as patch:
        patch.setattr(bench.results, "commit", _broken)
        assert bench.run(bench.task()).answer is Answer.RELEASED
    assert sum(bench.slept) == 30
    assert bench.names() == {"checkpoint.json"}
    before = bench.engine.stats.windows
    assert bench.run(bench.task(count=2)).answer is Answer.COMMITTED
    assert bench.engine.stats.windows == before
    assert "checkpoint.json" not in bench.names()


def test_an_answer_that_can_t_be_kept_keeps_the_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.upload(body=b"no media")
    monkeypatch.setattr(bench.source.dead_letters, "send", _broken)
    ended = bench.run(bench.task())
    assert ended.answer is Answer.RELEASED
    assert ended.delay > 0


# -- the worker ends first --------------------------------------------------------------------


def _begin(bench: Bench, task: Task, windows: int) -> None:
    """Let the job run until it has some windows."""
    pipeline = bench.pipeline
    assert pipeline.fetch(task) is None
    assert pipeline.submit(task) is None
    _wait_until(lambda: task.submission is not None and _done(task) >= windows)


def _done(task: Task) -> int:
    assert task.submission is not None
    return len(task.submission.partial().windows)


@pytest.fixture
def slow(bench: Bench) -> Bench:
    """A device that takes a step per window."""
    bench.engine.stop()
    bench.engine = FakeEngine(seconds_per_audio_second=0.004, batch_size=1)
    bench.engine.start()
    return bench


def test_an_interrupted_job_is_resumed_and_its_windows_are_not_decoded_again(slow: Bench) -> None:
    slow.upload(seconds=300.0)
    undisturbed = slow.run(slow.task("undisturbed"))
    assert undisturbed.answer is Answer.COMMITTED
    task = slow.task()
    _begin(slow, task, windows=3)
    ended = slow.pipeline.interrupt(task)
    assert (ended.answer, ended.delay) == (Answer.RELEASED, 0)
    kept = len(slow.read("checkpoint.json")["partial"]["windows"])
    assert 3 <= kept < 10
    slow.engine.stop()
    slow.engine = FakeEngine(batch_size=1)
    slow.engine.start()
    assert slow.run(slow.again(task, 2)).answer is Answer.COMMITTED
    assert slow.engine.stats.windows == 10 - kept
    assert (
        slow.read("transcript.json")["segments"]
        == (slow.read("transcript.json", "undisturbed")["segments"])
    )
    assert "checkpoint.json" not in slow.names()


def test_another_engine_starts_from_the_beginning(slow: Bench) -> None:
    slow.upload(seconds=300.0)
    task = slow.task()
    _begin(slow, task, windows=2)
    slow.pipeline.interrupt(task)
    slow.engine.stop()
    slow.engine = FakeEngine(fingerprint="another model")
    slow.engine.start()
    assert slow.run(slow.again(task, 2)).answer is Answer.COMMITTED
    assert slow.engine.stats.windows == 10


def test_another_content_starts_from_the_beginning(slow: Bench) -> None:
    slow.upload(seconds=300.0)
    task = slow.task()
    _begin(slow, task, windows=2)
    slow.pipeline.interrupt(task)
    slow.upload(seconds=300.0, seed=7)
    slow.engine.stop()
    slow.engine = FakeEngine()
    slow.engine.start()
    assert slow.run(slow.again(task, 2)).answer is Answer.COMMITTED
    assert slow.engine.stats.windows == 10


def test_windows_of_an_earlier_run_survive_an_interruption_before_the_first_step(
    slow: Bench,
) -> None:
    slow.upload(seconds=300.0)
    task = slow.task()
    _begin(slow, task, windows=3)
    slow.pipeline.interrupt(task)
    kept = slow.read("checkpoint.json")["partial"]["windows"]
    again = slow.again(task, 2)
    assert slow.pipeline.fetch(again) is None
    slow.pipeline.interrupt(again)
    assert slow.read("checkpoint.json")["partial"]["windows"] == kept


def test_a_draining_worker_begins_nothing(bench: Bench) -> None:
    bench.upload()
    bench.draining = True
    ended = bench.run(bench.task())
    assert (ended.answer, ended.delay) == (Answer.RELEASED, 0)
    assert bench.names() == set()
    assert bench.engine.stats.windows == 0


def test_a_last_delivery_that_is_interrupted_fails_and_keeps_its_windows(slow: Bench) -> None:
    slow.upload(seconds=300.0)
    task = slow.task(count=10)
    _begin(slow, task, windows=2)
    assert slow.pipeline.interrupt(task).answer is Answer.FAILED
    assert slow.read("error.json")["code"] == "too_many_attempts"
    assert slow.read("checkpoint.json")["partial"]["windows"]


# -- lost leases ------------------------------------------------------------------------------


def test_a_lost_lease_commits_nothing(bench: Bench) -> None:
    bench.upload()
    task = bench.task()
    pipeline = bench.pipeline
    assert pipeline.fetch(task) is None
    assert pipeline.submit(task) is None
    assert task.submission is not None
    wait([task.submission.future], timeout=10)
    task.lease.lost.set()
    assert pipeline.finish(task).answer is Answer.LOST
    assert bench.names() == set()


@pytest.mark.parametrize("step", ["fetch", "submit", "interrupt", "broken"])
def test_a_lost_lease_leaves_everything_as_it_is(bench: Bench, step: str) -> None:
    bench.upload()
    task = bench.task(count=2)
    if step != "fetch":
        assert bench.pipeline.fetch(task) is None
    task.lease.lost.set()
    ended = getattr(bench.pipeline, step)(task)
    assert ended.answer is Answer.LOST
    assert bench.names() == set()


def test_a_lease_that_is_lost_fails_no_bad_message_either(bench: Bench) -> None:
    bench.upload(body=b"no media")
    task = bench.task()
    pipeline = bench.pipeline
    assert pipeline.fetch(task) is None
    assert pipeline.submit(task) is None
    assert task.submission is not None
    wait([task.submission.future], timeout=10)
    task.lease.lost.set()
    assert pipeline.finish(task).answer is Answer.LOST
    assert bench.dead() == []


# -- poison -----------------------------------------------------------------------------------


def test_a_first_delivery_writes_no_mark(bench: Bench) -> None:
    bench.upload()
    task = bench.task()
    assert bench.pipeline.fetch(task) is None
    assert bench.pipeline.submit(task) is None
    assert "checkpoint.json" not in bench.names()


def test_a_redelivered_job_is_marked_while_it_runs(bench: Bench) -> None:
    bench.upload()
    task = bench.task(count=2)
    assert bench.pipeline.fetch(task) is None
    assert bench.pipeline.submit(task) is None
    assert bench.read("checkpoint.json")["running"] == "together"
    bench.pipeline.interrupt(task)
    assert "checkpoint.json" not in bench.names() or (
        bench.read("checkpoint.json")["running"] is None
    )


def test_a_job_whose_worker_died_runs_alone_and_its_success_clears_it(bench: Bench) -> None:
    bench.upload()
    task = bench.task(count=3)
    bench.checkpoint(task, running="together")
    pipeline = bench.pipeline
    assert pipeline.fetch(task) is None
    assert task.run is Run.ALONE
    assert pipeline.submit(task) is None
    assert bench.read("checkpoint.json")["running"] == "alone"
    assert task.submission is not None
    wait([task.submission.future], timeout=10)
    assert pipeline.finish(task).answer is Answer.COMMITTED
    assert "checkpoint.json" not in bench.names()


def test_a_job_that_killed_too_many_workers_is_given_up(bench: Bench) -> None:
    bench.upload()
    task = bench.task(count=9)
    bench.checkpoint(task, running="alone", deaths=11, suspect=True)
    assert bench.run(task).answer is Answer.FAILED
    document = bench.read("error.json")
    assert document["code"] == "too_many_attempts"
    assert "12 deaths" in document["message"]
    assert "checkpoint.json" not in bench.names(), "who sends it again means it"
    assert bench.engine.stats.windows == 0


def test_a_record_of_another_request_is_not_held_against_the_job(bench: Bench) -> None:
    bench.upload()
    task = bench.task(count=3)
    bench.checkpoint(task, running="alone", deaths=9, request_hash="another")
    assert bench.run(task).answer is Answer.COMMITTED


def test_an_engine_that_breaks_makes_suspects_of_the_redelivered(bench: Bench) -> None:
    bench.upload(marker="sticky")
    task = bench.task(count=2)
    ended = bench.run(task)
    assert (ended.answer, ended.delay) == (Answer.RELEASED, 0)
    kept = bench.read("checkpoint.json")
    assert (kept["suspect"], kept["failures"], kept["running"]) == (True, 0, None)


def test_an_engine_that_breaks_on_a_job_alone_is_that_job_s_failure(bench: Bench) -> None:
    bench.upload(marker="sticky")
    task = bench.task(count=3)
    bench.checkpoint(task, suspect=True)
    assert bench.run(task).answer is Answer.RELEASED
    kept = bench.read("checkpoint.json")
    assert (kept["failures"], kept["last_failure"]) == (
        1,
        "the engine broke while the job was in it",
    )


def test_a_defect_of_ours_is_recorded_and_says_nothing_of_the_text(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.upload(marker="garbled")
    for count in (1, 2):
        assert bench.run(bench.task(count=count)).answer is Answer.RELEASED
        assert bench.read("checkpoint.json")["failures"] == count
    assert bench.run(bench.task(count=3)).answer is Answer.FAILED
    document = bench.read("error.json")
    assert document["code"] == "too_many_attempts"
    assert "ValueError at" in document["message"]
    written = json.dumps(document) + str(capsys.readouterr())
    assert PRIVATE_TEXT not in written


# -- notices ----------------------------------------------------------------------------------


def test_notices_follow_answers(bench: Bench) -> None:
    queues = bench.aws.make_queues("notices")
    bench.notify = queues.url
    bench.upload()
    bench.run(bench.task("good"))
    bench.run(bench.task("bad", input=f"s3://{BUCKET}/in/missing"))
    bench.run(bench.task("good"))
    answer = bench.aws.sqs.receive_message(QueueUrl=queues.url, MaxNumberOfMessages=10)
    notices = [json.loads(message["Body"]) for message in answer["Messages"]]
    assert sorted((n["job_id"], n["status"], n["result"]) for n in notices) == [
        ("bad", "failed", f"s3://{BUCKET}/transcripts/bad/error.json"),
        ("good", "completed", f"s3://{BUCKET}/transcripts/good/transcript.json"),
        ("good", "completed", f"s3://{BUCKET}/transcripts/good/transcript.json"),
    ]


def test_a_job_may_name_where_its_notice_goes(bench: Bench) -> None:
    everybody, somebody = bench.aws.make_queues("everybody"), bench.aws.make_queues("somebody")
    bench.notify = everybody.url
    bench.upload()
    bench.run(bench.task("good", notify=somebody.url))
    bench.run(bench.task("bad", input=f"s3://{BUCKET}/in/missing", notify=somebody.url))
    answer = bench.aws.sqs.receive_message(QueueUrl=somebody.url, MaxNumberOfMessages=10)
    notices = [json.loads(message["Body"]) for message in answer["Messages"]]
    assert sorted((n["job_id"], n["status"]) for n in notices) == [
        ("bad", "failed"),
        ("good", "completed"),
    ]
    assert bench.aws.depth(everybody.url) == (0, 0, 0)


def test_a_notice_that_can_t_be_sent_undoes_nothing(bench: Bench) -> None:
    bench.notify = f"{bench.aws.endpoint}/123456789012/nowhere"
    bench.upload()
    assert bench.run(bench.task()).answer is Answer.COMMITTED
    assert "transcript.json" in bench.names()
