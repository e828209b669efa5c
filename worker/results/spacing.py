"""Which texts are written without spaces: between words, or anywhere (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.results.languages import written_in

if TYPE_CHECKING:
    from worker.results.transcript import Task

__all__ = ["LANGUAGES_WITHOUT_SPACES", "is_spaced", "joint"]

LANGUAGES_WITHOUT_SPACES = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
"""Whisper codes; the list in Whisper's and faster-whisper's tokenizers (`split_to_word_tokens`).
WhisperX's alignment has a shorter one of its own, for its models: see
`worker.speech.words.whisperx_tables`."""

_LANGUAGES_WITHOUT_ANY_SPACES = frozenset({"ja", "yue", "zh"})
"""Whisper codes. The others of those above put a space between clauses or sentences, and hardly
another sign."""


def joint(first: str | None, second: str | None) -> str:
    """What stands between two texts that follow each other: a space or nothing.

    Args:
        first: Whisper code of the language that the first is written in; None if not known.
        second: of the second.
    """
    spaceless = first in _LANGUAGES_WITHOUT_ANY_SPACES and second in _LANGUAGES_WITHOUT_ANY_SPACES
    return "" if spaceless else " "


def is_spaced(language: str, task: Task) -> bool:
    """Whether a text puts spaces between its words.

    Args:
        language: Whisper code of the language spoken.
        task: what was asked; a translation is English, whatever was spoken.
    """
    return written_in(language, task) not in LANGUAGES_WITHOUT_SPACES
