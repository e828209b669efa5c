"""The good end: what is written, how patiently, and what happens where a result lies already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.memory_aws import Stored
from tests.unit.pipeline.conftest import BUCKET, Kit
from worker.errors import ErrorCode, JobError, LeaseLost, TransientError
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.record import Record
from worker.pipeline.task import Task


def _commit(kit: Kit, task: Task) -> Outcome:
    return kit.commit.commit(task, task.recognition())


def test_a_result_is_written_with_the_files_that_the_job_asked_for(kit: Kit) -> None:
    kit.upload()
    outcome = _commit(kit, kit.transcribed(kit.task(kit.job(formats=["srt", "tsv"]))))
    assert outcome.answer is Answer.COMMITTED
    assert outcome.audio_seconds == 65
    assert outcome.seconds is not None
    assert outcome.seconds > 0
    assert set(outcome.stages) == {"fetch", "decode", "windows", "transcribe", "align", "write"}
    assert kit.names() == {"transcript.json", "transcript.srt", "transcript.tsv"}
    assert kit.read("transcript.json")["timings"]["total"] > 0
    assert kit.stored("transcript.json").content_type == "application/json"
    assert kit.stored("transcript.srt").content_type == "application/x-subrip; charset=utf-8"
    assert kit.sent_notices() == [("job", "completed")]


def test_every_file_says_whose_it_is(kit: Kit) -> None:
    etag = kit.upload()
    task = kit.transcribed()
    _commit(kit, task)
    for name in kit.names():
        metadata = kit.stored(name).metadata
        assert metadata.items() >= task.object_metadata.items()
        assert metadata["input-etag"] == etag


def test_a_commit_removes_what_unfinished_runs_left(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.fetched(), Record(suspect=True))
    _commit(kit, kit.transcribed(kit.task(count=10)))
    assert kit.names().isdisjoint({"checkpoint.json", "error.json"})


@pytest.mark.parametrize("name", ["checkpoint.json", "error.json"])
def test_a_first_delivery_removes_what_it_found(kit: Kit, name: str) -> None:
    kit.upload()
    kit.s3.objects[BUCKET, f"transcripts/job/{name}"] = Stored(b"{}")
    _commit(kit, kit.transcribed())
    assert name not in kit.names()


def test_an_only_delivery_removes_the_error_that_it_foretold(kit: Kit) -> None:
    kit.upload()
    kit.source = kit.make_source("once", receives=1)
    task = kit.transcribed()
    assert "error.json" in kit.names()
    _commit(kit, task)
    assert "error.json" not in kit.names()


def test_a_first_delivery_that_found_nothing_looks_for_nothing_after_its_commit(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    del kit.s3.requests[:]
    _commit(kit, task)
    assert {operation for operation, _ in kit.s3.requests} == {"put_object"}


def test_what_another_message_s_worker_wrote_meanwhile_goes_when_that_message_comes_again(
    kit: Kit,
) -> None:
    kit.upload()
    first, second = kit.transcribed(), kit.task()
    kit.checkpoints.save(kit.fetched(second), Record(suspect=True))
    _commit(kit, first)
    assert "checkpoint.json" in kit.names()
    outcome = kit.fetch.fetch(kit.task(message=kit.message(2, second.message.message_id)))
    assert outcome is not None
    assert outcome.answer is Answer.ALREADY
    assert "checkpoint.json" not in kit.names()


def test_what_another_delivery_wrote_goes_if_the_lease_is_lost_by_then(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.upload()
    task = kit.transcribed()
    put = kit.s3.put_object

    def last_put(**request: Any) -> dict[str, Any]:
        answer = put(**request)
        if request["Key"].endswith("transcript.json"):
            kit.checkpoints.save(kit.task(message=kit.message(2)), Record(suspect=True))
            task.lease.lost.set()
        return answer

    monkeypatch.setattr(kit.s3, "put_object", last_put)
    _commit(kit, task)
    assert "checkpoint.json" not in kit.names()


def test_a_commit_waits_longer_each_time_and_gives_up_after_half_a_minute(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    with kit.s3.refusing("put_object", "transcript.json"), pytest.raises(TransientError):
        _commit(kit, task)
    assert kit.slept == [1.0, 2.0, 4.0, 8.0, 15.0]
    assert "transcript.json" not in kit.names()
    assert kit.sent_notices() == []


def test_an_output_that_is_forbidden_is_not_waited_for(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    forbidden = kit.s3.refusing("put_object", code="AccessDenied", status=403)
    with forbidden, pytest.raises(JobError) as caught:
        _commit(kit, task)
    assert caught.value.code is ErrorCode.OUTPUT_FORBIDDEN
    assert kit.slept == []


def test_a_lost_lease_commits_nothing(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    kit.source.drop(task.message)
    with pytest.raises(LeaseLost):
        _commit(kit, task)
    assert kit.names() == set()


def test_of_two_commits_of_one_request_the_second_changes_nothing(kit: Kit) -> None:
    kit.upload()
    first, second = kit.transcribed(), kit.transcribed()
    assert _commit(kit, first).answer is Answer.COMMITTED
    before = dict(kit.s3.objects)
    assert _commit(kit, second).answer is Answer.ALREADY
    assert kit.s3.objects == before
    assert kit.sent_notices() == [("job", "completed")] * 2, "the first worker may have died"


def test_what_a_worker_that_died_after_its_commit_left_is_removed(kit: Kit) -> None:
    kit.upload()
    _commit(kit, kit.transcribed())
    for name in ("checkpoint.json", "error.json"):
        kit.s3.objects[BUCKET, f"transcripts/job/{name}"] = Stored(b"{}")
    outcome = kit.fetch.fetch(kit.task(count=2))
    assert outcome is not None
    assert outcome.answer is Answer.ALREADY
    assert kit.names() == {"transcript.json", "transcript.srt", "transcript.vtt", "transcript.txt"}


def test_of_two_requests_with_one_job_id_the_second_is_a_conflict(kit: Kit) -> None:
    kit.upload()
    first, second = kit.transcribed(), kit.transcribed(kit.task(kit.job(language="fr")))
    _commit(kit, first)
    with pytest.raises(JobError) as caught:
        _commit(kit, second)
    assert caught.value.code is ErrorCode.JOB_ID_CONFLICT
    assert "s3://audio/transcripts/job/" in caught.value.message


def test_a_result_of_an_input_that_is_gone_stands(kit: Kit) -> None:
    kit.upload()
    _commit(kit, kit.transcribed())
    del kit.s3.objects[BUCKET, "in/a"]
    committed = kit.results.committed(kit.job().place)
    assert committed is not None
    assert kit.commit.already(kit.task(), committed).answer is Answer.ALREADY


def test_a_result_of_an_earlier_content_is_a_conflict(kit: Kit) -> None:
    kit.upload()
    _commit(kit, kit.transcribed())
    kit.upload(seed=1)
    committed = kit.results.committed(kit.job().place)
    assert committed is not None
    with pytest.raises(JobError, match="earlier content of the input"):
        kit.commit.already(kit.task(), committed)
