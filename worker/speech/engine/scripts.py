"""Measures of a text that mean the same in every script (pure).

A letter is one byte of UTF-8 in English and three in Hindi; a token is four letters in English
and a third of one in Burmese. A limit in bytes or tokens that fits English calls right texts of
other scripts loops, and misses their loops. Here characters are counted, and told apart in two
kinds only: narrow ones (alphabets and the scripts of India and Southeast Asia: a sound or a mark
each) and wide ones (Chinese, kana, Hangul: a syllable or more each).
"""

from __future__ import annotations

import unicodedata
import zlib
from functools import lru_cache

__all__ = ["compression_ratio", "letters", "seconds_to_say", "words"]

NARROW_PER_SECOND = 40.0
WIDE_PER_SECOND = 15.0
"""Characters a second that nobody exceeds. Reading aloud takes 5 (Mandarin) to 8 (Japanese)
syllables a second (F. Pellegrino, C. Coupé, E. Marsico: A cross-language perspective on speech
information rate, Language 87, 2011); the quickest speakers are half as fast again, 12. A syllable
is one wide character and its share of punctuation or, where syllables are that quick, 3.3 narrow
characters, with spaces and marks."""


def compression_ratio(text: str) -> float:
    """How many times shorter compression makes a text; a loop gets much shorter.

    Whisper compresses UTF-8. There all letters of a script beyond Latin begin with the same one or
    two bytes, which compress well whatever is said: ordinary Hindi, Tamil and Thai exceed Whisper's
    limit. So a narrow character is one byte here, and a wide one, which says more, two.

    Returns:
        Bytes over compressed bytes; 0 for an empty text.
    """
    data = _coded(text)
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _coded(text: str) -> bytes:
    """ASCII as it is; other narrow characters as bytes from 128 on, numbered as they come."""
    if text.isascii():
        return text.encode("ascii")
    numbers: dict[str, int] = {}
    coded = bytearray()
    for character in text:
        if character.isascii():
            coded.append(ord(character))
        elif _is_wide(character):
            coded += character.encode("utf-16-be", "surrogatepass")
        else:
            coded.append(128 + numbers.setdefault(character, len(numbers)) % 128)
    return bytes(coded)


def seconds_to_say(text: str) -> float:
    """The least seconds in which a text can be said."""
    wide = 0 if text.isascii() else sum(map(_is_wide, text))
    return wide / WIDE_PER_SECOND + (len(text) - wide) / NARROW_PER_SECOND


def words(text: str) -> list[str]:
    """What stands between spaces, without case and punctuation."""
    return "".join(_kept(character) for character in text.casefold()).split()


def letters(text: str) -> str:
    """The same, joined: what is compared where spaces don't part words."""
    return "".join(words(text))


def _kept(character: str) -> str:
    """Letters, digits and their marks stay; apostrophes go; all else parts words."""
    if character in "'\N{RIGHT SINGLE QUOTATION MARK}":
        return ""
    return character if unicodedata.category(character)[0] in "LMN" else " "


@lru_cache(maxsize=8192)
def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
