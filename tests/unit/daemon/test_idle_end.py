from __future__ import annotations

import os
import signal
from typing import Literal

import pytest
from structlog.testing import capture_logs

from worker.aws.instance import EndResult
from worker.daemon.idle_end import IdleEnd
from worker.daemon.stops import Stop, Stops
from worker.errors import ExitCode, MachineError, SettingsError, TransientError

OnIdle = Literal["exit", "poweroff", "terminate"]
ENDS: tuple[OnIdle, ...] = ("poweroff", "terminate")

NO_ANSWER = TransientError("no answer")
NO_RULE = MachineError("'systemctl poweroff' failed with 1")


class Instance:
    """An instance that ends, or not, as its list of results says; the last one stays."""

    def __init__(self, *results: EndResult | Exception) -> None:
        self.results = list(results) or [EndResult.ENDING]
        self.calls: list[str] = []

    def unprotect(self) -> None:
        self.calls.append("unprotect")

    def terminate(self) -> EndResult:
        return self._end("terminate")

    def poweroff(self) -> EndResult:
        return self._end("poweroff")

    def _end(self, how: str) -> EndResult:
        self.calls.append(how)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result


class Place:
    def __init__(self, on_idle: OnIdle, instance: Instance, *, draining: bool = False) -> None:
        self.stops = Stops(drain_timeout=90.0)
        self.instance = instance
        self.idle = IdleEnd(self.stops, instance, on_idle=on_idle, draining=lambda: draining)

    def stop(self) -> Stop | None:
        return self.stops.next(0)


def test_an_idle_worker_ends_and_its_machine_only_if_it_is_to() -> None:
    place = Place("exit", Instance())
    assert place.idle.end(0.0) is None
    stop = place.stop()
    assert stop is not None
    assert stop.idle
    assert place.instance.calls == ["unprotect"]


@pytest.mark.parametrize("on_idle", ENDS)
@pytest.mark.parametrize("result", [EndResult.ENDING, EndResult.NOT_ON_EC2])
def test_a_machine_is_ended_before_the_worker(on_idle: OnIdle, result: EndResult) -> None:
    place = Place(on_idle, Instance(result))
    assert place.idle.end(0.0) is None
    stop = place.stop()
    assert stop is not None
    assert stop.idle
    assert place.instance.calls == ["unprotect", on_idle]


@pytest.mark.parametrize(
    ("on_idle", "result"),
    [
        ("poweroff", EndResult.INHIBITED),
        ("poweroff", NO_ANSWER),
        ("terminate", EndResult.AT_MINIMUM),
        ("terminate", NO_ANSWER),
    ],
)
def test_what_may_not_end_yet_goes_on_working_and_is_tried_again(
    on_idle: OnIdle, result: EndResult | Exception
) -> None:
    place = Place(on_idle, Instance(*[result] * 20, EndResult.ENDING))
    waits = [place.idle.end(0.0) for _ in range(20)]
    assert place.stop() is None
    assert waits[:3] == [10.0, 20.0, 40.0]
    assert max(wait or 0 for wait in waits) == waits[-1] == 300.0, "it never stays for long"
    assert place.idle.end(0.0) is None
    assert place.stop() is not None


def test_a_power_off_that_fails_is_tried_some_times_and_then_needs_a_person() -> None:
    place = Place("poweroff", Instance(NO_RULE))
    assert [place.idle.end(0.0) for _ in range(4)] == [10.0, 20.0, 40.0, 80.0]
    assert place.stop() is None
    assert place.idle.end(0.0) is None
    stop = place.stop()
    assert stop is not None
    assert (stop.message, stop.code, stop.idle) == (str(NO_RULE), ExitCode.MACHINE, False)


def test_failures_on_both_sides_of_an_upgrade_are_not_added_up() -> None:
    failures: list[EndResult | Exception] = [NO_RULE] * 4
    place = Place("poweroff", Instance(*failures, EndResult.INHIBITED, *failures, EndResult.ENDING))
    assert None not in [place.idle.end(0.0) for _ in range(9)]
    assert place.idle.end(0.0) is None
    stop = place.stop()
    assert stop is not None
    assert stop.idle


def test_after_work_attempts_and_waits_begin_anew() -> None:
    place = Place("poweroff", Instance(NO_RULE))
    for idle_since in (0.0, 1000.0, 2000.0):
        waits = [place.idle.end(idle_since) for _ in range(4)]
        assert waits == [10.0, 20.0, 40.0, 80.0]
    assert place.stop() is None
    assert place.idle.end(2000.0) is None
    assert place.stop() is not None


@pytest.mark.parametrize(
    ("on_idle", "error", "event"),
    [
        ("poweroff", NO_ANSWER, "instance.poweroff_failed"),
        ("poweroff", NO_RULE, "instance.poweroff_failed"),
        ("terminate", NO_ANSWER, "instance.terminate_failed"),
    ],
)
def test_what_failed_is_what_the_log_says(on_idle: OnIdle, error: Exception, event: str) -> None:
    place = Place(on_idle, Instance(error))
    with capture_logs() as lines:
        assert place.idle.end(0.0) is not None
    assert [(line["event"], line["log_level"]) for line in lines] == [(event, "warning")]
    assert str(error) in lines[0]["message"]


@pytest.mark.parametrize("on_idle", ENDS)
def test_what_is_not_allowed_needs_a_person_at_once(on_idle: OnIdle) -> None:
    place = Place(on_idle, Instance(SettingsError("the role may not")))
    assert place.idle.end(0.0) is None
    stop = place.stop()
    assert stop is not None
    assert (stop.code, stop.idle) == (ExitCode.SETTINGS, False)


@pytest.mark.parametrize("on_idle", ENDS)
def test_a_stop_never_ends_the_machine(on_idle: OnIdle) -> None:
    draining = Place(on_idle, Instance(), draining=True)
    assert draining.idle.end(0.0) is None
    signalled = Place(on_idle, Instance(EndResult.INHIBITED))
    with signalled.stops.handling_signals(lambda: None):
        signalled.instance.calls.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        stop = signalled.stop()
    assert stop is not None
    assert stop.event == "drain.signal"
    assert signalled.idle.end(0.0) is None
    assert draining.instance.calls == signalled.instance.calls == []
    assert draining.stop() is signalled.stop() is None
