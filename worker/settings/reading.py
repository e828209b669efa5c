"""Reading the settings: command line over environment over file over default.

`load` is the only function that looks outside. It keeps where each value came from, so that a
message about a wrong value can say which of the four places to correct.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from worker.errors import SettingsError
from worker.redact import redact
from worker.settings.fields import DEFAULT, ENV_PREFIX, Settings
from worker.settings.words import allowed, flag

__all__ = ["load", "load_log_settings", "unknown_variables"]


class _Environment(EnvSettingsSource):
    """How pydantic-settings reads environment variables, but from a mapping."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items() if value}


LOG_SETTINGS = ("log_level", "log_format", "log_file")
"""The settings that say where a message goes."""


def load_log_settings(
    cli_values: Mapping[str, Any] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Where log lines go, whatever is wrong with the other settings; never raises.

    What is wrong with these is left at its default. Arguments: as of `load`.
    """
    environ = os.environ if environ is None else environ
    flags = {name: value for name, value in (cli_values or {}).items() if value is not None}
    try:
        file = _read(config) if config is not None else {}
    except SettingsError:
        file = {}
    merged = file | _Environment(environ)() | flags
    values = {name: merged[name] for name in LOG_SETTINGS if name in merged}
    try:
        return Settings(**values)
    except ValidationError as error:
        wrong = {detail["loc"][0] for detail in error.errors(include_url=False)}
        return Settings(**{name: values[name] for name in values if name not in wrong})


def load(
    cli_values: Mapping[str, Any] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force.

    Args:
        cli_values: the value of each flag, by setting; None means that the flag was not given.
        config: a TOML file whose keys are settings.
        environ: the environment; `os.environ` if None.

    Raises:
        SettingsError: some values are wrong; the message lists all of them, each with its
            setting, value, origin and what is allowed.
    """
    environ = os.environ if environ is None else environ
    flags = {name: value for name, value in (cli_values or {}).items() if value is not None}
    variables = _Environment(environ)()
    file = _read(config) if config is not None else {}

    origins = {name: str(config) for name in file}
    origins |= {name: f"environment variable {_variable(name)}" for name in variables}
    origins |= {name: f"command line {flag(name)}" for name in flags}
    merged = file | variables | flags
    try:
        return Settings.build(merged, origins=origins, unknown=unknown_variables(environ))
    except ValidationError as error:
        raise SettingsError(_explain(error, merged, origins)) from None


def _read(config: Path) -> dict[str, Any]:
    if not config.is_file():
        raise SettingsError(f"--config {config}: there is no such file")
    try:
        return dict(TomlConfigSettingsSource(Settings, toml_file=config)())
    except (OSError, TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {config}: not readable as TOML: {error}") from error


def _explain(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """Every wrong value in one message, in the order of the settings."""
    problems: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0])
        origin = origins.get(name, DEFAULT)
        if detail["type"] == "extra_forbidden":
            problems[name] = f"{name} ({origin}): no such setting{_nearest(name)}"
        else:
            value = redact(repr(values.get(name)))
            field = Settings.model_fields[name]
            # Of a URI's rules only the one that was broken is worth saying.
            why = f"; {redact(detail['msg'])}" if detail["type"] == "uri" else ""
            problems[name] = f"{name} = {value} ({origin}): must be {allowed(field)}{why}"
    many = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
    return "\n  ".join([f"{many}:", *problems.values()])


def _nearest(name: str, form: Callable[[str], str] = str) -> str:
    near = get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {form(near[0])}?" if near else ""


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each `WORKER_...` variable that is no setting, with the nearest one that is.

    They are reported, not refused: an orchestrator may set variables with that prefix for itself.
    """
    settings = {
        variable: variable.upper().removeprefix(ENV_PREFIX).lower()
        for variable in sorted(environ)
        if variable.upper().startswith(ENV_PREFIX)
    }
    return tuple(
        f"{variable} is no setting{_nearest(name, _variable)}"
        for variable, name in settings.items()
        if name not in Settings.model_fields
    )


def _variable(name: str) -> str:
    return f"{ENV_PREFIX}{name.upper()}"
