"""What holds for every SQS queue: its limits, and what its name says (pure).

Source of the limits: Amazon SQS Developer Guide, "Amazon SQS message quotas".
"""

from __future__ import annotations

import hashlib
import re

__all__ = ["MAX_VISIBILITY_SECONDS", "MAX_WAIT_SECONDS", "MESSAGES_PER_CALL", "fifo_id", "is_fifo"]

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


_FIFO_ID = re.compile(r"[!-~]{1,128}")
"""What message groups and deduplication ids may hold: ASCII's letters, digits and punctuation."""


def fifo_id(name: str) -> str:
    """A name as the id of a message group or for deduplication; hashed where SQS doesn't take it.

    SNS asks the same of the ids that it passes on.
    """
    return name if _FIFO_ID.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()
