"""Dispatch with real queues, leases, holdings and threads; only a job's steps do nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from tests.fakes.pipeline import FakePipeline
from tests.unit.daemon.conftest import Lane, wait_for
from worker.daemon.dispatch import Dispatch
from worker.daemon.metrics import AUDIO_SECONDS, JOBS, LEASES_LOST, Metrics
from worker.jobs.message import JobDefaults
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.holdings import Holdings
from worker.threads import ThreadPool


class Engine:
    """Holds as much audio as the test says."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def held_seconds(self) -> float:
        return self.seconds

    def most_held_seconds(self) -> float:
        return 100.0


class Place:
    """A dispatch and all that it works with."""

    def __init__(self, metrics: Metrics) -> None:
        self.pipeline = FakePipeline()
        self.holdings = Holdings()
        self.engine = Engine()
        self.metrics = metrics
        self.released: list[float] = []
        self.intake_ended = threading.Event()
        self.intake_ended.set()
        self.deaths: list[str] = []
        self.pools = [ThreadPool(name, 2, self._died) for name in ("download", "commit")]
        self.dispatch = Dispatch(
            pipeline=self.pipeline,
            holdings=self.holdings,
            engine=self.engine,
            metrics=metrics,
            downloads=self.pools[0],
            commits=self.pools[1],
            defaults=JobDefaults(),
            released=self.released.append,
            intake_ended=lambda: self.intake_ended.wait(20),
        )
        for pool in self.pools:
            pool.start()

    def _died(self, name: str, error: BaseException) -> None:
        self.deaths.append(f"{name}: {error!r}")

    def take(self, lane: Lane, *job_ids: str) -> bool:
        """Send one message of these jobs, receive it and have it accepted."""
        jobs = [{"input": f"s3://bucket/{name}", "job_id": name} for name in job_ids]
        lane.send(json.dumps({"jobs": jobs} if len(jobs) != 1 else jobs[0]))
        return self.dispatch.accept(lane.receive(), lane.source)

    def in_engine(self, *job_ids: str) -> None:
        """Wait until the engine has these jobs."""
        wait_for(lambda: set(job_ids) <= {task.job.job_id for task in self.holdings.running()})
        wait_for(lambda: set(job_ids) <= self.pipeline.submissions.keys())

    def settled(self) -> None:
        """Wait until nothing is held."""
        assert self.holdings.wait_empty(20)

    def steps_of(self, job_id: str) -> list[str]:
        return [step for step, of in list(self.pipeline.steps) if of == job_id]


@pytest.fixture
def place(counted: Metrics) -> Iterator[Place]:
    place = Place(counted)
    yield place
    place.holdings.drain()
    for pause in place.pipeline.pauses.values():
        pause.set()
    for pool in place.pools:
        assert pool.stop(20)
    assert place.deaths == []


# -- the usual way ----------------------------------------------------------------------------


def test_a_job_is_fetched_submitted_and_finished_and_its_message_deleted(
    place: Place, lane: Lane
) -> None:
    assert place.take(lane, "a")
    place.in_engine("a")
    assert lane.depth() == (0, 1, 0)
    place.pipeline.engine_done("a")
    place.settled()
    assert place.steps_of("a") == ["fetch", "submit", "finish"]
    assert place.pipeline.discarded == ["a"]
    assert lane.depth() == (0, 0, 0)
    assert len(lane.source.leases) == 0
    now = place.metrics.snapshot()
    assert (now[JOBS[Answer.COMMITTED]], now[AUDIO_SECONDS]) == (1, 30.0)
    assert place.released == []


def test_a_message_is_settled_with_the_last_of_its_jobs(place: Place, lane: Lane) -> None:
    place.take(lane, "a", "b")
    place.in_engine("a", "b")
    place.pipeline.engine_done("a")
    wait_for(lambda: place.pipeline.discarded == ["a"])
    assert lane.depth() == (0, 1, 0)
    place.pipeline.engine_done("b")
    place.settled()
    assert lane.depth() == (0, 0, 0)


def test_a_message_of_which_only_speakers_are_left_is_known_until_it_is_settled(
    place: Place, lane: Lane
) -> None:
    place.take(lane, "a", "b")
    place.in_engine("a", "b")
    place.pipeline.submissions["a"].text.set_result(None)
    assert place.holdings.only_speakers_left() == 0
    place.pipeline.engine_done("b")
    wait_for(lambda: place.holdings.only_speakers_left() == 1)
    assert lane.depth() == (0, 1, 0)
    assert len(lane.source.leases) == 1, "its lease is kept"
    place.pipeline.engine_done("a")
    place.settled()
    assert place.holdings.only_speakers_left() == 0
    assert lane.depth() == (0, 0, 0)


def test_a_drain_releases_what_only_waits_for_speakers(place: Place, lane: Lane) -> None:
    place.take(lane, "a")
    place.in_engine("a")
    place.pipeline.submissions["a"].text.set_result(None)
    wait_for(lambda: place.holdings.only_speakers_left() == 1)
    place.holdings.drain()
    place.dispatch.release_running(engine_lost=False)
    place.settled()
    assert place.steps_of("a") == ["fetch", "submit", "interrupt"]
    assert lane.depth() == (1, 0, 0)


def test_one_job_that_needs_another_delivery_releases_the_message(place: Place, lane: Lane) -> None:
    place.pipeline.outcomes["fetch", "b"] = Outcome(Answer.RELEASED, delay=40)
    place.pipeline.outcomes["fetch", "c"] = Outcome(Answer.RELEASED, delay=7)
    place.take(lane, "a", "b", "c")
    place.in_engine("a")
    place.pipeline.engine_done("a")
    place.settled()
    assert lane.depth() == (0, 1, 0), "hidden for the longest delay that was asked for"
    assert place.released == [40]
    assert len(lane.source.leases) == 0
    assert sorted(place.pipeline.discarded) == ["a", "b", "c"]


def test_a_job_that_the_engine_does_not_take_is_answered(place: Place, lane: Lane) -> None:
    place.pipeline.outcomes["submit", "a"] = Outcome(Answer.FAILED)
    place.take(lane, "a")
    place.settled()
    assert place.steps_of("a") == ["fetch", "submit"]
    assert lane.depth() == (0, 0, 0)
    assert place.metrics.snapshot()[JOBS[Answer.FAILED]] == 1


def test_a_message_that_makes_no_job_is_deleted(place: Place, lane: Lane) -> None:
    lane.send(json.dumps({"Event": "s3:TestEvent", "Bucket": "bucket"}))
    assert place.dispatch.accept(lane.receive(), lane.source)
    place.settled()
    assert place.pipeline.steps == []
    assert lane.depth() == (0, 0, 0)


def test_a_wrong_message_is_rejected_and_deleted_only_if_its_error_is_kept(
    place: Place, lane: Lane
) -> None:
    lane.send("{not json")
    first = lane.receive()
    place.dispatch.accept(first, lane.source)
    place.settled()
    assert place.pipeline.steps == [("reject", first.message_id)]
    assert lane.depth() == (0, 0, 0)

    lane.send("{not json either")
    second = lane.receive()
    place.pipeline.outcomes["reject", second.message_id] = Outcome(Answer.RELEASED, delay=900)
    place.dispatch.accept(second, lane.source)
    place.settled()
    assert lane.depth() == (0, 1, 0)
    assert place.released == [900]


def test_each_message_goes_back_to_the_queue_it_came_from(
    place: Place, lane: Lane, other_lane: Lane
) -> None:
    place.take(lane, "done")
    place.take(other_lane, "released")
    place.in_engine("done", "released")
    assert (lane.depth(), other_lane.depth()) == ((0, 1, 0), (0, 1, 0))
    place.pipeline.engine_done("done")
    place.pipeline.outcomes["finish", "released"] = Outcome(Answer.RELEASED)
    place.pipeline.engine_done("released")
    place.settled()
    assert (lane.depth(), other_lane.depth()) == ((0, 0, 0), (1, 0, 0))
    assert len(lane.source.leases) == len(other_lane.source.leases) == 0


def test_no_file_is_fetched_while_the_engine_holds_plenty(place: Place, lane: Lane) -> None:
    place.engine.seconds = 100.0
    place.take(lane, "a")
    with place.holdings.changed:
        place.holdings.changed.wait(0.3)
    assert place.pipeline.steps == []
    place.engine.seconds = 99.0
    place.in_engine("a")


def test_a_drain_ends_the_wait_for_space(place: Place, lane: Lane) -> None:
    place.engine.seconds = 100.0
    place.pipeline.outcomes["fetch", "a"] = Outcome(Answer.RELEASED)
    place.take(lane, "a")
    place.holdings.drain()
    place.settled()
    assert place.steps_of("a") == ["fetch"], "whose first question is whether the worker drains"
    assert lane.depth() == (1, 0, 0)


def test_a_suspect_enters_when_the_others_have_left_and_lets_in_who_waits(
    place: Place, lane: Lane
) -> None:
    place.pipeline.suspects = {"suspect"}
    place.take(lane, "before")
    place.in_engine("before")
    place.take(lane, "suspect")
    wait_for(lambda: place.holdings.suspects() == 1)
    assert place.steps_of("suspect") == ["fetch"]
    place.pipeline.engine_done("before")
    place.in_engine("suspect")
    place.take(lane, "behind")
    wait_for(lambda: len(place.holdings.waiting()) == 1)
    assert place.steps_of("behind") == ["fetch"]
    place.pipeline.engine_done("suspect")
    place.in_engine("behind")


# -- ending early -----------------------------------------------------------------------------


def test_a_draining_worker_accepts_nothing_and_keeps_no_lease(place: Place, lane: Lane) -> None:
    place.holdings.drain()
    assert not place.take(lane, "late")
    assert len(place.holdings) == len(lane.source.leases) == 0
    assert place.pipeline.steps == []


def test_a_lost_lease_stops_the_jobs_and_leaves_the_message_alone(place: Place, lane: Lane) -> None:
    place.take(lane, "a", "b")
    place.in_engine("a", "b")
    message = place.holdings.all()[0].message
    place.dispatch.lost(message)
    place.settled()
    assert place.steps_of("a") == place.steps_of("b") == ["fetch", "submit", "lost"]
    assert lane.depth() == (0, 1, 0), "neither deleted nor released"
    assert place.metrics.snapshot()[LEASES_LOST] == 1
    assert place.released == []
    place.dispatch.lost(message)  # nothing of it is held any more
    assert place.steps_of("a") == ["fetch", "submit", "lost"]


def test_a_lease_near_twelve_hours_is_released_with_its_windows_saved(
    place: Place, lane: Lane
) -> None:
    place.take(lane, "long")
    place.in_engine("long")
    place.dispatch.expiring(place.holdings.all()[0].message)
    place.settled()
    assert place.steps_of("long") == ["fetch", "submit", "interrupt"]
    assert lane.depth() == (1, 0, 0)


@pytest.mark.parametrize(("engine_lost", "step"), [(False, "interrupt"), (True, "broken")])
def test_a_drain_releases_what_waits_and_then_what_runs(
    place: Place, lane: Lane, engine_lost: bool, step: str
) -> None:
    place.pipeline.suspects = {"waiting"}
    place.take(lane, "running")
    place.in_engine("running")
    place.take(lane, "waiting")
    wait_for(lambda: len(place.holdings.waiting()) == 1)
    place.holdings.drain()
    place.dispatch.release_waiting()
    wait_for(lambda: len(place.holdings) == 1)
    assert place.steps_of("waiting") == ["fetch", "interrupt"]
    assert place.steps_of("running") == ["fetch", "submit"], "it may finish"
    place.dispatch.release_running(engine_lost=engine_lost)
    place.settled()
    assert place.steps_of("running") == ["fetch", "submit", step]
    assert lane.depth() == (2, 0, 0)


def test_what_is_fetched_during_a_drain_is_released(place: Place, lane: Lane) -> None:
    fetching = place.pipeline.pauses["fetch", "a"] = threading.Event()
    place.take(lane, "a")
    wait_for(lambda: place.steps_of("a") == ["fetch"])
    place.holdings.drain()
    place.dispatch.release_waiting()
    fetching.set()
    place.settled()
    assert place.steps_of("a") == ["fetch", "interrupt"]
    assert lane.depth() == (1, 0, 0)


def test_a_job_ends_once_though_a_result_and_a_drain_come_together(
    place: Place, lane: Lane
) -> None:
    place.take(lane, "a")
    place.in_engine("a")
    ending = place.pipeline.pauses["interrupt", "a"] = threading.Event()
    place.holdings.drain()
    place.dispatch.release_running(engine_lost=False)
    wait_for(lambda: "interrupt" in place.steps_of("a"))
    place.pipeline.engine_done("a")
    place.dispatch.release_running(engine_lost=False)
    ending.set()
    place.settled()
    assert place.steps_of("a") == ["fetch", "submit", "interrupt"]
    assert place.pipeline.discarded == ["a"]


def test_a_job_whose_lease_is_lost_while_it_is_handed_over_is_cancelled(
    place: Place, lane: Lane
) -> None:
    submitting = place.pipeline.pauses["submit", "a"] = threading.Event()
    place.take(lane, "a")
    wait_for(lambda: "submit" in place.steps_of("a"))
    place.dispatch.lost(place.holdings.all()[0].message)
    place.settled()
    submitting.set()
    wait_for(lambda: "a" in place.pipeline.submissions)
    wait_for(lambda: place.pipeline.submissions["a"].cancelled)
    assert place.steps_of("a") == ["fetch", "submit", "lost"]


def test_while_draining_nothing_is_released_before_the_last_receive_has_ended(
    place: Place, lane: Lane
) -> None:
    place.take(lane, "a")
    place.in_engine("a")
    place.intake_ended.clear()
    place.holdings.drain()
    place.dispatch.release_running(engine_lost=False)
    assert not place.holdings.wait_empty(0.2)
    assert lane.depth() == (0, 1, 0)
    place.intake_ended.set()
    place.settled()
    assert lane.depth() == (1, 0, 0)


def test_release_all_releases_whatever_jobs_are_doing(
    place: Place, lane: Lane, other_lane: Lane
) -> None:
    stuck = place.pipeline.pauses["fetch", "stuck"] = threading.Event()
    place.take(lane, "stuck")
    place.take(other_lane, "running")
    wait_for(lambda: place.steps_of("stuck") == ["fetch"])
    place.in_engine("running")
    place.holdings.drain()
    released = place.dispatch.release_all()
    assert len(released) == 2
    assert len(place.holdings) == len(lane.source.leases) == len(other_lane.source.leases) == 0
    assert (lane.depth(), other_lane.depth()) == ((1, 0, 0), (1, 0, 0))
    stuck.set()  # what is still on its way changes nothing any more
    wait_for(lambda: "stuck" in place.pipeline.discarded)
    assert lane.depth() == (1, 0, 0)
