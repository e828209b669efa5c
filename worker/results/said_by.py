"""Who a segment is by: told the same way in every format (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.results.spelling import one_line

if TYPE_CHECKING:
    from worker.results.transcript import Segment

__all__ = ["introduced", "introduction", "said_by"]


def said_by(segment: Segment) -> str | None:
    """The label of a segment's channel, or of its speaker; None where neither is known.

    It stands on one line. A segment has one of the two at most: no job asks for both.
    """
    return one_line(segment.channel or segment.speaker or "") or None


def introduction(label: str) -> str:
    """What stands before a text to say who it is by, as WhisperX writes it: `[SPEAKER_00]:`."""
    return f"[{label}]:"


def introduced(segment: Segment, text: str) -> str:
    """A text of a segment behind its introduction; alone where nobody is known."""
    label = said_by(segment)
    return f"{introduction(label)} {text}" if label else text
