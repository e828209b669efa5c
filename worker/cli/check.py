"""What `check` shows: the settings in force, and what this machine can do with them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worker.redact import redact
from worker.settings import Described, Settings, describe

__all__ = ["show"]

_AWS_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_PROFILE",
)
"""Variables whose values are no secret (a user and password in a URL are hidden all the same)."""


def _aws_summary() -> dict[str, str]:
    """Region, endpoints and the kind of credentials that AWS calls will use; no secret."""
    import boto3

    session = boto3.Session()
    credentials = session.get_credentials()
    region = os.environ.get("AWS_REGION") or session.region_name
    found = {
        "region": region or "none: the queue URL's, or us-east-1",
        "credentials": f"from {credentials.method}" if credentials else "none found",
    }
    return found | {
        name: redact(value) for name in _AWS_VARIABLES if (value := os.environ.get(name))
    }


def show(console: Console, settings: Settings, machine: dict[str, str]) -> None:
    """Print the tables; `machine` comes from `describe_machine`."""
    for group, rows in groupby(describe(settings), key=lambda row: row.group):
        console.print(_settings_table(group, rows))
    for variable in settings.unknown_variables:
        console.print(f"[yellow]{escape(variable)}[/]")
    console.print(_table("AWS", _aws_summary()))
    console.print(_table("This machine", machine))


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
