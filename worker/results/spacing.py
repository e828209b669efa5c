"""Which texts are written without spaces between words (pure)."""

from __future__ import annotations

from typing import Literal

__all__ = ["LANGUAGES_WITHOUT_SPACES", "is_spaced"]

LANGUAGES_WITHOUT_SPACES = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
"""Whisper codes; the list in Whisper's and faster-whisper's tokenizers (`split_to_word_tokens`).
WhisperX's alignment has a shorter one of its own, for its models: see
`worker.speech.words.whisperx_tables`."""


def is_spaced(language: str, task: Literal["transcribe", "translate"]) -> bool:
    """Whether a text puts spaces between its words.

    Args:
        language: Whisper code of the language spoken.
        task: what was asked; a translation is English, whatever was spoken.
    """
    return task == "translate" or language not in LANGUAGES_WITHOUT_SPACES
