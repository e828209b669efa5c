"""Phrases found in a text, however the text writes them (pure).

What is the same: upper and lower case, composed and decomposed letters, full and half width, the
four i of Turkish, every apostrophe, every white space and hyphen between words. Characters that
nobody sees (soft hyphens, joiners, control characters) count for nothing. Accents and vowel signs
count: they belong to their letter.

A phrase is found where its words stand as whole words. An apostrophe or a hyphen ends a word, so
that a name is found in its genitive as well; only `n't` belongs to its verb. Scripts that write no
spaces have no words to see: there a phrase is found anywhere, but not where it would leave half a
syllable (`worker.results.wording.syllables`).

Text and phrases are cut into tokens, and all phrases stand in one tree of tokens: the time that
a search takes grows with the text, hardly with the number of phrases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.results.wording.syllables import cuts_syllable

__all__ = [
    "APOSTROPHES",
    "HYPHENS",
    "SIGNS",
    "Match",
    "Phrases",
    "TextPlace",
    "is_letter",
    "searched",
]

APOSTROPHES = frozenset("'`\u00b4\u02bc\u05f3\u2018\u2019\u201b\u2032\uff07")
HYPHENS = frozenset("-\u058a\u05be\u2010\u2011\u2012\u2212\ufe63\uff0d")
"""Hyphens, not dashes: Unicode's, those of Armenian and Hebrew, and what is typed for one."""

_GAPS = HYPHENS | {"\N{KATAKANA MIDDLE DOT}"}
"""What stands between words of a phrase beside white space."""

SIGNS = frozenset("#%&*@")
"""Punctuation by category that says something: `C#`, `AT&T`."""

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographs that stand among punctuation
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA60, 0xAA7F),  # Burmese
    (0xF900, 0xFAFF),  # Han
    (0x20000, 0x3FFFF),  # Han
)
"""Blocks of the scripts that write no spaces between words."""

_TOKEN = re.compile(
    r"[wntd][wntdm]*(?:(?<=d)\.d[wntdm]*)*(?:(?<=n)'t(?![wntdm]))?"  # a word, a number, a negation
    r"|um*"  # a letter of a script without spaces, with its marks
    r"| +"  # what stands between words
    r"|."
)
"""Over kinds of characters (`_kind`)."""

_END = ""
"""The key under which a tree's node says that a phrase ends there; no token is empty."""


class TextPlace(NamedTuple):
    """Where a phrase, or part of one, stands.

    Attributes:
        text: number of the text, from 0.
        first: its first character there.
        end: one past its last.
    """

    text: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Match:
    """A phrase that was found.

    Attributes:
        places: one in each text that it reaches into, in order.
        value: what `Phrases` was told of the phrase.
    """

    places: tuple[TextPlace, ...]
    value: str


class Phrases:
    """Phrases to be found.

    Args:
        phrases: each with what a match is to tell. One that has nothing to search for is never
            found.
    """

    def __init__(self, phrases: Mapping[str, str]) -> None:
        self._tree: dict[str, Any] = {}
        self._most_tokens = 0
        for phrase, value in phrases.items():
            for keys in _variants(phrase):
                self._most_tokens = max(self._most_tokens, len(keys))
                node = self._tree
                for key in keys:
                    node = node.setdefault(key, {})
                node[_END] = value

    def find(self, texts: Sequence[str]) -> list[Match]:
        """All matches, in order and without overlap; of those that begin together the longest.

        Args:
            texts: one after the other, as if they were one: a phrase may begin in one and end in a
                later one, if nothing but white space is between.
        """
        if not self._tree:
            return []
        keys, places = _tokens_of_all(texts)
        found = []
        done = 0
        for number, key in enumerate(keys):
            if number < done or key not in self._tree:
                continue
            end, value = self._longest(texts, keys, places, number)
            if end:
                found.append(Match(_merged(places[number:end]), value))
                done = end
        return found

    def reached(self, texts: Sequence[str], changed: Iterable[int]) -> list[range]:
        """The numbers of the texts in which a match may stand that has a part in a changed one.

        Args:
            texts: as for `find`.
            changed: numbers of texts, ascending.

        Returns:
            Ascending, without overlap.
        """
        found: list[range] = []
        for number in changed:
            first = self._reached(texts, range(number, -1, -1))
            end = self._reached(texts, range(number, len(texts))) + 1
            if found and first <= found[-1].stop:
                first = found.pop().start
            found.append(range(first, end))
        return found

    def _reached(self, texts: Sequence[str], numbers: range) -> int:
        """The last of the texts, from the first on, that one phrase can reach."""
        tokens = 0
        for number in numbers[1:]:
            tokens += sum(1 for _ in _tokens(texts[number]))
            if tokens >= self._most_tokens:
                return number
        return numbers[-1]

    def _longest(
        self,
        texts: Sequence[str],
        keys: Sequence[str],
        places: Sequence[TextPlace],
        first: int,
    ) -> tuple[int, str]:
        """One past the last token of the longest phrase that begins there; 0 if none does."""
        node, end, value = self._tree, 0, ""
        for number in range(first, len(keys)):
            if keys[number] not in node:
                break
            node = node[keys[number]]
            if _END not in node or _is_cut_off(texts, places[first], places[number]):
                continue
            # The full stop of an abbreviation is the sentence's as well where nothing follows.
            if keys[number] != "." or not _ends_text(places, number):
                end, value = number + 1, node[_END]
        return end, value


def searched(phrase: str) -> tuple[str, ...]:
    """What a phrase is searched as; phrases that are found in the same places have the same.

    Without punctuation at its ends. Empty where there is no letter and no digit in it.
    """
    keys = [key for key, _, _ in _tokens(phrase)]
    while keys and _says_nothing(keys[0]):
        keys.pop(0)
    while keys and _says_nothing(keys[-1]):
        keys.pop()
    return tuple(keys) if any(map(str.isalnum, "".join(keys))) else ()


def is_letter(character: str) -> bool:
    """Whether it is part of a word: a letter, a digit or a mark on one."""
    return character.isalnum() or unicodedata.category(character).startswith("M")


def _variants(phrase: str) -> Iterator[tuple[str, ...]]:
    keys = searched(phrase)
    if not keys:
        return
    yield keys
    if phrase.rstrip().endswith("."):  # of an abbreviation, which a text may write or not
        yield (*keys, ".")
    if " " in keys:  # between words of a script that needs none a text may have no space either
        closed = [
            key
            for number, key in enumerate(keys)
            if key != " " or not (_is_unspaced(keys[number - 1]) and _is_unspaced(keys[number + 1]))
        ]
        yield tuple(closed)


def _says_nothing(key: str) -> bool:
    return key == " " or (
        len(key) == 1 and unicodedata.category(key).startswith("P") and key not in SIGNS
    )


# -- tokens -----------------------------------------------------------------------------------


class _Folds(dict[int, str]):
    """A character by its code as it is compared; filled as characters come."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _folded(chr(code))
        return folded


class _Kinds(dict[int, str]):
    """The kind of a folded character by its code; filled as characters come."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _kind(chr(code))
        return kind


_FOLDS = _Folds()
_KINDS = _Kinds()


def _folded(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if category in ("Cc", "Cf") or "\ufe00" <= character <= "\ufe0f" or character == "\u034f":
        return ""
    if character in APOSTROPHES:
        return "'"
    width = unicodedata.decomposition(character).startswith(("<wide>", "<narrow>"))
    plain = unicodedata.normalize("NFKD" if width else "NFD", character).casefold()
    return unicodedata.normalize("NFD", plain).replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")


def _kind(character: str) -> str:
    """A character that stands for its kind, for `_TOKEN`.

    w is a letter (n and t are themselves), d a digit, u a letter of a script without spaces, m a
    mark, a space what parts words, an apostrophe itself, a full stop what may stand inside numbers,
    o any other.
    """
    if character in "nt'":
        return character
    if character == " " or character in _GAPS:
        return " "
    if character in ".,:\u066b\u066c":
        return "."
    if unicodedata.category(character).startswith("M"):
        return "m"
    if not character.isalnum() and character != "_":
        return "o"
    if _is_unspaced(character):
        return "u"
    return "d" if character.isdecimal() else "w"


def _is_unspaced(key: str) -> bool:
    code = ord(key[0])
    return any(first <= code <= last for first, last in _UNSPACED) and key[0].isalnum()


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """(what it is compared by, first character, one past the last) of each token of a text."""
    origins: Sequence[int] = range(len(text))
    if text.isascii() and text.isprintable():
        folded = text.lower()
    else:
        parts = [_FOLDS[ord(character)] for character in text]
        folded = "".join(parts)
        origins = [number for number, part in enumerate(parts) for _ in part]
    for token in _TOKEN.finditer(folded.translate(_KINDS)):
        first, end = token.span()
        yield _key(folded[first:end]), origins[first], origins[end - 1] + 1


def _key(token: str) -> str:
    if token[0] == " " or token[0] in _GAPS:
        return " "
    if token.isascii():
        return token
    # Marks in Unicode's own order; the dot on Turkish's capital I is none.
    return unicodedata.normalize("NFD", token).replace("i\N{COMBINING DOT ABOVE}", "i")


def _tokens_of_all(texts: Sequence[str]) -> tuple[list[str], list[TextPlace]]:
    """The tokens of all texts, with white space between two texts whose scripts write any."""
    keys: list[str] = []
    places: list[TextPlace] = []
    for number, text in enumerate(texts):
        between = bool(keys)
        for key, first, end in _tokens(text):
            if between and not _are_joined(keys[-1], key):
                keys.append(" ")
                places.append(TextPlace(number, first, first))
            between = False
            keys.append(key)
            places.append(TextPlace(number, first, end))
    return keys, places


def _are_joined(before: str, after: str) -> bool:
    """Whether no white space is to be put between two tokens of different texts."""
    return " " in (before, after) or (_is_unspaced(before) and _is_unspaced(after))


def _is_cut_off(texts: Sequence[str], first: TextPlace, last: TextPlace) -> bool:
    """Whether what stands from one token to another is half a word of one text."""
    return first.text == last.text and cuts_syllable(texts[last.text], first.first, last.end)


def _ends_text(places: Sequence[TextPlace], number: int) -> bool:
    return number + 1 == len(places) or places[number + 1].text != places[number].text


def _merged(places: Sequence[TextPlace]) -> tuple[TextPlace, ...]:
    """The places of tokens as one in each text."""
    found: list[TextPlace] = []
    for place in places:
        if found and found[-1].text == place.text:
            found[-1] = TextPlace(place.text, found[-1].first, place.end)
        elif place.end > place.first:
            found.append(place)
    return tuple(found)
