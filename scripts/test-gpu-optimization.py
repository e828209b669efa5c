r"""Tests the whole chain that the worker needs of a GPU, with the worker's settings.

Driver, CUDA libraries, compute type, model, self-test on known speech, TF32 and cuDNN, batches
of rising size, and the memory arithmetic that sizes them. Prints a table; its last line,
`GPU test PASSED` or `GPU test FAILED: reason`, goes to the log file with it.

    .venv/bin/python scripts/test-gpu-optimization.py --model large-v3
    .venv/bin/python scripts/test-gpu-optimization.py --device cpu --model base \
        --log-file out/cpu-test.log

Exit codes: 0 passed, 2 wrong settings, 3 failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worker.bench.gpu_test.checks import BATCHES, Check, Kind, Outcome, run_checks, verdict
from worker.bench.gpu_test.gpu import ThisMachine
from worker.errors import ExitCode, SettingsError
from worker.logs import configure
from worker.settings import load
from worker.speech.config import EngineConfig

LOG_FILE = Path("/var/log/gpu-test.log")

COLOURS = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "bold red",
    Outcome.INFO: "cyan",
    Outcome.SKIPPED: "yellow",
}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Tests what the worker needs of a GPU, with the worker's settings "
        "(flags here, WORKER_... variables, --config)."
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help="cpu runs what can be run without a GPU"
    )
    parser.add_argument("--model", help="a model's name or directory")
    parser.add_argument("--compute-type")
    parser.add_argument("--batch-size")
    parser.add_argument("--beam-size")
    parser.add_argument("--config", type=Path, help="the worker's TOML file of settings")
    parser.add_argument(
        "--batches",
        default=",".join(map(str, BATCHES)),
        help="sizes of batches to time (%(default)s)",
    )
    parser.add_argument("--log-file", type=Path, default=LOG_FILE, help="overwritten (%(default)s)")
    arguments = parser.parse_args(argv)
    sizes = arguments.batches.split(",")
    if not all(size.strip().isdigit() and int(size) for size in sizes):
        parser.error(f"--batches {arguments.batches}: write numbers above zero, such as 1,16,64")
    arguments.batches = [int(size) for size in sizes]
    return arguments


def _config(arguments: argparse.Namespace) -> tuple[EngineConfig, Kind]:
    """The worker's own engine settings, and what is to be tested.

    Raises:
        SettingsError: a setting is wrong.
    """
    names = ("device", "model", "compute_type", "batch_size", "beam_size")
    settings = load({name: getattr(arguments, name) for name in names}, arguments.config)
    config = settings.engine()
    # On `auto` the worker would take the CPU where there is no GPU; a GPU's test must not.
    return config, "cpu" if config.device == "cpu" else "cuda"


def _table(checks: Sequence[Check]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("check", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for check in checks:
        colour = COLOURS[check.outcome]
        table.add_row(check.name, f"[{colour}]{check.outcome}[/]", escape(check.detail))
    return table


def _log(checks: Sequence[Check], line: str) -> str:
    """The log file: when, what was found, and the verdict as its last line."""
    lines = [datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")]
    lines += [f"{check.name}: {check.outcome}: {check.detail}" for check in checks]
    return "\n".join([*lines, line]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the checks; see the module for what comes of it."""
    arguments = _arguments(argv)
    progress = Console(stderr=True)
    try:
        # Before minutes of work, not after: an operator waits for this line in that file.
        arguments.log_file.parent.mkdir(parents=True, exist_ok=True)
        log = arguments.log_file.open("w", encoding="utf-8")
    except OSError as error:
        progress.print(f"--log-file {arguments.log_file} can't be written: {error.strerror}")
        return ExitCode.SETTINGS
    configure("ERROR")  # what matters of warnings stands in the table
    checks: list[Check] = []
    code = ExitCode.MACHINE
    kind: Kind = "cpu" if arguments.device == "cpu" else "cuda"
    with log:
        try:
            config, kind = _config(arguments)
            with progress.status("testing"):
                for check in run_checks(ThisMachine(config), kind, arguments.batches):
                    checks.append(check)
                    progress.print(f"{check.name}: {check.outcome}", markup=False, highlight=False)
        except SettingsError as error:
            code = ExitCode.SETTINGS
            checks.append(Check("settings", Outcome.FAILED, str(error)))
        except Exception as error:  # noqa: BLE001 # whatever it is, somebody waits for the line
            progress.print_exception()
            reason = f"{type(error).__name__}: {error}"
            checks.append(Check("the test itself", Outcome.FAILED, reason))
        line = verdict(checks, kind)
        log.write(_log(checks, line))
    Console().print(_table(checks))
    print(line)
    passed = not any(check.outcome is Outcome.FAILED for check in checks)
    return ExitCode.OK if passed else code


if __name__ == "__main__":
    sys.exit(main())
