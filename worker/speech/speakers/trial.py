"""Loads a model in a process of its own, to see whether that works.

To load one that isn't packaged is to run its code, and pyannote changes the process that it is in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from tempfile import TemporaryDirectory

from worker.errors import MachineError
from worker.speech.speakers.choice import Chosen
from worker.speech.speakers.environment import models_environment

__all__ = ["try_to_load"]


def try_to_load(chosen: Chosen, seconds: float) -> None:
    """Load a model on the CPU, and forget it.

    Args:
        chosen: which.
        seconds: how long it may take; pyannote's import takes several.

    Raises:
        MachineError: it can't be loaded; says why.
    """
    command = [sys.executable, "-m", __name__, json.dumps(chosen.to_header())]
    try:
        # Of its own, because one that takes too long is killed and leaves what torch makes there.
        with TemporaryDirectory(prefix="speakers-child-", ignore_cleanup_errors=True) as folder:
            tried = subprocess.run(
                command,
                env={**models_environment(threads=1), "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise MachineError(
            f"diarize_model = {chosen.name!r} was not loaded within {seconds:g} s"
        ) from error
    if tried.returncode == 0:
        return
    said = tried.stdout.decode(errors="replace").strip()
    raise MachineError(
        said
        or f"diarize_model = {chosen.name!r} ended the process that loaded it "
        f"(exit status {tried.returncode})"
    )


def _main(header: str) -> int:
    """In the other process: why it can't be loaded goes to stdout, all else to stderr."""
    from worker.speech.speakers.loading import load_pipeline

    try:
        load_pipeline(Chosen.from_header(json.loads(header)), "cpu")
    except MachineError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
