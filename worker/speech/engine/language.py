"""Which language is a job in? Decided by its first windows (pure).

Whisper detects a language from a window's encoder output. The first window decides alone if it is
sure enough; otherwise the next ones vote too, and their probabilities are averaged, weighted by
the speech in each. A window that was decoded in another language before the decision is decoded
again. The vote depends on the windows only, not on batches or timing, so that a resumed job gets
the same language.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.results.transcript import Language

SURE = 0.5
"""Probability at which one window decides: faster-whisper's `language_detection_threshold`."""

VOTERS = 3
"""Windows that vote at most."""


@dataclass(slots=True)
class LanguageVote:
    """One job's vote. Window indices count from 0."""

    _ballots: dict[int, tuple[float, Sequence[tuple[str, float]]]] = field(default_factory=dict)
    _last: int | None = None

    def cast(self, index: int, seconds: float, ranking: Sequence[tuple[str, float]]) -> None:
        """Adds a window's vote.

        Args:
            index: of the window.
            seconds: of speech in it, the vote's weight.
            ranking: (language code, probability), likeliest first.
        """
        if index < VOTERS:
            self._ballots[index] = (seconds, ranking)

    def end(self, windows: int) -> None:
        """The file has this many windows: nobody else will vote."""
        self._last = windows

    def asks(self, index: int) -> bool:
        """Whether this window is to vote now, that is be decoded before the language is known."""
        return index == 0 or (index < VOTERS and 0 in self._ballots)

    def result(self) -> Language | None:
        """The language, or None while more votes are needed."""
        if not self._ballots or 0 not in self._ballots:
            return None
        code, probability = self._ballots[0][1][0]
        if probability >= SURE:
            return Language(code=code, probability=round(probability, 4), detected=True)
        voters = VOTERS if self._last is None else min(VOTERS, self._last)
        if len(self._ballots) < voters:
            return None
        total: dict[str, float] = defaultdict(float)
        weight = sum(seconds for seconds, _ in self._ballots.values()) or 1.0
        for seconds, ranking in self._ballots.values():
            for candidate, score in ranking:
                total[candidate] += score * seconds / weight
        code, probability = max(total.items(), key=lambda pair: (pair[1], pair[0]))
        return Language(code=code, probability=round(probability, 4), detected=True)
