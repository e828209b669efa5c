"""Whether part of a text leaves half a syllable of a longer word behind (pure).

Thai, Lao, Khmer and Burmese write words together: `บ้า` (mad) begins `บ้าน` (house), of which it
leaves a letter that nobody can read. Where words end is known to nobody for sure. ICU's
dictionaries don't know many names and coarse words, and join what they don't know to what is
beside it; so a phrase that ends within one of ICU's words may well have been said. It was not said
where a syllable would be cut:

- Some signs belong to the syllable before or after them in any word: vowels, letters that are
  marked as its last or as silent.
- A consonant alone is what ends or begins a syllable. Whether it does so here, ICU's word says.

What is longer stays as it is: `ตา` is part of `ตาราง`, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["cuts_syllable"]

_WRITTEN_TOGETHER = re.compile(
    "[\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u0edc-\u0edf"  # Thai, Lao
    "\u1000-\u103f\u1050-\u108f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17d3\u17dd]+"  # Khmer
)
"""Letters and marks, without digits and punctuation."""

_BEFORE_CONSONANT = re.compile("[\u0e40-\u0e44\u0ec0-\u0ec4]")
"""Vowels of Thai and Lao that are written before the consonant that they follow."""

_AFTER_SYLLABLE = re.compile(
    "[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3\u0ebd]"  # vowels of Thai and Lao
    "|[\u0e01-\u0e2e]\u0e4c|[\u0e81-\u0eae]\u0ecc"  # silent letters
    "|[\u1000-\u102a\u103f](?=[\u1037\u1038]*\u103a)"  # last consonants of Burmese
    "|[\u1780-\u17a2][\u17cb\u17cd]"  # last and silent consonants of Khmer
)

_LONE_CONSONANT = re.compile(
    "[\u0e01-\u0e2e\u0e81-\u0eae\u0edc-\u0edf\u1780-\u17a2]"  # in Burmese it is a syllable
)


def cuts_syllable(text: str, first: int, end: int) -> bool:
    """Whether the characters [first, end) begin or end within a syllable of what is beside them.

    Always False in scripts other than Thai, Lao, Khmer and Burmese.
    """
    if _BEFORE_CONSONANT.match(text, first - 1, first) or _AFTER_SYLLABLE.match(text, end):
        return True
    word = _word_around(text, first, end)
    before, after = text[word.start : first], text[end : word.stop]
    return _is_lone([*_words(before)][-1:]) or _is_lone([*_words(after)][:1])


def _word_around(text: str, first: int, end: int) -> range:
    """ICU's word that holds [first, end) and more; else [first, end)."""
    start = first
    while start > 0 and _WRITTEN_TOGETHER.match(text[start - 1]):
        start -= 1
    run = _WRITTEN_TOGETHER.match(text, start)
    if run is not None and run.end() >= end:
        for word in _words(run[0]):
            if start + len(word) >= end:
                return range(start, start + len(word))
            start += len(word)
            if start > first:
                break
    return range(first, end)


def _is_lone(words: list[str]) -> bool:
    return any(_LONE_CONSONANT.fullmatch(word) for word in words)


def _words(text: str) -> Iterator[str]:
    if not text:
        return iter(())
    # What starts at once, such as `--help`, imports this module.
    from icu4py.breakers import WordBreaker

    return iter(WordBreaker(text, "th"))
