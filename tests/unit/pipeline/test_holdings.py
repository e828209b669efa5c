from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import cache

import pytest

from worker.aws.clients import make_clients
from worker.aws.dead_letter import DeadLetters
from worker.aws.lease import LeaseTable
from worker.aws.queue import Message, Queue
from worker.aws.source import Source
from worker.jobs.message import JobDefaults, parse_message
from worker.pipeline.answers import Answer
from worker.pipeline.holdings import Holdings, unsized_seconds
from worker.pipeline.record import Run
from worker.pipeline.task import Held, Stage, Task


@cache
def _source() -> Source:
    """Somewhere for messages to come from; nothing here asks it for any."""
    client = make_clients().sqs
    queue = Queue(client, "https://sqs.invalid/queue", visibility_timeout=60)
    return Source(queue, DeadLetters(client, queue), LeaseTable(60, clock=lambda: 0.0))


def _held(name: str, jobs: int = 1, run: Run = Run.TOGETHER) -> Held:
    message = Message(name, f"receipt-{name}", "", origin_id=name)
    body = str([{"input": f"s3://bucket/{n}"} for n in range(jobs)]).replace("'", '"')
    parsed = parse_message(body, message_id=name, defaults=JobDefaults())
    source = _source()
    lease = source.hold(message)
    tasks = tuple(Task(job, message, lease, source, run=run) for job in parsed.jobs)
    return Held(message, lease, source, tasks, open=len(tasks))


def _add(holdings: Holdings, name: str, run: Run = Run.TOGETHER) -> Task:
    held = _held(name, run=run)
    assert holdings.add(held)
    return held.tasks[0]


def test_a_message_is_settled_with_its_last_answer() -> None:
    holdings = Holdings()
    held = _held("m", jobs=3)
    holdings.add(held)
    assert not holdings.answer(held, Answer.COMMITTED)
    assert not holdings.answer(held, Answer.RELEASED, delay=40)
    assert holdings.answer(held, Answer.RELEASED, delay=7)
    assert held.delay == 40
    assert len(holdings) == 1
    holdings.remove(held)
    assert len(holdings) == 0


def test_a_draining_worker_takes_nothing_in() -> None:
    holdings = Holdings()
    holdings.drain()
    assert not holdings.add(_held("late"))
    assert len(holdings) == 0


def test_a_job_is_claimed_once() -> None:
    holdings = Holdings()
    task = _add(holdings, "m")
    assert not holdings.claim(task), "it is still on its way in"
    assert holdings.ready(task) == [task]
    assert holdings.claim(task)
    assert not holdings.claim(task)
    assert task.stage is Stage.ENDING


def test_a_suspect_waits_until_everybody_else_is_done_and_then_runs_alone() -> None:
    holdings = Holdings()
    innocent, coming = _add(holdings, "a"), _add(holdings, "b")
    suspect = _add(holdings, "c", Run.ALONE)
    assert holdings.ready(innocent) == [innocent]
    assert holdings.ready(suspect) == []
    assert holdings.suspects() == 1
    assert holdings.leave(innocent) == [], "one is still coming"
    assert holdings.ready(coming) == [coming]
    assert holdings.leave(coming) == [suspect]
    late = _add(holdings, "d")
    assert holdings.ready(late) == [], "nobody joins a suspect"
    assert holdings.leave(suspect) == [late]
    assert holdings.suspects() == 0


def test_a_draining_worker_admits_nobody() -> None:
    holdings = Holdings()
    task = _add(holdings, "m")
    holdings.drain()
    assert holdings.ready(task) == []
    assert holdings.waiting() == [task]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_everybody_runs_and_suspects_run_alone(seed: int) -> None:
    rng = random.Random(seed)
    holdings = Holdings()
    coming = [
        _add(holdings, f"m{n}", rng.choice([Run.TOGETHER, Run.TOGETHER, Run.ALONE]))
        for n in range(12)
    ]
    expected = len(coming)
    running: list[Task] = []
    ran = 0
    while coming or running:
        if coming and (not running or rng.random() < 0.5):
            admitted = holdings.ready(coming.pop(rng.randrange(len(coming))))
        else:
            task = running.pop(rng.randrange(len(running)))
            assert holdings.claim(task)
            admitted = holdings.leave(task)
        running += admitted
        ran += len(admitted)
        if any(task.run is Run.ALONE for task in running):
            assert len(running) == 1
    assert ran == expected


def test_a_message_only_waits_for_speakers_when_each_of_its_unanswered_jobs_does() -> None:
    holdings = Holdings()
    held = _held("m", jobs=3)
    holdings.add(held)
    first, second, third = held.tasks
    for task in held.tasks:
        holdings.ready(task)
    holdings.text_done(first)
    holdings.text_done(second)
    assert holdings.only_speakers_left() == 0, "the third has no text"
    assert holdings.claim(third)
    assert holdings.only_speakers_left() == 0, "its answer is being written"
    holdings.leave(third)
    holdings.answer(held, Answer.COMMITTED)
    assert holdings.only_speakers_left() == 1
    assert len(holdings) == 1, "it is held all the same"
    assert holdings.claim(first)
    assert holdings.only_speakers_left() == 0
    holdings.leave(first)
    holdings.answer(held, Answer.COMMITTED)
    assert holdings.only_speakers_left() == 1
    holdings.remove(held)
    assert holdings.only_speakers_left() == 0, "released, whatever its job is doing"


def test_a_job_that_left_the_engine_waits_for_no_speakers() -> None:
    holdings = Holdings()
    task = _add(holdings, "m")
    holdings.ready(task)
    holdings.claim(task)
    holdings.text_done(task)
    assert holdings.only_speakers_left() == 0


@pytest.mark.parametrize("event", ["text", "answer"])
def test_whoever_waits_for_room_is_woken_when_only_speakers_are_left(event: str) -> None:
    holdings = Holdings()
    held = _held("m", jobs=2)
    holdings.add(held)
    holdings.ready(held.tasks[0])
    happens: dict[str, Callable[[], object]] = {
        "text": lambda: holdings.text_done(held.tasks[0]),
        "answer": lambda: holdings.answer(held, Answer.COMMITTED),
    }
    woken: list[bool] = []
    waits = threading.Event()

    def wait() -> None:
        with holdings.changed:
            waits.set()
            woken.append(holdings.changed.wait(20))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(20)
    happens[event]()  # it needs the lock, which is free once the thread waits
    thread.join(30)
    assert woken == [True]


def test_jobs_count_by_their_size_until_they_are_in_the_engine() -> None:
    holdings = Holdings()
    running, waiting = _add(holdings, "a"), _add(holdings, "b", Run.ALONE)
    assert holdings.unsized_seconds() == 120.0
    waiting.size = 160_000
    assert holdings.unsized_seconds() == 70.0
    holdings.ready(running)
    holdings.ready(waiting)
    assert holdings.unsized_seconds() == 10.0, "the one runs, the other waits for it"
    holdings.leave(running)
    assert holdings.unsized_seconds() == 0.0


def test_a_job_counts_before_its_length_is_known() -> None:
    assert unsized_seconds(None) == 60.0
    assert unsized_seconds(16_000 * 90) == 90.0
    assert unsized_seconds(1) == 1.0
