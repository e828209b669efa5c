"""Signals that ask a command to end.

A command that has something to finish is `interruptible`: the first Ctrl-C or SIGTERM is only
noted; whoever works looks at `Interrupts.asked` often, stops, and says what is done. So no signal
breaks into the middle of a file that is being written. The second ends the process at once.

For one that only has something to take down, KeyboardInterrupt is enough: `ended_as_by_ctrl_c`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = ["Interrupts", "ended_as_by_ctrl_c", "interruptible"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """What signals have come."""

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal has asked the command to stop."""
        return self._first is not None

    def note(self, number: int) -> bool:
        """A signal has come; whether it is the first."""
        first = self._first is None
        if first:
            self._first = number
        return first

    def end(self) -> NoReturn:
        """End the process now, with 128 and the signal's number, as a shell says it.

        Nothing is waited for or taken down: native threads that are computing would abort.
        """
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, RuntimeError, ValueError):
                stream.flush()
        os._exit(128 + (self._first or signal.SIGINT))


@contextmanager
def interruptible(before_exit: Callable[[], None]) -> Iterator[Interrupts]:
    """Signals are noted within this block. For the main thread, as Python demands.

    Args:
        before_exit: called before a second signal ends the process; it may interrupt the main
            thread anywhere, so it must take no lock.
    """
    interrupts = Interrupts()

    def handle(number: int, frame: FrameType | None) -> None:
        if not interrupts.note(number):
            before_exit()
            interrupts.end()

    with _handled(SIGNALS, handle):
        yield interrupts


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP (the terminal is closed) raise KeyboardInterrupt within this block.

    The first of them: another would break into what is taken down because of it. For the main
    thread, as Python demands.
    """
    came = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise KeyboardInterrupt

    with _handled((signal.SIGTERM, signal.SIGHUP), handle):
        yield


@contextmanager
def _handled(
    numbers: Iterable[int], handle: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """A handler for signals, but those that are ignored (nohup, the background of a script)."""
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
