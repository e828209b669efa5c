"""Texts compared by their words or by their letters."""

from __future__ import annotations

import difflib

from worker.bench.wer import normalize
from worker.speech.engine.guard import differing_words


def word_errors(reference: str, text: str) -> int:
    """Words wrong, missing or too many."""
    return differing_words(normalize(text), normalize(reference))


def letters(text: str) -> str:
    """What sounds of a text: its letters and digits, in lower case."""
    return "".join(c for c in text.lower() if c.isalnum())


def alike(text: str, reference: str) -> float:
    """1 for the same letters in the same order, 0 for none."""
    # Without autojunk: from 200 letters on, it would take no letter for worth comparing.
    pair = (letters(text), letters(reference))
    return difflib.SequenceMatcher(None, *pair, autojunk=False).ratio()
