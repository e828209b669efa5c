"""The demo's daemon: a process of its own, started as an operator would start it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import ExitCode

__all__ = ["DemoDaemon", "log_tail", "running_daemon"]

IDLE_SECONDS = 3.0

STOP_SECONDS = 10.0
"""How long a terminated daemon may take before it is killed."""

LOG_LINES = 30
"""Lines of each of the daemon's logs that are shown where something went wrong."""

_STAGES = (("job.started", "transcribing"), ("model.loaded", "warming up"))
"""What the daemon is doing, by the latest of these events in its log."""


class DemoDaemon:
    """The daemon's process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self._process = process
        self._log_path = log_path

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def stage(self) -> str:
        """How far the daemon is, from its log."""
        try:
            log = self._log_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return "starting the daemon"
        return next(
            (stage for event, stage in _STAGES if f"event={event} " in log), "loading the model"
        )

    def wait_for_exit(self, seconds: float) -> list[str]:
        """Wait for the idle daemon to end by itself; what was wrong with that, if anything."""
        try:
            code = self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return ["the daemon didn't end itself when it was idle"]
        return [] if code == ExitCode.OK else [f"the daemon ended with exit code {code}"]

    def stop(self) -> None:
        """End the process if it still runs."""
        if not self.alive:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_daemon(queue_url: str, log_path: Path) -> Iterator[DemoDaemon]:
    """The daemon on a queue, with the base model; it is ended even if the block raises."""
    command = [
        sys.executable, "-m", "worker", "run",
        "--queue-url", queue_url,
        "--model", "base",
        "--device", "cpu",
        "--idle-timeout", f"{IDLE_SECONDS:g}",
        "--compute-type", "auto",
        "--word-times", "attention",  # no alignment model is fetched for a demo
        "--log-file", str(log_path),
    ]  # fmt: skip
    with _error_path(log_path).open("wb") as errors:
        daemon = DemoDaemon(subprocess.Popen(command, stdout=errors, stderr=errors), log_path)
        try:
            yield daemon
        finally:
            daemon.stop()


def log_tail(log_path: Path) -> str:
    """The end of what the daemon logged, and of what it wrote to stderr."""
    lines: list[str] = []
    for path in (log_path, _error_path(log_path)):
        if path.is_file():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(lines)


def _error_path(log_path: Path) -> Path:
    return log_path.with_suffix(".err")
