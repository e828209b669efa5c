"""In which language is each window of a multilingual file? Decided from all of them (pure).

A window is in the language that is detected in it, if that is sure. One that is too short or too
unclear to tell takes the language of its neighbours: a loan word or a cough is no change of
language. Between two neighbours of different languages, the language changes once, where the
windows' own rankings say. Where no window tells, the file's first windows vote on one language for
all that come before the first window that does.

A window that as a whole sounds like several languages is looked at in pieces, by the same rule;
it is decoded in as many parts as its pieces have stretches of one language (`language_parts`).

The answer depends on the windows only, not on the order in which they come. A window that an
earlier run finished counts as one that is sure of the language it was decoded in. That changes
nothing for the others, as long as no more than `AHEAD` unsure windows follow each other: a cut
that was best between two neighbours stays best between the windows that it parted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.speech.engine.language import DOUBTED, VOTERS, LanguageVote
from worker.speech.model.detection import PIECE_SECONDS, SURE, Ranking, certainty

__all__ = ["AHEAD", "Decision", "WindowLanguages", "seconds_by_language"]

AHEAD = VOTERS
"""Windows after an unsure one that are waited for, to find one that is sure."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a window is to be decoded in.

    Attributes:
        index: of the window.
        languages: one for each of its pieces; a single one for a window that is not divided.
    """

    index: int
    languages: tuple[str, ...]

    @property
    def language(self) -> str | None:
        """The one language of the window; None where there are several."""
        return self.languages[0] if len(set(self.languages)) == 1 else None


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What was detected in a window or in a piece of one.

    Attributes:
        seconds: of speech that it counts for.
        ranking: of the languages that it may be in.
    """

    seconds: float
    ranking: Ranking

    def of(self, code: str) -> float:
        """How certain this language is in it."""
        return certainty(self.seconds, dict(self.ranking).get(code, 0.0))

    @property
    def sure(self) -> str | None:
        """The language that it is sure of, if of any."""
        code = self.ranking[0][0]
        return code if self.of(code) >= SURE else None


@dataclass(slots=True)
class WindowLanguages:
    """The windows of one file. Window indices count from 0; events may come in any order.

    Each event returns the windows that it decided. A decision stands.
    """

    _opinions: dict[int, _Opinion] = field(default_factory=dict)
    _sure: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _decided: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _vote: LanguageVote = field(default_factory=LanguageVote)
    _total: int | None = None

    def hear(
        self,
        index: int,
        seconds: float,
        ranking: Ranking,
        pieces: Sequence[Ranking] = (),
        *,
        doubted: bool = False,
    ) -> tuple[Decision, ...]:
        """A window was decoded for the first time, in the likeliest language of its ranking.

        Args:
            index: of the window.
            seconds: of speech in it.
            ranking: of the languages that the file may be in.
            pieces: the same for each of its pieces, where it may hold several languages.
            doubted: whether its text is doubted.
        """
        opinion = _Opinion(seconds * (DOUBTED if doubted else 1.0), ranking)
        self._opinions[index] = opinion
        self._vote.cast(index, seconds, ranking, pieces, doubted=doubted)
        # The text of two languages, decoded in one of them, is doubted for that.
        sure = _fill([_Opinion(PIECE_SECONDS, piece) for piece in pieces])
        if not sure and opinion.sure is not None:
            sure = (opinion.sure,)
        if sure:
            self._sure[index] = sure
        return self._decide()

    def know(self, index: int, languages: Sequence[str]) -> tuple[Decision, ...]:
        """A window is finished already, in these languages; it is not among those returned."""
        self._sure[index] = self._decided[index] = tuple(languages)
        return self._decide()

    def end(self, windows: int) -> tuple[Decision, ...]:
        """The file has this many windows."""
        self._total = windows
        self._vote.end(windows)
        return self._decide()

    @property
    def waits(self) -> bool:
        """Whether some window can't be decided before others were heard."""
        return any(index not in self._decided for index in self._opinions)

    def _decide(self) -> tuple[Decision, ...]:
        found = []
        for index in sorted(self._opinions.keys() - self._decided.keys()):
            languages = self._sure.get(index) or self._from_neighbours(index)
            if languages:
                self._decided[index] = languages
                found.append(Decision(index, languages))
        return tuple(found)

    def _from_neighbours(self, index: int) -> tuple[str, ...]:
        """The language of an unsure window; nothing while windows are missing to tell."""
        before = self._decided.get(index - 1)
        if index > 0 and before is None:
            return ()
        run = [self._opinions[index]]
        after: str | None = None
        for following in range(index + 1, index + 1 + AHEAD):
            if self._total is not None and following >= self._total:
                break
            if following in self._sure:
                after = self._sure[following][0]
                break
            if following not in self._opinions:
                return ()
            run.append(self._opinions[following])
        if before is None and after is None:
            voted = self._vote.result()
            return (voted.code,) if voted is not None else ()
        return (_between(before[-1] if before else None, after, run)[0],)


def seconds_by_language(
    windows: Iterable[tuple[str | None, float]],
) -> tuple[tuple[str, float], ...]:
    """The `languages` of a result.

    Args:
        windows: (language, seconds of speech) of each window that has a text; windows whose
            language is not known are left out.

    Returns:
        (code, seconds rounded to milliseconds), the most seconds first.
    """
    seconds: dict[str, float] = {}
    for code, spoken in windows:
        if code is not None:
            seconds[code] = seconds.get(code, 0.0) + spoken
    rounded = ((code, round(value, 3)) for code, value in seconds.items())
    return tuple(sorted(rounded, key=lambda pair: (-pair[1], pair[0])))


def _fill(opinions: Sequence[_Opinion]) -> tuple[str, ...]:
    """A language for each piece of a window; nothing if none of them is sure."""
    filled: list[str] = []
    left: str | None = None
    run: list[_Opinion] = []
    for opinion in opinions:
        if opinion.sure is None:
            run.append(opinion)
            continue
        filled += [*_between(left, opinion.sure, run), opinion.sure]
        left, run = opinion.sure, []
    return (*filled, *_between(left, None, run)) if left is not None else ()


def _between(left: str | None, right: str | None, run: Sequence[_Opinion]) -> list[str]:
    """The languages of what is unsure between two neighbours, of which one may be missing.

    Where they differ, the change is at the place that is best for all: it is left undecided
    nowhere, and of places that are equally good the latest is taken.
    """
    if left is None or right is None or left == right:
        code = left or right
        assert code is not None
        return [code] * len(run)
    gains = [opinion.of(left) - opinion.of(right) for opinion in run]
    place = max(range(len(run) + 1), key=lambda count: (sum(gains[:count]), count))
    return [left] * place + [right] * (len(run) - place)
