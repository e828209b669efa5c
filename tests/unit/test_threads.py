from __future__ import annotations

import threading
from functools import partial

from worker.threads import StoppableThread, SupervisedThread, ThreadPool


def test_a_death_is_reported_with_its_cause() -> None:
    deaths: list[tuple[str, BaseException]] = []
    error = RuntimeError("gone")

    def fail() -> None:
        raise error

    thread = SupervisedThread("one", fail, lambda name, cause: deaths.append((name, cause)))
    thread.start()
    assert thread.join(5)
    assert deaths == [("one", error)]


def test_a_good_end_is_no_death() -> None:
    deaths: list[str] = []
    thread = SupervisedThread("one", lambda: None, lambda name, _: deaths.append(name))
    assert thread.join(0), "one that never started has ended"
    thread.start()
    assert thread.join(5)
    assert deaths == []


def test_a_stoppable_thread_ends_when_asked_and_says_whether_it_has() -> None:
    rounds = threading.Event()
    busy = threading.Event()

    def work() -> None:
        while not thread.stopping.wait(0.001):
            rounds.set()
        busy.wait(10)

    thread = StoppableThread("one", work)
    thread.start()
    assert rounds.wait(5)
    assert thread.alive
    assert not thread.stop(0.05), "it is busy with its last round"
    busy.set()
    assert thread.stop(5)
    assert not thread.alive


def test_a_stoppable_thread_that_never_started_can_be_stopped() -> None:
    assert StoppableThread("one", lambda: None).stop(0)


def test_a_pool_does_everything_and_ends() -> None:
    pool = ThreadPool("pool", 3, lambda *_: None)
    done: list[int] = []
    for number in range(20):
        pool.put(partial(done.append, number))
    pool.start()
    assert pool.stop(5)
    assert sorted(done) == list(range(20))


def test_a_pool_that_is_stuck_is_not_waited_for() -> None:
    held = threading.Event()
    pool = ThreadPool("pool", 1, lambda *_: None)
    pool.put(lambda: held.wait(10))
    pool.start()
    assert not pool.stop(0.05)
    held.set()


def test_a_task_that_raises_is_reported() -> None:
    deaths: list[str] = []
    pool = ThreadPool("pool", 2, lambda name, _: deaths.append(name))
    pool.put(lambda: 1 // 0)
    pool.start()
    pool.stop(5)
    assert len(deaths) == 1
