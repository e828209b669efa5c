"""The words that matter to a job: phrases, and how they are to be shown (pure).

What they say is private: no sentence quotes it, no repr shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

__all__ = ["MAX_PHRASES", "MAX_PHRASE_CHARACTERS", "Phrase", "VocabularyEntry", "listed"]

MAX_PHRASES = 2000
MAX_PHRASE_CHARACTERS = 256
"""Amazon Transcribe's bound of a phrase."""

Phrase = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PHRASE_CHARACTERS),
]


class VocabularyEntry(BaseModel):
    """A phrase as it is said, and as it is shown; the columns of Amazon Transcribe's tables."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, hide_input_in_errors=True
    )

    phrase: Phrase = Field(alias="Phrase", repr=False)
    display_as: Phrase | None = Field(default=None, alias="DisplayAs", repr=False)


def listed(value: object) -> object:
    """The field's value, in any of its forms, as a list of entries; what is no form is left as is.

    The forms: a list of phrases, or of objects `{"Phrase": ..., "DisplayAs": ...}`; or an object
    whose names are phrases and whose values say how each is shown (null: as it is).

    Raises:
        PydanticCustomError: it holds more than `MAX_PHRASES`.
    """
    if value is None:
        return ()
    if not isinstance(value, (list, tuple, Mapping)):
        raise PydanticCustomError(
            "advice", "it must be a list of phrases, or an object of phrases and how to show them"
        )
    if len(value) > MAX_PHRASES:
        raise PydanticCustomError("advice", f"it may have {MAX_PHRASES} phrases: shorten it")
    if isinstance(value, Mapping):
        return [{"Phrase": phrase, "DisplayAs": shown} for phrase, shown in value.items()]
    return [_entry(item) for item in value]


def _entry(item: Any) -> Any:
    return {"Phrase": item} if isinstance(item, str) else item
