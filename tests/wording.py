"""Texts compared by their words."""

from __future__ import annotations

from worker.bench.wer import normalize
from worker.speech.engine.guard import differing_words


def word_errors(reference: str, text: str) -> int:
    """Words wrong, missing or too many."""
    return differing_words(normalize(text), normalize(reference))
