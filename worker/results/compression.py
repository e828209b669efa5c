"""How much a text repeats itself, as Whisper counts it (pure)."""

from __future__ import annotations

import zlib

__all__ = ["compression_ratio"]


def compression_ratio(text: str) -> float:
    """Bytes of UTF-8 over compressed bytes, to 4 places (openai/whisper, `compression_ratio`).

    It is what readers of other programs' results know. The engine doubts texts by a count of its
    own, which is fair to scripts whose letters take several bytes (`engine/scripts.py`).

    Args:
        text: not empty.
    """
    data = text.encode("utf-8", "replace")
    return round(len(data) / len(zlib.compress(data)), 4)
