"""The kinds of input that a job may name: how each is written, read and fetched (pure).

To add a kind, write one module, with the class of its URIs and its reader, and name both in one
line of `KINDS`. Both are named as text and imported when they are first needed: a sender parses
URIs without the libraries that fetch, and the worker alone loads the readers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

from worker.redact import quoted

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

__all__ = ["KINDS", "InputKind", "InputUri", "JobInput", "input_forms", "is_input", "parse_input"]


class InputUri(Protocol):
    """Names one input. A frozen value: equal URIs name the same input.

    `str` of it is the URI as a person writes it; its class has `parse`, which reads that text and
    raises ValueError with what is wrong and the fix.
    """

    @property
    def scheme(self) -> str:
        """The kind of input: its key in `KINDS`."""
        ...

    @property
    def bucket(self) -> str | None:
        """The bucket it lies in; None for a kind without buckets.

        `allowed_buckets` and the default output concern only inputs that have one.
        """
        ...

    @property
    def name(self) -> str:
        """The file's name, without its folders."""
        ...


@dataclass(frozen=True, slots=True)
class InputKind:
    """One kind of input.

    Attributes:
        noun: what its URI is called in a sentence.
        form: how its URI is written, for people.
        pattern: the same for the JSON schema, as a regular expression.
        uri: "module:class" of its URI, an `InputUri`.
        reader: "module:function" that makes its reader, a `worker.pipeline.inputs.Inputs`, from
            the worker's `worker.aws.clients.Clients`.
    """

    noun: str
    form: str
    pattern: str
    uri: str
    reader: str

    def parse(self, text: str) -> InputUri:
        """The URI as a person writes it. Raises ValueError."""
        parse: Callable[[str], InputUri] = self.uri_class.parse
        return parse(text)

    @property
    def uri_class(self) -> Any:
        """The class of its URIs."""
        return _load(self.uri)

    @property
    def make_reader(self) -> Callable[[Any], Any]:
        """The function that makes its reader; this imports what fetches."""
        return cast(Callable[[Any], Any], _load(self.reader))


_S3 = "^s3://[^/]+/.+"
KINDS: dict[str, InputKind] = {
    "s3": InputKind(
        "an S3 URI", "s3://bucket/key", _S3, "worker.uris:S3Uri", "worker.aws.inputs:open_inputs"
    ),
}
"""By scheme: what stands before `://`."""


def parse_input(text: str) -> InputUri:
    """The URI of an input of any kind.

    Raises:
        ValueError: it is of no kind, or wrong by the rules of its kind; the message says what to
            write.
    """
    kind = _kind(text)
    if kind is None:
        nouns = " or ".join(known.noun for known in KINDS.values())
        raise ValueError(f"{quoted(text)} is not {nouns}: write {input_forms()}")
    return kind.parse(text)


def is_input(text: str) -> bool:
    """Whether the text begins like the URI of an input; it may be wrong all the same."""
    return _kind(text) is not None


def input_forms() -> str:
    """How the URI of an input is written, for people."""
    return " or ".join(kind.form for kind in KINDS.values())


def _kind(text: str) -> InputKind | None:
    scheme, found, _ = text.partition("://")
    return KINDS.get(scheme) if found else None


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class _AsText:
    """To pydantic the URI of an input is a string, read by `parse_input` and written by `str`."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        def read(value: Any) -> InputUri:
            if isinstance(value, str):
                try:
                    return parse_input(value)
                except ValueError as error:
                    raise PydanticCustomError("uri", "{why}", {"why": str(error)}) from None
            if any(isinstance(value, kind.uri_class) for kind in KINDS.values()):
                return cast(InputUri, value)
            raise PydanticCustomError("string_type", "must be text")

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        patterns = "|".join(kind.pattern for kind in KINDS.values())
        return {"type": "string", "pattern": patterns}


JobInput = Annotated[InputUri, _AsText]
"""A model's field that holds the URI of an input."""
