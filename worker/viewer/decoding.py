"""A recording that browsers don't play, as a WAV file that they do.

It is read as the worker reads it, so that the times are the transcript's; and, as there, in a child
process without credentials and with limits: decoders crash, hang and swallow memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import wave
from pathlib import Path

from worker.errors import JobError, MachineError
from worker.speech.children.rules import (
    allowed,
    child_environment,
    die_with_parent,
    limit_memory,
)

__all__ = ["decode", "main"]

MEMORY_BYTES = 2 * 1024**3
"""Address space of the child: PyAV and numpy map 0.4 GB."""

SECONDS = 900.0
"""That decoding may take; twelve hours of audio, the longest that is read, take a minute or two."""


def decode(recording: Path, wav: Path) -> None:
    """Write a recording as 16-bit mono WAV at 16 kHz.

    Raises:
        MachineError: it can't be decoded; says why.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(recording.resolve()), str(wav.resolve())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=child_environment(),
            # `-m` looks for modules in the current folder first: not in one with strangers' files.
            cwd=wav.resolve().parent,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MachineError(f"decoding took more than {SECONDS:.0f} s and was given up") from None
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip()
        raise MachineError(said or "the decoder died on this file")


def main() -> int:
    """The child's entry point: reads the first argument, writes the second."""
    die_with_parent()
    import numpy as np

    from worker.speech.media.reader import AudioLimits, AudioReader
    from worker.speech.windows import SAMPLE_RATE

    limit_memory(MEMORY_BYTES)
    cpu = allowed(resource.RLIMIT_CPU, int(SECONDS))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    source, target = map(Path, sys.argv[1:])
    try:
        with AudioReader(source, AudioLimits()) as reader, wave.open(str(target), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(SAMPLE_RATE)
            for piece in reader:
                samples = np.clip(piece * 32768.0, -32768, 32767)
                wav.writeframes(samples.astype("<i2").tobytes())
    except (JobError, OSError) as error:
        print(error)  # noqa: T201  # to the parent
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
