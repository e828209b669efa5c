from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.daemon import metrics
from worker.daemon.metrics import EmfReporter, Metrics, StatusServer
from worker.errors import SettingsError
from worker.pipeline.answers import Answer
from worker.speech.api import EngineStats


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stats() -> EngineStats:
    return EngineStats()


@pytest.fixture
def counted(stats: EngineStats, clock: Clock) -> Metrics:
    return Metrics(stats=lambda: stats, held=lambda: (3, 125.0), price_per_hour=0.5, clock=clock)


def _page(server: StatusServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def server(counted: Metrics) -> Iterator[StatusServer]:
    server = StatusServer(
        0, registry=counted.registry, status=lambda: {"state": "running"}, healthy=lambda: True
    )
    server.start()
    yield server
    server.stop()


def test_prometheus_reads_everything_from_loopback(
    counted: Metrics, stats: EngineStats, clock: Clock, server: StatusServer
) -> None:
    counted.job_answered(
        Answer.COMMITTED, audio_seconds=3600.0, seconds=20.0, stages={"fetch": 1.5, "write": 0.5}
    )
    counted.job_answered(Answer.FAILED)
    counted.queue_seen(7, 2, 1)
    counted.message_received(42.0)
    counted.lease_lost()
    stats.windows, stats.batches, stats.batch_slots, stats.busy_seconds = 48, 8, 64, 100.0
    clock.now += 3600
    status, text = _page(server, "/metrics")
    assert status == 200
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["transcription_jobs_total", "committed"] == 1
    assert found["transcription_jobs_total", "failed"] == 1
    assert found["transcription_jobs_total", "released"] == 0
    assert found["transcription_audio_seconds_total",] == 3600
    assert found["transcription_stage_seconds_total", "fetch"] == 1.5
    assert found["transcription_queue_messages", "visible"] == 7
    assert found["transcription_queue_message_age_seconds",] == 42
    assert found["transcription_leases_lost_total",] == 1
    assert found["transcription_leases_held",] == 3
    assert found["transcription_batch_fill_ratio",] == 0.75
    assert found["transcription_speed_ratio",] == 36
    assert found["transcription_device_busy_seconds_total",] == 100
    assert found["transcription_dollars_per_audio_hour",] == pytest.approx(0.5)


def test_before_anything_happened_ratios_are_left_out(server: StatusServer) -> None:
    _, text = _page(server, "/metrics")
    assert "transcription_batch_fill_ratio" not in text
    assert "transcription_windows_total 0.0" in text


def test_status_and_health(server: StatusServer) -> None:
    assert _page(server, "/status") == (200, '{"state": "running"}')
    assert _page(server, "/health") == (200, "ok\n")
    assert _page(server, "/")[0] == 404


def test_an_unhealthy_worker_says_so_and_a_page_that_fails_is_a_500(counted: Metrics) -> None:
    server = StatusServer(
        0, registry=counted.registry, status=lambda: {"x": 1 // 0}, healthy=lambda: False
    )
    server.start()
    try:
        assert _page(server, "/health")[0] == 503
        assert _page(server, "/status") == (500, "failed\n")
    finally:
        server.stop()


def test_a_port_that_is_taken_is_a_wrong_setting(server: StatusServer, counted: Metrics) -> None:
    with pytest.raises(SettingsError, match=f"metrics_port = {server.port}"):
        StatusServer(server.port, registry=counted.registry, status=dict, healthy=lambda: True)


def test_counting_never_raises(counted: Metrics) -> None:
    counted.job_answered("no answer at all")  # type: ignore[arg-type]
    counted.message_received(float("nan"))
    counted.queue_seen("x", 0, 0)  # type: ignore[arg-type]


def test_an_emf_line_tells_what_happened_since_the_last(
    counted: Metrics, stats: EngineStats, clock: Clock
) -> None:
    counted.job_answered(Answer.COMMITTED, audio_seconds=100.0)
    before = counted.snapshot()
    counted.job_answered(Answer.COMMITTED, audio_seconds=600.0)
    stats.windows, stats.batch_slots, stats.busy_seconds = 30, 40, 30.0
    clock.now += 60
    line = json.loads(metrics.emf(counted.snapshot(), before, queue="work", epoch=1.5))
    assert line["Queue"] == "work"
    assert line["AudioSeconds"] == 600
    assert line["JobsCommitted"] == 1
    assert line["JobsFailed"] == 0
    assert line["DeviceBusyPercent"] == 50
    assert line["BatchFillPercent"] == 75
    assert line["Speed"] == 20
    assert "QueueVisible" not in line, "nobody has looked yet"
    directive = line["_aws"]["CloudWatchMetrics"][0]
    assert line["_aws"]["Timestamp"] == 1500
    assert directive["Dimensions"] == [["Queue"]]
    assert {metric["Name"] for metric in directive["Metrics"]} == set(line) - {"_aws", "Queue"}


def test_the_reporter_writes_a_last_line(counted: Metrics) -> None:
    stream = io.StringIO()
    reporter = EmfReporter(counted, queue="work", stream=stream, seconds=60)
    reporter.start()
    counted.job_answered(Answer.FAILED)
    reporter.stop()
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["JobsFailed"] == 1


def test_a_stream_that_is_closed_fails_nothing(counted: Metrics) -> None:
    stream = io.StringIO()
    stream.close()
    reporter = EmfReporter(counted, queue="work", stream=stream, seconds=60)
    reporter.start()
    reporter.stop()
