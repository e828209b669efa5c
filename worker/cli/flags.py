"""Flags made from lists: the worker's settings, and the fields of a job.

A setting's flag comes from its declaration in `worker.settings`, a job's from
`worker.jobs.fields`; neither is written out again here. Importing the settings takes longer than
`--help` or `submit` may: a command makes their flags when its arguments are parsed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from worker.errors import SettingsError
from worker.jobs.fields import JOB_FIELDS, Command, Flag, JobField

__all__ = [
    "CONTEXT",
    "NOT_FOR_FILES",
    "SettingsCommand",
    "config_option",
    "job_options",
    "job_part",
]

CONTEXT: Mapping[str, Any] = {"help_option_names": ["-h", "--help"], "show_default": True}
"""Settings of click for every command."""

NOT_FOR_FILES = frozenset(
    {"max_input_bytes", "metrics_port", "metrics_emf", "price_per_hour", "notify_url"}
)
"""Settings in `FILE_GROUPS` that mean nothing where nothing is fetched, watched or announced."""


class _SettingOption(click.Option):
    """A setting's flag, and the heading that the help puts it under."""

    def __init__(self, declarations: Sequence[str], *, heading: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self.heading = heading


class SettingsCommand(click.Command):
    """A command with a flag for every setting, or for those that mean something for local files.

    A setting that is a field of a job as well has one flag where the command has the job's.

    Its callback gets the settings' flags as keyword arguments beside its own parameters, None
    where a flag was not given.
    """

    def __init__(self, name: str, *, for_files: bool = False, **attributes: Any) -> None:
        super().__init__(name, context_settings=dict(CONTEXT), **attributes)
        self._for_files = for_files

    @cached_property
    def _settings_options(self) -> list[_SettingOption]:
        own = {param.name for param in self.params}
        options = _make_settings_options(for_files=self._for_files)
        return [option for option in options if option.name not in own]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, then the settings, then `--help`."""
        *own, show_help = super().get_params(ctx)
        return [*own, *self._settings_options, show_help]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help text: the command's own options, then the settings under their headings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                heading = param.heading if isinstance(param, _SettingOption) else "Options"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class _NamedPath(click.Path):
    """A path that says something: an empty one, as of a variable not set, would be `.`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty: name a file or a directory", param, ctx)
        return super().convert(value, param, ctx)


PATH = _NamedPath(path_type=Path)
"""The type of a parameter that is a path."""


def config_option() -> click.Option:
    """The flag `--config` of commands that read settings."""
    return click.Option(
        ["--config"],
        type=PATH,
        help="TOML file of settings; flags and WORKER_... variables go over it.",
    )


def _make_settings_options(*, for_files: bool) -> list[_SettingOption]:
    """A flag for each setting.

    All but switches take any text: `worker.settings.load` judges values, in the same words
    whether they come from a flag, a variable or a file.
    """
    from worker.settings import FILE_GROUPS, Settings, allowed, default_text, flag, group_of

    options = []
    for name, field in Settings.model_fields.items():
        if for_files and (group_of(field) not in FILE_GROUPS or name in NOT_FOR_FILES):
            continue
        switch = field.annotation is bool
        description = (field.description or "").replace("`", "")  # Markdown's, not a terminal's
        options.append(
            _SettingOption(
                [f"{flag(name)}/--no-{flag(name)[2:]}" if switch else flag(name)],
                heading=group_of(field),
                type=bool if switch else str,
                default=None,
                metavar=None if switch else name.rsplit("_", 1)[-1].upper(),
                help=f"{description} (default {default_text(field)}; {allowed(field)})",
            )
        )
    return options


def job_options(
    command: Command, fields: Mapping[str, JobField] = JOB_FIELDS
) -> list[click.Option]:
    """The flags of a job's fields that a command has; values come as a message has them."""
    return [
        _make_job_option(name, field, field.flag)
        for name, field in fields.items()
        if field.flag is not None and command in field.flag.commands
    ]


def job_part(
    values: Mapping[str, Any], fields: Mapping[str, JobField] = JOB_FIELDS
) -> dict[str, object]:
    """Of a command's values, those of its job's flags: fields as a message has them."""
    return {
        name: values[name]
        for name, field in fields.items()
        if field.flag is not None and name in values
    }


def _make_job_option(name: str, field: JobField, flag: Flag) -> click.Option:
    dashed = f"--{name.replace('_', '-')}"
    default = field.default
    match flag.kind:
        case "text":
            return click.Option([dashed], default=default, help=flag.help)
        case "integer":
            return click.Option([dashed], type=int, default=default, help=flag.help)
        case "number":
            return click.Option([dashed], type=float, default=default, help=flag.help)
        case "switch":
            return click.Option(
                [f"{dashed}/--no-{dashed[2:]}"], type=bool, default=default, help=flag.help
            )
        case "names":
            return click.Option(
                [dashed],
                default=",".join(default) if default else None,
                callback=_converted(lambda text: _names(text, default)),
                help=flag.help,
            )
        case "labels":
            return click.Option([dashed], callback=_converted(_labels), help=flag.help)
        case "track":
            return click.Option(
                [dashed],
                default=default,
                metavar="N|all",
                callback=_converted(_track),
                help=flag.help,
            )
        case "phrases":
            return click.Option(
                [dashed],
                default=None,
                metavar="PHRASE[=SHOWN],...",
                callback=_converted(lambda text: _phrases(dashed, text)),
                help=flag.help,
            )
        case "pairs":
            return click.Option(
                [dashed],
                multiple=True,
                metavar="NAME=VALUE",
                callback=_converted(lambda texts: _pairs(dashed, texts)),
                help=flag.help,
            )


def _converted(
    convert: Callable[[Any], object],
) -> Callable[[click.Context, click.Parameter, Any], object]:
    """A click callback that turns what was typed into a field's value."""
    return lambda ctx, param, value: convert(value)


def _names(text: str | None, default: Sequence[str] | None) -> list[str] | None:
    if text is None:  # not typed, and the default is no text: None or empty
        return None if default is None else list(default)
    return [name.strip() for name in text.split(",") if name.strip()]


def _labels(text: str | None) -> list[str]:
    """Each label at its place: an empty one between two others is refused as in a message."""
    return [label.strip() for label in text.split(",")] if text and text.strip() else []


def _track(text: str | None) -> int | str | None:
    """A number, or the text: what is neither a number nor `all` is refused as in a message."""
    # The bound is for `int`, which takes only so many digits.
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else text


def _phrases(flag: str, text: str | None) -> list[dict[str, str | None]]:
    """The phrases of a line of comma-separated values, with how each is to be shown."""
    try:
        # White space in a phrase is all the same; a line break would end the line.
        items = next(
            csv.reader([" ".join((text or "").split())], skipinitialspace=True, strict=True)
        )
    except csv.Error:
        raise SettingsError(
            f'{flag}: double quotes stand around all of a phrase: write "A, B" or "A, B=SHOWN"'
        ) from None
    found = []
    for number, item in enumerate(items, 1):
        if not item.strip():
            continue
        phrase, has_other, shown = (part.strip() for part in item.partition("="))
        if not phrase or (has_other and not shown):
            # Not quoted: a vocabulary is private, and what is said here may be kept.
            raise SettingsError(f"{flag} item {number}: write PHRASE, or PHRASE=SHOWN")
        found.append({"Phrase": phrase, "DisplayAs": shown or None})
    return found


def _pairs(flag: str, texts: Sequence[str]) -> dict[str, str]:
    for text in texts:
        if text.find("=") < 1:
            raise SettingsError(f"{flag} {text}: write NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)
