"""The settings in words: flags, what is allowed, values in force, config/README.md's table."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from worker.redact import redact
from worker.settings.fields import Settings

__all__ = [
    "Described",
    "allowed",
    "changed",
    "default_text",
    "describe",
    "flag",
    "group_of",
    "table",
]


@dataclass(frozen=True, slots=True)
class Described:
    """One setting, its value with secrets hidden, where that came from, and its group."""

    name: str
    value: str
    origin: str
    group: str


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def describe(settings: Settings) -> list[Described]:
    """Every setting as a person may see it: secrets in URLs hidden."""
    return [
        Described(
            name, redact(_text(getattr(settings, name))), settings.origin(name), group_of(field)
        )
        for name, field in type(settings).model_fields.items()
    ]


def changed(settings: Settings) -> dict[str, str]:
    """The settings that are not as by default, by name, as `describe` shows them."""
    fields = type(settings).model_fields
    return {
        row.name: row.value
        for row in describe(settings)
        if row.value != default_text(fields[row.name])
    }


def allowed(field: FieldInfo) -> str:
    """What a setting may be, in words: from its own note, or from its type and bounds."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    annotation = _without_none(field.annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if annotation is bool:
        return "true or false"
    kind = "a whole number" if annotation is int else "a number"
    return kind + _bounds(field)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


def _bounds(field: FieldInfo) -> str:
    low = high = above = below = None
    for bound in field.metadata:
        if isinstance(bound, Ge):
            low = bound.ge
        elif isinstance(bound, Le):
            high = bound.le
        elif isinstance(bound, Gt):
            above = bound.gt
        elif isinstance(bound, Lt):
            below = bound.lt
    if low is not None and high is not None:
        return f" from {low} to {high}"
    parts = [
        f"{word} {bound}"
        for word, bound in (
            ("at least", low),
            ("at most", high),
            ("above", above),
            ("below", below),
        )
        if bound is not None
    ]
    return " " + " and ".join(parts) if parts else ""


def group_of(field: FieldInfo) -> str:
    """The heading that a setting stands under."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def _text(value: object) -> str:
    """A value as it could be written in a variable; `none` where there is none."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value)) or "none"
        case ByteSize() if value >= 2**30 and value % 2**30 == 0:
            return f"{value // 2**30}GiB"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def default_text(field: FieldInfo) -> str:
    """A setting's default as it would be written in a variable."""
    return _text(field.default)


def table() -> str:
    """The settings as Markdown tables, one a group, for config/README.md."""
    head = "| setting | default | allowed | meaning |\n|---|---|---|---|"
    tables: dict[str, list[str]] = {}
    for name, field in Settings.model_fields.items():
        rows = tables.setdefault(group_of(field), [])
        rows.append(
            f"| `{name}` | `{default_text(field)}` | {allowed(field)} | {field.description} |"
        )
    return "\n\n".join(
        "\n".join([f"**{title}**", "", head, *rows]) for title, rows in tables.items()
    )
