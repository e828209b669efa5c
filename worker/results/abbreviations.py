"""Abbreviations after which a sentence goes on, by language (pure).

sentencex has lists of its own for thirty languages. These are the words that it lacks, and those
of its words that are written in small letters and yet stand before a name: a capital after other
words in small letters is believed to begin a sentence. A word that people end sentences with
stands here for no language where they do: `ste` is French (Sainte), not Croatian (you are).
"""

# ruff: noqa: RUF001  # Cyrillic letters

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["is_abbreviation"]

_ANY_LANGUAGE = ""

_BEFORE_NAMES = {
    _ANY_LANGUAGE: "cf dr prof vs",
    "bg": "ул",
    "bs hr sl sr": "npr tzv ul",
    "ca es gl": "av avda dña dra ing lic sr sra sres srta",
    "cs sk": "ing mgr napr např nám tzv ul",
    "da no": "bl.a f.eks fr frk hr",
    "de": "bzgl exkl geb inkl st tel vgl zzgl",
    "en": "mr mrs Ms",
    "fi": "esim",
    "fr": "bd M mgr mlle MM mme pr st ste",
    "hi": "डॉ प्रो",
    "hu": "pl",
    "id": "Jl Ny Tn",
    "it": "avv dott ing sig sigg",
    "nl": "bijv dhr drs ing mevr mr st",
    "pl": "al hab inż ks mgr np pl św tzn tzw ul",
    "pt": "av dra eng sr sra srta",
    "ro": "dl dna str",
    "ru": "акад гр д обл пл проф ул",
    "sv": "bl.a t.ex",
    "tr": "doç Sn",
    "uk": "акад вул ім обл пл проф",
    "vi": "GS PGS ThS TP TS",
}
"""What usually stands before a name, or in German before a noun."""

_BEFORE_NUMBERS = {
    _ANY_LANGUAGE: "fig nr pp",
    "da no sv": "ca kl",
    "de nl": "ca",
    "en": "approx ch vol",
    "es it pt": "cap pag pág",
    "hi": "रु",
    "hu": "kb",
    "pl": "ok rys str",
    "ru uk": "гл рис табл",
}
"""What a number may follow. Before anything else some are words of their own, as Polish `ok`."""


def _by_language(groups: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {
        language: frozenset(words.split())
        for languages, words in groups.items()
        for language in languages.split() or [_ANY_LANGUAGE]
    }


_NAMES = _by_language(_BEFORE_NAMES)
_NUMBERS = _by_language(_BEFORE_NUMBERS)


def is_abbreviation(word: str, language: str, *, before_number: bool) -> bool:
    """Whether a sentence goes on after a word with a full stop.

    Args:
        word: without that stop. Small letters of the tables stand for capitals, too.
        language: Whisper code.
        before_number: whether a digit follows, and no letter.
    """
    tables = (_NAMES, _NUMBERS) if before_number else (_NAMES,)
    known: frozenset[str] = frozenset()
    for table in tables:
        known |= table[_ANY_LANGUAGE] | table.get(language, frozenset())
    return word in known or word.casefold() in known
