"""To the engine: what is asked of it, and what is written down before."""

from __future__ import annotations

import pytest

from tests.unit.pipeline.conftest import Kit
from worker.errors import ErrorCode, Interrupted, JobError, LeaseLost, TransientError
from worker.pipeline.record import Record, Run
from worker.speech.api import Options


def test_a_first_delivery_goes_to_the_engine_and_leaves_no_trace(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    assert len(task.recognition().segments) == 3
    assert not task.marked
    assert kit.names() == set()


def test_a_redelivery_is_marked_before_it_runs(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed(kit.task(count=2))
    assert task.marked
    assert kit.read("checkpoint.json")["running"] == "together"


def test_a_suspect_runs_alone_and_its_mark_says_so(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.fetched(), Record(suspect=True))
    task = kit.transcribed(kit.task(count=2))
    assert task.run is Run.ALONE
    assert kit.read("checkpoint.json")["running"] == "alone"
    assert kit.engine.companions[-1] == ("job",)


def test_the_last_delivery_leaves_an_error_in_case_the_worker_dies(kit: Kit) -> None:
    kit.upload()
    kit.transcribed(kit.task(count=10))
    found = kit.read("error.json")
    assert found["code"] == "too_many_attempts"
    assert "this is the last of 10 deliveries" in found["message"]


def test_a_queue_without_a_redrive_policy_has_no_last_delivery(kit: Kit) -> None:
    kit.source = kit.make_source("other", receives=None)
    kit.upload()
    kit.transcribed(kit.task(count=10_000))
    assert "error.json" not in kit.names()


def test_finished_windows_are_not_decoded_again(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.transcribed(), Record())
    task = kit.transcribed(kit.task(count=2))
    assert task.recognition().resumed == 3


def test_what_a_job_does_not_say_the_settings_do(kit: Kit) -> None:
    kit.upload()
    kit.options = Options(language_options=("de", "fr"), multilingual=True)
    found = kit.transcribed().recognition()
    assert [segment.language for segment in found.segments] == ["de", "fr", "de"]
    assert found.languages == (("de", 35.0), ("fr", 30.0))
    own = kit.transcribed(kit.task(kit.job("own", multilingual=False, language_options=["ja"])))
    assert {segment.language for segment in own.recognition().segments} == {"ja"}


def test_finished_windows_keep_their_language(kit: Kit) -> None:
    kit.upload()
    job = kit.job(language_options=["de", "fr"], multilingual=True)
    kit.checkpoints.save(kit.transcribed(kit.task(job)), Record())
    found = kit.transcribed(kit.task(job, count=2)).recognition()
    assert found.resumed == 3
    assert [segment.language for segment in found.segments] == ["de", "fr", "de"]


def test_windows_of_other_settings_are_decoded_again_and_the_record_stays(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.transcribed(), Record(failures=1))
    kit.options = Options(language_options=("de",))
    task = kit.transcribed(kit.task(count=2))
    assert task.recognition().resumed == 0
    assert {segment.language for segment in task.recognition().segments} == {"de"}
    assert task.record.failures == 1


def test_without_its_mark_a_redelivery_does_not_run(kit: Kit) -> None:
    kit.upload()
    task = kit.fetched(kit.task(count=2))
    with kit.s3.refusing("put_object", "checkpoint.json"), pytest.raises(TransientError):
        kit.submit.submit(task)
    assert task.submission is None


def test_what_the_engine_can_t_do_is_the_job_s_failure(kit: Kit) -> None:
    kit.upload()
    task = kit.fetched(kit.task(kit.job().model_copy(update={"language": "xx"})))
    with pytest.raises(JobError) as caught:
        kit.submit.submit(task)
    assert caught.value.code is ErrorCode.LANGUAGE_NOT_SUPPORTED


def test_a_draining_worker_and_a_lost_lease_begin_nothing(kit: Kit) -> None:
    kit.upload()
    task = kit.fetched()
    kit.draining = True
    with pytest.raises(Interrupted):
        kit.submit.submit(task)
    kit.source.drop(task.message)
    with pytest.raises(LeaseLost):
        kit.submit.submit(task)
    assert task.submission is None
