"""The sentences that refuse a wrong job: the field, its value and the fix (pure).

Pydantic finds most of what is wrong; its errors become sentences here. Private values
(`prompt`, `hotwords`, `vocabulary`, `vocabulary_filter`, `metadata`) are never quoted.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from pydantic_core import ErrorDetails, PydanticCustomError

from worker.jobs.inputs import input_forms
from worker.redact import quoted

__all__ = [
    "UNICODE_FIX",
    "contains",
    "described",
    "explained",
    "kind_of",
    "metadata_problems",
    "sentence",
    "unknown_fields",
]

UNICODE_FIX = "it must be valid Unicode, without half a surrogate pair"

_PROBLEMS_NAMED = 3
"""How many problems one sentence names; the rest are counted."""


_NAMES_OF_OTHERS = {
    "initial_prompt": "prompt",  # Whisper, WhisperX
    "condition_on_previous_text": "carry_context",
    "word_timestamps": "words",
    "output_format": "formats",
    "response_format": "formats",  # OpenAI's API
    "timestamp_granularities": "words",
    "MediaFileUri": "input",  # Amazon Transcribe
    "LanguageCode": "language",
    "IdentifyMultipleLanguages": "multilingual",
    "ShowSpeakerLabels": "diarize",
    "speaker_labels": "diarize",  # AssemblyAI
    "multichannel": "channel_identification",  # AssemblyAI, Deepgram
    "VocabularyName": "vocabulary",
}
"""What others call a field, where another of ours is spelled more like it."""


def unknown_fields(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The sentences that refuse fields, each with the known one of its meaning or spelling."""
    problems = []
    named = len(names) if len(names) <= _PROBLEMS_NAMED else _PROBLEMS_NAMED - 1
    for name in names[:named]:
        # No field name is as long as 40; difflib's time grows with the square of the length.
        nearest = _NAMES_OF_OTHERS.get(name) or _most_like(name[:40].lower(), known)
        problems.append(
            f"field {quoted(name, 40)} is unknown; the nearest known one is '{nearest}'"
        )
    if len(names) > named:
        problems.append(f"{len(names)} fields in all are unknown")
    return problems


def _most_like(name: str, known: Sequence[str]) -> str:
    return max(known, key=lambda field: difflib.SequenceMatcher(None, name, field).ratio())


def contains(why: str) -> PydanticCustomError:
    """The error of a list in which something is wrong."""
    return PydanticCustomError("contains", "{why}", {"why": why})


def sentence(problems: Sequence[str]) -> str:
    """The first few problems as one sentence."""
    more = len(problems) - _PROBLEMS_NAMED
    return "; ".join(problems[:_PROBLEMS_NAMED]) + (f"; and {more} more" if more > 0 else "")


def kind_of(value: object) -> str:
    """What a JSON value is, without its content."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def described(value: object) -> str:
    """A JSON value as a message shows it: text and numbers shortened, else only what it is."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return quoted(str(value)).strip("'")
    return kind_of(value)


_FIXES = {
    "bool_type": "it must be true or false",
    "dict_type": "it must be an object whose values are text",
    "finite_number": "it must be a finite number",
    "float_type": "it must be a number",
    "int_from_float": "it must be a whole number",
    "int_type": "it must be a whole number",
    "list_type": "it must be a list",
    "string_too_short": "it must not be empty",
    "string_type": "it must be text",
    "string_unicode": UNICODE_FIX,
    "tuple_type": "it must be a list",
}
"""What to do, by pydantic's error types."""

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
"""By pydantic's error types for numbers: the key of the bound in the error's context, in words."""


def explained(problem: ErrorDetails, *, private: Collection[str]) -> str:
    """One of pydantic's errors as a sentence that a person can act on.

    Args:
        problem: as `ValidationError.errors` lists it; its location begins with a job's field.
        private: fields whose values are never quoted.
    """
    field, *inside = problem["loc"]
    name = f"field '{field}'" + "".join(
        f" {quoted(item, 40)}" if isinstance(item, str) else f" item {item + 1}"
        for item in inside
        if item != "[key]"  # how pydantic says that an entry's name is wrong, not its value
    )
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    shown_value = kind_of(value) if field in private else described(value)
    match kind:
        case "missing":
            return f"{name} is missing: add it, as {input_forms()}"
        case "uri" | "contains":
            return f"{name}: {context['why']}"
        case "string_too_long":
            return (
                f"{name} has {len(value)} characters and may have {context['max_length']}:"
                " shorten it"
            )
        case "literal_error":
            fix = f"it must be {context['expected']}"
        case _ if kind in _BOUNDS:
            key, words = _BOUNDS[kind]
            fix = f"it must be {words} {context[key]}"
        case _:
            fix = _FIXES.get(kind, problem["msg"])
    return f"{name} is {shown_value}: {fix}"


def metadata_problems(metadata: object, *, max_entries: int, max_bytes: int) -> list[str]:
    """What is wrong with the size of a job's metadata; what it holds is pydantic's to check.

    Args:
        metadata: the field's value as it came; anything but an object has no size.
        max_entries: most entries it may have.
        max_bytes: most bytes (UTF-8) of names and values together.
    """
    if not isinstance(metadata, dict):
        return []
    problems = []
    if len(metadata) > max_entries:
        problems.append(
            f"field 'metadata' has {len(metadata)} entries and may have {max_entries}: send fewer"
        )
    size = sum(
        len(text.encode("utf-8", "surrogatepass"))
        for text in (*metadata, *metadata.values())
        if isinstance(text, str)
    )
    if size > max_bytes:
        problems.append(
            f"field 'metadata' has {size} bytes of names and values and may have"
            f" {max_bytes}: shorten it"
        )
    return problems
