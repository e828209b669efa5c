from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from worker.aws.imds import SpotNotice
from worker.daemon.stops import Stop, Stops, Watchdog
from worker.errors import EngineError, ExitCode, MachineError, SettingsError


@pytest.fixture
def stops() -> Stops:
    return Stops(drain_timeout=90.0)


def _taken(stops: Stops) -> Stop:
    stop = stops.next(0)
    assert stop is not None
    return stop


# -- where they wait --------------------------------------------------------------------------


def test_reasons_wait_in_the_order_they_came(stops: Stops) -> None:
    assert stops.next(0) is None
    stops.asked()
    stops.terminating()
    stops.idle()
    events = [_taken(stops).event for _ in range(3)]
    assert events == ["drain.asked", "drain.terminating", "drain.idle"]
    assert stops.next(0) is None


def test_a_reason_wakes_who_waits_for_one(stops: Stops) -> None:
    threading.Timer(0.05, stops.asked).start()
    began = time.monotonic()
    assert stops.next(20) is not None
    assert time.monotonic() - began < 10


def test_only_idleness_lets_the_setting_on_idle_apply(stops: Stops) -> None:
    stops.idle()
    assert _taken(stops).idle
    for put in (stops.asked, stops.rebalance, stops.terminating):
        put()
        assert not _taken(stops).idle


def test_a_spot_notice_cuts_the_drain_to_the_time_that_is_left(stops: Stops) -> None:
    stops.spot_notice(SpotNotice("stop", time.time() + 60))
    stop = _taken(stops)
    assert stop.seconds == pytest.approx(50, abs=1), "a sixth is kept for saving checkpoints"
    assert "will stop" in stop.message
    stops.spot_notice(SpotNotice("terminate", time.time() + 1000))
    assert _taken(stops).seconds == 90.0, "drain_timeout at most"


def test_a_rebalance_recommendation_has_no_deadline(stops: Stops) -> None:
    stops.rebalance()
    assert _taken(stops).seconds == math.inf


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError("gone"), ExitCode.FAILURE), (SettingsError("no queue"), ExitCode.SETTINGS)],
)
def test_a_death_ends_with_the_exit_code_of_its_cause(
    stops: Stops, error: Exception, code: ExitCode
) -> None:
    stops.thread_died("intake", error)
    stop = _taken(stops)
    assert (stop.event, stop.code) == ("drain.thread_died", code)
    assert "intake" in stop.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("the role may not"), ExitCode.SETTINGS),
        (MachineError("no polkit rule"), ExitCode.MACHINE),
    ],
)
def test_a_machine_that_can_not_be_ended_needs_a_person(
    stops: Stops, error: SettingsError | MachineError, code: ExitCode
) -> None:
    stops.cannot_end(error)
    stop = _taken(stops)
    assert (stop.message, stop.code, stop.idle) == (str(error), code, False)


# -- signals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_reason_to_stop(stops: Stops, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stops.handling_signals(lambda: None):
        assert not stops.signalled
        os.kill(os.getpid(), number)
        stop = stops.next(20)
    assert stop is not None
    assert (stop.event, stop.code) == ("drain.signal", ExitCode.OK)
    assert number.name in stop.message
    assert stops.signalled
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal, time; from worker.daemon.stops import Stops\n"
        "with Stops(drain_timeout=90).handling_signals(lambda: print('cleaned', flush=True)):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('goes on', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("goes on\ncleaned\n", ExitCode.FAILURE)


def test_off_the_main_thread_signals_stay_as_they_are(stops: Stops) -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def look() -> None:
        with stops.handling_signals(lambda: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(20)
    assert found == [before]


# -- the watchdog -----------------------------------------------------------------------------


class Device:
    """An engine as the watchdog sees it."""

    def __init__(self) -> None:
        self.broke: BaseException | None = None
        self.progress: float | None = None

    def failure(self) -> BaseException | None:
        return self.broke

    def last_progress(self) -> float | None:
        return self.progress


class Thread:
    """A thread as the watchdog sees it."""

    def __init__(self) -> None:
        self.alive = True
        self.failure: BaseException | None = None


class Watch:
    def __init__(self) -> None:
        self.device = Device()
        self.heartbeat, self.watcher = Thread(), Thread()
        self.now = 1000.0
        self.dog = Watchdog(
            self.device,
            [("heartbeat", self.heartbeat), ("watcher", self.watcher)],
            hung_after=300.0,
            seconds_without=40.0,
            clock=lambda: self.now,
        )


def test_where_all_is_well_there_is_no_reason() -> None:
    watch = Watch()
    assert watch.dog.check() is None
    assert watch.dog.engine_works()


def test_a_broken_engine_is_a_reason_and_its_jobs_can_not_finish() -> None:
    watch = Watch()
    watch.device.broke = EngineError("the device is lost")
    stop = watch.dog.check()
    assert stop is not None
    assert (stop.event, stop.code) == ("engine.failed", ExitCode.FAILURE)
    assert (stop.engine_lost, stop.hung) == (True, False)
    assert "the device is lost" in stop.message
    assert not watch.dog.engine_works()


def test_no_progress_with_work_is_a_reason_and_without_work_is_none() -> None:
    watch = Watch()
    watch.now = 1e6
    assert watch.dog.check() is None, "no work, however long"
    watch.device.progress = watch.now
    watch.now += 300.0
    assert watch.dog.check() is None
    watch.now += 1.0
    stop = watch.dog.check()
    assert stop is not None
    assert (stop.event, stop.code) == ("engine.hung", ExitCode.FAILURE)
    assert (stop.engine_lost, stop.hung) == (True, True)
    assert watch.dog.hung()
    assert not watch.dog.engine_works()


@pytest.mark.parametrize("name", ["heartbeat", "watcher"])
def test_a_dead_thread_is_a_reason_and_leaves_bounded_time(name: str) -> None:
    watch = Watch()
    thread: Thread = getattr(watch, name)
    thread.alive, thread.failure = False, OSError("out of threads")
    stop = watch.dog.check()
    assert stop is not None
    assert (stop.event, stop.code) == ("drain.thread_died", ExitCode.FAILURE)
    assert stop.seconds == 40.0
    assert not stop.engine_lost
    assert name in stop.message
    assert "OSError" in stop.message
    assert watch.dog.engine_works()
