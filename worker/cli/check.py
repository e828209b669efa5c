"""What `check` shows: the settings in force, what this machine can do, what `run` would find."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worker.cli.asking import Finding, Verdict
from worker.redact import redact
from worker.settings import Described, Settings, describe

__all__ = ["show_findings", "show_machine", "show_settings"]

_AWS_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_PROFILE",
)
"""Variables whose values are no secret (a user and password in a URL are hidden all the same)."""

_STYLES = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.CANNOT: "red",
    Verdict.NOT_ASKED: "dim",
}


def show_settings(console: Console, settings: Settings) -> None:
    """The settings with their origins, and the variables that are none."""
    for group, rows in groupby(describe(settings), key=lambda row: row.group):
        console.print(_settings_table(group, rows))
    for variable in settings.unknown_variables:
        console.print(f"[yellow]{escape(variable)}[/]")
    console.print(_table("AWS", _aws_summary()))


def show_machine(console: Console, machine: dict[str, str]) -> None:
    """What this machine can do; `machine` comes from `describe_machine`."""
    console.print(_table("This machine", machine))


def show_findings(console: Console, findings: Sequence[Finding]) -> bool:
    """What was asked, with the findings; whether `run` would find all that was asked for."""
    table = Table(
        title="What `run` would find",
        title_justify="left",
        box=box.SIMPLE,
        title_style="bold",
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        verdict = f"[{_STYLES[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(escape(finding.about), verdict, escape(redact(finding.said)))
    console.print(table)
    missing = [finding.about for finding in findings if finding.verdict is Verdict.CANNOT]
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        console.print(f"[red]`run` would fail for want of:[/] {escape(names)}")
    return not missing


def _aws_summary() -> dict[str, str]:
    """Region and endpoints that AWS calls will use; no secret."""
    import boto3

    region = os.environ.get("AWS_REGION") or boto3.Session().region_name
    return {"region": region or "none: the queue URL's, or us-east-1"} | {
        name: redact(value) for name in _AWS_VARIABLES if (value := os.environ.get(name))
    }


def _settings_table(group: str, rows: Iterable[Described]) -> Table:
    table = Table(title=group, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold", style="dim")
    for row in rows:
        table.add_row(row.name, escape(row.value), escape(row.origin))
    return table


def _table(title: str, values: dict[str, str]) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE, title_style="bold", show_header=False
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(escape(name), escape(value))
    return table
