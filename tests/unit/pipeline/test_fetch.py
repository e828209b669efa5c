"""The way in: answered already, dropped, given up, or ready for the engine."""

from __future__ import annotations

import pytest

from tests.fakes.engine import fake_audio
from tests.fakes.memory_aws import Stored
from tests.unit.pipeline.conftest import BUCKET, Kit
from worker.aws.results import result_metadata
from worker.errors import ErrorCode, Interrupted, JobError, LeaseLost, TransientError
from worker.jobs.message import Job
from worker.pipeline.answers import Answer
from worker.pipeline.record import Record, Run
from worker.pipeline.task import Task
from worker.uris import S3Uri


def test_a_new_job_s_file_is_brought_here(kit: Kit) -> None:
    etag = kit.upload(65.0)
    task = kit.task()
    assert kit.fetch.fetch(task) is None
    assert task.input_file.read_bytes() == fake_audio(65.0)
    assert task.input_file.parent.parent == kit.work.path
    assert (task.etag, task.size) == (etag, len(fake_audio(65.0)))
    assert task.fetch_seconds > 0
    assert (task.run, task.record, task.checkpoint) == (Run.TOGETHER, Record(), None)
    assert kit.names() == set(), "nothing is written for a first delivery"


def test_a_job_with_a_result_is_not_fetched_again(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    kit.commit.commit(task, task.recognition())
    kit.s3.requests.clear()
    again = kit.task()
    outcome = kit.fetch.fetch(again)
    assert outcome is not None
    assert outcome.answer is Answer.ALREADY
    assert ("get_object", "a") not in kit.s3.requests
    assert again.folder is None


def test_a_job_id_whose_result_is_another_request_s_is_a_conflict(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    kit.commit.commit(task, task.recognition())
    with pytest.raises(JobError, match="job_id 'job' already has a result") as caught:
        kit.fetch.fetch(kit.task(kit.job(language="fr")))
    assert caught.value.code is ErrorCode.JOB_ID_CONFLICT


def test_a_message_that_failed_before_is_answered_by_its_first_error(kit: Kit) -> None:
    task = kit.task()
    kit.endings.end(task, JobError(ErrorCode.NOT_MEDIA, "no media"))
    kit.upload()
    again = kit.task(message=kit.message(2, task.message.message_id))
    outcome = kit.fetch.fetch(again)
    assert outcome is not None
    assert outcome.answer is Answer.FAILED
    assert kit.fetch.fetch(kit.task(count=2)) is None, "another message means it"


# -- events -----------------------------------------------------------------------------------


def _from_event(kit: Kit, key: str, etag: str = "e") -> Task:
    job: Job = kit.job().model_copy(update={"input": S3Uri(BUCKET, key), "etag": etag})
    return kit.task(job)


def test_an_event_of_the_worker_s_own_object_makes_no_job(kit: Kit) -> None:
    own = Stored(b"text", result_metadata(job_id="j"))
    kit.s3.objects[BUCKET, "in/notes.txt"] = own
    outcome = kit.fetch.fetch(_from_event(kit, "in/notes.txt", own.etag))
    assert outcome is not None
    assert outcome.answer is Answer.DROPPED


@pytest.mark.parametrize("name", ["checkpoint.json", "error.json", "transcript.srt"])
def test_an_event_of_an_object_that_the_worker_removed_makes_no_job(kit: Kit, name: str) -> None:
    outcome = kit.fetch.fetch(_from_event(kit, f"in/j/{name}"))
    assert outcome is not None
    assert outcome.answer is Answer.DROPPED


def test_an_event_of_any_other_object_that_is_gone_is_a_failure(kit: Kit) -> None:
    with pytest.raises(JobError) as caught:
        kit.fetch.fetch(_from_event(kit, "in/call.wav"))
    assert caught.value.code is ErrorCode.INPUT_NOT_FOUND


def test_an_event_s_job_is_of_the_object_that_the_event_saw(kit: Kit) -> None:
    etag = kit.upload()
    assert kit.fetch.fetch(_from_event(kit, "in/a", etag)) is None
    with pytest.raises(JobError) as caught:
        kit.fetch.fetch(_from_event(kit, "in/a", "another"))
    assert caught.value.code is ErrorCode.INPUT_CHANGED


# -- what it asks for -------------------------------------------------------------------------


def test_where_nothing_lies_one_listing_says_so(kit: Kit) -> None:
    kit.upload()
    kit.fetched()
    assert kit.s3.requests == [("list_objects_v2", ""), ("get_object", "a")]


def test_only_what_lies_there_is_asked_for(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.fetched(), Record(suspect=True))
    del kit.s3.requests[:]
    task = kit.fetched(kit.task(count=2))
    assert task.run is Run.ALONE
    assert [name for _, name in kit.s3.requests] == ["", "a", "checkpoint.json"]


def test_a_worker_that_may_not_list_asks_for_each(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.fetched(), Record(suspect=True))
    forbidden = kit.s3.refusing("list_objects_v2", code="AccessDenied", status=403)
    with forbidden:
        assert kit.fetched(kit.task(count=2)).run is Run.ALONE
        kit.commit.commit(kit.transcribed(), kit.transcribed().recognition())
        outcome = kit.fetch.fetch(kit.task())
    assert outcome is not None
    assert outcome.answer is Answer.ALREADY


# -- what ends it -----------------------------------------------------------------------------


def test_an_input_that_is_too_large_is_not_fetched(kit: Kit) -> None:
    kit.upload(body=b"x" * 1001)
    with pytest.raises(JobError) as caught:
        kit.fetch.fetch(kit.task())
    assert caught.value.code is ErrorCode.INPUT_TOO_LARGE


@pytest.mark.parametrize("operation", ["list_objects_v2", "get_object"])
def test_s3_out_of_order_may_pass(kit: Kit, operation: str) -> None:
    kit.upload()
    with kit.s3.refusing(operation), pytest.raises(TransientError):
        kit.fetch.fetch(kit.task())


def test_a_result_that_can_t_be_asked_about_may_be_later(kit: Kit) -> None:
    kit.upload()
    kit.s3.objects[BUCKET, "transcripts/job/transcript.json"] = Stored(b"{}")
    with kit.s3.refusing("head_object"), pytest.raises(TransientError):
        kit.fetch.fetch(kit.task())


def test_a_draining_worker_fetches_nothing(kit: Kit) -> None:
    kit.upload()
    kit.draining = True
    with pytest.raises(Interrupted):
        kit.fetch.fetch(kit.task())
    assert kit.s3.requests == []


def test_a_lease_near_its_end_begins_nothing(kit: Kit) -> None:
    task = kit.task()
    task.lease.expiring.set()
    with pytest.raises(Interrupted):
        kit.fetch.fetch(task)


def test_a_lost_lease_fetches_nothing(kit: Kit) -> None:
    task = kit.task()
    kit.source.drop(task.message)
    with pytest.raises(LeaseLost):
        kit.fetch.fetch(task)
    assert kit.s3.requests == []


# -- the record of earlier runs ---------------------------------------------------------------


def _leave(kit: Kit, record: Record, failure: str | None = None) -> None:
    """What an earlier run of the job has left."""
    kit.checkpoints.save(kit.fetched(), record, failure)


def test_a_job_whose_worker_died_may_run_alone(kit: Kit) -> None:
    kit.upload()
    _leave(kit, Record(running=Run.TOGETHER))
    task = kit.fetched(kit.task(count=2))
    assert task.run is Run.ALONE
    assert task.record == Record(suspect=True)


def test_a_job_with_too_many_failures_is_given_up(kit: Kit) -> None:
    kit.upload()
    _leave(kit, Record(failures=3, suspect=True), "ValueError at line 1")
    with pytest.raises(JobError, match=r"after 4 deliveries, 3 failures.*: ValueError") as caught:
        kit.fetch.fetch(kit.task(count=4))
    assert caught.value.code is ErrorCode.TOO_MANY_ATTEMPTS


def test_a_job_that_only_killed_workers_is_given_up_too(kit: Kit) -> None:
    kit.upload()
    _leave(kit, Record(deaths=11, suspect=True, running=Run.ALONE))
    with pytest.raises(JobError, match=r"12 deaths.*the last failure: such a death"):
        kit.fetch.fetch(kit.task(count=9))


def test_a_record_holds_for_its_request_and_its_content_alone(kit: Kit) -> None:
    kit.upload()
    _leave(kit, Record(failures=3, suspect=True))
    assert kit.fetched(kit.task(kit.job(language="fr"))).run is Run.TOGETHER
    kit.upload(seed=1)
    assert kit.fetched(kit.task()).run is Run.TOGETHER
