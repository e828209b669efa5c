"""The words that matter to a job: phrases, and how they are to be shown (pure).

What they say is private: no sentence quotes it, no repr shows it. A sentence names an entry by its
place in the list.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from worker.results.spelling import one_line
from worker.results.wording.phrases import searched

__all__ = [
    "MAX_PHRASES",
    "MAX_PHRASE_CHARACTERS",
    "Phrase",
    "VocabularyEntry",
    "distinct_entries",
    "distinct_phrases",
    "listed",
    "listed_phrases",
]

MAX_PHRASES = 2000
MAX_PHRASE_CHARACTERS = 256
"""Amazon Transcribe's bound of a phrase."""

_COLUMNS = ("Phrase", "DisplayAs")


def _on_one_line(text: str) -> str:
    """In NFC, with its white space as single spaces."""
    line = one_line(unicodedata.normalize("NFC", text))
    if not line:
        raise PydanticCustomError("advice", "it must not be empty")
    return line


def _searchable(text: str) -> str:
    if not searched(text):
        raise PydanticCustomError(
            "advice", "it has neither letters nor digits, so that no words are found by it"
        )
    return text


_Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PHRASE_CHARACTERS),
    AfterValidator(_on_one_line),
]
Phrase = Annotated[_Line, AfterValidator(_searchable)]


class VocabularyEntry(BaseModel):
    """A phrase as it is said, and as it is shown; the columns of Amazon Transcribe's tables."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, hide_input_in_errors=True
    )

    phrase: Phrase = Field(alias="Phrase", repr=False)
    display_as: _Line | None = Field(default=None, alias="DisplayAs", repr=False)


def listed(value: object) -> object:
    """The field's value, in any of its forms, as a list of entries.

    The forms: a list of phrases, or of objects `{"Phrase": ..., "DisplayAs": ...}`; or an object
    whose names are phrases and whose values say how each is shown (null: as it is).

    Raises:
        PydanticCustomError: it is of no form, or holds more than `MAX_PHRASES`.
    """
    if value is None:
        return ()
    if not isinstance(value, (list, tuple, Mapping)):
        raise PydanticCustomError(
            "advice", "it must be a list of phrases, or an object of phrases and how to show them"
        )
    _check_number(value)
    if isinstance(value, Mapping):
        return [{"Phrase": phrase, "DisplayAs": shown} for phrase, shown in value.items()]
    return [_entry(number, item) for number, item in enumerate(value, 1)]


def listed_phrases(value: object) -> object:
    """The same of a field that is a list of phrases; what is no list is left as it is."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        _check_number(value)
    return value


def distinct_entries(entries: Sequence[VocabularyEntry]) -> tuple[VocabularyEntry, ...]:
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
            raise _contains(
                f"items {first} and {number} are one phrase, shown in two ways: keep one of them"
            )
        found[key] = (first, before.model_copy(update={"display_as": shown}))
    return tuple(entry for _, entry in found.values())


def distinct_phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    """Each phrase once, however often it is there, as it is first written."""
    found: dict[Hashable, str] = {}
    for phrase in phrases:
        found.setdefault(searched(phrase), phrase)
    return tuple(found.values())


def _contains(why: str) -> PydanticCustomError:
    return PydanticCustomError("contains", "{why}", {"why": why})


def _check_number(value: Sequence[object] | Mapping[Any, object]) -> None:
    # Before pydantic makes an error of each of a hostile list's items.
    if len(value) > MAX_PHRASES:
        raise _contains(f"it has {len(value)} phrases and may have {MAX_PHRASES}: shorten it")


def _entry(number: int, item: object) -> object:
    if isinstance(item, str):
        return {"Phrase": item}
    if isinstance(item, VocabularyEntry):
        return item
    if not isinstance(item, Mapping) or "Phrase" not in item or not set(item) <= set(_COLUMNS):
        raise _contains(
            f"item {number} must be a phrase, or an object of Phrase and DisplayAs and nothing else"
        )
    return item
