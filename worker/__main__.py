"""`python -m worker`, and the command `transcription-worker`.

Decode workers are spawned, and a spawned process imports this module again: it must stay
cheap, and do nothing when imported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from worker.errors import ExitCode, JobError, WorkerError

if TYPE_CHECKING:
    import click

__all__ = ["INTERRUPTED", "exit_code", "main", "run"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a process that SIGINT (2) ended: 128 + 2."""


def main() -> NoReturn:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # While this imports, there is nothing to finish or to say: the kernel ends the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from worker.cli.app import app

    run(app, sys.argv[1:], program="transcription-worker")


def run(command: click.Command, arguments: Sequence[str], *, program: str) -> NoReturn:
    """Run a command and exit; a foreseen error is one message on stderr and its exit code.

    Ctrl-C raises KeyboardInterrupt in the command, unless it has a handler of its own, and ends the
    process without a word of its own.
    """
    import click

    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    # Else pydantic reads the metadata of all installed packages, for plugins, at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, interrupt)
    try:
        code = command.main(list(arguments), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except WorkerError as error:
        click.echo(f"error: {error}", err=True)
        code = exit_code(error)
    except click.Abort:  # what click makes of Ctrl-C
        code = INTERRUPTED
    except BaseException:
        # An import that is interrupted may raise something else instead.
        if not interrupted:
            raise
        code = INTERRUPTED
    sys.exit(int(code or 0))


def exit_code(error: WorkerError) -> ExitCode:
    """The exit code of a foreseen error. A job refused on the command line is the user's fault."""
    if isinstance(error, JobError):
        return ExitCode.SETTINGS
    code = getattr(error, "exit_code", ExitCode.FAILURE)
    return ExitCode(code)


if __name__ == "__main__":
    main()
