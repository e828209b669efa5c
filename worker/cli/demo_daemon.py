"""The demo's daemon: a process of its own, started as an operator would start it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.cli.top import read_status
from worker.errors import MachineError
from worker.speech.model.choices import children_for

__all__ = ["ERRORS_BEGIN", "MODEL", "DemoDaemon", "error_path", "running_daemon"]

IDLE_SECONDS = 1.0

STOP_SECONDS = 10.0
"""How long a terminated daemon may take before it is killed."""

MODEL = "base"

ERRORS_BEGIN = "stderr of a demo's worker"
"""The first line beside the log, by which the next demo knows the file."""

_STAGES = (("job.started", "Transcribing"), ("model.loaded", "Warming up"))
"""What the daemon is doing, by the latest of these events in its log."""


class DemoDaemon:
    """The daemon's process, its log and its status page."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path, port: int) -> None:
        self._process = process
        self._log_path = log_path
        self._port = port

    @property
    def exit_code(self) -> int | None:
        """The process's exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stage(self) -> str:
        """How far the daemon is, from its log."""
        try:
            log = self._log_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return "Starting the worker"
        return next(
            (stage for event, stage in _STAGES if f"event={event} " in log),
            f"Loading the model {MODEL}",
        )

    def held(self) -> Mapping[str, tuple[float, float | None]]:
        """Seconds of audio done, and in all if known, of each job that the daemon holds."""
        try:
            held = read_status(self._port)["held"]
        except MachineError:  # not yet, or no longer
            return {}
        return {job["job_id"]: (job["done_seconds"], job["total_seconds"]) for job in held}

    def last_error(self) -> str:
        """The last error that the daemon wrote; empty if it wrote none."""
        found = [
            line.removeprefix("error: ")
            for line in _lines(error_path(self._log_path))
            if line.startswith("error: ")
        ]
        found = found or [line for line in _lines(self._log_path) if " ERROR " in line]
        return found[-1] if found else ""

    def wait_for_exit(self, seconds: float) -> None:
        """Wait for the idle daemon to end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)

    def stop(self) -> None:
        """End the process if it still runs."""
        if self.exit_code is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_daemon(
    queue_url: str, log_path: Path, *, files: int, speakers: bool = False
) -> Iterator[DemoDaemon]:
    """The daemon on a queue, with the base model; it is ended even if the block raises.

    Args:
        queue_url: the queue.
        log_path: of its log.
        files: how many will come: it has no more children than those.
        speakers: whether jobs will ask who speaks.
    """
    port = _free_port()
    command = [
        sys.executable, "-m", "worker", "run",
        "--queue-url", queue_url,
        "--model", MODEL,
        "--device", "cpu",
        "--idle-timeout", f"{IDLE_SECONDS:g}",
        "--compute-type", "auto",
        "--word-times", "attention",  # no alignment model is fetched for a demo
        "--metrics-port", str(port),
        "--num-workers", str(children_for(files)),
        "--log-file", str(log_path),
    ]  # fmt: skip
    if speakers:
        # No other is fetched for a demo, whoever has an account at the hub.
        command += ["--diarize-model", "packaged"]
    with error_path(log_path).open("wb") as errors:
        errors.write(f"{ERRORS_BEGIN}\n".encode())
        errors.flush()
        daemon = DemoDaemon(subprocess.Popen(command, stdout=errors, stderr=errors), log_path, port)
        try:
            yield daemon
        finally:
            daemon.stop()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def _free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def error_path(log_path: Path) -> Path:
    """Where the daemon's stderr goes, beside its log."""
    return log_path.with_suffix(".err")
