"""Reads and writes the checkpoint of a job: what earlier runs left, what this run leaves."""

from __future__ import annotations

from worker.aws.results import ResultStore
from worker.pipeline import checkpoint
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.options import windows_fingerprint
from worker.pipeline.record import Record
from worker.pipeline.task import Task
from worker.speech.api import Options, Partial, Transcriber

__all__ = ["CheckpointStore"]


class CheckpointStore:
    """The checkpoints beside the results. Callable from any thread.

    Every method raises JobError (OUTPUT_FORBIDDEN) or TransientError if S3 doesn't do its part.

    Args:
        results: where they lie.
        engine: whose windows they hold; its fingerprint says whether it may use earlier ones.
        options: what the engine is asked for where a job doesn't say.
    """

    def __init__(self, results: ResultStore, engine: Transcriber, options: Options) -> None:
        self._results = results
        self._engine = engine
        self._options = options

    def load(self, task: Task) -> Checkpoint | None:
        """What earlier runs of this request left, on this content of its input (`task.etag`)."""
        found = checkpoint.parse(self._results.load_checkpoint(task.job.place, task.present))
        if found is None or not found.of(
            job_id=task.job.job_id, request_hash=task.job.request_hash, etag=task.etag
        ):
            return None
        return found

    def windows(self, task: Task) -> Partial | None:
        """The windows of earlier runs that the engine need not decode again."""
        return task.checkpoint.windows_for(self._fingerprint(task)) if task.checkpoint else None

    def save(self, task: Task, record: Record, failure: str | None = None) -> None:
        """Write the record and all windows so far; remove a checkpoint that would say nothing.

        Args:
            task: fetched; its engine's windows are added to those of earlier runs.
            record: what the next run is to read.
            failure: why this run failed, in one sentence; None keeps the last one.
        """
        job = task.job
        document = Checkpoint(
            job_id=job.job_id,
            request_hash=job.request_hash,
            etag=task.etag,
            fingerprint=self._fingerprint(task),
            last_failure=task.checkpoint.last_failure if task.checkpoint else None,
        ).with_record(
            record,
            partial=checkpoint.merged(
                self.windows(task), task.submission.partial() if task.submission else None
            ),
            failure=failure,
        )
        if not document.worthless:
            self._results.save_checkpoint(job.place, document.dump(), task.object_metadata)
        elif task.checkpoint is not None or task.marked:
            self.delete(task)

    def delete(self, task: Task) -> None:
        """Remove the checkpoint, if there is one."""
        self._results.delete_checkpoint(task.job.place)

    def _fingerprint(self, task: Task) -> str:
        """Of what decodes the job's windows: other windows are not resumed."""
        return windows_fingerprint(self._engine.fingerprint, task.job, self._options)
