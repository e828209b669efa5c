"""What the command lines of the benchmarks have in common: options, and how a run ends."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from worker.bench.plan import Plan
from worker.errors import ExitCode, SettingsError, WorkerError

__all__ = ["add_model", "add_reports", "flag", "parse", "plan_of", "run", "write"]

DETECT = "detect"
"""In place of a language's code."""


def add_model(parser: argparse.ArgumentParser, *, language: str) -> None:
    """Adds the options that `plan_of` reads.

    Args:
        parser: gets them.
        language: where none is given.
    """
    plan = Plan()
    parser.add_argument("--model", default=plan.model, help="a model's name or directory")
    parser.add_argument("--compute-type", default=plan.compute_type)
    parser.add_argument("--beam-size", type=int, default=plan.beam_size)
    parser.add_argument(
        "--language",
        default=language,
        help=f"Whisper code; {DETECT!r} has it detected, as most jobs do",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="of the model on a CPU; 0: all cores"
    )


def add_reports(parser: argparse.ArgumentParser, *, json: str = "the figures") -> None:
    """Adds the options that name files to write, see `write`.

    Args:
        parser: gets them.
        json: what is in that file.
    """
    parser.add_argument("--json", type=Path, help=f"write {json} here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, *, above_zero: Sequence[str]
) -> argparse.Namespace:
    """The arguments, with the whole `command` among them; ends the process if they are wrong.

    Args:
        parser: named as the script is.
        argv: None takes the process's own.
        above_zero: options that must be, where they are given.
    """
    given = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(given)
    arguments.command = shlex.join([parser.prog, *given])
    for name in above_zero:
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            parser.error(f"{flag(name)} must be above zero")
    return arguments


def flag(name: str) -> str:
    """How an option is typed."""
    return f"--{name.replace('_', '-')}"


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What was asked for with the options of `add_model`."""
    return Plan(
        model=arguments.model,
        model_label=Path(arguments.model).name,
        compute_type=arguments.compute_type,
        beam_size=arguments.beam_size,
        language=None if arguments.language == DETECT else arguments.language,
        threads=arguments.threads,
    )


def write(path: Path | None, text: str) -> None:
    """Writes a report where one was asked for; its folder is made."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run(script: str, work: Callable[[Path, Console], int], *, download: bool = False) -> int:
    """Does the work in a folder that is removed afterwards, and shows an error of ours in a line.

    Args:
        script: the file's name, for that line.
        work: gets the folder, and stderr; returns the exit code.
        download: whether missing models may be fetched from the hub.

    Returns:
        `work`'s exit code, or the one for its error: 2 for wrong arguments, 3 for the machine.
    """
    # So that a run that is stopped by its supervisor leaves no temporary files.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if not download:
        # Before anything imports the hub's client, which reads it once; children inherit it.
        os.environ["HF_HUB_OFFLINE"] = "1"
    console = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{Path(script).stem}-") as scratch:
            return work(Path(scratch), console)
    except WorkerError as error:
        console.print(f"{script}: {escape(str(error))}", soft_wrap=True)
        return error.exit_code if isinstance(error, SettingsError) else ExitCode.MACHINE
