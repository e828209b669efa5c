"""Languages that are written without spaces between words."""

from __future__ import annotations

__all__ = ["LANGUAGES_WITHOUT_SPACES"]

LANGUAGES_WITHOUT_SPACES = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
"""Whisper codes; the list in Whisper's and faster-whisper's tokenizers (`split_to_word_tokens`).
WhisperX's alignment has a shorter one of its own, for its models: see `whisperx_tables`."""
