"""Clocks around chosen functions: how much CPU each part of a program takes for itself.

Each thread has a stack of running clocks, and only the innermost runs: what a part calls of another
part counts for that other one. Reading a thread's CPU clock takes half a microsecond, so the parts
are few and coarse, and what they say is close to what runs without them.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections import defaultdict
from collections.abc import Callable
from time import thread_time_ns
from typing import Any

__all__ = ["Clocks"]


class Clocks:
    """Counts, for each part, its calls and its nanoseconds, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def clock(
        self, part: str, place: str, *, named: Callable[..., str] | None = None, whole: bool = False
    ) -> None:
        """Put a clock around a function, for good.

        Args:
            part: what its time counts for.
            place: `module:function` or `module:Class.method`; AttributeError if there is none.
            named: makes the part's name of the call's arguments instead.
            whole: count all that it calls as well, and leave the other clocks as they are.
        """
        module, _, path = place.partition(":")
        *holders, name = path.split(".")
        holder = functools.reduce(getattr, holders, importlib.import_module(module))
        inner = getattr(holder, name)
        around = self._around_whole if whole else self._around_own

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            return around(named(*args) if named else part, inner, args, kwargs)

        setattr(holder, name, timed)

    def reset(self) -> None:
        """Begin at nothing again."""
        with self._lock:
            self._spent.clear()

    def spent(self) -> dict[str, tuple[int, float]]:
        """(calls, milliseconds) of each part."""
        with self._lock:
            return {part: (calls, ns / 1e6) for part, (calls, ns) in self._spent.items()}

    def _around_whole(self, part: str, inner: Any, args: Any, kwargs: Any) -> Any:
        began = thread_time_ns()
        try:
            return inner(*args, **kwargs)
        finally:
            self._add(part, thread_time_ns() - began)

    def _around_own(self, part: str, inner: Any, args: Any, kwargs: Any) -> Any:
        # One number a thread is enough for a stack: what the clocks inside have counted.
        inside_before = getattr(self._local, "inside", 0)
        self._local.inside = 0
        began = thread_time_ns()
        try:
            return inner(*args, **kwargs)
        finally:
            whole = thread_time_ns() - began
            self._add(part, whole - self._local.inside)
            self._local.inside = inside_before + whole

    def _add(self, part: str, nanoseconds: int) -> None:
        with self._lock:
            entry = self._spent[part]
            entry[0] += 1
            entry[1] += nanoseconds
