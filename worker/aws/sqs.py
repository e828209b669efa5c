"""What holds for every SQS queue: its limits, and what its name says (pure).

Source of the limits: Amazon SQS Developer Guide, "Amazon SQS message quotas".
"""

from __future__ import annotations

__all__ = ["MAX_VISIBILITY_SECONDS", "MAX_WAIT_SECONDS", "MESSAGES_PER_CALL", "is_fifo"]

MESSAGES_PER_CALL = 10
"""Messages in one receive, entries in one batch call."""

MAX_WAIT_SECONDS = 20
"""The longest long poll."""

MAX_VISIBILITY_SECONDS = 43200
"""No message stays hidden for longer than twelve hours from its receive."""


def is_fifo(name: str) -> bool:
    """Whether a queue's URL, or a topic's or queue's ARN, is that of a FIFO one.

    SQS and SNS ask for this ending, and allow it to no others.
    """
    return name.endswith(".fifo")
