"""The codes of languages in jobs and settings, and the nearest code to a wrong one (pure).

Which of them a model has is the model's business: `yue` came with large-v3, and a model
that ends in `.en` knows one language.
"""

import difflib
from collections.abc import Collection, Mapping
from types import MappingProxyType

from worker.results.languages import LANGUAGE_NAMES

__all__ = ["LANGUAGE_CODES", "in_order", "nearest_language"]

LANGUAGE_CODES: tuple[str, ...] = tuple(LANGUAGE_NAMES)
"""The 100 codes, in the order of faster-whisper's tokenizer."""


def in_order(codes: Collection[str]) -> tuple[str, ...]:
    """The codes of Whisper among `codes`, each once, in the order of `LANGUAGE_CODES`."""
    return tuple(code for code in LANGUAGE_CODES if code in codes)


_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "bokmal": "no",
        "burmese": "my",
        "castilian": "es",
        "farsi": "fa",
        "filipino": "tl",
        "flemish": "nl",
        "haitian": "ht",
        "jv": "jw",
        "letzeburgesch": "lb",
        "mandarin": "zh",
        "moldavian": "ro",
        "moldovan": "ro",
        "nb": "no",
        "panjabi": "pa",
        "pushto": "ps",
        "sinhalese": "si",
        "valencian": "ca",
    }
)
"""Names and ISO codes in use for languages that Whisper lists under another one."""

_LONGEST_NAME = 32
"""Characters looked at: no name is longer, and difflib's time grows with the square."""


def nearest_language(text: str) -> str | None:
    """The code that somebody who wrote `text` probably meant, or None without a good guess.

    Knows codes in any case (`EN`), codes with a region or script (`pt-BR`, `zh_Hans`), English
    names (`english`) and near misses of names (`japanse`).
    """
    wanted = text[:_LONGEST_NAME].strip().lower()
    base = wanted.replace("_", "-").partition("-")[0]
    by_name = {name: code for code, name in LANGUAGE_NAMES.items()} | dict(_OTHER_NAMES)
    for candidate in (wanted, base):
        if candidate in LANGUAGE_NAMES:
            return candidate
        if candidate in by_name:
            return by_name[candidate]
    close = difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.7)
    return by_name[close[0]] if close else None
