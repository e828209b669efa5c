"""What the worker counts, and where it can be read: Prometheus on loopback, CloudWatch EMF.

Counting is a courtesy to the operator: whatever fails here is logged once and forgotten, it
never fails a job. The engine's own counters are read when somebody asks, not copied.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ParamSpec, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from worker.errors import SettingsError
from worker.logs import get_logger
from worker.pipeline.answers import Answer
from worker.redact import summary
from worker.speech.api import EngineStats

log = get_logger(__name__)

EMF_NAMESPACE = "TranscriptionWorker"
EMF_SECONDS = 60.0
LOOPBACK = "127.0.0.1"

_JOB_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 7200)

P = ParamSpec("P")


def _harmless(method: Callable[P, None]) -> Callable[P, None]:
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
    """Totals since start, and gauges of the moment, for EMF and `top`.

    Seconds are seconds, ratios are 0 to 1; None where nothing is known yet.
    """

    at: float
    jobs: Mapping[str, float]
    audio_seconds: float
    busy_seconds: float
    windows: float
    batches: float
    batch_slots: float
    second_attempts: float
    out_of_memory: float
    leases_lost: float
    leases_held: int
    windows_waiting: int
    held_seconds: float
    queue_visible: int | None
    queue_in_flight: int | None
    queue_delayed: int | None
    message_age_seconds: float | None
    dollars_per_audio_hour: float | None

    @property
    def batch_fill(self) -> float | None:
        """Windows decoded by the slots that the batches had for them."""
        return self.windows / self.batch_slots if self.batch_slots else None

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second of a busy device."""
        return self.audio_seconds / self.busy_seconds if self.busy_seconds else None


class Metrics:
    """The registry and everything that is counted in it. Thread-safe.

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
        self._jobs_seen: dict[str, float] = {}
        self._audio = 0.0
        self._lost = 0.0
        self._depth: tuple[int, int, int] | None = None
        self._age: float | None = None
        self._jobs = Counter(
            "transcription_jobs", "Jobs answered, by outcome", ["outcome"], registry=self.registry
        )
        for answer in Answer:  # series exist from the start, so that rates see the first job
            self._jobs.labels(answer.value)
        self._audio_total = Counter(
            "transcription_audio_seconds", "Seconds of audio committed", registry=self.registry
        )
        self._job_seconds = Histogram(
            "transcription_job_seconds",
            "Seconds from fetch to commit of a job",
            buckets=_JOB_SECONDS,
            registry=self.registry,
        )
        self._stage_seconds = Counter(
            "transcription_stage_seconds",
            "Seconds spent on committed jobs, by stage",
            ["stage"],
            registry=self.registry,
        )
        self._queue_messages = Gauge(
            "transcription_queue_messages",
            "Messages on the queue at the last look, by state",
            ["state"],
            registry=self.registry,
        )
        self._message_age = Gauge(
            "transcription_queue_message_age_seconds",
            "How old the last received message was",
            registry=self.registry,
        )
        self._leases_lost = Counter(
            "transcription_leases_lost", "Leases lost to other workers", registry=self.registry
        )
        self.registry.register(_Reader(self.snapshot))

    @_harmless
    def job_answered(
        self,
        answer: Answer,
        *,
        audio_seconds: float = 0.0,
        seconds: float | None = None,
        stages: Mapping[str, float] | None = None,
    ) -> None:
        """Count one job's answer; `audio_seconds`, `seconds` and `stages` of committed ones."""
        self._jobs.labels(answer.value).inc()
        with self._lock:
            self._jobs_seen[answer.value] = self._jobs_seen.get(answer.value, 0.0) + 1
            self._audio += audio_seconds
        self._audio_total.inc(audio_seconds)
        if seconds is not None:
            self._job_seconds.observe(seconds)
        for stage, spent in (stages or {}).items():
            self._stage_seconds.labels(stage).inc(max(0.0, spent))

    @_harmless
    def message_received(self, age_seconds: float) -> None:
        """Note how long a message had waited."""
        age = max(0.0, age_seconds)
        with self._lock:
            self._age = age
        self._message_age.set(age)

    @_harmless
    def queue_seen(self, visible: int, in_flight: int, delayed: int) -> None:
        """Note one look at the queue."""
        with self._lock:
            self._depth = (visible, in_flight, delayed)
        for state, count in zip(
            ("visible", "in_flight", "delayed"), (visible, in_flight, delayed), strict=True
        ):
            self._queue_messages.labels(state).set(count)

    @_harmless
    def lease_lost(self) -> None:
        """Count a lost lease."""
        with self._lock:
            self._lost += 1
        self._leases_lost.inc()

    def snapshot(self) -> Snapshot:
        """Everything at this moment."""
        stats = self._stats()
        leases, held_seconds = self._held()
        now = self._clock()
        with self._lock:
            jobs = dict(self._jobs_seen)
            audio, lost, depth, age = self._audio, self._lost, self._depth, self._age
        dollars = None
        if audio > 0:
            dollars = self._price * (now - self._started) / audio
        return Snapshot(
            at=now,
            jobs=jobs,
            audio_seconds=audio,
            busy_seconds=stats.busy_seconds,
            windows=stats.windows,
            batches=stats.batches,
            batch_slots=stats.batch_slots,
            second_attempts=stats.second_attempts,
            out_of_memory=stats.out_of_memory,
            leases_lost=lost,
            leases_held=leases,
            windows_waiting=stats.waiting_windows,
            held_seconds=held_seconds,
            queue_visible=depth[0] if depth else None,
            queue_in_flight=depth[1] if depth else None,
            queue_delayed=depth[2] if depth else None,
            message_age_seconds=age,
            dollars_per_audio_hour=dollars,
        )


class _Reader(Collector):
    """Shows the engine's counters and the gauges of the moment when Prometheus asks."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterator[Metric]:
        """Nothing is described ahead: registering must not read an engine that is loading."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        counters = {
            "windows": ("Windows decoded", now.windows),
            "batches": ("Batches decoded", now.batches),
            "batch_slots": ("Windows that the batches had room for", now.batch_slots),
            "second_attempts": ("Windows decoded again for quality", now.second_attempts),
            "out_of_memory": ("Batches halved for memory", now.out_of_memory),
            "device_busy_seconds": ("Seconds that the device was decoding", now.busy_seconds),
        }
        for name, (text, total) in counters.items():
            yield CounterMetricFamily(f"transcription_{name}", text, value=total)
        gauges = {
            "batch_fill_ratio": ("Mean share of a batch that was used", now.batch_fill),
            "speed_ratio": ("Seconds of audio per busy second", now.speed),
            "windows_waiting": ("Windows ready for the device", float(now.windows_waiting)),
            "leases_held": ("Messages held", float(now.leases_held)),
            "audio_held_seconds": ("Seconds of audio inside the worker", now.held_seconds),
            "dollars_per_audio_hour": (
                "The machine's price since start by audio committed",
                now.dollars_per_audio_hour,
            ),
        }
        for name, (text, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"transcription_{name}", text, value=value)


# -- CloudWatch -------------------------------------------------------------------------------


def emf(now: Snapshot, before: Snapshot, *, queue: str, epoch: float) -> str:
    """One line of CloudWatch's Embedded Metric Format: what happened between two snapshots.

    Format: "Specification: Embedded metric format", Amazon CloudWatch user guide. One
    dimension, the queue's name: finer ones would make a metric (and a bill) per worker.
    """
    seconds = max(1e-9, now.at - before.at)
    values: dict[str, tuple[str, float | None]] = {
        "AudioSeconds": ("Seconds", now.audio_seconds - before.audio_seconds),
        "DeviceBusyPercent": (
            "Percent",
            min(100.0, 100 * (now.busy_seconds - before.busy_seconds) / seconds),
        ),
        "BatchFillPercent": ("Percent", _percent(now, before)),
        "Speed": ("None", _speed(now, before)),
        "WindowsWaiting": ("Count", now.windows_waiting),
        "LeasesHeld": ("Count", now.leases_held),
        "LeasesLost": ("Count", now.leases_lost - before.leases_lost),
        "OutOfMemorySteps": ("Count", now.out_of_memory - before.out_of_memory),
        "SecondAttempts": ("Count", now.second_attempts - before.second_attempts),
        "QueueVisible": ("Count", now.queue_visible),
        "QueueInFlight": ("Count", now.queue_in_flight),
        "MessageAge": ("Seconds", now.message_age_seconds),
        "DollarsPerAudioHour": ("None", now.dollars_per_audio_hour),
    }
    for answer in Answer:
        count = now.jobs.get(answer.value, 0.0) - before.jobs.get(answer.value, 0.0)
        values[f"Jobs{answer.value.capitalize()}"] = ("Count", count)
    known = {name: (unit, value) for name, (unit, value) in values.items() if value is not None}
    line: dict[str, Any] = {
        "_aws": {
            "Timestamp": int(epoch * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": EMF_NAMESPACE,
                    "Dimensions": [["Queue"]],
                    "Metrics": [{"Name": name, "Unit": unit} for name, (unit, _) in known.items()],
                }
            ],
        },
        "Queue": queue,
    }
    line.update({name: round(value, 3) for name, (_, value) in known.items()})
    return json.dumps(line)


def _percent(now: Snapshot, before: Snapshot) -> float | None:
    slots = now.batch_slots - before.batch_slots
    return 100 * (now.windows - before.windows) / slots if slots else None


def _speed(now: Snapshot, before: Snapshot) -> float | None:
    busy = now.busy_seconds - before.busy_seconds
    return (now.audio_seconds - before.audio_seconds) / busy if busy else None


class EmfReporter:
    """A thread that writes one EMF line a minute (and one at the end) to `stream`.

    The CloudWatch agent, or a container's log driver, carries the lines on; logs go to
    stderr, so that stdout is theirs alone.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        queue: str,
        stream: TextIO | None = None,
        seconds: float = EMF_SECONDS,
    ) -> None:
        self._metrics = metrics
        self._queue = queue
        self._stream = stream or sys.stdout
        self._seconds = seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emf", daemon=True)
        self._before = metrics.snapshot()

    def start(self) -> None:
        """Start reporting."""
        self._thread.start()

    def stop(self) -> None:
        """Write the last line and end."""
        self._end.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._end.wait(self._seconds)
            self._report()

    @_harmless
    def _report(self) -> None:
        now = self._metrics.snapshot()
        line = emf(now, self._before, queue=self._queue, epoch=time.time())
        self._before = now
        self._stream.write(line + "\n")
        self._stream.flush()


# -- loopback ---------------------------------------------------------------------------------


class StatusServer:
    """HTTP on 127.0.0.1: `/metrics` (Prometheus), `/status` (JSON, for `top`), `/health`.

    `/health` answers 200 while the worker makes progress and 503 when it does not.

    Raises:
        SettingsError: the port can't be had.
    """

    def __init__(
        self,
        port: int,
        *,
        registry: CollectorRegistry,
        status: Callable[[], Mapping[str, Any]],
        healthy: Callable[[], bool],
    ) -> None:
        pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/status": lambda: (200, "application/json", json.dumps(dict(status())).encode()),
            "/health": lambda: (
                (200, "text/plain", b"ok\n") if healthy() else (503, "text/plain", b"no progress\n")
            ),
        }

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # a client that says nothing holds a thread no longer than this

            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                try:
                    code, kind, body = page() if page else (404, "text/plain", b"no such page\n")
                except Exception as error:  # noqa: BLE001  # no traceback on stderr
                    log.warning(
                        "metrics.page_failed",
                        message="A status page could not be made",
                        page=self.path.partition("?")[0],
                        error=summary(error),
                    )
                    code, kind, body = 500, "text/plain", b"failed\n"
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
                """Scrapes are not worth a log line."""

        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise SettingsError(
                f"metrics_port = {port} can't be used on {LOOPBACK}: {error.strerror}; "
                "choose a free port, or leave it unset to serve no metrics"
            ) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="status", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on (the one asked for, or a free one for 0)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """End. Safe if it never started."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=5.0)
        self._server.server_close()
