"""The words that matter to a job: phrases, and how they are to be shown (pure).

What they say is private: no sentence quotes it, no repr shows it. A sentence names an entry by its
place in the list.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from worker.jobs.problems import contains
from worker.results.spelling import one_line
from worker.results.wording.phrases import searched

__all__ = ["MAX_PHRASES", "MAX_PHRASE_CHARACTERS", "PhraseList", "Vocabulary", "VocabularyEntry"]

MAX_PHRASES = 2000
MAX_PHRASE_CHARACTERS = 256
"""Amazon Transcribe's bound of a phrase."""

_COLUMNS = ("Phrase", "DisplayAs")
_COLUMNS_OF_TABLES = (*_COLUMNS, "SoundsLike", "IPA")
"""Of Amazon Transcribe's tables of vocabulary."""


def _on_one_line(text: str) -> str:
    """In NFC, with its white space as single spaces."""
    line = one_line(unicodedata.normalize("NFC", text))
    if not line:
        raise PydanticCustomError("advice", "it must not be empty")
    return line


def _searchable(text: str) -> str:
    if not searched(text):
        raise PydanticCustomError(
            "advice",
            "it has neither letters nor digits, so that no words are found by it: leave it out",
        )
    return text


_Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PHRASE_CHARACTERS),
    AfterValidator(_on_one_line),
]
_Phrase = Annotated[_Line, AfterValidator(_searchable)]
_PHRASE: TypeAdapter[str] = TypeAdapter(_Phrase, config=ConfigDict(strict=True))


class VocabularyEntry(BaseModel):
    """A phrase as it is said, and as it is shown; the columns of Amazon Transcribe's tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    phrase: _Phrase = Field(alias="Phrase", repr=False)
    display_as: _Line | None = Field(default=None, alias="DisplayAs", repr=False)


# -- the forms that a list may have ----------------------------------------------------------------


def _listed(value: object) -> object:
    """The field's value, in any of its forms, as a list of entries.

    The forms: a list of phrases, or of objects `{"Phrase": ..., "DisplayAs": ...}`; or an object
    whose names are phrases and whose values say how each is shown (null: as it is).

    Raises:
        PydanticCustomError: it is of no form, or holds more than `MAX_PHRASES`.
    """
    if not isinstance(value, (list, tuple, Mapping)):
        raise PydanticCustomError(
            "advice", "it must be a list of phrases, or an object of phrases and how to show them"
        )
    _check_number(value)
    if not isinstance(value, Mapping):
        return [_checked(number, item) for number, item in enumerate(value, 1)]
    if "Phrase" in value and set(value) <= set(_COLUMNS_OF_TABLES):
        raise contains("an object with Phrase is one entry of a list: put it into a list")
    return list(value.items())


def _checked(number: int, item: object) -> object:
    if isinstance(item, (str, VocabularyEntry)):
        return item
    if not isinstance(item, Mapping) or "Phrase" not in item or not set(item) <= set(_COLUMNS):
        raise contains(
            f"item {number} must be a phrase, or an object of Phrase and DisplayAs and nothing else"
        )
    return item


def _entry(item: object) -> object:
    """A phrase alone, or with how it is shown, as an entry.

    Raises:
        ValidationError: of the phrase itself: the sender named no column that it could stand in.
    """
    match item:
        case str():
            return {"Phrase": _PHRASE.validate_python(item)}
        case (phrase, shown):
            return {"Phrase": _PHRASE.validate_python(phrase), "DisplayAs": shown}
        case _:
            return item


def _bounded(value: object) -> object:
    if isinstance(value, (list, tuple)):
        _check_number(value)
    return value


def _check_number(value: Sequence[object] | Mapping[Any, object]) -> None:
    # Before pydantic makes an error of each of a hostile list's items.
    if len(value) > MAX_PHRASES:
        raise contains(f"it has {len(value)} phrases and may have {MAX_PHRASES}: shorten it")


def _distinct_entries(entries: Sequence[VocabularyEntry]) -> tuple[VocabularyEntry, ...]:
    """Each phrase once, however often it is there, as it is first written.

    Raises:
        PydanticCustomError: a phrase is to be shown in two ways.
    """
    found: dict[Hashable, tuple[int, VocabularyEntry]] = {}
    for number, entry in enumerate(entries, 1):
        key = searched(entry.phrase)
        first, before = found.get(key, (number, entry))
        shown = before.display_as or entry.display_as
        if shown != (entry.display_as or shown):
            raise contains(
                f"items {first} and {number} are one phrase, shown in two ways: keep one of them"
            )
        found[key] = (first, before.model_copy(update={"display_as": shown}))
    return tuple(entry for _, entry in found.values())


def _distinct_phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    """Each phrase once, however often it is there, as it is first written."""
    found: dict[Hashable, str] = {}
    for phrase in phrases:
        found.setdefault(searched(phrase), phrase)
    return tuple(found.values())


_PHRASE_SCHEMA: JsonDict = {"type": "string", "minLength": 1, "maxLength": MAX_PHRASE_CHARACTERS}
_SHOWN_SCHEMA: JsonDict = {"anyOf": [_PHRASE_SCHEMA, {"type": "null"}]}
_ENTRY_SCHEMA: JsonDict = {
    "type": "object",
    "properties": {"Phrase": _PHRASE_SCHEMA, "DisplayAs": _SHOWN_SCHEMA},
    "required": ["Phrase"],
    "additionalProperties": False,
}
_VOCABULARY_SCHEMA: JsonDict = {
    "anyOf": [
        {
            "type": "array",
            "maxItems": MAX_PHRASES,
            "items": {"anyOf": [_PHRASE_SCHEMA, _ENTRY_SCHEMA]},
        },
        {
            "type": "object",
            "maxProperties": MAX_PHRASES,
            "additionalProperties": _SHOWN_SCHEMA,
            # One entry that is in no list.
            "not": {
                "required": ["Phrase"],
                "propertyNames": {"enum": [*_COLUMNS_OF_TABLES]},
            },
        },
    ]
}

Vocabulary = Annotated[
    tuple[Annotated[VocabularyEntry, BeforeValidator(_entry)], ...],
    Field(strict=False, max_length=MAX_PHRASES),
    BeforeValidator(_listed),
    AfterValidator(_distinct_entries),
    WithJsonSchema(_VOCABULARY_SCHEMA),
]
"""Phrases to favour, in any of their forms."""

PhraseList = Annotated[
    tuple[_Phrase, ...],
    Field(strict=False, max_length=MAX_PHRASES),
    BeforeValidator(_bounded),
    AfterValidator(_distinct_phrases),
]
"""Phrases without more, as a list."""
