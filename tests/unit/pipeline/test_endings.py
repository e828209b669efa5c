"""Every other end: the answer for each error, and what is kept of the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.engine import PRIVATE_TEXT, FakeEngine
from tests.unit.pipeline.conftest import BUCKET, Kit
from worker.errors import (
    EngineError,
    ErrorCode,
    Interrupted,
    JobError,
    LeaseLost,
    TransientError,
)
from worker.jobs.message import Rejected
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.record import Record, Run
from worker.pipeline.task import Task
from worker.uris import S3Prefix

STOPS = Interrupted("the worker stops")
PASSES = TransientError("S3 is out for lunch")
BAD = JobError(ErrorCode.NOT_MEDIA, "no decoder knows it")


# -- by error ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "answer", "delayed", "ours"),
    [
        (LeaseLost("gone"), Answer.LOST, False, True),
        (STOPS, Answer.RELEASED, False, False),
        (EngineError("the engine has stopped"), Answer.RELEASED, False, False),
        (PASSES, Answer.RELEASED, True, True),
        (OSError("no space left"), Answer.RELEASED, True, True),
        (ValueError(PRIVATE_TEXT), Answer.RELEASED, True, True),
        (BAD, Answer.FAILED, False, False),
        (JobError(ErrorCode.INPUT_FORBIDDEN, "a bucket of others"), Answer.FAILED, False, False),
        (JobError(ErrorCode.OUT_OF_MEMORY, "too small a card"), Answer.FAILED, False, True),
        (JobError(ErrorCode.ENGINE_FAILED, "a window fails"), Answer.FAILED, False, True),
        (JobError(ErrorCode.DIARIZATION_FAILED, "it died"), Answer.FAILED, False, True),
        (JobError(ErrorCode.DIARIZATION_NOT_AVAILABLE, "no model"), Answer.FAILED, False, False),
    ],
)
def test_each_error_has_its_answer(
    kit: Kit, error: Exception, answer: Answer, delayed: bool, ours: bool
) -> None:
    kit.upload()
    outcome = kit.endings.end(kit.fetched(), error)
    assert outcome.answer is answer
    assert (outcome.delay > 0) is delayed
    assert outcome.ours is ours


@pytest.mark.parametrize("error", [STOPS, EngineError("stopped"), PASSES, OSError("disk")])
def test_a_job_that_did_nothing_leaves_nothing(kit: Kit, error: Exception) -> None:
    kit.upload()
    kit.endings.end(kit.fetched(), error)
    assert kit.names() == set()
    assert kit.dead_letters() == []
    assert kit.sent_notices() == []


def test_the_delay_grows_with_deliveries_and_has_an_end(kit: Kit) -> None:
    delays = [kit.endings.end(kit.task(count=count), PASSES).delay for count in (1, 4, 8)]
    assert delays[0] < delays[1] < delays[2] <= 900


def test_an_interrupted_job_keeps_its_windows_and_the_engine_stops(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    assert kit.endings.end(task, STOPS) == Outcome(Answer.RELEASED)
    kept = kit.read("checkpoint.json")
    assert len(kept["partial"]["windows"]) == 3
    assert (kept["running"], kept["failures"], kept["suspect"]) == (None, 0, False)


def test_a_mark_is_taken_back(kit: Kit) -> None:
    kit.upload()
    task = kit.fetched(kit.task(count=2))
    kit.checkpoints.save(task, task.record.begun(task.run))
    task.marked = True
    kit.endings.end(task, STOPS)
    assert kit.names() == set(), "nothing else was in the checkpoint"


@pytest.mark.parametrize("error", [PASSES, STOPS, ValueError("x")])
def test_a_job_that_was_not_fetched_writes_no_checkpoint(kit: Kit, error: Exception) -> None:
    assert kit.endings.end(kit.task(), error).answer is Answer.RELEASED
    assert kit.s3.requests == []


@pytest.mark.parametrize("error", [STOPS, PASSES, BAD, LeaseLost("gone")])
def test_whatever_ends_a_job_the_engine_stops_working_on_it(
    tmp_path: Path, error: Exception
) -> None:
    engine = FakeEngine(seconds_per_audio_second=0.01, batch_size=1)
    engine.start()
    kit = Kit(tmp_path, engine)
    kit.upload(seconds=600.0)
    task = kit.fetched()
    kit.submit.submit(task)
    kit.endings.end(task, error)
    assert task.submission is not None
    assert task.submission.future.cancelled()
    assert engine.held_seconds() == 0
    engine.stop()
    kit.work.close()


# -- a lost lease -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [STOPS, BAD, PASSES, ValueError("x"), EngineError("x")])
def test_a_lost_lease_touches_nothing_whatever_went_wrong(kit: Kit, error: Exception) -> None:
    kit.upload()
    task = kit.transcribed()
    kit.source.drop(task.message)
    assert kit.endings.end(task, error) == Outcome(Answer.LOST, ours=True)
    assert kit.names() == set()
    assert kit.dead_letters() == []


# -- failures for good ------------------------------------------------------------------------


def test_a_failure_is_kept_in_two_places_and_removes_the_checkpoint(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.fetched(), Record(suspect=True))
    assert kit.endings.end(kit.fetched(kit.task(count=2)), BAD) == Outcome(Answer.FAILED)
    assert kit.names() == {"error.json"}
    assert kit.read("error.json")["code"] == "not_media"
    assert kit.dead_letters() == [("job", "not_media")]
    assert kit.sent_notices() == [("job", "failed")]


def test_who_sends_a_job_again_that_was_given_up_means_it(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.transcribed(), Record(failures=2, suspect=True))
    task = kit.fetched(kit.task(count=3))
    kit.endings.end(task, JobError(ErrorCode.TOO_MANY_ATTEMPTS, "given up"))
    kept = kit.read("checkpoint.json")
    assert (kept["failures"], kept["suspect"]) == (0, False)
    assert len(kept["partial"]["windows"]) == 3


def test_a_job_whose_speakers_can_t_be_told_keeps_its_text_for_who_sends_it_again(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    error = JobError(ErrorCode.DIARIZATION_FAILED, "it died")
    assert kit.endings.end(task, error) == Outcome(Answer.FAILED, ours=True)
    assert kit.read("error.json")["code"] == "diarization_failed"
    again = kit.fetched()
    kept = kit.checkpoints.windows(again)
    assert kept is not None
    assert len(kept.windows) == 3
    assert again.run is Run.TOGETHER


@pytest.mark.parametrize(
    ("error", "ours"),
    [(STOPS, False), (PASSES, True), (EngineError("x"), False), (ValueError("x"), True)],
)
def test_on_the_last_delivery_a_release_is_a_failure(
    kit: Kit, error: Exception, ours: bool
) -> None:
    kit.upload()
    outcome = kit.endings.end(kit.fetched(kit.task(count=10)), error)
    assert outcome == Outcome(Answer.FAILED, ours=ours)
    found = kit.read("error.json")
    assert found["code"] == "too_many_attempts"
    assert "not done in 10 deliveries" in found["message"]
    assert kit.dead_letters() == [("job", "too_many_attempts")]


def test_a_failure_that_can_be_kept_nowhere_keeps_the_message(kit: Kit) -> None:
    kit.source = kit.make_source("other", receives=None)
    kit.s3.buckets.clear()
    assert kit.endings.end(kit.task(), BAD) == Outcome(Answer.RELEASED, 900)


@pytest.mark.parametrize("error", [BAD, ValueError("x")])
def test_an_end_that_can_t_be_written_is_tried_again(kit: Kit, error: Exception) -> None:
    kit.upload()
    task = kit.fetched(kit.task(count=10))
    with kit.sqs.refusing("send_message", code="ServiceUnavailable"):
        outcome = kit.endings.end(task, error)
    assert outcome.answer is Answer.RELEASED
    assert outcome.delay > 0


def test_a_checkpoint_that_can_t_be_written_costs_only_time(kit: Kit) -> None:
    kit.upload()
    task = kit.transcribed()
    with kit.s3.refusing("put_object", "checkpoint.json"):
        assert kit.endings.end(task, STOPS) == Outcome(Answer.RELEASED)


def test_a_checkpoint_that_can_t_be_removed_costs_nothing(kit: Kit) -> None:
    kit.upload()
    kit.checkpoints.save(kit.fetched(), Record(suspect=True))
    task = kit.fetched(kit.task(count=2))
    with kit.s3.refusing("delete_object"):
        assert kit.endings.end(task, BAD) == Outcome(Answer.FAILED)


# -- the worker's own failures ----------------------------------------------------------------


def test_a_defect_is_counted_and_says_nothing_of_the_text(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.upload()
    for count in (1, 2):
        task = kit.fetched(kit.task(count=count))
        assert kit.endings.end(task, ValueError(PRIVATE_TEXT)).answer is Answer.RELEASED
        assert kit.read("checkpoint.json")["failures"] == count
    task = kit.fetched(kit.task(count=3))
    assert kit.endings.end(task, ValueError(PRIVATE_TEXT)) == Outcome(Answer.FAILED, ours=True)
    found = kit.read("error.json")
    assert found["code"] == "too_many_attempts"
    assert "the job failed 3 times, the last time with ValueError" in found["message"]
    assert PRIVATE_TEXT not in f"{kit.s3.objects}{kit.sqs.sent}{capsys.readouterr()}"


# -- a broken engine --------------------------------------------------------------------------

BROKEN = Outcome(Answer.RELEASED, ours=True)


def _running(kit: Kit, run: Run, *, marked: bool) -> Task:
    kit.upload()
    task = kit.fetched(kit.task(count=2 if marked else 1))
    task.run, task.marked = run, marked
    return task


def test_an_engine_that_breaks_on_a_first_delivery_leaves_no_trace(kit: Kit) -> None:
    assert kit.endings.broken(_running(kit, Run.TOGETHER, marked=False)) == BROKEN
    assert kit.names() == set()


def test_an_engine_that_breaks_makes_suspects_of_the_marked(kit: Kit) -> None:
    assert kit.endings.broken(_running(kit, Run.TOGETHER, marked=True)) == BROKEN
    kept = kit.read("checkpoint.json")
    assert (kept["suspect"], kept["failures"], kept["running"]) == (True, 0, None)


def test_an_engine_that_breaks_on_a_job_alone_is_that_job_s_failure(kit: Kit) -> None:
    assert kit.endings.broken(_running(kit, Run.ALONE, marked=True)) == BROKEN
    kept = kit.read("checkpoint.json")
    assert kept["failures"] == 1
    assert kept["last_failure"] == "the engine broke while the job was in it"


# -- wrong from the start ---------------------------------------------------------------------

WRONG = Rejected(
    job_id="j",
    input="s3://audio/in/a",
    output=S3Prefix(BUCKET, "transcripts/"),
    error=JobError(ErrorCode.INVALID_JOB, "field 'x' is unknown"),
    metadata={"case": "1"},
)


def test_a_wrong_job_is_answered_with_its_error(kit: Kit) -> None:
    assert kit.endings.reject(kit.held(), WRONG) == Outcome(Answer.FAILED)
    found = kit.read("error.json", "j")
    assert (found["code"], found["metadata"]) == ("invalid_job", {"case": "1"})
    assert kit.dead_letters() == [("j", "invalid_job")]


def test_a_wrong_message_without_a_place_is_a_dead_letter(kit: Kit) -> None:
    held = kit.held()
    wrong = Rejected(None, "", None, JobError(ErrorCode.INVALID_MESSAGE, "no JSON"))
    assert kit.endings.reject(held, wrong) == Outcome(Answer.FAILED)
    assert kit.dead_letters() == [(held.message.message_id, "invalid_message")]
    assert kit.s3.objects == {}


def test_a_wrong_job_that_comes_again_is_answered_once(kit: Kit) -> None:
    held = kit.held()
    kit.endings.reject(held, WRONG)
    again = kit.held(kit.message(2, held.message.message_id))
    assert kit.endings.reject(again, WRONG) == Outcome(Answer.FAILED)
    assert kit.dead_letters() == [("j", "invalid_job")]


def test_a_wrong_job_that_can_t_be_answered_now_comes_again(kit: Kit) -> None:
    with kit.sqs.refusing("send_message", code="ServiceUnavailable"):
        outcome = kit.endings.reject(kit.held(), WRONG)
    assert outcome.answer is Answer.RELEASED
    assert outcome.delay > 0


def test_a_wrong_job_of_a_lost_message_is_left_alone(kit: Kit) -> None:
    held = kit.held()
    kit.source.drop(held.message)
    assert kit.endings.reject(held, WRONG) == Outcome(Answer.LOST, ours=True)
    assert kit.s3.objects == {}
