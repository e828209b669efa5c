"""Where a line may end in a text of any script, and how wide text is (pure).

Unicode's rules (UAX 14) as ICU applies them: at spaces; in Thai, Lao, Khmer and Burmese, which
write words together, between the words of its dictionaries; in Chinese and Japanese between words
too, and never before closing or after opening punctuation, nor before small kana (kinsoku, JIS X
4051). ICU is asked anew for each text and nothing is kept, so any thread may.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from icu4py.breakers import BaseBreaker, CharacterBreaker, LineBreaker

__all__ = ["character_ends", "joins_words", "line_ends", "parted_by_space", "text_width"]

_STRICT = "ja-u-lb-strict"
_PHRASES = {"ja": "ja-u-lb-strict-lw-phrase"}
_OTHER_PHRASES = "ko-u-lb-strict-lw-phrase"
"""ICU keeps phrases together in two languages. Its Japanese knows which particle belongs to which
word; its Korean breaks Korean at spaces alone and Chinese between the words of a dictionary, and
leaves all other scripts as they are."""

_AT_ONCE = 1000
"""Characters that ICU looks at together: its search for Japanese phrases is quadratic in them."""

_SPACE = re.compile(" ")
_SURROGATES = re.compile("[\ud800-\udfff]")


def line_ends(
    text: str, language: str | None, *, width: int, words: Sequence[tuple[int, int]] = ()
) -> list[int]:
    """Where `text` may be broken: one past the last character of each part that stays on a line.

    Words, and phrases of languages without spaces, are cut only where they are wider than a line:
    at spaces, else wherever Unicode allows it, and if that doesn't help between what a reader takes
    for characters, such as a letter with its marks or an emoji with all that it is made of. One of
    these is cut only if it alone is wider than a line.

    Args:
        text: on one line, not empty.
        language: Whisper code; None where not known.
        width: columns of a line, at least two.
        words: (first character, one past the last) of those that are known.

    Returns:
        Ascending; the last is the end of the text.
    """
    inside_words = {i for first, end in words for i in range(first + 1, end) if text[i - 1] != " "}
    whole = character_ends(text)
    anywhere = [i for i in _part_ends(text, _STRICT, LineBreaker) if i in whole]
    allowed = {*anywhere} - inside_words | {len(text)}
    phrases = _part_ends(text, _PHRASES.get(language or "", _OTHER_PHRASES), LineBreaker)
    spaces = [match.end() for match in _SPACE.finditer(text)]
    found: list[int] = []
    first = 0
    for end in phrases:
        if end in allowed:
            found += _narrowed(text, first, end, width, (spaces, anywhere))
            first = end
    return found


def character_ends(text: str) -> set[int]:
    """Where what a reader takes for a character ends (a grapheme cluster), and after spaces."""
    ends = range(1, len(text) + 1) if text.isascii() else _part_ends(text, "en", CharacterBreaker)
    return {*ends, *(match.end() for match in _SPACE.finditer(text))}


def text_width(text: str) -> int:
    """Columns of a line: wide characters and emoji take two, combining marks and joiners none."""
    if text.isascii():
        return len(text)
    # A mark after a space would count to it, and the line may end there.
    return text.count(" ") + sum(
        _cluster_width(cluster) for part in text.split(" ") for cluster in _clusters(part)
    )


def parted_by_space(before: str, after: str) -> bool:
    """Whether a space belongs between two texts: not where Chinese or Japanese is on a side."""
    return not (_writes_no_spaces(before[-1]) or _writes_no_spaces(after[0]))


def joins_words(character: str) -> bool:
    """Whether its script writes words together and puts spaces between clauses."""
    return unicodedata.name(character, "").startswith(("THAI ", "LAO ", "KHMER ", "MYANMAR "))


def _writes_no_spaces(character: str) -> bool:
    return (
        unicodedata.east_asian_width(character) in "WF"
        and not unicodedata.category(character).startswith("S")
        and not unicodedata.name(character, "").startswith("HANGUL")
    )


def _narrowed(
    text: str, first: int, end: int, width: int, finer: Sequence[Sequence[int]]
) -> Iterator[int]:
    """Where [first, end) is cut to fit lines: where the first of `finer` says, then the next."""
    if text_width(text[first:end].rstrip()) <= width:
        yield end
    elif finer:
        inside = finer[0][bisect.bisect_right(finer[0], first) : bisect.bisect_left(finer[0], end)]
        for a, b in itertools.pairwise([first, *inside, end]):
            yield from _narrowed(text, a, b, width, finer[1:])
    else:
        yield from _filled(text, first, end, width)


def _filled(text: str, first: int, end: int, width: int) -> Iterator[int]:
    """Where [first, end) is cut for each part to fill a line."""
    used = 0
    for cluster in _clusters(text[first:end].rstrip()):
        whole = _cluster_width(cluster) <= width
        for part in [cluster] if whole else cluster:
            step = _cluster_width(part)
            if used + step > width:
                yield first
                used = 0
            first += len(part)
            used += step
    yield end


def _clusters(text: str) -> Iterator[str]:
    for first, end in itertools.pairwise([0, *_part_ends(text, "en", CharacterBreaker)]):
        yield text[first:end]


@functools.lru_cache(maxsize=8192)
def _cluster_width(cluster: str) -> int:
    """An emoji of many characters, or a Korean syllable, is as wide as its first alone."""
    widths = [_character_width(character) for character in cluster]
    return 2 if widths[0] == 2 else sum(widths)


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _part_ends(text: str, locale: str, breaker: Callable[[str, str], BaseBreaker]) -> list[int]:
    """One past the last character of each part that ICU divides `text` into."""
    text = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
    found: list[int] = []
    first, taken = 0, _AT_ONCE
    while first < len(text):
        # The parts themselves are asked for, since ICU counts places in UTF-16.
        lengths = [len(part) for part in breaker(text[first : first + taken], locale)]
        if first + taken < len(text):
            if len(lengths) == 1:
                taken *= 2
                continue
            lengths.pop()  # it may go on
        for length in lengths:
            first += length
            found.append(first)
        taken = _AT_ONCE
    return found
