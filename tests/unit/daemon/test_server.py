from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.daemon.conftest import Clock
from worker.daemon.metrics import (
    LEASES_LOST,
    MESSAGE_AGE,
    QUEUE_DELAYED,
    QUEUE_IN_FLIGHT,
    QUEUE_VISIBLE,
    Metrics,
)
from worker.daemon.server import StatusServer
from worker.errors import SettingsError
from worker.pipeline.answers import Answer
from worker.speech.api import EngineStats


def _page(server: StatusServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def server(counted: Metrics) -> Iterator[StatusServer]:
    server = StatusServer(
        0, registry=counted.registry, status=lambda: {"state": "running"}, unhealthy=lambda: None
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
    counted.set(QUEUE_VISIBLE, 7)
    counted.set(QUEUE_IN_FLIGHT, 2)
    counted.set(QUEUE_DELAYED, 1)
    counted.set(MESSAGE_AGE, 42.0)
    counted.add(LEASES_LOST)
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
    assert found["transcription_job_seconds_sum",] == 20
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
        0, registry=counted.registry, status=lambda: {"x": 1 // 0}, unhealthy=lambda: "no progress"
    )
    server.start()
    try:
        assert _page(server, "/health") == (503, "no progress\n")
        assert _page(server, "/status") == (500, "failed\n")
    finally:
        server.stop()


def test_a_port_that_is_taken_is_a_wrong_setting(server: StatusServer, counted: Metrics) -> None:
    with pytest.raises(SettingsError, match=f"metrics_port = {server.port}"):
        StatusServer(server.port, registry=counted.registry, status=dict, unhealthy=lambda: None)
