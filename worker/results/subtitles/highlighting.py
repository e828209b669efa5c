"""A cue whose words are underlined one after the other, each while it is said (pure).

As OpenAI's whisper and WhisperX write it: a player can't underline a word in its turn, so each
word has a cue of its own with all of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from worker.results.subtitles.cues import Cue

__all__ = ["Highlight", "highlighted"]


class Highlight(NamedTuple):
    """A time in which a cue has one word, or none, underlined.

    Attributes:
        start_ms: whole milliseconds.
        end_ms: whole milliseconds.
        first: the word's first character in the text of the cue.
        end: one past its last; nothing is underlined if it is `first`.
    """

    start_ms: int
    end_ms: int
    first: int
    end: int


def highlighted(cue: Cue) -> Iterator[Highlight]:
    """What is underlined when, from the start of the cue to its end without a gap."""
    clock, closes = cue.start_ms, cue.end_ms
    for word in cue.words:
        start = max(clock, word.start_ms)
        end = min(word.end_ms, closes)
        if start < end:
            if clock < start:
                yield Highlight(clock, start, 0, 0)
            yield Highlight(start, end, word.first, word.end)
            clock = end
    if clock < closes:
        yield Highlight(clock, closes, 0, 0)
