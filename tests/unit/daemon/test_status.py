from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes.engine import FakeEngine
from tests.fakes.pipeline import FakeSubmission
from tests.unit.daemon.conftest import Lane
from worker.daemon.metrics import METRICS, QUEUE_VISIBLE, Metrics
from worker.daemon.status import Readings, State, Status
from worker.daemon.stops import Watchdog
from worker.errors import EngineError
from worker.jobs.message import JobDefaults, parse_message
from worker.pipeline.answers import Answer
from worker.pipeline.holdings import Holdings
from worker.pipeline.task import Held, Task
from worker.results.transcript import EngineInfo
from worker.speech.api import EngineStats


class Unstarted(FakeEngine):
    """An engine that has nothing to say before it is started."""

    def __init__(self) -> None:
        super().__init__()
        self.counters = EngineStats()
        self.broke: BaseException | None = None
        self.progress: float | None = None

    @property
    def info(self) -> EngineInfo:
        assert self.started, "asked before the start"
        return super().info

    @property
    def stats(self) -> EngineStats:
        assert self.started, "asked before the start"
        return self.counters

    def sample(self) -> EngineStats:
        assert self.started, "asked before the start"
        return replace(self.counters, gpu_used_bytes=1, gpu_bytes=2)

    def held_seconds(self) -> float:
        assert self.started, "asked before the start"
        return 125.0

    def failure(self) -> BaseException | None:
        return self.broke

    def last_progress(self) -> float | None:
        return self.progress


class Intake:
    """The intake's thread, as the status sees it."""

    alive = True
    failure = None


class Place:
    def __init__(self) -> None:
        self.engine = Unstarted()
        self.holdings = Holdings()
        self.intake = Intake()
        self.readings = Readings(self.engine, self.holdings)
        self.metrics = Metrics(stats=self.readings.stats, held=self.readings.held)
        watchdog = Watchdog(self.engine, [], hung_after=300.0, seconds_without=30.0)
        self.status = Status(self.readings, self.metrics, watchdog, [self.intake], failing_from=5)

    def start(self) -> None:
        self.engine.start()
        self.readings.engine_started = True
        self.status.state = State.RUNNING

    def hold(self, lane: Lane) -> Task:
        lane.send(json.dumps({"input": "s3://bucket/a", "job_id": "a"}))
        message = lane.receive()
        (job,) = parse_message(message.body, message_id="m", defaults=JobDefaults()).jobs
        lease = lane.source.hold(message)
        task = Task(job, message, lease, lane.source)
        assert self.holdings.add(Held(message, lease, lane.source, (task,), open=1))
        return task


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.engine.stop()


def test_while_the_model_loads_it_says_so_and_asks_the_engine_nothing(place: Place) -> None:
    document = place.status.document()
    assert (document["state"], document["healthy"]) == ("loading", False)
    assert document["unhealthy_because"] == "the model is loading"
    assert document["engine"] == document["extra"] == {}
    assert document["audio_held_seconds"] == 0.0
    assert place.status.line().startswith("loading: 0 messages and 0 s of audio held")
    assert json.loads(json.dumps(document)) == document


def test_a_running_worker_shows_its_engine_and_its_numbers(place: Place) -> None:
    place.start()
    place.metrics.job_answered(Answer.COMMITTED, audio_seconds=60.0)
    document = place.status.document()
    assert (document["state"], document["healthy"]) == ("running", True)
    assert document["engine"]["model"] == "fake"
    assert document["audio_held_seconds"] == 125.0
    assert document["jobs"] == {"committed": 1}
    assert document["extra"] == {"gpu_used_bytes": 1, "gpu_bytes": 2}
    assert document["held"] == []


def test_no_metric_takes_the_place_of_another_part(place: Place) -> None:
    taken = {metric.status.partition(".")[0] for metric in METRICS if metric.status}
    own = set(place.status.document()) - taken
    assert own == {"state", "healthy", "unhealthy_because", "engine", "extra", "held"}


def test_a_held_job_is_shown_with_its_stage_and_progress(place: Place, lane: Lane) -> None:
    place.start()
    task = place.hold(lane)
    shown = {
        "job_id": "a",
        "stage": "coming",
        "bytes": None,
        "done_seconds": 0.0,
        "total_seconds": None,
        "receive_count": 1,
    }
    assert place.status.document()["held"] == [shown]
    task.size, task.submission = 9, FakeSubmission()
    (running,) = place.holdings.ready(task)
    assert running is task
    assert place.status.document()["held"] == [
        shown | {"stage": "running", "bytes": 9, "done_seconds": 10.0, "total_seconds": 30.0}
    ]
    assert place.status.document()["messages_held"] == 1


def test_a_worker_that_takes_nothing_is_unhealthy_unless_it_drains(place: Place) -> None:
    place.start()
    place.intake.alive = False
    assert place.status.unhealthy() == "no messages are taken any more"
    place.status.state = State.DRAINING
    assert place.status.unhealthy() is None
    assert place.status.document()["state"] == "draining"


def test_a_broken_or_hung_engine_is_unhealthy(place: Place) -> None:
    place.start()
    place.engine.progress = time.monotonic() - 301.0
    assert place.status.unhealthy() == "no progress on the device"
    place.engine.progress = time.monotonic()
    assert place.status.unhealthy() is None
    place.engine.broke = EngineError("the device is lost")
    assert place.status.unhealthy() == "no progress on the device"


def test_a_worker_that_fails_every_job_is_unhealthy_until_one_succeeds(place: Place) -> None:
    place.start()
    for _ in range(4):
        place.metrics.job_answered(Answer.RELEASED, ours=True)
    for of_no_account in (Answer.FAILED, Answer.ALREADY, Answer.DROPPED, Answer.RELEASED):
        place.metrics.job_answered(of_no_account)
    assert place.status.unhealthy() is None
    place.metrics.job_answered(Answer.LOST, ours=True)
    because = place.status.unhealthy()
    assert because is not None
    assert because.startswith("the last 5 jobs failed")
    document = place.status.document()
    assert (document["healthy"], document["unhealthy_because"]) == (False, because)
    assert document["failures_in_a_row"] == 5
    assert place.status.line().startswith("running (unhealthy: the last 5 jobs failed")
    place.metrics.job_answered(Answer.COMMITTED)
    assert place.status.unhealthy() is None
    assert place.status.document()["unhealthy_because"] is None


def test_the_line_for_systemd(place: Place) -> None:
    place.start()
    assert place.status.line() == (
        "running: 0 messages and 125 s of audio held, 0 jobs done, no speed yet, ? on the queue"
    )
    place.metrics.set(QUEUE_VISIBLE, 7)
    place.metrics.job_answered(Answer.COMMITTED, audio_seconds=60.0)
    place.engine.counters.busy_seconds = 4.0
    assert place.status.line() == (
        "running: 0 messages and 125 s of audio held, 1 jobs done, 15.0x, 7 on the queue"
    )
