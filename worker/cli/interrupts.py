"""Ctrl-C and SIGTERM in a command that has something to finish first.

The first is only noted: whoever works looks at `Interrupts.asked` often, stops, and says what is
done. So no signal breaks into the middle of a file that is being written. The second ends the
process at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = ["Interrupts", "interruptible"]

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

    # A signal that is ignored (nohup, a job in the background of a script) stays so.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
