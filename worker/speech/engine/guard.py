"""Short windows only while they do no harm (pure).

Some of the windows that were decoded short (with less than 30 s of encoder) are decoded in full as
well, and the words of both are compared. Full decoding repeated in another batch doesn't always
give the same words either; that noise is measured too and subtracted. Where the rest exceeds a
bound in some language, windows of that language are decoded in full from then on. The same
happens where short windows fail their checks so often that they save no time.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from worker.speech.engine import scripts

BOUND_POINTS = 1.0
"""Words in a hundred that may differ, noise subtracted."""

SHARE = 0.02
"""Share of short windows that are compared."""

FIRST_SHARE = 0.10
"""The same, until `FIRST_WORDS` have been compared in a language."""

FIRST_WORDS = 2_000
"""Words after which the disagreement is known well enough: at one word in a hundred, its
standard error is then 0.22 points."""

MIN_WORDS = 300
"""No decision before so many words are compared: one word in a hundred is three words of them."""

REPEAT_SHARE = 0.25
"""Share of the compared windows that are decoded in full twice, to measure the noise."""

FAILED_SHARE = 0.25
"""Share of short windows that fail their checks above which short windows save no time."""

MIN_WINDOWS = 24
"""No decision about failed checks before so many short windows."""


class Audit(StrEnum):
    """How often to decode in full a window that was decoded short."""

    NONE = "none"
    FULL = "full"
    TWICE = "twice"


@dataclass(slots=True)
class _Tally:
    """Counters of one language.

    Attributes:
        words: compared, of full decodings.
        differing: of those, words that differ from the short decoding.
        repeated_words: compared between two full decodings.
        repeated_differing: of those, words that differ.
        windows: decoded short.
        failed: of those, windows whose short text failed its checks.
    """

    words: int = 0
    differing: int = 0
    repeated_words: int = 0
    repeated_differing: int = 0
    windows: int = 0
    failed: int = 0


@dataclass(slots=True)
class Guard:
    """What is known of short windows of one model, by language.

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

        Unknown language (None): allowed unless every known language has been switched to full
        context.
        """
        if language is None:
            return not self._tripped or set(self._tripped) != set(self._tallies)
        return language not in self._tripped

    def why_not(self, language: str) -> str:
        """Why a language was switched to full context, in a sentence; empty if it was not."""
        return self._tripped.get(language, "")

    def audit(self, language: str, name: str, index: int) -> Audit:
        """Whether to compare this window; always the same answer for a file name and index."""
        tally = self._tallies[language]
        share = self.first_share if tally.words < FIRST_WORDS else self.share
        draw = _draw(name, index)
        if draw >= share:
            return Audit.NONE
        return Audit.TWICE if draw < share * REPEAT_SHARE else Audit.FULL

    def decoded(self, language: str, *, failed: bool) -> str:
        """Counts a short window.

        Returns:
            `why_not`, if this window made the guard switch the language to full; else empty.
        """
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
        """Counts a comparison of the words of a short and a full decoding.

        Returns:
            `why_not`, if this made the guard switch the language to full; else empty.
        """
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
        """Counts a comparison of the words of two full decodings of a window: noise."""
        tally = self._tallies[language]
        tally.repeated_words += max(len(once), 1)
        tally.repeated_differing += differing_words(once, again)

    def excess(self, language: str) -> float:
        """Words in a hundred that differ, noise subtracted; NaN before anything was compared."""
        tally = self._tallies[language]
        if not tally.words:
            return math.nan
        noise = (
            100.0 * tally.repeated_differing / tally.repeated_words if tally.repeated_words else 0.0
        )
        return 100.0 * tally.differing / tally.words - noise

    def _trip(self, language: str, why: str) -> str:
        sentence = f"Context went to full for {language!r}: {why}"
        self._tripped[language] = sentence
        return sentence


def words(text: str) -> list[str]:
    """What is compared: words without case and punctuation.

    Of a text written without spaces, the characters.
    """
    found = scripts.words(text)
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
    """A number in [0, 1) that follows from the window's name and index."""
    digest = hashlib.blake2b(f"{name}\0{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
