from __future__ import annotations

from collections import Counter

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.daemon.conftest import Clock
from worker.daemon.metrics import (
    LEASES_LOST,
    METRICS,
    QUEUE_VISIBLE,
    Kind,
    Metrics,
    Snapshot,
)
from worker.pipeline.answers import Answer
from worker.speech.api import EngineStats


def _series(metrics: Metrics) -> set[tuple[str, ...]]:
    """The name and labels of everything that Prometheus is shown."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *sample.labels.values())
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_no_two_entries_of_the_table_are_the_same_series() -> None:
    for names in (
        [(m.name, m.label) for m in METRICS if m.name],
        [m.emf.name for m in METRICS if m.emf],
        [m.status for m in METRICS if m.status],
    ):
        assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_entry_has_one_source_and_is_shown_somewhere() -> None:
    for metric in METRICS:
        assert metric.help
        assert (metric.kind is Kind.RATIO) == (metric.of is not None)
        assert metric.read is None or metric.of is None
        assert metric.name or metric.emf or metric.status
        for part in metric.of or ():
            assert part in METRICS
            assert part.kind is Kind.COUNTER


def test_outcomes_are_shown_from_the_start_and_stages_once_they_are_counted(
    counted: Metrics,
) -> None:
    before = _series(counted)
    assert {("transcription_jobs_total", answer.value) for answer in Answer} <= before
    assert not [name for name, *_ in before if name.startswith("transcription_stage_seconds")]
    counted.job_answered(Answer.COMMITTED, stages={"align": 1.0})
    assert ("transcription_stage_seconds_total", "align") in _series(counted)


def test_a_metric_without_a_series_yet_has_its_help_all_the_same(counted: Metrics) -> None:
    lines = generate_latest(counted.registry).decode().splitlines()
    assert "# TYPE transcription_queue_messages gauge" in lines
    assert "# TYPE transcription_stage_seconds_total counter" in lines
    counted.set(QUEUE_VISIBLE, 3)
    assert 'transcription_queue_messages{state="visible"} 3.0' in (
        generate_latest(counted.registry).decode().splitlines()
    )


def test_the_status_document(counted: Metrics, stats: EngineStats, clock: Clock) -> None:
    empty = {
        "uptime_seconds": 0.0,
        "queue": {"visible": None, "in_flight": None, "delayed": None},
        "messages_held": 3,
        "audio_held_seconds": 125.0,
        "windows_waiting": 0,
        "batch_fill": None,
        "speed": None,
        "jobs": {},
        "leases_lost": 0,
        "dollars_per_audio_hour": None,
    }
    document = counted.snapshot().document()
    assert document | empty == document
    counted.job_answered(Answer.COMMITTED, audio_seconds=3600.0)
    counted.set(QUEUE_VISIBLE, 7)
    counted.add(LEASES_LOST)
    stats.windows, stats.batch_slots, stats.busy_seconds, stats.waiting_windows = 48, 64, 100.0, 9
    clock.now += 3600
    document = counted.snapshot().document()
    assert document == document | empty | {
        "uptime_seconds": 3600.0,
        "queue": {"visible": 7, "in_flight": None, "delayed": None},
        "windows_waiting": 9,
        "batch_fill": 0.75,
        "speed": 36.0,
        "jobs": {"committed": 1},
        "leases_lost": 1,
        "dollars_per_audio_hour": 0.5,
    }


def test_since_an_earlier_moment_counters_count_and_gauges_are_as_they_are() -> None:
    values = dict(zip(METRICS, range(1, len(METRICS) + 1), strict=True))
    before, now = Snapshot(dict.fromkeys(METRICS, 1.0)), Snapshot(values)
    for metric, value in values.items():
        if metric.of is not None:
            of, by = (values[part] - 1 for part in metric.of)
            expected: float | None = of / by if by else None
        else:
            expected = value if metric.kind is Kind.GAUGE else value - 1
        assert now.since(before, metric) == expected


def test_counting_never_raises_and_nothing_wrong_is_kept(counted: Metrics) -> None:
    before = counted.snapshot()
    counted.job_answered("no answer at all")  # type: ignore[arg-type]
    counted.job_answered(Answer.FAILED, stages={"no stage": 1.0})
    counted.set(QUEUE_VISIBLE, float("nan"))
    counted.set(QUEUE_VISIBLE, "x")  # type: ignore[arg-type]
    counted.add(LEASES_LOST, "x")  # type: ignore[arg-type]
    now = counted.snapshot()
    assert now[QUEUE_VISIBLE] is before[QUEUE_VISIBLE] is None
    assert now[LEASES_LOST] == before[LEASES_LOST]
