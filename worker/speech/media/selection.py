"""What of a file is read: which of its tracks, which of a track's channels (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worker.errors import ErrorCode, JobError

__all__ = ["MOST_SURVEYED", "USUAL", "Kind", "Selection", "Survey", "Surveyed", "check_count"]

Kind = Literal["channels", "tracks"]
"""What of a file is read, and transcribed, each on its own."""

MOST_SURVEYED = 32
"""Channels, or tracks, of one file that are transcribed each on its own: each is decoded as a file
is. `channel_labels` of a job have as many at the most."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be read of a file.

    Attributes:
        stream: number of the audio track, from 0, whatever the file marks; None: the first that is
            marked and has sound (see `choosing.choose`).
        channel: number of the track's channel that is read alone, from 0; None: all, mixed.
    """

    stream: int | None = None
    channel: int | None = None


USUAL = Selection()
"""All channels, mixed, of the track that the file and its sound speak for."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A channel of a track, or a whole track, that can be read on its own.

    Attributes:
        selection: how to read it.
        same_as: position in the survey of the first that holds the same samples; None where
            this is the first.
    """

    selection: Selection
    same_as: int | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file has that can be read on its own.

    Attributes:
        found: in their order, 1 to `MOST_SURVEYED`.
        notes: sentences for the result, on what is left out.
        seconds: of each stage.
    """

    found: tuple[Surveyed, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]


def check_count(count: int, of: str, *, asked: str, fix: str) -> None:
    """Refuses a file that has more than `MOST_SURVEYED` of what was asked for.

    Args:
        count: how many it has.
        of: what, in the plural.
        asked: the field that asks for each on its own, and its value, as a clause.
        fix: what to do instead, as a clause.

    Raises:
        JobError: invalid_job.
    """
    if count > MOST_SURVEYED:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"{asked}, but the file's audio has {count} {of}, more than {MOST_SURVEYED}; {fix}.",
        )
