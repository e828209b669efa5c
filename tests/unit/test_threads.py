from __future__ import annotations

import threading
from functools import partial

from worker.threads import SupervisedThread, ThreadPool


def test_a_death_is_told_with_its_cause() -> None:
    told: list[tuple[str, BaseException]] = []
    error = RuntimeError("gone")

    def fail() -> None:
        raise error

    side = SupervisedThread("one", fail, lambda name, cause: told.append((name, cause)))
    side.start()
    assert side.join(5)
    assert told == [("one", error)]


def test_a_good_end_is_no_death() -> None:
    told: list[str] = []
    side = SupervisedThread("one", lambda: None, lambda name, _: told.append(name))
    assert side.join(0), "one that never started has ended"
    side.start()
    assert side.join(5)
    assert told == []


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


def test_a_task_that_raises_is_told() -> None:
    told: list[str] = []
    pool = ThreadPool("pool", 2, lambda name, _: told.append(name))
    pool.put(lambda: 1 // 0)
    pool.start()
    pool.stop(5)
    assert len(told) == 1
