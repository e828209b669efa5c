"""The daemon in this process (on a thread of its own), against real protocol servers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import REGION, Aws, Queues
from tests.fakes.engine import FakeEngine, fake_audio
from tests.fakes.imds import FakeImds
from worker.aws.clients import Clients
from worker.aws.source import make_source
from worker.daemon import compose
from worker.daemon.daemon import Daemon, Pace, Parts
from worker.errors import EngineError, ExitCode, MachineError, SettingsError
from worker.jobs.message import JobDefaults, parse_message
from worker.pipeline.checkpoint import Checkpoint
from worker.settings import Settings

BUCKET = "audio"
PACE = Pace(poll=1, tick=0.05, watch=0.1, settle=5.0)


class Running:
    """A daemon at work."""

    def __init__(self, parts: Parts, pace: Pace, engine: FakeEngine) -> None:
        self.parts = parts
        self.daemon = Daemon(parts, pace)
        self.engine = engine
        self._code: ExitCode | BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._code = self.daemon.run()
        except BaseException as error:  # noqa: BLE001  # raised again in `code`
            self._code = error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def code(self, seconds: float = 60.0) -> ExitCode:
        """Wait for its end; what `run` returned or raised."""
        self.join(seconds)
        assert not self.alive, "it still runs"
        if isinstance(self._code, BaseException):
            raise self._code
        assert self._code is not None
        return self._code

    @property
    def state(self) -> str:
        return str(self.daemon.status()["state"])

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def stop(self) -> ExitCode:
        self.daemon.stop()
        return self.code()


class Place:
    """A queue, a bucket and what is needed to start daemons."""

    def __init__(self, aws: Aws, clients: Clients, folder: Path) -> None:
        self.aws = aws
        self.clients = clients
        self.folder = folder
        self.queues: Queues = aws.make_queues("work")
        self.running: list[Running] = []
        aws.make_bucket(BUCKET)

    def daemon(
        self,
        *,
        engine: FakeEngine | None = None,
        environ: dict[str, str] | None = None,
        pace: Pace = PACE,
        queues: Sequence[Queues] = (),
        **settings: Any,
    ) -> Running:
        engine = engine or FakeEngine()
        values = {
            "queue_url": self.queues.url,
            "idle_timeout": 0.3,
            "visibility_timeout": 30,
            "work_dir": self.folder,
        }
        parts = compose.parts(
            # Unchecked, because tests are in more of a hurry than the settings' bounds allow.
            Settings().model_copy(update=values | settings),
            self.clients,
            engine,
            pace=pace,
            environ={"AWS_EC2_METADATA_DISABLED": "true"} if environ is None else environ,
            sources=[
                make_source(self.clients, queue.url, visibility_timeout=30) for queue in queues
            ],
        )
        self.running.append(Running(parts, pace, engine))
        return self.running[-1]

    def send(self, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.aws.sqs.send_message(QueueUrl=self.queues.url, MessageBody=text)

    def upload(self, name: str, body: bytes) -> str:
        self.aws.s3.put_object(Bucket=BUCKET, Key=f"in/{name}", Body=body)
        return f"s3://{BUCKET}/in/{name}"

    def job(self, job_id: str, seconds: float = 20.0, **more: Any) -> None:
        uri = self.upload(job_id, fake_audio(seconds, **more))
        self.send({"input": uri, "job_id": job_id, "formats": ["json"]})

    def depth(self) -> tuple[int, int, int]:
        return self.aws.depth(self.queues.url)

    def read(self, job_id: str, name: str) -> dict[str, Any]:
        key = f"transcripts/{job_id}/{name}"
        found = json.loads(self.aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        assert isinstance(found, dict)
        return found

    def results(self) -> dict[str, str]:
        """`completed`, or the error's code, of each job."""
        listed = self.aws.s3.list_objects_v2(Bucket=BUCKET, Prefix="transcripts/")
        found = {}
        for item in listed.get("Contents", []):
            _, job_id, name = item["Key"].split("/")
            if name == "transcript.json":
                found[job_id] = "completed"
            elif name == "error.json":
                found[job_id] = self.read(job_id, name)["code"]
        return found

    def dead(self) -> dict[str, dict[str, str]]:
        """The attributes of each dead letter, by job id."""
        letters: dict[str, dict[str, str]] = {}
        while True:
            answer = self.aws.sqs.receive_message(
                QueueUrl=self.queues.dead_letter_url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
            )
            if not answer.get("Messages"):
                return letters
            for message in answer["Messages"]:
                named = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
                letters[named["job_id"]] = named | {"body": message["Body"]}

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("input*") if path.is_file()]


@pytest.fixture
def place(server: tuple[Aws, Clients], tmp_path: Path) -> Iterator[Place]:
    place = Place(*server, tmp_path)
    yield place
    for running in place.running:
        running.daemon.stop()
    for running in place.running:
        running.join(20)


def _wait_for(condition: Callable[[], object], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def _notices_only() -> FakeImds:
    """Metadata without an instance id: notices come, and no Auto Scaling call is made."""
    imds = FakeImds()
    del imds["instance-id"]
    return imds


def _status(running: Running) -> dict[str, Any]:
    return running.daemon.status()


# -- jobs -------------------------------------------------------------------------------------


def test_jobs_are_done_and_idleness_ends_the_worker(place: Place) -> None:
    for number in range(12):
        place.job(f"job-{number}", seconds=45, seed=number)
    running = place.daemon()
    assert running.code() is ExitCode.OK
    assert place.results() == {f"job-{number}": "completed" for number in range(12)}
    assert place.depth() == (0, 0, 0)
    assert place.dead() == {}
    assert place.files() == []
    assert _status(running)["jobs"] == {"committed": 12}


def test_what_jobs_say_goes_over_what_the_settings_say(place: Place) -> None:
    uri = place.upload("talk", fake_audio(65.0))
    place.send({"input": uri, "job_id": "silent"})
    place.send({"input": uri, "job_id": "says", "language_options": ["ja"], "multilingual": False})
    place.send({"input": uri, "job_id": "names", "language": "nl"})
    running = place.daemon(language_options=("de", "fr"), multilingual=True)
    assert running.code() is ExitCode.OK
    found = {name: place.read(name, "transcript.json") for name in ("silent", "says", "names")}
    assert found["silent"]["languages"] == [
        {"code": "de", "seconds": 35.0},
        {"code": "fr", "seconds": 30.0},
    ]
    spoken = {name: [s["language"] for s in found[name]["segments"]] for name in found}
    assert spoken == {"silent": ["de", "fr", "de"], "says": ["ja"] * 3, "names": ["nl"] * 3}


def test_a_worker_may_serve_two_queues(place: Place) -> None:
    first, second = place.queues, place.aws.make_queues("more-work")
    for name, queues in (("first", first), ("second", second)):
        place.queues = queues
        for number in range(4):
            place.job(f"{name}-{number}", seconds=45)
    place.send("not a job")  # on the second
    assert place.daemon(queues=(first, second)).code() is ExitCode.OK
    assert place.results() == {
        f"{name}-{number}": "completed" for name in ("first", "second") for number in range(4)
    }
    assert place.aws.depth(first.url) == place.aws.depth(second.url) == (0, 0, 0)
    assert place.aws.depth(second.dead_letter_url)[0] == 1, "on the queue of its own"
    assert place.aws.depth(first.dead_letter_url) == (0, 0, 0)


def test_two_queues_are_drained_together(place: Place) -> None:
    first, second = place.queues, place.aws.make_queues("more-work")
    for name, queues in (("first", first), ("second", second)):
        place.queues = queues
        place.job(name, seconds=3600)
    running = place.daemon(
        queues=(first, second),
        engine=FakeEngine(seconds_per_audio_second=0.05),
        idle_timeout=600.0,
        drain_timeout=0.2,
    )
    _wait_for(lambda: len(running.parts.holdings.running()) == 2)
    assert running.stop() is ExitCode.OK
    assert place.results() == {}
    assert place.aws.depth(first.url) == place.aws.depth(second.url) == (1, 0, 0)


def _records(*keys: str, event: str = "ObjectCreated:Put") -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": event,
                "s3": {"bucket": {"name": BUCKET}, "object": {"key": key, "size": 9}},
            }
            for key in keys
        ]
    }


def test_no_message_stops_the_worker_and_each_is_answered(place: Place) -> None:
    good = place.upload("good", fake_audio(20))
    bad = {
        "not-media": (b"no sound in here", "not_media"),
        "damaged": (fake_audio(40, marker="bad"), "decode_failed"),
        "empty": (b"", "empty_file"),
    }
    for name, (body, _code) in bad.items():
        place.send({"input": place.upload(name, body), "job_id": name})
    place.send("{not json")
    place.send('"text"')
    place.send("[]")
    place.send({"input": 7, "job_id": "wrong-type", "output": f"s3://{BUCKET}/transcripts/"})
    place.send({"input": good, "job_id": "unknown-field", "langauge": "en"})
    place.send({"input": good, "job_id": "../../etc/passwd"})
    place.send({"input": f"s3://{BUCKET}/in/nothing-here", "job_id": "missing"})
    place.send({"input": "s3://another-bucket/x", "job_id": "forbidden"})
    place.send({"input": good, "job_id": "huge", "prompt": "x" * 200_000})
    place.send({"input": good, "job_id": "good"})
    place.send({"Event": "s3:TestEvent", "Bucket": BUCKET})
    place.send(_records("transcripts/good/transcript.json", "transcripts/good/error.json"))
    place.send(_records("in/good", event="ObjectRemoved:Delete"))
    running = place.daemon(allowed_buckets=(BUCKET,), output=f"s3://{BUCKET}/transcripts/")
    assert running.code() is ExitCode.OK
    expected = {name: code for name, (_body, code) in bad.items()} | {
        "wrong-type": "invalid_job",
        "unknown-field": "invalid_job",
        "missing": "input_not_found",
        "forbidden": "bucket_not_allowed",
        "huge": "invalid_job",
        "good": "completed",
    }
    results = place.results()
    assert {name: code for name, code in results.items() if name in expected} == expected
    others = {name: code for name, code in results.items() if name not in expected}
    assert sorted(others.values()) == ["invalid_job", *["invalid_message"] * 3]
    letters = place.dead()
    assert {name: letter["code"] for name, letter in letters.items()} == {
        name: code for name, code in results.items() if code != "completed"
    }
    for name, letter in letters.items():
        assert letter["reason"] == place.read(name, "error.json")["message"]
    assert place.depth() == (0, 0, 0)
    assert place.files() == []


def test_a_body_with_nowhere_to_write_an_error_is_kept_all_the_same(place: Place) -> None:
    place.send("{not json")
    assert place.daemon().code() is ExitCode.OK
    (letter,) = place.dead().values()
    assert letter["code"] == "invalid_message"
    assert letter["body"] == "{not json"
    assert place.depth() == (0, 0, 0)


def test_a_message_of_several_jobs_goes_when_all_are_answered(place: Place) -> None:
    uris = [place.upload(f"a{n}", fake_audio(30 * n, seed=n)) for n in range(1, 4)]
    jobs: list[dict[str, Any]] = [{"input": uri, "job_id": f"j{n}"} for n, uri in enumerate(uris)]
    place.send({"jobs": [*jobs, {"input": f"s3://{BUCKET}/none", "job_id": "none"}, {"input": 1}]})
    assert place.daemon(output=f"s3://{BUCKET}/transcripts/").code() is ExitCode.OK
    results = place.results()
    assert {name: results[name] for name in ("j0", "j1", "j2", "none")} == {
        "j0": "completed",
        "j1": "completed",
        "j2": "completed",
        "none": "input_not_found",
    }
    assert sorted(results.values()).count("invalid_job") == 1
    assert place.depth() == (0, 0, 0)


def test_a_suspect_runs_alone_and_the_others_do_not_wait_for_it(place: Place) -> None:
    place.job("suspect", seconds=120)
    for number in range(6):
        place.job(f"job-{number}", seconds=120, seed=number)
    job = parse_message(
        json.dumps(
            {"input": f"s3://{BUCKET}/in/suspect", "job_id": "suspect", "formats": ["json"]}
        ),
        message_id="m",
        defaults=JobDefaults(),
    ).jobs[0]
    etag = place.aws.s3.head_object(Bucket=BUCKET, Key="in/suspect")["ETag"].strip('"')
    left = Checkpoint(
        job_id="suspect",
        request_hash=job.request_hash,
        etag=etag,
        fingerprint="fake-1",
        running="together",
    )
    place.aws.s3.put_object(
        Bucket=BUCKET, Key="transcripts/suspect/checkpoint.json", Body=left.dump()
    )
    running = place.daemon(engine=FakeEngine(seconds_per_audio_second=0.002, batch_size=8))
    assert running.code() is ExitCode.OK
    assert set(place.results().values()) == {"completed"}
    assert len(place.results()) == 7
    steps = list(running.engine.companions)
    assert ("suspect",) in steps
    assert not [names for names in steps if "suspect" in names and len(names) > 1]
    assert "suspect" in steps[-1], "the others went first"
    assert [names for names in steps if len(names) > 1], "and shared their steps"


def test_a_fifo_queue_s_groups_keep_their_order(place: Place) -> None:
    place.queues = place.aws.make_queues("ordered", fifo=True)
    for number in range(4):
        name = f"job-{number}"
        body = b"no media" if number == 1 else fake_audio(40, seed=number)
        place.aws.sqs.send_message(
            QueueUrl=place.queues.url,
            MessageBody=json.dumps({"input": place.upload(name, body), "job_id": name}),
            MessageGroupId="one",
            MessageDeduplicationId=name,
        )
    running = place.daemon(idle_timeout=1.0)
    assert running.code() is ExitCode.OK
    steps = [names for names in running.engine.companions if names]
    assert steps == [("job-0",), ("job-2",), ("job-3",)]
    assert place.results() == {
        "job-0": "completed",
        "job-1": "not_media",
        "job-2": "completed",
        "job-3": "completed",
    }
    assert place.depth() == (0, 0, 0)


def test_what_the_worker_writes_never_becomes_a_job(place: Place) -> None:
    """Output and input share a bucket, and S3 sends the queue an event for every object in it."""
    arn = place.aws.sqs.get_queue_attributes(
        QueueUrl=place.queues.url, AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    place.aws.s3.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    place.upload("by-event", fake_audio(30))
    # Results of this one lie where no prefix gives them away.
    place.send(
        {
            "input": f"s3://{BUCKET}/in/by-event",
            "job_id": "by-hand",
            "output": f"s3://{BUCKET}/elsewhere/",
        }
    )
    assert place.daemon(idle_timeout=2.0).code() is ExitCode.OK
    (by_event,) = place.results()
    assert by_event.startswith("by-event-")
    listed = place.aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    folders = {item["Key"].rpartition("/")[0] for item in listed}
    assert folders == {"in", f"transcripts/{by_event}", "elsewhere/by-hand"}
    assert place.depth() == (0, 0, 0)
    assert place.dead() == {}


def test_the_log_has_phrases_that_operators_grep_and_nothing_that_was_said(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    from worker import logs

    logs.configure("DEBUG", "text")
    uri = place.upload("a", fake_audio(65))
    private = {
        "prompt": "mind the secret",
        "hotwords": "hidden",
        "vocabulary": {"tricky": "riddle"},
        "vocabulary_filter": ["unsaid"],
    }
    place.send({"input": uri, "job_id": "a", **private})
    assert place.daemon().code() is ExitCode.OK
    out = capsys.readouterr()
    line = next(text for text in out.err.splitlines() if "event=job.completed" in text)
    assert "Transcription completed in " in line
    assert " seconds " in line
    for name in ("job_id=a", "audio_seconds=65.0", "speed=", "transcribe_seconds="):
        assert name in line
    for said in ("Window 0 of", "mind the secret", "hidden", "tricky", "riddle", "unsaid"):
        assert said not in out.err + out.out


# -- stopping ---------------------------------------------------------------------------------


def test_stop_finishes_what_runs_and_takes_nothing_new(place: Place) -> None:
    place.job("running", seconds=30)
    running = place.daemon(engine=FakeEngine(seconds_per_audio_second=0.05), idle_timeout=600.0)
    _wait_for(lambda: running.engine.held_seconds() > 0)
    running.daemon.stop()
    place.job("late")
    assert running.code() is ExitCode.OK
    assert place.results() == {"running": "completed"}
    assert place.depth() == (1, 0, 0)


def test_what_does_not_fit_the_drain_is_kept_and_resumed(place: Place) -> None:
    place.job("long", seconds=300)
    first = place.daemon(
        engine=FakeEngine(seconds_per_audio_second=0.02, batch_size=1), drain_timeout=1.0
    )
    _wait_for(lambda: first.engine.stats.windows >= 1)
    assert first.stop() is ExitCode.OK
    assert place.results() == {}
    assert place.depth() == (1, 0, 0), "released at once"
    kept = len(place.read("long", "checkpoint.json")["partial"]["windows"])
    assert 1 <= kept < 10
    second = place.daemon()
    assert second.code() is ExitCode.OK
    assert second.engine.stats.windows == 10 - kept
    assert place.results() == {"long": "completed"}


def test_a_late_receive_is_released_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    running = place.daemon(idle_timeout=600.0)
    asked = threading.Event()
    receive = place.clients.sqs_poll.receive_message

    def late(**request: Any) -> Any:
        asked.set()
        _wait_for(lambda: running.parts.holdings.draining)
        place.job("late")
        return receive(**request)

    monkeypatch.setattr(place.clients.sqs_poll, "receive_message", late)
    assert asked.wait(10)
    assert running.stop() is ExitCode.OK
    assert place.results() == {}
    assert place.depth() == (1, 0, 0)


def test_a_drain_gives_nothing_back_to_itself(place: Place) -> None:
    for number in range(6):
        place.job(f"job-{number}", seconds=300, seed=number)
    running = place.daemon(
        # So that some run, and the others wait to be fetched.
        engine=FakeEngine(seconds_per_audio_second=0.02, batch_size=1, most_held=400.0),
        drain_timeout=0.0,
    )
    _wait_for(lambda: running.engine.stats.windows >= 1)
    held = running.daemon.status()["messages_held"]
    assert held >= 2
    assert running.stop() is ExitCode.OK
    assert place.depth() == (6, 0, 0)
    counts = [
        int(message["Attributes"]["ApproximateReceiveCount"])
        for message in place.aws.sqs.receive_message(
            QueueUrl=place.queues.url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )["Messages"]
    ]
    assert max(counts) == 2, "once by the worker, once just now"


def test_stopping_while_the_model_loads_ends_well(place: Place) -> None:
    running = place.daemon(engine=FakeEngine(start_seconds=1.0))
    place.job("a")
    assert running.stop() is ExitCode.OK
    assert place.depth() == (1, 0, 0)


def test_a_worker_that_fails_every_job_says_so_until_one_succeeds(place: Place) -> None:
    running = place.daemon(idle_timeout=600.0, download_threads=2, commit_threads=2)
    _wait_for(lambda: running.state == "running")
    shutil.rmtree(place.folder)
    place.folder.write_text("in the way")
    for number in range(5):
        place.job(f"job-{number}")
    _wait_for(lambda: _status(running)["unhealthy_because"])
    assert _status(running)["jobs"] == {"released": 5}
    place.folder.unlink()
    place.job("later")
    _wait_for(lambda: _status(running)["healthy"])
    assert place.results() == {"later": "completed"}, "the folder was made again"
    assert running.stop() is ExitCode.OK


# -- breaking ---------------------------------------------------------------------------------


def test_a_broken_engine_gives_everything_back_and_exits_1(place: Place) -> None:
    place.job("breaker", seconds=30, marker="sticky")
    running = place.daemon(idle_timeout=600.0)
    assert running.code() is ExitCode.FAILURE
    assert place.results() == {}
    assert place.depth() == (1, 0, 0)
    assert place.files() == []


@pytest.mark.parametrize("victim", ["heartbeat", "watcher", "intake"])
def test_a_dead_side_thread_drains_and_exits_1(
    place: Place, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    def die(*_: object) -> Any:
        raise OSError("out of threads")

    place.job("held", seconds=30)
    with _notices_only() as imds:
        running = place.daemon(
            engine=FakeEngine(seconds_per_audio_second=0.05),
            environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint},
            idle_timeout=600.0,
        )
        _wait_for(lambda: running.engine.held_seconds() > 0)
        parts = running.parts
        if victim == "heartbeat":
            leases = parts.feeds[0].source.leases
            monkeypatch.setattr(leases, "wait", die)
            leases.wake()
        elif victim == "watcher":
            monkeypatch.setattr(parts.watcher, "poll", die)
        else:
            monkeypatch.setattr(parts.holdings, "suspects", die)
        assert running.code() is ExitCode.FAILURE
    assert place.results() == {"held": "completed"}, "what was held was finished"
    assert place.depth() == (0, 0, 0)


def test_a_queue_that_is_deleted_ends_the_worker_for_good(place: Place) -> None:
    running = place.daemon(idle_timeout=600.0)
    _wait_for(lambda: running.state == "running")
    place.aws.sqs.delete_queue(QueueUrl=place.queues.url)
    assert running.code() is ExitCode.SETTINGS


def test_a_queue_that_is_not_there_is_reported_before_the_model_is_loaded(place: Place) -> None:
    running = place.daemon(queue_url=f"{place.aws.endpoint}/123456789012/nowhere")
    with pytest.raises(SettingsError, match="nowhere"):
        running.code()
    assert not running.engine.started


def test_settings_that_every_job_would_fail_for_are_reported_before_the_first(
    place: Place,
) -> None:
    place.job("innocent")
    running = place.daemon(language_options=("de", "yue"))
    with pytest.raises(SettingsError, match="'yue'"):
        running.code()
    assert place.depth() == (1, 0, 0)
    assert place.results() == {}


def test_an_engine_that_can_t_start_is_exit_1_and_a_machine_that_can_t_work_is_exit_3(
    place: Place,
) -> None:
    with pytest.raises(EngineError) as broken:
        place.daemon(engine=FakeEngine(start_error=EngineError("no"))).code()
    assert broken.value.exit_code is ExitCode.FAILURE
    with pytest.raises(MachineError) as unfit:
        place.daemon(engine=FakeEngine(start_error=MachineError("no GPU"))).code()
    assert unfit.value.exit_code is ExitCode.MACHINE


# -- the machine ------------------------------------------------------------------------------


class Cloud:
    """An instance in moto's EC2, in an Auto Scaling group or not, and its metadata service."""

    def __init__(self, aws: Aws, *, group: bool, minimum: int = 0) -> None:
        self.ec2 = boto3.client("ec2", endpoint_url=aws.endpoint, region_name=REGION)
        self.scaling = boto3.client("autoscaling", endpoint_url=aws.endpoint, region_name=REGION)
        image = "ami-12c6146b"  # one of moto's
        if group:
            self.scaling.create_launch_configuration(
                LaunchConfigurationName="l", ImageId=image, InstanceType="t3.micro"
            )
            self.scaling.create_auto_scaling_group(
                AutoScalingGroupName="g",
                LaunchConfigurationName="l",
                MinSize=minimum,
                MaxSize=2,
                DesiredCapacity=1,
                AvailabilityZones=[f"{REGION}a"],
            )
            self.instance_id = self.group()["Instances"][0]["InstanceId"]
        else:
            run = self.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)
            self.instance_id = run["Instances"][0]["InstanceId"]
        self.imds = FakeImds(self.instance_id)

    def group(self) -> Any:
        return self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["g"])[
            "AutoScalingGroups"
        ][0]

    @property
    def environ(self) -> dict[str, str]:
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.imds.endpoint}

    @property
    def state(self) -> str:
        found = self.ec2.describe_instances(InstanceIds=[self.instance_id])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])

    @property
    def member(self) -> Any:
        (found,) = [
            member
            for member in self.group()["Instances"]
            if member["InstanceId"] == self.instance_id
        ]
        return found


def test_idle_terminate_shrinks_the_group_and_a_stop_never_does(place: Place) -> None:
    cloud = Cloud(place.aws, group=True)
    with cloud.imds:
        running = place.daemon(environ=cloud.environ, on_idle="terminate", idle_timeout=600.0)
        _wait_for(lambda: cloud.member["ProtectedFromScaleIn"])
        assert running.stop() is ExitCode.OK
        assert not cloud.member["ProtectedFromScaleIn"], "protection is released"
        assert cloud.state == "running"
        assert cloud.group()["DesiredCapacity"] == 1

        idle = place.daemon(environ=cloud.environ, on_idle="terminate")
        assert idle.code() is ExitCode.OK
    assert cloud.group()["DesiredCapacity"] == 0
    assert cloud.group()["Instances"] == []


def test_idle_terminate_without_a_group_ends_the_instance(place: Place) -> None:
    cloud = Cloud(place.aws, group=False)
    with cloud.imds:
        running = place.daemon(environ=cloud.environ, on_idle="terminate")
        assert running.code() is ExitCode.OK
    assert cloud.state in ("shutting-down", "terminated")


def test_in_a_group_poweroff_is_refused_and_a_machine_that_can_t_work_is_marked(
    place: Place,
) -> None:
    cloud = Cloud(place.aws, group=True)
    with cloud.imds:
        refused = place.daemon(environ=cloud.environ, on_idle="poweroff")
        with pytest.raises(
            SettingsError, match=r"Auto Scaling group .*: set on_idle = 'terminate'"
        ):
            refused.code()
        assert not refused.engine.started
        assert cloud.member["HealthStatus"].lower() == "healthy", "the settings are at fault"

        unfit = place.daemon(
            environ=cloud.environ, engine=FakeEngine(start_error=MachineError("no GPU"))
        )
        with pytest.raises(MachineError):
            unfit.code()
    assert cloud.member["HealthStatus"].lower() == "unhealthy"


def test_idle_poweroff_switches_the_machine_off_and_a_stop_does_not(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = tmp_path / "received"
    script = tmp_path / "bin" / "systemctl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {received}\n')
    script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    running = place.daemon(on_idle="poweroff", idle_timeout=600.0)
    _wait_for(lambda: running.state == "running")
    assert running.stop() is ExitCode.OK
    assert not received.exists()
    assert place.daemon(on_idle="poweroff").code() is ExitCode.OK
    assert received.read_text() == "poweroff\n"


def test_an_inhibitor_holds_a_power_off_up_and_the_worker_works_on(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, asked, off = tmp_path / "held", tmp_path / "asked", tmp_path / "off"
    held.write_text("apt-get 0 root 812 apt-get shutdown APT is installing packages block\n")
    programs = {
        "systemctl": f"touch {off}",
        "systemd-inhibit": f"echo x >> {asked}; test ! -e {held} || cat {held}",
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("worker.retry.END_SECONDS", 0.05)

    def tries() -> int:
        return len(asked.read_text().split()) if asked.exists() else 0

    running = place.daemon(on_idle="poweroff", idle_timeout=0.1)
    _wait_for(lambda: tries() >= 1)
    place.job("meanwhile")
    _wait_for(lambda: place.results() == {"meanwhile": "completed"})
    _wait_for(lambda: tries() >= 2)
    assert running.alive
    assert not off.exists()
    held.unlink()
    assert running.code() is ExitCode.OK
    assert off.exists()


def test_a_rebalance_recommendation_stops_the_intake_and_lets_work_finish(place: Place) -> None:
    place.job("running", seconds=30)
    with _notices_only() as imds:
        running = place.daemon(
            environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint},
            engine=FakeEngine(seconds_per_audio_second=0.05),
            idle_timeout=600.0,
            drain_timeout=0.0,
        )
        _wait_for(lambda: running.engine.held_seconds() > 0)
        imds["events/recommendations/rebalance"] = '{"noticeTime": "2026-01-01T00:00:00Z"}'
        _wait_for(lambda: running.state == "draining")
        place.job("new")
        assert running.code() is ExitCode.OK
    assert place.results() == {"running": "completed"}
    assert place.depth() == (1, 0, 0)


def test_a_group_that_ends_the_instance_drains_it(place: Place) -> None:
    with _notices_only() as imds:
        running = place.daemon(
            environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint}, idle_timeout=600.0
        )
        _wait_for(lambda: running.state == "running")
        imds["autoscaling/target-lifecycle-state"] = "Terminated"
        assert running.code() is ExitCode.OK


# -- idle -------------------------------------------------------------------------------------


def test_a_message_that_comes_back_from_elsewhere_is_taken(place: Place) -> None:
    place.job("elsewhere")
    (message,) = place.aws.sqs.receive_message(QueueUrl=place.queues.url, VisibilityTimeout=600)[
        "Messages"
    ]
    running = place.daemon(idle_timeout=1.0)
    _wait_for(lambda: running.state == "running")
    time.sleep(3.0)
    assert running.alive, "it waits for what is in flight elsewhere"
    place.aws.sqs.change_message_visibility(
        QueueUrl=place.queues.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    assert running.code() is ExitCode.OK
    assert place.results() == {"elsewhere": "completed"}


def test_a_message_that_stays_elsewhere_keeps_it_for_a_bounded_time(place: Place) -> None:
    place.job("elsewhere")
    place.aws.sqs.receive_message(QueueUrl=place.queues.url, VisibilityTimeout=600)
    running = place.daemon(idle_timeout=1.0, visibility_timeout=2)
    _wait_for(lambda: running.state == "running")
    began = time.monotonic()
    assert running.code() is ExitCode.OK
    assert 4.5 <= time.monotonic() - began < 15, "its timeout, and twice the visibility timeout"


def test_straight_after_a_job_the_idle_clock_starts_anew(place: Place) -> None:
    place.job("a", seconds=30)
    running = place.daemon(engine=FakeEngine(seconds_per_audio_second=0.1), idle_timeout=2.0)
    _wait_for(lambda: "a" in place.results())
    done = time.monotonic()
    assert running.code() is ExitCode.OK
    assert time.monotonic() - done >= 1.9


# -- being watched ----------------------------------------------------------------------------


class Manager:
    """systemd's part of the notify protocol."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(0.05)
        self.received: list[tuple[float, str]] = []

    def environ(self, watchdog_seconds: float) -> dict[str, str]:
        return {
            "NOTIFY_SOCKET": str(self._socket.getsockname()),
            "WATCHDOG_USEC": str(int(watchdog_seconds * 1e6)),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def listen(self) -> list[str]:
        """Everything received so far."""
        while True:
            try:
                self.received.append((time.monotonic(), self._socket.recv(4096).decode()))
            except TimeoutError:
                return [text for _, text in self.received]

    def has(self, start: str) -> bool:
        return any(text.startswith(start) for text in self.listen())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def test_systemd_gets_ready_after_the_warm_up_and_stopping_at_the_stop(
    place: Place, manager: Manager
) -> None:
    place.job("held", seconds=30)
    running = place.daemon(
        engine=FakeEngine(start_seconds=1.0, seconds_per_audio_second=0.05),
        environ=manager.environ(4),
        idle_timeout=600.0,
    )
    time.sleep(0.5)
    assert not manager.has("READY=1"), "not while the model loads"
    _wait_for(lambda: manager.has("READY=1"))
    assert running.engine.started
    _wait_for(lambda: manager.has("WATCHDOG=1"))
    _wait_for(lambda: running.engine.held_seconds() > 0)
    assert not manager.has("STOPPING=1")
    running.daemon.stop()
    _wait_for(lambda: manager.has("STOPPING=1"))
    _wait_for(lambda: manager.has("EXTEND_TIMEOUT_USEC="))
    _wait_for(lambda: manager.listen() and not running.alive)  # or its socket would be full
    assert running.code() is ExitCode.OK
    assert place.results() == {"held": "completed"}
    heard = manager.listen()
    assert any("STATUS=running" in text for text in heard)
    closing = heard[heard.index("STATUS=stopping") :]
    assert any(text.startswith("EXTEND_TIMEOUT_USEC=") for text in closing), "it closes in its time"


def test_the_watchdog_is_fed_only_while_the_engine_makes_progress(
    place: Place, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        raise SystemExit(code)

    monkeypatch.setattr("os._exit", end)
    place.job("hangs", seconds=30, marker="hang")
    running = place.daemon(environ=manager.environ(0.4), watchdog_timeout=2.0, idle_timeout=600.0)
    _wait_for(lambda: running.engine.last_progress() is not None)
    hangs = time.monotonic()
    _wait_for(lambda: manager.listen() and ended, 20)
    fed = [moment for moment, text in manager.received if text == "WATCHDOG=1"]
    assert fed[-1] < hangs + 2.5
    assert ended[0] == ExitCode.FAILURE
    assert time.monotonic() - hangs < 15
    assert place.depth() == (1, 0, 0), "the queue has its message back at once"


def test_metrics_status_and_health_are_served_on_loopback(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.job("a", seconds=300)
    running = place.daemon(
        engine=FakeEngine(seconds_per_audio_second=0.02, batch_size=1),
        idle_timeout=600.0,
        drain_timeout=0.0,
        metrics_port=port,
    )

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    _wait_for(lambda: running.state == "running")
    assert get("/health") == "ok\n"
    _wait_for(lambda: [job for job in json.loads(get("/status"))["held"] if job["done_seconds"]])
    status = json.loads(get("/status"))
    (job,) = status["held"]
    assert (job["job_id"], job["stage"], job["total_seconds"]) == ("a", "running", 300)
    assert status["engine"]["model"] == "fake"
    assert "transcription_leases_held 1.0" in get("/metrics")
    assert running.stop() is ExitCode.OK
    with pytest.raises(urllib.error.URLError):
        get("/health")


def test_emf_lines_go_to_stdout(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.job("a", seconds=60)
    assert place.daemon(metrics_emf=True).code() is ExitCode.OK
    (line,) = [text for text in capsys.readouterr().out.splitlines() if "_aws" in text]
    assert json.loads(line)["JobsCommitted"] == 1
