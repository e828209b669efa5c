"""What the worker reports about itself: its state, its health, the status document and line."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from worker.daemon.metrics import (
    AUDIO_HELD,
    FAILURES_IN_A_ROW,
    JOBS,
    LEASES_HELD,
    QUEUE_VISIBLE,
    SPEED,
    Metrics,
    Snapshot,
)
from worker.daemon.stops import Watchdog, Watched
from worker.pipeline.answers import Answer
from worker.pipeline.holdings import Holdings
from worker.pipeline.task import Task
from worker.speech.api import EngineStats, Transcriber


class State(StrEnum):
    """Where in its life the worker is."""

    LOADING = "loading"
    RUNNING = "running"
    DRAINING = "draining"


class Readings:
    """Reads the numbers of the engine and the holdings, also while the engine is still loading.

    Args:
        engine: what is read once it has started.
        holdings: what is held.
    """

    def __init__(self, engine: Transcriber, holdings: Holdings) -> None:
        self._engine = engine
        self._holdings = holdings
        self.engine_started = False
        """Whether the engine has loaded. Before that it is not asked: its numbers are zeros."""

    def stats(self) -> EngineStats:
        """The engine's counters."""
        return self._engine.stats if self.engine_started else EngineStats()

    def extra(self) -> dict[str, float]:
        """More numbers of the engine, such as the card's memory; asks the card's driver."""
        return self._engine.sample().extra() if self.engine_started else {}

    def held(self) -> tuple[int, float]:
        """(messages, seconds of audio) inside the worker."""
        seconds = self._engine.held_seconds() if self.engine_started else 0.0
        return len(self._holdings), seconds

    def engine_info(self) -> dict[str, Any]:
        """Model, device and versions, as JSON values; empty before the engine has started."""
        return self._engine.info.model_dump(mode="json") if self.engine_started else {}

    def tasks(self) -> list[Task]:
        """The jobs held, those of the oldest message first."""
        return [task for held in self._holdings.all() for task in held.tasks]


class Status:
    """The worker's state, and the documents that report it. Readable from any thread.

    Args:
        readings: of engine and holdings.
        metrics: the numbers.
        watchdog: asked whether the engine works.
        intakes: the threads that take messages.
        failing_from: how many failures in a row make it unhealthy.
    """

    def __init__(
        self,
        readings: Readings,
        metrics: Metrics,
        watchdog: Watchdog,
        intakes: Sequence[Watched],
        failing_from: int,
    ) -> None:
        self._readings = readings
        self._metrics = metrics
        self._watchdog = watchdog
        self._intakes = tuple(intakes)
        self._failing_from = failing_from
        self.state = State.LOADING
        """Only the main thread changes it."""

    def unhealthy(self) -> str | None:
        """Why the worker is not well; None if it does its jobs, or has none to do."""
        return self._unhealthy(self._metrics.snapshot())

    def _unhealthy(self, now: Snapshot) -> str | None:
        if self.state is State.LOADING:
            return "the model is loading"
        if self.state is not State.DRAINING and not all(t.alive for t in self._intakes):
            return "no messages are taken any more"
        if not self._watchdog.engine_works():
            return "no progress on the device"
        failures = now[FAILURES_IN_A_ROW] or 0
        if failures >= self._failing_from:
            return (
                f"the last {failures:.0f} jobs failed without being at fault themselves: "
                "job.released and job.failed in the log say why"
            )
        return None

    def answered(self) -> dict[Answer, int]:
        """How many jobs had each answer since the start."""
        now = self._metrics.snapshot()
        return {answer: int(now[metric] or 0) for answer, metric in JOBS.items()}

    def document(self) -> dict[str, Any]:
        """Everything that `top` shows, as JSON values; times in seconds."""
        now = self._metrics.snapshot()
        unhealthy = self._unhealthy(now)
        return {
            "state": self.state.value,
            "healthy": unhealthy is None,
            "unhealthy_because": unhealthy,
            **now.document(),
            "engine": self._readings.engine_info(),
            "extra": self._readings.extra(),
            "held": [_task(task) for task in self._readings.tasks()],
        }

    def line(self) -> str:
        """One line for `systemctl status`."""
        now = self._metrics.snapshot()
        unhealthy = self._unhealthy(now) if self.state is not State.LOADING else None
        state = f"{self.state.value} (unhealthy: {unhealthy})" if unhealthy else self.state.value
        speed = f"{now[SPEED]:.1f}x" if now[SPEED] else "no speed yet"
        waiting = "?" if now[QUEUE_VISIBLE] is None else str(now[QUEUE_VISIBLE])
        return (
            f"{state}: {now[LEASES_HELD]} messages and {now[AUDIO_HELD]:.0f} s of audio "
            f"held, {now[JOBS[Answer.COMMITTED]]:.0f} jobs done, {speed}, {waiting} on the queue"
        )


def _task(task: Task) -> dict[str, Any]:
    done, total = task.submission.progress() if task.submission else (0.0, None)
    return {
        "job_id": task.job.job_id,
        "stage": task.stage.value,
        "bytes": task.size,
        "done_seconds": done,
        "total_seconds": total,
        "receive_count": task.message.receive_count,
    }
