"""How far a command is, how fast it goes and how long it will take, in words (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from worker.results.plural import counted

__all__ = [
    "FileProgress",
    "Finished",
    "Progress",
    "clock",
    "fraction",
    "of_files",
    "size",
    "words",
]

SETTLED_SECONDS = 5.0
"""Before this much time has passed, speed and time left are guesses that jump: not shown."""

SETTLED_PART = 0.001
"""The least part that must be done before it says how long the rest will take."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a command is.

    Attributes:
        done: files or jobs that are done, failed ones included.
        total: how many there are.
        noun: what they are called: "file", "job".
        seconds: of audio done; None where a command counts no audio.
        of_seconds: of audio in all; None while nobody knows.
        estimated: whether `of_seconds` is a guess.
    """

    done: int
    total: int
    noun: str = "file"
    seconds: float | None = None
    of_seconds: float | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far one file is.

    Attributes:
        size: bytes of the file.
        seconds: of its audio that are done.
        of_seconds: of its audio in all; None while nobody knows.
    """

    size: int
    seconds: float = 0.0
    of_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """Files that are behind us.

    Attributes:
        files: how many, failed ones included.
        size: bytes of those transcribed.
        seconds: of their audio.
    """

    files: int = 0
    size: int = 0
    seconds: float = 0.0


def of_files(
    finished: Finished, begun: Iterable[FileProgress], *, waiting_size: int, total: int
) -> Progress:
    """The progress of many files together.

    Files that wait have no known length: they are taken to hold as many seconds a byte as the
    files whose length is known.

    Args:
        finished: the files that are done.
        begun: those that are being done.
        waiting_size: bytes of those that wait.
        total: how many there are of all these.
    """
    seconds = known = finished.seconds
    known_size = finished.size
    unknown_size = waiting_size
    for file in begun:
        seconds += file.seconds
        if file.of_seconds is None:
            unknown_size += file.size
        else:
            known += file.of_seconds
            known_size += file.size
    if not unknown_size:
        of_seconds: float | None = known
    else:
        of_seconds = known * (1 + unknown_size / known_size) if known and known_size else None
    return Progress(
        done=finished.files,
        total=total,
        seconds=seconds,
        of_seconds=of_seconds,
        estimated=unknown_size > 0,
    )


def fraction(progress: Progress) -> float | None:
    """The part that is done, 0 to 1: of the audio, or of the files where no audio is counted.

    None while the length of the audio isn't known.
    """
    if progress.seconds is None:
        return min(1.0, progress.done / progress.total) if progress.total else 1.0
    if progress.done >= progress.total:
        return 1.0
    if not progress.of_seconds:
        return None
    return min(1.0, progress.seconds / progress.of_seconds)


def words(progress: Progress, elapsed: float) -> str:
    """`4:10 of 10:00, 1 of 3 files, 5.1x, 1:08 left`; what is unknown is left out.

    Args:
        progress: how far it is.
        elapsed: seconds since it began.
    """
    parts = []
    settled = elapsed >= SETTLED_SECONDS
    if progress.seconds is not None:
        audio = clock(progress.seconds)
        if progress.of_seconds is not None:
            about = "about " if progress.estimated else ""
            audio += f" of {about}{clock(max(progress.seconds, progress.of_seconds))}"
        parts.append(f"{audio} of audio" if progress.of_seconds is None else audio)
    if progress.seconds is None or progress.total > 1:
        parts.append(f"{progress.done} of {counted(progress.total, progress.noun)}")
    if progress.seconds and settled:
        parts.append(f"{progress.seconds / elapsed:.1f}x")
    part = fraction(progress)
    if part is not None and settled and SETTLED_PART <= part < 1.0:
        parts.append(f"{clock(round(elapsed / part - elapsed))} left")
    return ", ".join(parts)


def size(count: int) -> str:
    """`0.3 MB`, `145 MB`, `3.1 GB`: bytes in units of 10^6 or 10^9, as the hub shows them."""
    if count >= 10**9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 10**7 else f"{count / 1e6:.1f} MB"


def clock(seconds: float) -> str:
    """`0:07`, `12:00`, `1:02:03`: seconds rounded down, as a player shows them."""
    whole = math.floor(max(0.0, seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
