"""The machine that is measured on: what it is, and how much memory a run takes.

Memory is the resident set of this process and all its descendants, summed: pages that they
share (libraries) are counted once for each. It is read from /proc, so it is Linux's alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from worker.speech.model import device as devices
from worker.threads import SupervisedThread

__all__ = ["PeakMemory", "card_bytes", "describe", "resident_bytes"]

SAMPLE_SECONDS = 0.05


def describe() -> dict[str, str]:
    """What a report says of the machine: a label and a sentence for each thing."""
    report = {"measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
    report |= devices.describe_machine()
    # Other work on the machine makes every figure wrong, and not by the same factor.
    report["load average"] = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return report


def resident_bytes(pid: int | None = None, proc: Path = Path("/proc")) -> int | None:
    """Resident bytes of a process and its descendants; None where /proc doesn't show it.

    Args:
        pid: the process; this one if None.
        proc: where the kernel's tables are.
    """
    root = os.getpid() if pid is None else pid
    own = _resident(root, proc)
    if own is None:
        return None
    return own + sum(_resident(child, proc) or 0 for child in _descendants(root, proc))


def card_bytes(index: int = 0) -> int:
    """Bytes in use on a CUDA card, by all processes."""
    import torch

    free, total = torch.cuda.mem_get_info(index)
    return int(total - free)


class PeakMemory:
    """The highest reading while it is open; a context manager with a thread that samples.

    Args:
        read: bytes in use, or None where that is unknown.
        discount: bytes of it that the measurement itself holds.
    """

    def __init__(
        self,
        read: Callable[[], int | None] = resident_bytes,
        discount: Callable[[], int] = lambda: 0,
    ) -> None:
        self.bytes: int | None = None
        """The peak so far; None if it is unknown."""
        self._read = read
        self._discount = discount
        self._closed = threading.Event()
        self._thread = SupervisedThread("memory", self._run)

    def __enter__(self) -> PeakMemory:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._closed.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        # The discount first: what is added to it in between only lowers the reading's share.
        held = self._discount()
        reading = self._read()
        if reading is not None:
            self.bytes = max(self.bytes or 0, reading - held)


def _resident(pid: int, proc: Path) -> int | None:
    try:
        pages = (proc / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None  # it has ended, or this is not Linux
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int, proc: Path) -> list[int]:
    found: list[int] = []
    for listing in (proc / str(pid) / "task").glob("*/children"):
        try:
            children = [int(child) for child in listing.read_text(encoding="ascii").split()]
        except OSError:
            continue  # the thread has ended
        for child in children:
            found += [child, *_descendants(child, proc)]
    return found
