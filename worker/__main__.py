"""`python -m worker`, and the command `transcription-worker`.

Decode workers are spawned, and a spawned process imports this module again: it must stay
cheap, and do nothing when imported.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from worker.cli.app import app
from worker.errors import ExitCode, JobError, WorkerError

__all__ = ["INTERRUPTED", "exit_code", "main", "run"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a process that SIGINT (2) ended: 128 + 2."""


def main() -> NoReturn:
    """Run the command line."""
    run(app, sys.argv[1:], program="transcription-worker")


def run(command: click.Command, arguments: Sequence[str], *, program: str) -> NoReturn:
    """Run a command and exit; a foreseen error is one message on stderr and its exit code."""
    # Else pydantic reads the metadata of all installed packages, for plugins, at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code = command.main(list(arguments), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:  # what click makes of Ctrl-C
        code = INTERRUPTED
    except WorkerError as error:
        click.echo(f"error: {error}", err=True)
        code = exit_code(error)
    sys.exit(int(code or 0))


def exit_code(error: WorkerError) -> ExitCode:
    """The exit code of a foreseen error. A job refused on the command line is the user's fault."""
    if isinstance(error, JobError):
        return ExitCode.SETTINGS
    code = getattr(error, "exit_code", ExitCode.FAILURE)
    return ExitCode(code)


if __name__ == "__main__":
    main()
