"""Signals that end a command: what is raised, what is left alone, what is put back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from worker.cli.interrupts import ended_as_by_ctrl_c

NUMBERS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Nothing is ignored at first, whatever the tests were started by."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_interrupts_and_none_breaks_into_what_is_taken_down(
    number: signal.Signals,
) -> None:
    taken_down = False

    def command() -> None:
        nonlocal taken_down
        try:
            os.kill(os.getpid(), number)
        finally:
            for other in NUMBERS:
                os.kill(os.getpid(), other)
            taken_down = True

    with ended_as_by_ctrl_c(), pytest.raises(KeyboardInterrupt):
        command()
    assert taken_down
    assert {signal.getsignal(number) for number in NUMBERS} == {signal.SIG_DFL}


def test_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ended_as_by_ctrl_c():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
