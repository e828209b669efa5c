"""Words and phrases cut out of recordings, where it is certain which words they hold (pure).

A recording's words are given with rough times, such as an alignment of its known text finds
them. It is cut in the middle of its gaps, and a phrase between two cuts is kept only if no word's
time is in doubt at either: attention aligns words to some 0.1 s, gaps are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from worker.bench.kinds import Gap, Samples, find_gaps
from worker.results.transcript import Word
from worker.speech.windows import SAMPLE_RATE

__all__ = ["Phrase", "find_phrases"]

SURE_GAP_SECONDS = 0.15
"""A gap of this length is one between words; a shorter one (`kinds.find_gaps`) is if the text has
punctuation there. Else it may be the closure of a stop."""

SLACK_SECONDS = 0.12
"""How far an aligned word may reach over the edge of a gap."""

LETTERS_PER_SECOND = (5.0, 25.0)
"""Of read speech; outside, words were given to the wrong stretch. A word beside a cut that would be
faster was squeezed to the other side of the gap."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A stretch between two gaps (or a recording's ends) and its words; samples."""

    start: int
    end: int
    text: str


def find_phrases(
    samples: Samples, words: Sequence[Word], shortest: float, longest: float
) -> list[Phrase]:
    """The phrases of a recording, those that overlap among them.

    Args:
        samples: mono float32 at 16 kHz, shape [samples].
        words: all words of the recording, in order, with times in seconds.
        shortest: seconds of a phrase at least.
        longest: seconds of a phrase at most.
    """
    cuts = [cut for gap in find_gaps(samples) if (cut := _cut(gap, words)) is not None]
    # Two gaps with no word between them: which is the one between the words can't be known.
    counts = [before for _, before in cuts]
    cuts = [cut for cut in cuts if counts.count(cut[1]) == 1]
    ends = [(0, 0), *cuts, (len(samples), len(words))]
    found = []
    for (start, first), (end, last) in combinations(ends, 2):
        text = " ".join(word.word for word in words[first:last])
        seconds = (end - start) / SAMPLE_RATE
        low, high = LETTERS_PER_SECOND
        if shortest <= seconds <= longest and low <= len(text) / seconds <= high:
            found.append(Phrase(start, end, text))
    return found


def _cut(gap: Gap, words: Sequence[Word]) -> tuple[int, int] | None:
    """Where a gap is cut, and how many words come before; None where that is in doubt."""
    start, end = gap.start / SAMPLE_RATE, gap.end / SAMPLE_RATE
    before = sum((word.start + word.end) / 2 < (start + end) / 2 for word in words)
    if not 0 < before < len(words):
        return None
    left, right = words[before - 1], words[before]
    sure = end - start >= SURE_GAP_SECONDS or not left.word[-1:].isalnum()
    sure = sure and left.end <= end + SLACK_SECONDS and right.start >= start - SLACK_SECONDS
    sure = sure and left.start < start and right.end > end
    sure = sure and not _squeezed(left) and not _squeezed(right)
    return (gap.middle, before) if sure else None


def _squeezed(word: Word) -> bool:
    return len(word.word) > LETTERS_PER_SECOND[1] * max(word.end - word.start, 0.1)
