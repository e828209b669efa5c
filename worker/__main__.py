"""`python -m worker`, and the command `transcription-worker`.

Decode workers are spawned, and a spawned process imports this module again: it must stay
cheap, and do nothing when imported.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
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

    from worker.redact import printable

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
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except WorkerError as error:
        click.echo("error: " + printable(str(error), keep="\n"), err=True)
        code = exit_code(error)
    except click.Abort:  # what click makes of Ctrl-C
        code = INTERRUPTED
    except BaseException as error:
        # An import that is interrupted may raise something else instead.
        if interrupted:
            code = INTERRUPTED
        elif isinstance(error, OSError) and (lost := _lost_output()) is not None:
            if lost.errno != errno.EPIPE:  # the reader has gone, as `head` does
                click.echo(f"error: standard output can't be written: {lost.strerror}", err=True)
            code = ExitCode.FAILURE
        else:
            raise
    sys.exit(int(code or 0))


def _lost_output() -> OSError | None:
    """Why standard output can't be written, if so; what it still holds is then given up.

    It is asked by an empty line: where it has no buffer, nothing is left of what failed that could
    fail again. Where it has one, that would fail once more when the process ends.
    """
    if sys.stdout is None:
        return None
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return error
    return None


def exit_code(error: WorkerError) -> ExitCode:
    """The exit code of a foreseen error. A job refused on the command line is the user's fault."""
    if isinstance(error, JobError):
        return ExitCode.SETTINGS
    code = getattr(error, "exit_code", ExitCode.FAILURE)
    return ExitCode(code)


if __name__ == "__main__":
    main()
