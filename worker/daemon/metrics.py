"""Every metric of the worker in one table, and the counting.

The table below is the only list of metrics: Prometheus, CloudWatch (`emf.py`) and the status
document (`status.py`) are written from it. To add a metric, add one entry:

- A number that something else keeps (the engine's counters, what is held) is given a `read`
  from `Sources`:

      BATCHES = _add(Metric("batches", "Batches decoded", COUNTER, lambda s: s.engine.batches))

- A number that the worker itself counts has no `read`. Call `metrics.add(NAME)` (counters) or
  `metrics.set(NAME, value)` (gauges) where it happens:

      LEASES_LOST = _add(Metric("leases_lost", "Leases lost to other workers", COUNTER))

`emf` also sends it to CloudWatch, `status` also puts it into the status document.

Counting never fails a job: whatever goes wrong here is logged, and the work goes on.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, ParamSpec

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from worker.daemon import policy
from worker.logs import get_logger
from worker.pipeline.answers import Answer
from worker.redact import summary
from worker.results.transcript import Timings
from worker.speech.api import EngineStats

log = get_logger(__name__)

PREFIX = "transcription_"
"""Of every Prometheus name."""

_JOB_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 7200)

P = ParamSpec("P")


# -- what a metric is -------------------------------------------------------------------------


class Kind(Enum):
    """How a metric's value is to be read.

    COUNTER: a total since start; CloudWatch is sent what was added since the line before.
    GAUGE: a value of the moment.
    RATIO: one counter divided by another: since start, or since the line before.
    """

    COUNTER = "counter"
    GAUGE = "gauge"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Emf:
    """A metric's name and unit in CloudWatch. A ratio in percent is sent times 100."""

    name: str
    unit: Literal["Count", "Seconds", "Percent", "None"] = "Count"


@dataclass(frozen=True, slots=True)
class Sources:
    """What metrics are read from, at one moment.

    Attributes:
        engine: the engine's own counters.
        messages_held: messages.
        audio_held_seconds: seconds of audio inside the worker.
        uptime_seconds: since start.
        price_per_hour: dollars that the machine costs.
        failures_in_a_row: see `policy.failures_in_a_row`.
        counted: what the worker itself has counted.
    """

    engine: EngineStats
    messages_held: int
    audio_held_seconds: float
    uptime_seconds: float
    price_per_hour: float
    failures_in_a_row: int
    counted: Mapping[Metric, float]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One series: an entry of the table. Two are equal only if they are the same entry.

    Attributes:
        name: in Prometheus, without `PREFIX`; None: not shown there.
        help: what it means.
        kind: see `Kind`.
        read: takes it from `Sources` (None: nothing is known yet); without it, the worker counts
            it with `Metrics.add` or `Metrics.set`.
        of: what a RATIO divides: (numerator, denominator), two counters.
        label: (name, value), where several series share a name.
        late: a counter that is not shown before it has counted something. Others begin at 0, so
            that a rate sees their first step.
        emf: its name in CloudWatch; None: not sent.
        status: its place in the status document, names joined by dots; None: not there. The first
            name is none that the document has itself (`Status.document`).
    """

    name: str | None
    help: str
    kind: Kind
    read: Callable[[Sources], float | None] | None = None
    of: tuple[Metric, Metric] | None = None
    label: tuple[str, str] | None = None
    late: bool = False
    emf: Emf | None = None
    status: str | None = None

    @property
    def counted(self) -> bool:
        """Whether the worker itself keeps its value."""
        return self.read is None and self.of is None


def divided(of: float | None, by: float | None) -> float | None:
    """A ratio; None where one part is not known, or there is nothing to divide by."""
    return of / by if of is not None and by else None


COUNTER, GAUGE, RATIO = Kind.COUNTER, Kind.GAUGE, Kind.RATIO

_table: list[Metric] = []


def _add(metric: Metric) -> Metric:
    _table.append(metric)
    return metric


# -- the table --------------------------------------------------------------------------------

UPTIME = _add(
    Metric(
        None, "Seconds since start", COUNTER, lambda s: s.uptime_seconds, status="uptime_seconds"
    )
)
JOBS = {
    answer: _add(
        Metric(
            "jobs",
            "Jobs answered, by outcome",
            COUNTER,
            label=("outcome", answer.value),
            emf=Emf(f"Jobs{answer.value.capitalize()}"),
            status=f"jobs.{answer.value}",
        )
    )
    for answer in Answer
}
FAILURES_IN_A_ROW = _add(
    Metric(
        "failures_in_a_row",
        "Jobs failed since the last commit without being at fault themselves",
        GAUGE,
        lambda s: s.failures_in_a_row,
        status="failures_in_a_row",
    )
)
AUDIO_SECONDS = _add(
    Metric(
        "audio_seconds",
        "Seconds of audio committed",
        COUNTER,
        emf=Emf("AudioSeconds", "Seconds"),
    )
)
STAGE_SECONDS = {
    stage: _add(
        Metric(
            "stage_seconds",
            "Seconds spent on committed jobs, by stage",
            COUNTER,
            label=("stage", stage),
            late=True,
        )
    )
    for stage in Timings.model_fields
    if stage != "total"
}
DOLLARS_PER_AUDIO_HOUR = _add(
    Metric(
        "dollars_per_audio_hour",
        "The machine's price since start by audio committed",
        GAUGE,
        lambda s: divided(s.price_per_hour * s.uptime_seconds, s.counted.get(AUDIO_SECONDS)),
        emf=Emf("DollarsPerAudioHour", "None"),
        status="dollars_per_audio_hour",
    )
)

# The queue and its messages.
QUEUE_VISIBLE, QUEUE_IN_FLIGHT, QUEUE_DELAYED = (
    _add(
        Metric(
            "queue_messages",
            "Messages on the queue at the last look, by state",
            GAUGE,
            label=("state", state),
            emf=emf,
            status=f"queue.{state}",
        )
    )
    for state, emf in (
        ("visible", Emf("QueueVisible")),
        ("in_flight", Emf("QueueInFlight")),
        ("delayed", None),
    )
)
MESSAGE_AGE = _add(
    Metric(
        "queue_message_age_seconds",
        "How old the last received message was",
        GAUGE,
        emf=Emf("MessageAge", "Seconds"),
    )
)
LEASES_HELD = _add(
    Metric(
        "leases_held",
        "Messages held",
        GAUGE,
        lambda s: s.messages_held,
        emf=Emf("LeasesHeld"),
        status="messages_held",
    )
)
LEASES_LOST = _add(
    Metric(
        "leases_lost",
        "Leases lost to other workers",
        COUNTER,
        emf=Emf("LeasesLost"),
        status="leases_lost",
    )
)
AUDIO_HELD = _add(
    Metric(
        "audio_held_seconds",
        "Seconds of audio inside the worker",
        GAUGE,
        lambda s: s.audio_held_seconds,
        status="audio_held_seconds",
    )
)

# The engine.
WINDOWS = _add(Metric("windows", "Windows decoded", COUNTER, lambda s: s.engine.windows))
BATCHES = _add(Metric("batches", "Batches decoded", COUNTER, lambda s: s.engine.batches))
BATCH_SLOTS = _add(
    Metric(
        "batch_slots",
        "Windows that the batches had room for",
        COUNTER,
        lambda s: s.engine.batch_slots,
    )
)
SECOND_ATTEMPTS = _add(
    Metric(
        "second_attempts",
        "Windows decoded again for quality",
        COUNTER,
        lambda s: s.engine.second_attempts,
        emf=Emf("SecondAttempts"),
    )
)
OUT_OF_MEMORY = _add(
    Metric(
        "out_of_memory",
        "Batches halved for memory",
        COUNTER,
        lambda s: s.engine.out_of_memory,
        emf=Emf("OutOfMemorySteps"),
    )
)
BUSY_SECONDS = _add(
    Metric(
        "device_busy_seconds",
        "Seconds that the device was decoding",
        COUNTER,
        lambda s: s.engine.busy_seconds,
    )
)
BUSY = _add(
    Metric(
        None,
        "Share of the time that the device was decoding",
        RATIO,
        of=(BUSY_SECONDS, UPTIME),
        emf=Emf("DeviceBusyPercent", "Percent"),
    )
)
BATCH_FILL = _add(
    Metric(
        "batch_fill_ratio",
        "Mean share of a batch that was used",
        RATIO,
        of=(WINDOWS, BATCH_SLOTS),
        emf=Emf("BatchFillPercent", "Percent"),
        status="batch_fill",
    )
)
SPEED = _add(
    Metric(
        "speed_ratio",
        "Seconds of audio per busy second",
        RATIO,
        of=(AUDIO_SECONDS, BUSY_SECONDS),
        emf=Emf("Speed", "None"),
        status="speed",
    )
)
WINDOWS_WAITING = _add(
    Metric(
        "windows_waiting",
        "Windows ready for the device",
        GAUGE,
        lambda s: s.engine.waiting_windows,
        emf=Emf("WindowsWaiting"),
        status="windows_waiting",
    )
)

METRICS: tuple[Metric, ...] = tuple(_table)
"""The table, in the order above."""


# -- counting ---------------------------------------------------------------------------------


def harmless(method: Callable[P, None]) -> Callable[P, None]:
    """Make a counting method safe to call on a job's way: it logs instead of raising."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, no job may pay for it
            log.warning(
                "metrics.failed",
                message="A metric could not be counted",
                metric=method.__name__,
                error=summary(error),
            )

    return call


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The value of every metric at one moment; None where nothing is known yet."""

    values: Mapping[Metric, float | None] = field(default_factory=dict)

    def __getitem__(self, metric: Metric) -> float | None:
        """The value of a metric: a total since start, a value of the moment, or a ratio."""
        if metric.of is not None:
            return divided(*(self.values.get(part) for part in metric.of))
        return self.values.get(metric)

    def since(self, before: Snapshot, metric: Metric) -> float | None:
        """The same for the time since an earlier snapshot: gauges as they are now."""
        if metric.of is not None:
            return divided(*(self.since(before, part) for part in metric.of))
        now = self.values.get(metric)
        if metric.kind is GAUGE or now is None:
            return now
        return now - (before.values.get(metric) or 0)

    def document(self) -> dict[str, Any]:
        """The metrics that have a place in the status document, as JSON values.

        Of a counter with a label only what has happened is shown (`jobs: {"committed": 12}`).
        """
        found: dict[str, Any] = {}
        for metric in METRICS:
            if metric.status is None:
                continue
            *folders, name = metric.status.split(".")
            place = found
            for folder in folders:
                place = place.setdefault(folder, {})
            value = self[metric]
            if value or not (metric.kind is COUNTER and metric.label):
                place[name] = value
        return found


class Metrics:
    """Counts, and reads everything for whoever asks. Thread-safe.

    Args:
        stats: reads the engine's counters.
        held: reads (messages held, seconds of audio held).
        price_per_hour: dollars that the machine costs an hour, for dollars per audio hour.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        stats: Callable[[], EngineStats],
        held: Callable[[], tuple[int, float]] = lambda: (0, 0.0),
        price_per_hour: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self._stats = stats
        self._held = held
        self._price = price_per_hour
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._counted: dict[Metric, float] = {
            metric: 0.0
            for metric in METRICS
            if metric.counted and metric.kind is COUNTER and not metric.late
        }
        self._job_seconds = Histogram(
            f"{PREFIX}job_seconds",
            "Seconds from fetch to commit of a job",
            buckets=_JOB_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_Prometheus(self.snapshot))

    @harmless
    def add(self, metric: Metric, amount: float = 1.0) -> None:
        """Add to a counter that the worker itself counts."""
        with self._lock:
            self._counted[metric] = self._counted.get(metric, 0.0) + amount

    @harmless
    def set(self, metric: Metric, value: float) -> None:
        """Set a gauge that the worker itself keeps."""
        if not math.isfinite(value):
            raise ValueError(f"{metric.name} = {value}")  # JSON has no such number
        with self._lock:
            self._counted[metric] = value

    @harmless
    def job_answered(
        self,
        answer: Answer,
        *,
        ours: bool = False,
        audio_seconds: float = 0.0,
        seconds: float | None = None,
        stages: Mapping[str, float] | None = None,
    ) -> None:
        """Count one job's answer; `audio_seconds`, `seconds` and `stages` of committed ones.

        `ours`: it failed, and is not at fault itself.
        """
        with self._lock:
            self._failures_in_a_row = policy.failures_in_a_row(
                self._failures_in_a_row, committed=answer is Answer.COMMITTED, ours=ours
            )
        self.add(JOBS[answer])
        self.add(AUDIO_SECONDS, audio_seconds)
        if seconds is not None:
            self._job_seconds.observe(seconds)
        for stage, spent in (stages or {}).items():
            self.add(STAGE_SECONDS[stage], max(0.0, spent))

    def snapshot(self) -> Snapshot:
        """The value of every metric now."""
        messages, seconds = self._held()
        with self._lock:
            counted = dict(self._counted)
            failures = self._failures_in_a_row
        sources = Sources(
            engine=self._stats(),
            messages_held=messages,
            audio_held_seconds=seconds,
            uptime_seconds=self._clock() - self._started,
            price_per_hour=self._price,
            failures_in_a_row=failures,
            counted=counted,
        )
        return Snapshot(
            {
                metric: metric.read(sources) if metric.read else counted.get(metric)
                for metric in METRICS
                if metric.of is None
            }
        )


class _Prometheus(Collector):
    """Writes the table's families when Prometheus asks."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._created = time.time()

    def describe(self) -> Iterator[Family]:
        """Nothing is described ahead: registering must not read an engine that is loading."""
        return iter(())

    def collect(self) -> Iterator[Family]:
        now = self._snapshot()
        counters: dict[str, CounterMetricFamily] = {}
        gauges: dict[str, GaugeMetricFamily] = {}
        for metric in METRICS:
            value = now[metric]
            if value is None and metric.counted and metric.label is None:
                value = 0.0  # as Prometheus's own clients show a gauge that was never set
            if metric.name is None or (value is None and not metric.counted):
                continue
            name = PREFIX + metric.name
            labels, values = zip(metric.label, strict=True) if metric.label else ((), ())
            if metric.kind is COUNTER:
                counter = counters.setdefault(
                    name, CounterMetricFamily(name, metric.help, labels=labels)
                )
                if value is not None:
                    counter.add_metric(values, value, self._created if metric.counted else None)
            else:
                gauge = gauges.setdefault(name, GaugeMetricFamily(name, metric.help, labels=labels))
                if value is not None:
                    gauge.add_metric(values, value)
        yield from (*counters.values(), *gauges.values())
