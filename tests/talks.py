"""Transcripts of made-up talks in many languages, at the pace and with the pauses of a speaker."""

# ruff: noqa: RUF001

from __future__ import annotations

import random
from collections.abc import Iterator

from tests import spoken
from tests.sentences import SENTENCES
from worker.results.subtitles.line_breaks import character_ends
from worker.results.transcript import Segment, Transcript, Word

WINDOW_SECONDS = 25.0

_COMMAS = {"zh": "，", "ja": "、", "ar": "،", "my": "၊"}
_PACE = {"zh": 4.5, "ja": 7.5, "ko": 7.0, "th": 12.0, "lo": 12.0, "km": 13.0, "my": 13.0}
"""Characters a second."""

_WITHOUT_SPACES = ("zh", "ja", "th", "lo", "km", "my")


def talk(language: str, *, minutes: float = 4.0, seed: int = 0, pace: float = 1.0) -> Transcript:
    """Windows of sentences, some short and some of two or three clauses, with words.

    Args:
        language: Whisper code, of `SENTENCES`.
        minutes: of speech, about.
        seed: another one is another talk.
        pace: how many times as fast as usual.
    """
    chance = random.Random(f"{language} {seed}")
    windows: list[Segment] = []
    words: list[Word] = []
    clock = start = 1.0
    while clock < minutes * 60:
        for token in _sentence(language, chance):
            characters = len(token.strip())
            seconds = characters / _PACE.get(language, 15.0) / pace * chance.uniform(0.7, 1.3)
            words.append(Word(word=token, start=round(clock, 2), end=round(clock + seconds, 2)))
            clock += seconds + _pause(token, chance)
        if clock - start > WINDOW_SECONDS:
            windows.append(_window(language, words, len(windows), start))
            words, start = [], words[-1].end
    return spoken.transcript(*windows)


def _window(language: str, words: list[Word], number: int, start: float) -> Segment:
    return Segment(
        id=number,
        start=start,
        end=words[-1].end,
        text="".join(word.word for word in words).strip(),
        avg_logprob=-0.2,
        words=tuple(word.model_copy(update={"word": word.word.strip()}) for word in words),
        language=language,
    )


def _sentence(language: str, chance: random.Random) -> Iterator[str]:
    """The words of a sentence, each with the space before it."""
    clauses = chance.choices(SENTENCES[language], k=chance.choice([1, 1, 2, 3]))
    comma = _COMMAS.get(language, ",")
    unspaced = language in _WITHOUT_SPACES
    text = ("" if unspaced else " ") + (comma if unspaced else comma + " ").join(
        [*(clause.rstrip(".。।។") for clause in clauses[:-1]), clauses[-1]]
    )
    if not unspaced:
        yield from (f" {word}" for word in text.split())
        return
    first = 0
    for end in sorted(character_ends(text)):
        # A sign is spoken by no one: it belongs to the word before it.
        if end == len(text) or text[end].isalnum():
            yield text[first:end]
            first = end


def _pause(word: str, chance: random.Random) -> float:
    if word[-1] in ".?!。？！؟।។":
        return chance.choice([0.2, 0.4, 0.8, 1.4])
    if word[-1] in ",，、،၊":
        return chance.choice([0.1, 0.3, 0.5])
    # Between words; of languages without spaces these are characters.
    return 1.2 if word[0] == " " and chance.random() < 0.01 else 0.0
