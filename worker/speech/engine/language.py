"""Which language is a job in? Decided by its first windows (pure).

Whisper detects a language from a window's encoder output. A long first window decides alone, if it
is sure. Otherwise the next ones vote too, until enough speech was heard and one language has most
of it: the probabilities are averaged, each window weighted by its seconds of speech, because a
second is easily taken for another language, and because what is asked for is the language of most
of the file. Other ways to weigh (the same for all; the square; sums of logarithms) were mostly no
better on short cuts of real speech. A window
whose text is doubted may be noise, or was decoded in a language that is not its own, and counts
for less: so a vote that it would have decided goes on.

A window that was decoded in another language before the decision is decoded again. The vote
depends on the windows only, not on batches or timing, so that a job that starts again gets the
same language. No window of a job is finished before the vote is over: a checkpoint with finished
windows has the language, and a job that is resumed from it takes that and holds no second vote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.results.transcript import Language
from worker.speech.model.detection import SURE, Ranking, average

__all__ = ["DOUBTED", "ENOUGH_SECONDS", "MOST_SECONDS", "VOTERS", "LanguageVote"]

ENOUGH_SECONDS = 10.0
"""Seconds of speech without which no vote ends, unless the file does. Three seconds are rarely
taken for another language; but a greeting or a title may be in another one than what follows. A
window that a pause doesn't end early has at least 23 s and meets it alone."""

MOST_SECONDS = 60.0
"""Seconds of speech after which a vote ends, however unsure: more would not make it surer."""

VOTERS = 8
"""Windows that vote at most. A vote has three rounds: the first window, two more, and the rest;
until the last, later windows wait."""

_ROUNDS = (1, 3, VOTERS)

DOUBTED = 0.25
"""What a second of a window with a doubted text counts for."""


@dataclass(frozen=True, slots=True)
class _Ballot:
    """One window's say.

    Attributes:
        seconds: of speech that it counts for.
        ranking: what the model detected in it.
    """

    seconds: float
    ranking: Ranking


@dataclass(slots=True)
class LanguageVote:
    """One job's vote. Window indices count from 0; events (methods) may come in any order."""

    _ballots: dict[int, _Ballot] = field(default_factory=dict)
    _total: int | None = None

    def cast(
        self,
        index: int,
        seconds: float,
        ranking: Ranking,
        pieces: Sequence[Ranking] = (),
        *,
        doubted: bool = False,
    ) -> None:
        """Adds a window's vote.

        Args:
            index: of the window.
            seconds: of speech in it, the vote's weight.
            ranking: of the languages that the job may be in.
            pieces: the same for each of its pieces, where it may hold several languages; then
                they vote instead, because the ranking of the whole doesn't go by their seconds.
            doubted: whether the text that it got in the likeliest of them is doubted.
        """
        if index < VOTERS:
            weight = DOUBTED if doubted else 1.0
            self._ballots[index] = _Ballot(seconds * weight, average(pieces) or ranking)

    def end(self, windows: int) -> None:
        """The file has this many windows: nobody else will vote."""
        self._total = windows

    def asks(self, index: int) -> bool:
        """Whether this window is to vote now, that is be decoded before the language is known."""
        heard = self._in_order()
        return index < next((size for size in _ROUNDS if heard < size), VOTERS)

    def result(self) -> Language | None:
        """The language, or None while more votes are needed.

        What the first windows decide, the others can't change: so it doesn't matter whether
        these have voted by then.
        """
        total: dict[str, float] = defaultdict(float)
        seconds = 0.0
        heard = self._in_order()
        for index in range(heard):
            ballot = self._ballots[index]
            seconds += ballot.seconds
            for code, probability in ballot.ranking:
                # A file whose windows have no length still has a likeliest language.
                total[code] += probability * max(ballot.seconds, 1e-6)
            last = index + 1 == (VOTERS if self._total is None else min(VOTERS, self._total))
            code, share = max(total.items(), key=lambda pair: (pair[1], pair[0]))
            probability = share / sum(total.values())
            sure = seconds >= ENOUGH_SECONDS and probability >= SURE
            if sure or last or seconds >= MOST_SECONDS:
                return Language(code=code, probability=round(probability, 4), detected=True)
        return None

    def _in_order(self) -> int:
        """How many windows have voted without one missing before them."""
        return next(index for index in range(VOTERS + 1) if index not in self._ballots)
