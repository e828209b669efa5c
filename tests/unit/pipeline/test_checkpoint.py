from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline import checkpoint
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.record import Record, Run
from worker.speech.api import Partial, WindowText

records = st.builds(
    Record,
    failures=st.integers(0, 5),
    deaths=st.integers(0, 5),
    suspect=st.booleans(),
    running=st.sampled_from([None, Run.TOGETHER, Run.ALONE]),
)


def _windows(*indices: int, text: str = "x") -> Partial:
    return Partial(
        windows=tuple(
            WindowText(index=i, start=30.0 * i, end=30.0 * i + 30, text=text, avg_logprob=-0.1)
            for i in indices
        )
    )


def _document() -> Checkpoint:
    return Checkpoint(job_id="j", request_hash="h", etag="e", fingerprint="f")


@given(records, st.sets(st.integers(0, 9)))
def test_a_checkpoint_survives_storage(record: Record, indices: set[int]) -> None:
    kept = _document().with_record(record, partial=_windows(*sorted(indices)), failure="why")
    read = checkpoint.parse(kept.dump())
    assert read == kept
    assert read is not None
    assert read.record == record
    assert read.last_failure == "why"
    assert read.worthless == (record.clean and not indices)


@given(st.binary(max_size=200))
def test_damaged_checkpoints_are_none(body: bytes) -> None:
    assert checkpoint.parse(body) is None
    assert checkpoint.parse(None) is None


def test_a_later_version_s_checkpoint_is_none_and_unknown_fields_are_no_trouble() -> None:
    body = _document().dump()
    assert checkpoint.parse(body.replace(b'"schema_version":1', b'"schema_version":2')) is None
    assert checkpoint.parse(body[:-1] + b', "later": 1}') == _document()


def test_it_belongs_to_one_job_on_one_content_and_its_windows_to_one_engine() -> None:
    kept = _document().with_record(Record(), partial=_windows(0))
    assert kept.of(job_id="j", request_hash="h", etag="e")
    assert not kept.of(job_id="j", request_hash="h", etag="other")
    assert not kept.of(job_id="j", request_hash="other", etag="e")
    assert kept.windows_for("f") == _windows(0)
    assert kept.windows_for("another engine") is None


def test_the_last_failure_stays_until_there_is_another() -> None:
    kept = _document().with_record(Record(), partial=None, failure="first")
    assert kept.with_record(Record(), partial=None).last_failure == "first"


def test_windows_of_two_runs_are_merged_and_the_newer_counts() -> None:
    merged = checkpoint.merged(_windows(0, 1, text="old"), _windows(1, 2, text="new"))
    assert merged is not None
    assert [(w.index, w.text) for w in merged.windows] == [(0, "old"), (1, "new"), (2, "new")]
    assert checkpoint.merged(None, None) is None
    assert checkpoint.merged(_windows(3), None) == _windows(3)
