"""What became of each job, and what follows for the message that brought it (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Answer", "Outcome", "Settlement", "settle"]


class Answer(StrEnum):
    """What became of one job of a held message.

    COMMITTED: its result is written. ALREADY: its result was there before. FAILED: its error is
    kept for good. DROPPED: its event makes no job. RELEASED: it is to be delivered again.
    LOST: the lease is gone, so the job is another worker's.
    """

    COMMITTED = "committed"
    ALREADY = "already"
    FAILED = "failed"
    DROPPED = "dropped"
    RELEASED = "released"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether the job needs no other delivery."""
        return self in (Answer.COMMITTED, Answer.ALREADY, Answer.FAILED, Answer.DROPPED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job ended here.

    Attributes:
        answer: what became of it.
        delay: seconds to hide the message if it is released.
        ours: it failed, and not for its own sake: the worker or the world around it is at fault.
        audio_seconds: length of the audio, of a commit.
        seconds: from fetch to commit, of a commit.
        stages: seconds by stage, of a commit.
    """

    answer: Answer
    delay: int = 0
    ours: bool = False
    audio_seconds: float = 0.0
    seconds: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)


class Settlement(StrEnum):
    """What to do with the message once each of its jobs has an answer.

    DELETE it, RELEASE it for another delivery, or ABANDON it: touch it no more.
    """

    DELETE = "delete"
    RELEASE = "release"
    ABANDON = "abandon"


def settle(answers: Iterable[Answer]) -> Settlement:
    """What to do with a message whose jobs have these answers.

    It is deleted only when every job of it needs no other delivery. A lost lease outweighs the
    rest: the receipt is stale, and the message is another worker's now.
    """
    settlement = Settlement.DELETE
    for answer in answers:
        if answer is Answer.LOST:
            return Settlement.ABANDON
        if not answer.final:
            settlement = Settlement.RELEASE
    return settlement
