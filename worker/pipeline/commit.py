"""A job's success: assemble the transcript, render its files, and write them once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker import retry
from worker.aws.notices import Notice, Notices
from worker.aws.results import CommitOutcome, Committed, Present, ResultStore
from worker.errors import ErrorCode, JobError, LeaseLost, TransientError
from worker.jobs.inputs import InputUri
from worker.jobs.message import Job
from worker.logs import get_logger
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.inputs import Inputs
from worker.pipeline.options import presentation
from worker.pipeline.task import Task
from worker.results import formats, names
from worker.results.transcript import Transcript
from worker.speech import assemble
from worker.speech.api import Recognition, Transcriber

__all__ = ["Commit"]

log = get_logger(__name__)


class Commit:
    """Writes results. Callable from any thread, for different jobs at the same time.

    Args:
        results: where they go.
        inputs: asked for the input's present state, where a result is there already.
        engine: a started one; each result names it.
        notices: sent for each result.
        vtt_word_times: whether vtt files carry the times of words where a job doesn't say.
        sleep: waits that many seconds between attempts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        results: ResultStore,
        inputs: Inputs[InputUri],
        engine: Transcriber,
        notices: Notices,
        vtt_word_times: bool,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._results = results
        self._inputs = inputs
        self._engine = engine
        self._notices = notices
        self._vtt_word_times = vtt_word_times
        self._sleep = sleep
        self._clock = clock

    def commit(self, task: Task, recognition: Recognition) -> Outcome:
        """Write the job's result and send its notice.

        Returns:
            COMMITTED, or ALREADY where another worker has written the same result meanwhile.

        Raises:
            LeaseLost: the lease is lost.
            JobError: JOB_ID_CONFLICT or OUTPUT_FORBIDDEN.
            TransientError: it could not be written, with all patience.
        """
        task.lease.ensure()
        transcript, siblings = self._render(task, recognition)
        body = formats.render(transcript, "json").encode()
        outcome = self._write(task, siblings, body)
        seconds = self._clock() - task.began
        if outcome is CommitOutcome.ALREADY:
            committed = self._results.committed(task.job.place)
            if committed is not None:
                return self.already(task, committed)
            raise TransientError("another result was there and is gone")
        if _may_have_leftovers(task):
            self._results.tidy(task.job.place)
        log.info(
            "job.completed",
            message=f"Transcription completed in {seconds:.2f} seconds",
            job_id=task.job.job_id,
            message_id=task.message.message_id,
            audio_seconds=recognition.audio_seconds,
            seconds=seconds,
            speed=recognition.audio_seconds / seconds if seconds > 0 else 0.0,
            transcribe_seconds=recognition.seconds.get("transcribe", 0.0),
            windows=recognition.windows,
            windows_resumed=recognition.resumed,
        )
        self._send_notice(task.job, recognition.audio_seconds)
        return Outcome(
            Answer.COMMITTED,
            audio_seconds=recognition.audio_seconds,
            seconds=seconds,
            stages=transcript.timings.model_dump(exclude={"total"}),
        )

    def already(self, task: Task, committed: Committed, present: Present | None = None) -> Outcome:
        """Answer a job where a result lies already: this very job's, or the job id is taken.

        Args:
            task: the job.
            committed: that result.
            present: what lies at the job's place now, if that is known.

        Raises:
            JobError: JOB_ID_CONFLICT; it is the result of another request, or of another
                content of the input.
            TransientError: the input could not be asked for.
        """
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
        # A worker that died after its commit may not have tidied up, nor sent the notice.
        self._results.tidy(job.place, present)
        log.info(
            "job.already",
            message="The job has a result already; nothing to do",
            job_id=job.job_id,
            message_id=task.message.message_id,
        )
        self._send_notice(job)
        return Outcome(Answer.ALREADY)

    def _render(
        self, task: Task, recognition: Recognition
    ) -> tuple[Transcript, dict[str, tuple[bytes, str]]]:
        """The transcript and the files beside it: name -> (bytes, content type)."""
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
            presentation=presentation(job, vtt_word_times=self._vtt_word_times),
        )
        siblings = {
            names.sibling(name): (
                formats.render(transcript, name).encode(),
                formats.FORMATS[name][1],
            )
            for name in job.formats
            if name != "json"
        }
        now = self._clock()
        spent = assemble.timings(
            recognition, fetch=task.fetch_seconds, write=now - began, total=now - task.began
        )
        return assemble.with_timings(transcript, spent), siblings

    def _write(
        self, task: Task, siblings: Mapping[str, tuple[bytes, str]], body: bytes
    ) -> CommitOutcome:
        """Write the result, with patience. Raises TransientError, LeaseLost, JobError."""

        def attempt() -> CommitOutcome:
            return self._results.commit(
                task.job.place, siblings, body, task.object_metadata, check=task.lease.ensure
            )

        for wait in retry.COMMIT_WAITS:
            try:
                return attempt()
            except TransientError as error:
                log.warning(
                    "job.commit_delayed",
                    message=f"The result could not be written yet: {error}",
                    job_id=task.job.job_id,
                    wait_seconds=wait,
                )
            self._sleep(wait)
        return attempt()

    def _send_notice(self, job: Job, audio_seconds: float | None = None) -> None:
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
        """The input's ETag now; None if it isn't known, as when the input was removed since."""
        try:
            found = self._inputs.head(job.input)
        except JobError:
            return None
        return found.etag if found else None


def _may_have_leftovers(task: Task) -> bool:
    """Whether a checkpoint or an error may lie beside the result that was just written.

    A first delivery writes neither (unless it is the last too), so only what lay there before is
    looked for, unless the lease is lost by now and another delivery of this message has begun. What
    the worker of a second message for the same job writes meanwhile is removed when that message
    comes again (`Commit.already`). Where it ends for good at that time, its error stays, and so
    does a checkpoint that it left; the result counts.
    """
    return (
        task.message.receive_count > 1
        or task.foretold
        or _lost(task)
        or task.present.may_hold(names.CHECKPOINT, names.ERROR)
    )


def _lost(task: Task) -> bool:
    try:
        task.lease.ensure()
    except LeaseLost:
        return True
    return False
