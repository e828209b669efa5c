"""What became of each job, and what follows for the message that brought it (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

__all__ = ["Answer", "Settlement", "settle"]


class Answer(StrEnum):
    """What became of one job of a held message."""

    COMMITTED = "committed"
    ALREADY = "already"
    FAILED = "failed"
    DROPPED = "dropped"
    RELEASED = "released"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """The job needs no other delivery."""
        return self in (Answer.COMMITTED, Answer.ALREADY, Answer.FAILED, Answer.DROPPED)


class Settlement(StrEnum):
    """What follows for the message once each of its jobs has an answer."""

    DELETE = "delete"
    RELEASE = "release"
    ABANDON = "abandon"


def settle(answers: Iterable[Answer]) -> Settlement:
    """A message is deleted only when every job of it is answered for good.

    A lost lease outweighs the rest: the receipt is stale, and what it names belongs to
    another worker now.
    """
    settlement = Settlement.DELETE
    for answer in answers:
        if answer is Answer.LOST:
            return Settlement.ABANDON
        if not answer.final:
            settlement = Settlement.RELEASE
    return settlement
