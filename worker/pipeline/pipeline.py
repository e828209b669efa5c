"""One job's way: fetch, hand to the engine, commit; and every way that can end otherwise.

The only module that sees both wings, the outside world (`worker.aws`) and the engine
(`worker.speech`). It knows nothing of threads: the daemon calls its steps, each of them from
one thread at a time, and acts on the message when all of a message's jobs have ended.

    fetch     is it done already? whose fault were its earlier runs? download.
    submit    hand the file to the engine.
    finish    the engine is done: assemble, render, commit.
    interrupt the worker ends first: keep the finished windows.
    broken    the engine ended first.
    reject    a message, or a job in it, that is wrong from the start.

A step never raises: whatever happens becomes an `Outcome`, so that each job gets one answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass

from worker import retry
from worker.aws.notices import Notice, Notices
from worker.aws.queue import Message
from worker.aws.results import CommitOutcome, Committed, ResultStore, result_metadata
from worker.errors import (
    EngineError,
    ErrorCode,
    Interrupted,
    JobError,
    LeaseLost,
    TransientError,
)
from worker.jobs.inputs import InputUri
from worker.jobs.message import Job, Rejected
from worker.logs import get_logger
from worker.pipeline import checkpoint
from worker.pipeline import record as records
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.failures import Failures, Subject
from worker.pipeline.inputs import Inputs
from worker.pipeline.options import engine_options
from worker.pipeline.record import Record, Run
from worker.pipeline.task import Held, Task
from worker.pipeline.workdir import WorkDir
from worker.redact import location, summary
from worker.results import formats, names
from worker.results.transcript import Transcript
from worker.speech import assemble
from worker.speech.api import Recognition, Transcriber

log = get_logger(__name__)

_NEVER_KEPT_SECONDS = retry.MAX_RELEASE_SECONDS
"""How long a failed message rests if neither its error nor a copy can be kept anywhere."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say about each job.

    Attributes:
        max_input_bytes: largest object that is fetched.
        max_failures: recorded failures after which a job is given up.
        vtt_word_times: whether vtt files carry the times of words.
    """

    max_input_bytes: int
    max_failures: int = 3
    vtt_word_times: bool = False


class Pipeline:
    """The steps of a job. Callable from any thread, for different jobs at the same time.

    Args:
        inputs: where files are fetched.
        results: where results, errors and checkpoints go.
        engine: a started one.
        notices: told of every answer.
        work: where fetched files live.
        limits: what the settings say.
        draining: whether the worker has stopped beginning jobs.
        sleep: waits that many seconds between attempts at a commit.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        inputs: Inputs[InputUri],
        results: ResultStore,
        engine: Transcriber,
        notices: Notices,
        work: WorkDir,
        limits: Limits,
        draining: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inputs = inputs
        self._results = results
        self._failures = Failures(results, notices)
        self._engine = engine
        self._notices = notices
        self._work = work
        self._limits = limits
        self._draining = draining
        self._sleep = sleep
        self._clock = clock

    # -- the steps ----------------------------------------------------------------------------

    def fetch(self, task: Task) -> Outcome | None:
        """Bring the input here; None if the job is ready for the engine, else how it ended."""
        try:
            return self._fetch(task)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._end(task, error)

    def submit(self, task: Task) -> Outcome | None:
        """Hand a fetched job to the engine; None if it is there, else how it ended."""
        try:
            self._submit(task)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._end(task, error)
        return None

    def finish(self, task: Task) -> Outcome:
        """The engine is done with the job, well or not: answer it."""
        try:
            assert task.submission is not None
            recognition = task.submission.future.result(timeout=0)
            return self._commit(task, recognition)
        except (CancelledError, EngineError):
            return self.broken(task)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._end(task, error)

    def interrupt(self, task: Task) -> Outcome:
        """The worker ends before the job: keep its finished windows, give it back."""
        return self._end(task, Interrupted("the worker stops"))

    def broken(self, task: Task) -> Outcome:
        """The engine broke while the job was in it: note that, give the job back."""
        try:
            # A first delivery leaves no trace, exactly as if the process had died: if one job
            # broke the engine, the others that were in it need not run alone for that.
            return self._release(
                task,
                task.record.broke(task.run) if task.marked else task.record,
                failure="the engine broke while the job was in it",
                event="job.engine_broke",
                message="The engine broke while this job was in it; it is given back",
            )
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._end(task, error)

    def lost(self, task: Task) -> Outcome:
        """The lease is lost: stop, commit nothing, leave everything as it is."""
        if task.submission is not None:
            task.submission.cancel()
        log.warning(
            "job.lost",
            message="The lease of this job's message was lost; another worker may have it",
            job_id=task.job.job_id,
            message_id=task.message.message_id,
        )
        return Outcome(Answer.LOST)

    def reject(self, held: Held, rejected: Rejected) -> Outcome:
        """Answer a message, or one job of it, that is wrong from the start."""
        job_id = rejected.job_id or held.message.origin_id
        subject = Subject(
            message=held.message,
            source=held.source,
            job_id=job_id,
            input=rejected.input,
            place=rejected.output.place(job_id) if rejected.output else None,
            metadata=rejected.metadata,
            object_metadata=result_metadata(job_id=job_id, input_uri=rejected.input),
        )
        try:
            held.lease.ensure()
            kept = self._failures.answered_before(subject) or self._failures.keep(
                subject, rejected.error
            )
        except LeaseLost:
            return Outcome(Answer.LOST)
        except Exception as error:  # noqa: BLE001  # every job gets an answer
            return self._not_kept(held.message, job_id, error)
        return Outcome(Answer.FAILED) if kept else Outcome(Answer.RELEASED, _NEVER_KEPT_SECONDS)

    def discard(self, task: Task) -> None:
        """Remove the job's temporary files."""
        if task.folder is not None:
            self._work.remove(task.folder)
            task.folder = None

    # -- to the engine ------------------------------------------------------------------------

    def _check(self, task: Task) -> None:
        """Whether a job that has not begun may go on. Raises LeaseLost, Interrupted."""
        task.lease.ensure()
        if self._draining() or task.lease.expiring.is_set():
            raise Interrupted("the worker stops")

    def _fetch(self, task: Task) -> Outcome | None:
        job = task.job
        self._check(task)
        task.began = self._clock()
        committed = self._results.committed(job.place)
        if committed is not None:
            return self._already(task, committed)
        if self._failures.answered_before(self._subject(task)):
            return Outcome(Answer.FAILED)
        if _from_event(job):
            reason = self._not_a_job(job)
            if reason is not None:
                log.info("job.dropped", message=f"No job: {reason}", job_id=job.job_id)
                return Outcome(Answer.DROPPED)
        task.folder = self._work.new()
        fetched = self._inputs.fetch(
            job.input,
            task.folder / "input",
            etag=job.etag,
            version_id=job.version_id,
            max_bytes=self._limits.max_input_bytes,
            check=lambda: self._check(task),
        )
        task.fetch_seconds = self._clock() - task.began
        task.etag, task.size = fetched.etag, fetched.bytes
        self._look_back(task)
        return None

    def _not_a_job(self, job: Job) -> str | None:
        """Why an event's object makes no job after all."""
        found = self._inputs.head(job.input, version_id=job.version_id)
        if found is not None:
            return "the worker wrote this object" if found.ours else None
        # Some of what the worker writes is gone again before an event about it arrives.
        if job.input.name in names.WRITTEN:
            return "the object is gone, and by its name the worker wrote it"
        return None  # the fetch says what is wrong

    def _look_back(self, task: Task) -> None:
        """Read the checkpoint; decide how the job may run. Raises JobError to give it up."""
        job = task.job
        found = checkpoint.parse(self._results.load_checkpoint(job.place))
        if found is not None and found.of(
            job_id=job.job_id, request_hash=job.request_hash, etag=task.etag
        ):
            task.checkpoint = found
            task.record = found.record.found()
        task.run = records.judge(task.record, max_failures=self._limits.max_failures)
        if task.run is Run.GIVE_UP:
            failure = task.checkpoint.last_failure if task.checkpoint else None
            raise JobError(
                ErrorCode.TOO_MANY_ATTEMPTS,
                f"the job is given up after {task.message.receive_count} deliveries, "
                f"{task.record.failures} failures of its own and {task.record.deaths} deaths of "
                f"workers that had only this job; the last failure: {failure or 'such a death'}",
            )
        if task.run is Run.ALONE:
            log.warning(
                "job.suspect",
                message="A worker died while it had this job; it runs alone",
                job_id=job.job_id,
                failures=task.record.failures,
                deaths=task.record.deaths,
            )

    def _submit(self, task: Task) -> None:
        self._check(task)
        assert task.folder is not None
        if self._is_last(task):
            self._failures.foretell(self._subject(task))
        if records.needs_mark(task.message.receive_count, task.record):
            self._write_checkpoint(task, task.record.begun(task.run))
            task.marked = True
        job = task.job
        resume = task.checkpoint.windows_for(self._engine.fingerprint) if task.checkpoint else None
        task.submission = self._engine.submit(
            task.folder / "input",
            engine_options(job),
            name=job.job_id,
            resume=resume,
            alone=task.run is Run.ALONE,
        )
        log.info(
            "job.started",
            message="Job handed to the engine",
            job_id=job.job_id,
            message_id=task.message.message_id,
            bytes=task.size,
            receive_count=task.message.receive_count,
            windows_kept=len(resume.windows) if resume else 0,
        )

    # -- from the engine ----------------------------------------------------------------------

    def _commit(self, task: Task, recognition: Recognition) -> Outcome:
        job = task.job
        task.lease.ensure()
        transcript, files = self._render(task, recognition)
        body = formats.render(transcript, "json").encode()
        outcome = self._try_commit(task, files, body)
        seconds = self._clock() - task.began
        if outcome is CommitOutcome.ALREADY:
            committed = self._results.committed(job.place)
            if committed is not None:
                return self._already(task, committed)
            raise TransientError("another result was there and is gone")
        log.info(
            "job.completed",
            message=f"Transcription completed in {seconds:.2f} seconds",
            job_id=job.job_id,
            message_id=task.message.message_id,
            audio_seconds=recognition.audio_seconds,
            seconds=seconds,
            speed=recognition.audio_seconds / seconds if seconds > 0 else 0.0,
            transcribe_seconds=recognition.seconds.get("transcribe", 0.0),
            windows=recognition.windows,
            windows_resumed=recognition.resumed,
        )
        self._tell(job, recognition.audio_seconds)
        return Outcome(
            Answer.COMMITTED,
            audio_seconds=recognition.audio_seconds,
            seconds=seconds,
            stages=transcript.timings.model_dump(exclude={"total"}),
        )

    def _render(
        self, task: Task, recognition: Recognition
    ) -> tuple[Transcript, dict[str, tuple[bytes, str]]]:
        """The transcript and its siblings: name -> (bytes, content type)."""
        job = task.job
        began = self._clock()
        transcript = assemble.assemble(
            recognition,
            job_id=job.job_id,
            input=assemble.Input(uri=str(job.input), bytes=task.size or 0, etag=task.etag),
            task=job.task,
            engine=self._engine.info,
            timings=assemble.timings(recognition, fetch=task.fetch_seconds),
            metadata=job.metadata,
            words=job.words,
        )
        files = {
            names.sibling(name): (
                formats.render(
                    transcript, name, word_timestamps_in_vtt=self._limits.vtt_word_times
                ).encode(),
                formats.FORMATS[name][1],
            )
            for name in job.formats
            if name != "json"
        }
        now = self._clock()
        spent = assemble.timings(
            recognition, fetch=task.fetch_seconds, write=now - began, total=now - task.began
        )
        return assemble.with_timings(transcript, spent), files

    def _try_commit(
        self,
        task: Task,
        files: Mapping[str, tuple[bytes, str]],
        body: bytes,
    ) -> CommitOutcome:
        """Commit, with patience. Raises TransientError, LeaseLost, JobError."""
        job = task.job
        for wait in (*retry.COMMIT_WAITS, None):
            try:
                return self._results.commit(
                    job.place,
                    files,
                    body,
                    self._metadata(task),
                    check=task.lease.ensure,
                )
            except TransientError as error:
                if wait is None:
                    raise
                log.warning(
                    "job.commit_delayed",
                    message=f"The result could not be written yet: {error}",
                    job_id=job.job_id,
                    wait_seconds=wait,
                )
            self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _already(self, task: Task, committed: Committed) -> Outcome:
        """A result lies where ours would: it is this job's, or the job id is taken."""
        job = task.job
        etag = task.etag or job.etag or self._current_etag(job)
        if not committed.answers(
            request_hash=job.request_hash, input_uri=str(job.input), etag=etag
        ):
            raise JobError(
                ErrorCode.JOB_ID_CONFLICT,
                f"job_id {job.job_id!r} already has a result of another request, or of an "
                f"earlier content of the input, in {job.place}: send the job with "
                "another job_id, or remove that result first",
            )
        # A worker that died after its commit may have left the tidying and the notice to us.
        self._results.tidy(job.place)
        log.info(
            "job.already",
            message="The job has a result already; nothing to do",
            job_id=job.job_id,
            message_id=task.message.message_id,
        )
        self._tell(job)
        return Outcome(Answer.ALREADY)

    def _tell(self, job: Job, audio_seconds: float | None = None) -> None:
        """Send the notice of a result that exists."""
        notice = Notice(
            job_id=job.job_id,
            status="completed",
            input=str(job.input),
            result=job.place.uri(names.TRANSCRIPT),
            audio_seconds=audio_seconds,
        )
        self._notices.send(notice, target=job.notify)

    def _current_etag(self, job: Job) -> str | None:
        """The input's ETag now; None if it can't be told, as when it was removed since."""
        try:
            found = self._inputs.head(job.input)
        except JobError:
            return None
        return found.etag if found else None

    # -- other ends ---------------------------------------------------------------------------

    def _end(self, task: Task, error: Exception) -> Outcome:
        """Turn what went wrong into an answer."""
        try:
            match error:
                case LeaseLost():
                    return self.lost(task)
                case Interrupted():
                    return self._release(
                        task,
                        task.record.ended(),
                        event="job.interrupted",
                        message="The worker stops before this job is done; it is given back",
                    )
                case EngineError():  # it broke before it took the job
                    return self._release(
                        task,
                        task.record.ended(),
                        event="job.engine_broke",
                        message="The engine is broken; the job is given back",
                    )
                case JobError():
                    return self._fail(task, error)
                case TransientError() | OSError():
                    return self._release(
                        task,
                        task.record.ended(),
                        delay=retry.release_seconds(task.message.receive_count),
                        failure=summary(error),
                        event="job.released",
                        message=f"The job will be tried again: {summary(error)}",
                    )
                case _:
                    return self._defect(task, error)
        except LeaseLost:
            return self.lost(task)
        except Exception as second:  # noqa: BLE001  # every job gets an answer
            return self._not_kept(task.message, task.job.job_id, second)

    def _defect(self, task: Task, error: Exception) -> Outcome:
        """Something of ours broke on this job: record a failure against it, try again alone."""
        log.error(
            "job.defect",
            message=f"The worker failed on this job: {summary(error)}",
            job_id=task.job.job_id,
            where=location(error),
        )
        record = task.record.failed()
        if record.failures >= self._limits.max_failures:
            return self._fail(
                task,
                JobError(
                    ErrorCode.TOO_MANY_ATTEMPTS,
                    f"the job failed {record.failures} times, the last time with {summary(error)}",
                ),
            )
        return self._release(
            task,
            record,
            delay=retry.release_seconds(task.message.receive_count),
            failure=summary(error),
            event="job.released",
            message="The job will be tried again, alone",
        )

    def _release(
        self,
        task: Task,
        record: Record,
        *,
        event: str,
        message: str,
        delay: int = 0,
        failure: str | None = None,
    ) -> Outcome:
        """Give the job back with what is worth keeping of it.

        On the last delivery giving back would be giving away: the redrive policy would take the
        message without a word to whoever waits for a result. So then the job fails.
        """
        count = task.message.receive_count
        if self._is_last(task):
            why = failure or "the worker was stopped before it was done"
            return self._fail(
                task,
                JobError(
                    ErrorCode.TOO_MANY_ATTEMPTS,
                    f"the job was not done in {count} deliveries, which is all that the queue "
                    f"allows; the last time {why}",
                ),
            )
        self._keep(task, record, failure)
        if task.submission is not None:
            task.submission.cancel()
        log.info(
            event,
            message=message,
            job_id=task.job.job_id,
            message_id=task.message.message_id,
            receive_count=count,
            delay_seconds=delay,
        )
        return Outcome(Answer.RELEASED, delay)

    def _keep(self, task: Task, record: Record, failure: str | None = None) -> None:
        """Store the checkpoint, or remove one that is worth nothing. Its loss costs only time."""
        if not task.etag:
            return  # not fetched yet: nothing is known, and no mark was written
        task.lease.ensure()
        try:
            self._write_checkpoint(task, record, failure)
        except (TransientError, JobError) as error:
            log.warning(
                "job.checkpoint_failed",
                message=f"The checkpoint could not be written: {error}",
                job_id=task.job.job_id,
            )

    def _write_checkpoint(self, task: Task, record: Record, failure: str | None = None) -> None:
        job = task.job
        fingerprint = self._engine.fingerprint
        kept = task.checkpoint.windows_for(fingerprint) if task.checkpoint else None
        new = task.submission.partial() if task.submission else None
        document = Checkpoint(
            job_id=job.job_id,
            request_hash=job.request_hash,
            etag=task.etag,
            fingerprint=fingerprint,
            last_failure=task.checkpoint.last_failure if task.checkpoint else None,
        ).with_record(record, partial=checkpoint.merged(kept, new), failure=failure)
        if document.worthless:
            if task.checkpoint is not None or task.marked:
                self._results.delete_checkpoint(job.place)
            return
        self._results.save_checkpoint(job.place, document.dump(), self._metadata(task))

    def _is_last(self, task: Task) -> bool:
        return records.last_delivery(task.message.receive_count, task.source.max_receive_count)

    def _subject(self, task: Task) -> Subject:
        job = task.job
        return Subject(
            message=task.message,
            source=task.source,
            job_id=job.job_id,
            input=str(job.input),
            place=job.place,
            metadata=job.metadata,
            object_metadata=self._metadata(task),
            notify=job.notify,
        )

    def _metadata(self, task: Task) -> dict[str, str]:
        """The metadata of every object written for the job."""
        return result_metadata(
            job_id=task.job.job_id,
            request_hash=task.job.request_hash,
            input_uri=str(task.job.input),
            etag=task.etag or None,
        )

    def _fail(self, task: Task, error: JobError) -> Outcome:
        """The job fails for good: keep the reason, then let the message go."""
        task.lease.ensure()
        if not self._failures.keep(self._subject(task), error):
            return Outcome(Answer.RELEASED, _NEVER_KEPT_SECONDS)
        if error.code is ErrorCode.TOO_MANY_ATTEMPTS:
            # Who sends the job again after this means it: its windows stay, its record goes.
            self._keep(task, task.record.forgiven())
        elif task.checkpoint is not None or task.marked:
            self._forget(task)
        if task.submission is not None:
            task.submission.cancel()
        return Outcome(Answer.FAILED)

    def _forget(self, task: Task) -> None:
        job = task.job
        try:
            self._results.delete_checkpoint(job.place)
        except (TransientError, JobError) as error:
            log.warning(
                "job.checkpoint_failed",
                message=f"The checkpoint could not be removed: {error}",
                job_id=job.job_id,
            )

    def _not_kept(self, message: Message, job_id: str, error: Exception) -> Outcome:
        """Even the end failed: the message comes back, and everything is tried again."""
        level = log.warning if isinstance(error, TransientError | OSError) else log.error
        level(
            "job.answer_failed",
            message=f"The job's end could not be written down; it comes again: {summary(error)}",
            job_id=job_id,
            message_id=message.message_id,
            where=location(error),
        )
        return Outcome(Answer.RELEASED, retry.release_seconds(message.receive_count))


def _from_event(job: Job) -> bool:
    return job.etag is not None or job.version_id is not None
