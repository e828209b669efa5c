"""The record of a job: who is suspected, who is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.record import Record, Run, judge, last_delivery, needs_mark

records = st.builds(
    Record,
    failures=st.integers(0, 5),
    deaths=st.integers(0, 9),
    suspect=st.booleans(),
    running=st.sampled_from([None, Run.TOGETHER, Run.ALONE]),
)


def test_a_clean_job_runs_together() -> None:
    assert judge(Record(), max_failures=3) is Run.TOGETHER


def test_a_mark_that_is_found_makes_a_suspect_and_only_a_death_alone_counts() -> None:
    together = Record().begun(Run.TOGETHER).found()
    assert together == Record(suspect=True)
    assert judge(together, max_failures=3) is Run.ALONE
    assert together.begun(Run.ALONE).found() == Record(deaths=1, suspect=True)


def test_a_run_that_ends_in_good_order_is_held_against_nobody() -> None:
    record = Record()
    for _ in range(20):
        record = record.begun(Run.TOGETHER).ended().found()
    assert judge(record, max_failures=1) is Run.TOGETHER


@pytest.mark.parametrize("max_failures", [1, 2, 3])
def test_a_job_that_always_kills_its_worker_is_given_up(max_failures: int) -> None:
    record, deaths = Record(), 0
    while (run := judge(record, max_failures=max_failures)) is not Run.GIVE_UP:
        record = record.begun(run).found()
        deaths += 1
    # One in company, and four alone for each failure that would be needed.
    assert deaths == 1 + 4 * max_failures


def test_failures_that_were_seen_count_in_full() -> None:
    record = Record()
    for expected in (Run.TOGETHER, Run.ALONE, Run.ALONE, Run.GIVE_UP):
        assert judge(record, max_failures=3) is expected
        record = record.failed()


def test_a_broken_engine_counts_only_against_a_job_that_was_alone_in_it() -> None:
    assert Record().broke(Run.TOGETHER) == Record(suspect=True)
    assert Record(suspect=True).broke(Run.ALONE) == Record(failures=1, suspect=True)


@given(records)
def test_reading_a_record_twice_is_reading_it_once(record: Record) -> None:
    assert record.found().found() == record.found()
    assert record.found().running is None


@given(records, st.integers(1, 5))
def test_only_a_clean_record_runs_together(record: Record, most: int) -> None:
    found = record.found()
    together = judge(found, max_failures=most) is Run.TOGETHER
    assert together == found.clean
    assert record.forgiven().clean


@given(st.integers(1, 20), records)
def test_marks_are_written_for_all_but_clean_first_deliveries(count: int, record: Record) -> None:
    assert needs_mark(count, record) == (count > 1 or record != Record())


def test_the_last_delivery_is_the_one_that_reaches_the_queue_s_limit() -> None:
    assert [last_delivery(n, 3) for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert not last_delivery(1000, None)
