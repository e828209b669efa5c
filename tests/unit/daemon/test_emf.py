from __future__ import annotations

import io
import json

from tests.unit.daemon.conftest import Clock
from worker.daemon.emf import EmfReporter, emf
from worker.daemon.metrics import Metrics
from worker.pipeline.answers import Answer
from worker.speech.api import EngineStats


def test_an_emf_line_tells_what_happened_since_the_last(
    counted: Metrics, stats: EngineStats, clock: Clock
) -> None:
    counted.job_answered(Answer.COMMITTED, audio_seconds=100.0)
    before = counted.snapshot()
    counted.job_answered(Answer.COMMITTED, audio_seconds=600.0)
    stats.windows, stats.batch_slots, stats.busy_seconds = 30, 40, 30.0
    clock.now += 60
    line = json.loads(emf(counted.snapshot(), before, queue="work", epoch=1.5))
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


def test_a_busy_device_is_never_more_than_busy(
    counted: Metrics, stats: EngineStats, clock: Clock
) -> None:
    before = counted.snapshot()
    stats.busy_seconds = 61.0  # a step that ended just now began before the last line
    clock.now += 60
    line = json.loads(emf(counted.snapshot(), before, queue="work", epoch=0.0))
    assert line["DeviceBusyPercent"] == 100


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
