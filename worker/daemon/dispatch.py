"""Moves messages and their jobs from thread to thread.

    intake      parse the message, queue its jobs for download             `accept`
    download    fetch a job's file, hand it to the engine                  `_fetch_task`
    engine      transcribe; then queue the job for its commit              `_on_engine_done`
    commit      write the job's end; with the last one settle the message  `_end_task`
    commit      delete the messages that wait for it                       `Deletions`

`Pipeline` has the steps of one job, `Holdings` knows who owns it; here is only the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from worker.aws.queue import Message
from worker.aws.source import Source
from worker.daemon.deletions import Deletions
from worker.daemon.metrics import LEASES_LOST, Metrics
from worker.jobs.message import JobDefaults, Rejected, parse_message
from worker.logs import get_logger
from worker.pipeline.answers import Outcome, Settlement, settle
from worker.pipeline.holdings import Holdings
from worker.pipeline.task import Held, Task
from worker.threads import ThreadPool

log = get_logger(__name__)

Step = Callable[[Task], Outcome]

_SPACE_SECONDS = 0.2
"""How often a fetch that waits for space in the engine looks again."""


class Steps(Protocol):
    """What can be done with one job (`worker.pipeline.pipeline.Pipeline`); none of it raises."""

    def fetch(self, task: Task) -> Outcome | None:
        """Bring the input here; None if the job is ready for the engine, else how it ended."""
        ...

    def submit(self, task: Task) -> Outcome | None:
        """Hand a fetched job to the engine; None if it is there, else how it ended."""
        ...

    def finish(self, task: Task) -> Outcome:
        """The engine is done with the job, well or not: commit or fail it."""
        ...

    def interrupt(self, task: Task) -> Outcome:
        """The worker ends before the job: save its finished windows, release it."""
        ...

    def broken(self, task: Task) -> Outcome:
        """The engine broke while the job was in it: note that, release it."""
        ...

    def lost(self, task: Task) -> Outcome:
        """The lease is lost: stop, and leave everything as it is."""
        ...

    def reject(self, held: Held, rejected: Rejected) -> Outcome:
        """Fail a message, or one job of it, that is wrong from the start."""
        ...

    def discard(self, task: Task) -> None:
        """Remove the job's temporary files."""
        ...


class Engine(Protocol):
    """What `Dispatch` asks of the engine."""

    def held_seconds(self) -> float:
        """Seconds of audio inside it."""
        ...

    def most_held_seconds(self) -> float:
        """Those from which on no file is fetched."""
        ...


class Dispatch:
    """Hands each job to the thread that has the next step. Callable from any thread.

    Args:
        pipeline: the steps of a job.
        holdings: what is held, and which thread owns it.
        engine: asked how much audio it holds.
        metrics: where every answer is counted.
        downloads: threads that fetch.
        commits: threads that write the end of jobs.
        defaults: what the settings say about every job.
        released: called with the delay of each message that is released.
        intake_ended: waits, a bounded time, until no receive of ours is under way any more.
    """

    def __init__(
        self,
        *,
        pipeline: Steps,
        holdings: Holdings,
        engine: Engine,
        metrics: Metrics,
        downloads: ThreadPool,
        commits: ThreadPool,
        defaults: JobDefaults,
        released: Callable[[float], None],
        intake_ended: Callable[[], object],
    ) -> None:
        self._pipeline = pipeline
        self._holdings = holdings
        self._engine = engine
        self._metrics = metrics
        self._downloads = downloads
        self._commits = commits
        self._deletions = Deletions(holdings, commits)
        self._defaults = defaults
        self._released = released
        self._intake_ended = intake_ended

    def accept(self, message: Message, source: Source) -> bool:
        """Take a message over; False if the worker drains (nothing of it is kept then).

        Args:
            message: just received.
            source: where it was received.
        """
        parsed = parse_message(message.body, message_id=message.origin_id, defaults=self._defaults)
        lease = source.hold(message)
        held = Held(
            message,
            lease,
            source,
            tuple(Task(job, message, lease, source) for job in parsed.jobs),
            open=len(parsed.jobs) + len(parsed.failures),
        )
        if not self._holdings.add(held):
            source.drop(message)
            return False
        log.debug(
            "message.received",
            message="Message received",
            message_id=message.message_id,
            jobs=len(parsed.jobs),
            receive_count=message.receive_count,
        )
        for reason in parsed.dropped:
            log.info("job.dropped", message=f"No job: {reason}", message_id=message.message_id)
        for rejected in parsed.failures:
            self._commits.put(partial(self._reject, held, rejected))
        for task in held.tasks:
            self._downloads.put(partial(self._fetch_task, task))
        if held.open == 0:
            self._commits.put(partial(self._settle, held))
        return True

    # -- ending early -------------------------------------------------------------------------

    def release_waiting(self) -> None:
        """Release what is fetched and has not begun."""
        self._end_early(self._holdings.waiting(), self._pipeline.interrupt)

    def release_running(self, *, engine_lost: bool) -> None:
        """Save and release what the engine still has."""
        step = self._pipeline.broken if engine_lost else self._pipeline.interrupt
        self._end_early(self._holdings.running(), step)

    def lost(self, message: Message) -> None:
        """A lease is lost: stop the jobs of its message."""
        self._metrics.add(LEASES_LOST)
        held = self._holdings.of(message)
        self._end_early(held.tasks if held else (), self._pipeline.lost)

    def expiring(self, message: Message) -> None:
        """A lease nears SQS's twelve hours: save the jobs of its message, release it."""
        log.warning(
            "lease.expiring",
            message="This message is held for almost twelve hours, which is all SQS allows",
            message_id=message.message_id,
        )
        held = self._holdings.of(message)
        self._end_early(held.tasks if held else (), self._pipeline.interrupt)

    def release_all(self) -> list[Message]:
        """Release every message at once, whatever its jobs are doing; returns them."""
        rest = self._holdings.all()
        for held in rest:
            held.source.drop(held.message)
            self._holdings.remove(held)
        if rest:
            self._release(rest, 0)
        return [held.message for held in rest]

    def _end_early(self, tasks: Iterable[Task], step: Step) -> None:
        # What can't be claimed is on its way in or out, and looks at its lease by itself.
        for task in tasks:
            if self._holdings.claim(task):
                self._commits.put(partial(self._end_task, task, step))

    # -- the way in ---------------------------------------------------------------------------

    def _fetch_task(self, task: Task) -> None:
        """Fetch a job and hand it to the engine if it may enter, on a download thread."""
        self._wait_for_space(task)
        outcome = self._pipeline.fetch(task)
        if outcome is not None:
            self._ended(task, outcome)
            return
        for admitted in self._holdings.ready(task):
            self._submit_task(admitted)
        if self._holdings.draining:
            self.release_waiting()

    def _wait_for_space(self, task: Task) -> None:
        """Files wait in the bucket, not on this disk, while the engine has plenty."""
        while (
            self._engine.held_seconds() >= self._engine.most_held_seconds()
            and not self._holdings.draining
            and not task.lease.lost.is_set()
            and not task.lease.expiring.is_set()
        ):
            with self._holdings.changed:
                self._holdings.changed.wait(_SPACE_SECONDS)

    def _submit_task(self, task: Task) -> None:
        """Hand an admitted job to the engine."""
        outcome = self._pipeline.submit(task)
        if outcome is not None:
            if self._holdings.claim(task):
                self._ended(task, outcome)
            return
        if not self._holdings.is_running(task):
            task.cancel()  # it was ended early while it was being handed over
            return
        task.on_text_done(partial(self._holdings.text_done, task))
        task.on_engine_done(partial(self._on_engine_done, task))

    # -- the way out --------------------------------------------------------------------------

    def _on_engine_done(self, task: Task) -> None:
        """The engine is done with a job; called on one of the engine's threads."""
        if self._holdings.claim(task):
            self._commits.put(partial(self._end_task, task, self._pipeline.finish))

    def _end_task(self, task: Task, step: Step) -> None:
        """Bring a claimed job to its end, on a commit thread."""
        self._ended(task, step(task))

    def _reject(self, held: Held, rejected: Rejected) -> None:
        """Answer what is wrong from the start, on a commit thread."""
        outcome = self._pipeline.reject(held, rejected)
        self._metrics.job_answered(outcome.answer, ours=outcome.ours)
        if self._holdings.answer(held, outcome.answer, outcome.delay):
            self._settle(held)

    def _ended(self, task: Task, outcome: Outcome) -> None:
        """A job has its answer: tidy up, settle the message if it was the last, let others in."""
        self._pipeline.discard(task)
        self._metrics.job_answered(
            outcome.answer,
            ours=outcome.ours,
            audio_seconds=outcome.audio_seconds,
            seconds=outcome.seconds,
            stages=outcome.stages,
        )
        admitted = self._holdings.leave(task)
        held = self._holdings.of(task.message)
        if held is not None and self._holdings.answer(held, outcome.answer, outcome.delay):
            self._settle(held)
        for other in admitted:
            self._submit_task(other)

    def _settle(self, held: Held) -> None:
        """Every job of the message is answered: delete it, or release it."""
        settlement = settle(held.answers)
        if settlement is Settlement.DELETE:
            self._deletions.put(held)
            return
        # The lease goes first: a heartbeat after a release would take the message back.
        held.source.drop(held.message)
        if settlement is Settlement.RELEASE:
            self._release([held], held.delay)
            self._released(held.delay)
        self._holdings.remove(held)

    def _release(self, messages: list[Held], delay: int) -> None:
        """Make messages visible again in `delay` seconds. While draining, not to ourselves.

        The last long poll of our own may still be under way: it would take them at once, only
        to release them again, and each would have one receive less.
        """
        if self._holdings.draining:
            self._intake_ended()
        by_source: dict[Source, list[Message]] = {}
        for held in messages:
            by_source.setdefault(held.source, []).append(held.message)
        for source, of_source in by_source.items():
            source.release(of_source, delay)
