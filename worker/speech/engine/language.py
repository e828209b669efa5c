"""Which language is a job in? Settled from its first windows (pure).

Whisper tells a language from a window's encoder output. The first window decides if it is
sure enough; else the next ones are asked too, and their probabilities are averaged by the
speech in them. What was decoded in another language before the vote was closed is decoded
again. The vote depends on the windows alone, not on batches or timing, so that a resumed job
comes to the same end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.results.transcript import Language

SURE = 0.5
"""Whisper's own threshold for one segment (faster-whisper's language_detection_threshold)."""

VOTERS = 3
"""Windows that are asked at the most."""


@dataclass(slots=True)
class LanguageVote:
    """One job's vote. Window indices count from 0."""

    _ballots: dict[int, tuple[float, Sequence[tuple[str, float]]]] = field(default_factory=dict)
    _last: int | None = None

    def cast(self, index: int, seconds: float, ranking: Sequence[tuple[str, float]]) -> None:
        """A window's ranking, weighted by its seconds of speech."""
        if index < VOTERS:
            self._ballots[index] = (seconds, ranking)

    def end(self, windows: int) -> None:
        """The file has no more windows than these."""
        self._last = windows

    def asks(self, index: int) -> bool:
        """Whether this window may be decoded before the vote is closed."""
        return index == 0 or (index < VOTERS and 0 in self._ballots)

    def result(self) -> Language | None:
        """The language, or None while the vote is open."""
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
