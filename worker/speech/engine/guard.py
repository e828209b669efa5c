"""Adaptive context only while it proves itself (pure).

A share of the windows that were decoded short is decoded in full as well, and the words of
both are compared. What full decoding shows against itself, in batches of other composition, is
measured too and taken off: that much is noise. Where the rest exceeds a bound, for a model and
language, windows of that language are decoded in full from then on. So are they where short
windows fail their checks so often that nothing is gained.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

BOUND_POINTS = 1.0
"""Words in a hundred that may differ beyond noise."""

SHARE = 0.02
"""Of short windows that are compared."""

FIRST_SHARE = 0.10
"""The same, until `FIRST_WORDS` have been compared in a language."""

FIRST_WORDS = 2_000
"""Words after which the disagreement is known well enough: at one word in a hundred, its
standard error is then 0.22 points."""

MIN_WORDS = 300
"""Fewer words compared decide nothing: at one word in a hundred that is three words."""

REPEAT_SHARE = 0.25
"""Of compared windows that are decoded in full twice, to know the noise."""

FAILED_SHARE = 0.25
"""Short windows that fail their checks, above which short windows no longer pay."""

MIN_WINDOWS = 24
"""Fewer short windows say nothing about how often they fail."""


class Audit(StrEnum):
    """What is to be done with a window that was decoded short."""

    NONE = "none"
    FULL = "full"
    TWICE = "twice"


@dataclass(slots=True)
class _Tally:
    """What is known of one language."""

    words: int = 0
    differing: int = 0
    repeated_words: int = 0
    repeated_differing: int = 0
    windows: int = 0
    failed: int = 0


@dataclass(slots=True)
class Guard:
    """The tallies of one model.

    Attributes:
        bound: see `BOUND_POINTS`.
        share: see `SHARE`.
        first_share: see `FIRST_SHARE`.
        min_words: see `MIN_WORDS`.
    """

    bound: float = BOUND_POINTS
    share: float = SHARE
    first_share: float = FIRST_SHARE
    min_words: int = MIN_WORDS
    _tallies: dict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    _tripped: dict[str, str] = field(default_factory=dict)

    def allows(self, language: str | None) -> bool:
        """Whether windows of a language may be decoded short.

        A language not known yet may, unless every one that is known may not.
        """
        if language is None:
            return not self._tripped or set(self._tripped) != set(self._tallies)
        return language not in self._tripped

    def why_not(self, language: str) -> str:
        """The sentence for log and results; empty while short windows are allowed."""
        return self._tripped.get(language, "")

    def audit(self, language: str, name: str, index: int) -> Audit:
        """Whether to compare this window; the same file and window always give the same."""
        tally = self._tallies[language]
        share = self.first_share if tally.words < FIRST_WORDS else self.share
        draw = _draw(name, index)
        if draw >= share:
            return Audit.NONE
        return Audit.TWICE if draw < share * REPEAT_SHARE else Audit.FULL

    def decoded(self, language: str, *, failed: bool) -> str:
        """Counts a short window; the sentence that says why, if this one tips the scale."""
        tally = self._tallies[language]
        tally.windows += 1
        tally.failed += failed
        if (
            language not in self._tripped
            and tally.windows >= MIN_WINDOWS
            and tally.failed > FAILED_SHARE * tally.windows
        ):
            return self._trip(
                language,
                f"{tally.failed} of {tally.windows} short windows failed their checks",
            )
        return ""

    def compared(self, language: str, short: Sequence[str], full: Sequence[str]) -> str:
        """Counts a comparison; the sentence that says why, if this one tips the scale."""
        tally = self._tallies[language]
        tally.words += max(len(full), 1)
        tally.differing += differing_words(short, full)
        excess = self.excess(language)
        if language not in self._tripped and tally.words >= self.min_words and excess > self.bound:
            return self._trip(
                language,
                f"short windows differ from full ones by {excess:.1f} words in a hundred "
                f"({tally.words} compared; the bound is {self.bound:g})",
            )
        return ""

    def repeated(self, language: str, once: Sequence[str], again: Sequence[str]) -> None:
        """Counts what full decoding shows against itself."""
        tally = self._tallies[language]
        tally.repeated_words += max(len(once), 1)
        tally.repeated_differing += differing_words(once, again)

    def excess(self, language: str) -> float:
        """Points of disagreement beyond noise; NaN before anything was compared."""
        tally = self._tallies[language]
        if not tally.words:
            return math.nan
        noise = (
            100.0 * tally.repeated_differing / tally.repeated_words if tally.repeated_words else 0.0
        )
        return 100.0 * tally.differing / tally.words - noise

    def report(self) -> dict[str, dict[str, float]]:
        """By language: words compared, points of excess, short windows, failed ones."""
        return {
            language: {
                "words": tally.words,
                "excess": self.excess(language),
                "windows": tally.windows,
                "failed": tally.failed,
            }
            for language, tally in self._tallies.items()
        }

    def _trip(self, language: str, why: str) -> str:
        sentence = f"Context went to full for {language!r}: {why}"
        self._tripped[language] = sentence
        return sentence


def words(text: str) -> list[str]:
    """What is compared: lower-case words without punctuation.

    Where a text has no spaces to speak of, its characters are.
    """
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower())
    found = kept.split()
    characters = sum(len(word) for word in found)
    return list("".join(found)) if characters > 15 * max(len(found), 1) else found


def differing_words(one: Sequence[str], other: Sequence[str]) -> int:
    """Words to insert, delete or replace to make one into the other (Levenshtein's distance)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def _draw(name: str, index: int) -> float:
    """A number in [0, 1) that depends on the window alone."""
    digest = hashlib.blake2b(f"{name}\0{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
