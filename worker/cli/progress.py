"""How far a command is, how fast it goes and how long it will take, in words (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FileProgress", "Progress", "clock", "counted", "fraction", "of_files", "words"]

SETTLED_SECONDS = 5.0
"""Before this much time has passed, speed and time left are guesses that jump: not shown."""


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
        done: whether it is done; one that failed has no audio left to do.
    """

    size: int
    seconds: float = 0.0
    of_seconds: float | None = None
    done: bool = False


def of_files(files: Iterable[FileProgress]) -> Progress:
    """The progress of many files together.

    Files that wait have no known length: they are taken to hold as many seconds a byte as the
    files whose length is known.
    """
    listed = list(files)
    known = [file for file in listed if file.of_seconds is not None]
    unknown = sum(file.size for file in listed if file.of_seconds is None and not file.done)
    of_seconds: float | None = sum(file.of_seconds or 0.0 for file in known)
    size = sum(file.size for file in known)
    if unknown:
        of_seconds = of_seconds * (1 + unknown / size) if of_seconds and size else None
    return Progress(
        done=sum(file.done for file in listed),
        total=len(listed),
        seconds=sum(file.seconds for file in listed),
        of_seconds=of_seconds,
        estimated=bool(unknown),
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
    if part and settled and part < 1.0:
        parts.append(f"{clock(elapsed * (1 - part) / part)} left")
    return ", ".join(parts)


def counted(number: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def clock(seconds: float) -> str:
    """`0:07`, `12:00`, `1:02:03`: seconds rounded down, as a player shows them."""
    whole = math.floor(max(0.0, seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
