"""The settings as command-line flags, made only when a command that takes them is parsed.

Reading the settings' descriptions costs half a second of imports, which `--help` and `submit`
must not pay: so the flags are no parameters of the command's function, but are added to it
when its arguments are parsed, and taken out again (`given`) before it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

import typer
import typer.core

__all__ = ["EngineCommand", "SettingsCommand", "given"]

_KEY = "worker.cli.flags"


class SettingsCommand(typer.core.TyperCommand):
    """A command with a flag for every setting."""

    engine_only: ClassVar[bool] = False
    hidden_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings whose flag the command's function has, or for which it has no use."""

    # Any: the types of contexts and parameters are in modules that typer keeps to itself.
    def get_params(self, ctx: Any) -> list[Any]:
        """The function's own parameters, then the settings."""
        own = super().get_params(ctx)
        return [*own[:-1], *self._settings_flags(), *own[-1:]]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The help text: the command's own parameters, then the settings in their groups."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if param.param_type_name == "argument" else "Options"
                group = getattr(param, "rich_help_panel", None) or kind
                sections.setdefault(group, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def invoke(self, ctx: Any) -> Any:
        """Call the function, with the flags' values in the context instead of as arguments."""
        ctx.meta[_KEY] = {flag.name: ctx.params.pop(flag.name) for flag in self._settings_flags()}
        return super().invoke(ctx)

    def _settings_flags(self) -> list[Any]:
        if not hasattr(self, "_flags"):
            self._flags = _make_flags(engine_only=self.engine_only, hidden=self.hidden_settings)
        return self._flags


class EngineCommand(SettingsCommand):
    """A command with a flag for every setting that reaches the engine."""

    engine_only = True
    hidden_settings = frozenset({"max_input_bytes"})


def given(ctx: typer.Context) -> Mapping[str, str | bool | None]:
    """What the settings' flags said, by setting; None where a flag was not given."""
    return cast("Mapping[str, str | bool | None]", ctx.meta[_KEY])


def _make_flags(*, engine_only: bool, hidden: frozenset[str]) -> list[Any]:
    """Typer's own parameters for a function that has one option for each setting.

    All but switches take any text: it is `settings.load` that judges values, in the same words
    whether they come from a flag, a variable or a file.
    """
    from worker.settings import ENGINE_GROUPS, Settings, allowed, default_text, flag

    parameters = []
    for name, field in Settings.model_fields.items():
        extra = cast("dict[str, str]", field.json_schema_extra)
        if name in hidden or (engine_only and extra["group"] not in ENGINE_GROUPS):
            continue
        switch = field.annotation is bool
        option = typer.Option(
            f"{flag(name)}/--no-{flag(name)[2:]}" if switch else flag(name),
            help=f"{_plain(field.description)} (default {default_text(field)}; {allowed(field)})",
            metavar=None if switch else name.rsplit("_", 1)[-1].upper(),
            rich_help_panel=extra["group"],  # `format_options` reads it
            show_default=False,
        )
        annotation = Annotated[bool | None if switch else str | None, option]  # type: ignore[valid-type]  # made for typer, not for a checker
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )

    def command(**_: object) -> None:
        """Only its signature is used."""

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362
    app = typer.Typer(add_completion=False)
    app.command()(command)
    params: list[Any] = typer.main.get_command(app).params
    return params


def _plain(description: str | None) -> str:
    """Markdown's backticks mean nothing in a terminal."""
    return (description or "").replace("`", "")
