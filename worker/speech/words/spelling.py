"""A text as the tokens of an alignment model, and the model's spans back as words (pure).

The rules are those of `whisperx.align` (3.8.6): characters are lower-cased; in languages
with spaces a space is the model's word separator `|` and words end at spaces; in those
without, every character is a word; a character that the model doesn't know becomes a
wildcard. What differs: every kind of whitespace counts as a space, there is no splitting
into sentences (it needs NLTK data and doesn't change a word's time), and no word is left
without times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.results.transcript import Word
from worker.speech.words.fit import fill_words, spread_words
from worker.speech.words.trellis import WILDCARD, TokenSpans

__all__ = ["Spelling", "spell", "words_at"]

_SEPARATOR = "|"
_SCORE_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text, spelt for a model.

    Attributes:
        words: the text's words; joined they are the text without its whitespace.
        tokens: classes of the model, or `WILDCARD`.
        owners: for each token the index of its word; None for a separator between words.
    """

    words: tuple[str, ...]
    tokens: tuple[int, ...]
    owners: tuple[int | None, ...]


def spell(text: str, dictionary: Mapping[str, int], *, spaced: bool) -> Spelling:
    """Split a text into words and tokens.

    Args:
        text: what was said; may be empty.
        dictionary: class of each character, keys in lower case.
        spaced: whether the language puts spaces between words.
    """
    words = text.split() if spaced else [char for char in text if not char.isspace()]
    separator = dictionary.get(_SEPARATOR) if spaced else None
    tokens: list[int] = []
    owners: list[int | None] = []
    for index, word in enumerate(words):
        if index and separator is not None:
            tokens.append(separator)
            owners.append(None)
        for char in word:
            if char == _SEPARATOR and char not in dictionary:
                continue
            tokens.append(dictionary.get(char.lower(), WILDCARD))
            owners.append(index)
    return Spelling(words=tuple(words), tokens=tuple(tokens), owners=tuple(owners))


def words_at(
    spelling: Spelling,
    spans: TokenSpans | None,
    seconds_per_frame: float,
    start: float,
    end: float,
) -> list[Word]:
    """The words of a text with the times of their tokens.

    A word begins with its first token and ends with its last; its score is the mean of its
    tokens' scores.

    Args:
        spelling: the text.
        spans: the model's spans of `spelling.tokens`; None where they couldn't be had: the
            words are then spread over the segment, without scores.
        seconds_per_frame: of the spans.
        start: of the segment, in seconds.
        end: of the segment, in seconds; not before `start`.

    Returns:
        All words of the text, fitted into [start, end].
    """
    if spans is None:
        return spread_words(spelling.words, start, end)
    members: dict[int, list[int]] = {}
    for token, owner in enumerate(spelling.owners):
        if owner is not None:
            members.setdefault(owner, []).append(token)
    timed = [
        Word(
            word=word,
            start=start + float(spans.start[own[0]]) * seconds_per_frame,
            end=start + float(spans.end[own[-1]]) * seconds_per_frame,
            score=round(float(spans.score[own].mean()), _SCORE_DECIMALS),
        )
        if (own := members.get(index))
        else None
        for index, word in enumerate(spelling.words)
    ]
    return fill_words(spelling.words, timed, start, end)
