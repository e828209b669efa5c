"""Metrics for CloudWatch: lines of its Embedded Metric Format on stdout.

The CloudWatch agent, or a container's log driver, carries the lines on; logs go to stderr, so
that stdout belongs to them alone. Which metrics are sent stands in the table in `metrics.py`.

Format: "Specification: Embedded metric format", Amazon CloudWatch user guide.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

from worker.daemon.metrics import METRICS, Emf, Metrics, Snapshot, harmless
from worker.threads import StoppableThread

EMF_NAMESPACE = "TranscriptionWorker"
EMF_SECONDS = 60.0
"""Between two lines."""


def emf(now: Snapshot, before: Snapshot, *, queue: str, epoch: float) -> str:
    """One line: what happened between two snapshots.

    One dimension, the queue's name: finer ones would make a metric (and a bill) per worker.

    Args:
        now: the later snapshot.
        before: the earlier one.
        queue: the queue's name.
        epoch: seconds since 1970, the line's time.
    """
    values = [
        (metric.emf, value)
        for metric in METRICS
        if metric.emf is not None and (value := now.since(before, metric)) is not None
    ]
    line: dict[str, Any] = {
        "_aws": {
            "Timestamp": int(epoch * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": EMF_NAMESPACE,
                    "Dimensions": [["Queue"]],
                    "Metrics": [{"Name": to.name, "Unit": to.unit} for to, _ in values],
                }
            ],
        },
        "Queue": queue,
    }
    line.update({to.name: round(_in_unit(to, value), 3) for to, value in values})
    return json.dumps(line)


def _in_unit(to: Emf, value: float) -> float:
    # Both parts of a ratio are read a moment apart, so it may come out above the whole.
    return min(100.0, 100 * value) if to.unit == "Percent" else value


class EmfReporter(StoppableThread):
    """A thread that writes a line a minute, and one at the end.

    Args:
        metrics: what is reported.
        queue: the queue's name.
        stream: where lines go; None: stdout.
        seconds: between two lines.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        queue: str,
        stream: TextIO | None = None,
        seconds: float = EMF_SECONDS,
    ) -> None:
        super().__init__("emf", self._run)
        self._metrics = metrics
        self._queue = queue
        self._stream = stream or sys.stdout
        self._seconds = seconds
        self._before = metrics.snapshot()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self.stopping.wait(self._seconds)
            self._report()

    @harmless
    def _report(self) -> None:
        now = self._metrics.snapshot()
        line = emf(now, self._before, queue=self._queue, epoch=time.time())
        self._before = now
        self._stream.write(line + "\n")
        self._stream.flush()
