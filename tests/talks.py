"""Transcripts of made-up talks in many languages, at the pace and with the pauses of a speaker."""

# ruff: noqa: RUF001

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from tests import spoken
from tests.sentences import SENTENCES
from worker.results.punctuation import SENTENCE_ENDS
from worker.results.sentences import by_sentences
from worker.results.subtitles.line_breaks import character_ends
from worker.results.transcript import Segment, SegmentResolution, Transcript, Word

WINDOW_SECONDS = 25.0

LANGUAGES = ("en", "de", "ja", "zh", "ko", "ar", "hi", "th", "lo", "km", "my")

_PACE = {"zh": 4.5, "ja": 7.5, "ko": 7.0, "th": 12.0, "lo": 12.0, "km": 13.0, "my": 13.0}
"""Characters a second."""

_WITHOUT_SPACES = ("zh", "ja", "th", "lo", "km", "my")

_BETWEEN_CLAUSES = {"zh": "，", "ja": "、", "ar": "، ", "my": "၊ ", "th": " ", "lo": " ", "km": " "}
_BETWEEN_SENTENCES = {"zh": "", "ja": ""}


def talk(language: str, resolution: SegmentResolution) -> Transcript:
    """Four minutes of sentences, some short and some of two or three clauses, with words.

    Args:
        language: of `LANGUAGES`.
        resolution: what its segments are: windows, or the sentences that are found in them.
    """
    chance = random.Random(language)
    windows: list[Segment] = []
    said: list[Word] = []
    clock = start = 1.0
    while clock < 240.0:
        for token, pause in _sentence(language, chance):
            characters = len(token.strip())
            seconds = characters / _PACE.get(language, 15.0) * chance.uniform(0.7, 1.3)
            said.append(Word(word=token, start=round(clock, 2), end=round(clock + seconds, 2)))
            clock += seconds + pause
        if clock - start > WINDOW_SECONDS:
            windows.append(_window(language, said, len(windows), start))
            said, start = [], said[-1].end
    if resolution == "window":
        return spoken.transcript(*windows)
    found = spoken.transcript(*by_sentences(windows, "transcribe"))
    return found.model_copy(update={"segment_resolution": "sentence"})


def _window(language: str, said: list[Word], number: int, start: float) -> Segment:
    return Segment(
        id=number,
        start=start,
        end=said[-1].end,
        text="".join(word.word for word in said).strip(),
        avg_logprob=-0.2,
        words=tuple(word.model_copy(update={"word": word.word.strip()}) for word in said),
        language=language,
    )


def _sentence(language: str, chance: random.Random) -> Iterator[tuple[str, float]]:
    """The words of a sentence, each with the space behind it, and seconds of pause after each.

    In languages without spaces between words, each character is one.
    """
    *clauses, last = chance.choices(SENTENCES[language], k=chance.choice([1, 1, 2, 3]))
    comma = _BETWEEN_CLAUSES.get(language, ", ")
    for text in (*(clause.rstrip("".join(SENTENCE_ENDS)) + comma for clause in clauses), last):
        *tokens, end = _tokens(language, text)
        for token in tokens:
            yield token, 1.2 if " " in token and chance.random() < 0.01 else 0.0
        if text is last:
            end += _BETWEEN_SENTENCES.get(language, " ")
            yield end, chance.choice([0.2, 0.4, 0.8, 1.4])
        else:
            yield end, chance.choice([0.1, 0.3, 0.5])


def _tokens(language: str, text: str) -> Iterator[str]:
    if language not in _WITHOUT_SPACES:
        yield from re.findall(r"\S+ ?", text)
        return
    first = 0
    for end in sorted(character_ends(text)):
        # A sign is spoken by no one: it belongs to the word before it.
        if end == len(text) or text[end].isalnum():
            yield text[first:end]
            first = end
