"""`python -m worker`, and the command `transcription-worker`.

Decode workers are spawned, and a spawned process imports this module again: it must stay
cheap, and do nothing when imported.
"""

import os
import sys

from worker.cli.app import app
from worker.errors import ExitCode, JobError, WorkerError


def main() -> None:
    """Run the command line; an error that was foreseen is one message and its exit code."""
    # Else pydantic reads the metadata of all installed packages, for plugins, at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        app(prog_name="transcription-worker")
    except WorkerError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(exit_code(error))


def exit_code(error: WorkerError) -> ExitCode:
    """What the process says. A job refused on the command line is the user's to mend."""
    if isinstance(error, JobError):
        return ExitCode.SETTINGS
    code = getattr(error, "exit_code", ExitCode.FAILURE)
    return ExitCode(code)


if __name__ == "__main__":
    main()
