"""Who does what next: moves messages and their jobs from thread to thread.

A message is parsed on the intake's thread; its jobs are fetched on download threads and handed
to the engine; whatever ends a job is written down on a commit thread, and with the last answer
the message is settled. `Pipeline` has the steps, `Holdings` the bookkeeping; here is only the
order of things.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from worker.aws.queue import Message
from worker.aws.source import Source
from worker.daemon.metrics import LEASES_LOST, Metrics
from worker.jobs.message import JobDefaults, Rejected, parse_message
from worker.logs import get_logger
from worker.pipeline.answers import Outcome, Settlement, settle
from worker.pipeline.holdings import Holdings
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.task import Held, Task
from worker.speech.api import Transcriber
from worker.threads import ThreadPool

log = get_logger(__name__)

Step = Callable[[Task], Outcome]

_SPACE_SECONDS = 0.2
"""How often a fetch that waits for space in the engine looks again."""


class Dispatch:
    """The traffic between the threads. Callable from any thread.

    Args:
        pipeline: the steps of a job.
        holdings: what is held.
        engine: asked how much it holds.
        metrics: told of every answer.
        downloads: threads that fetch.
        commits: threads that end jobs.
        defaults: what the settings say about every job.
        held_seconds: of audio, above which no file is fetched.
        given_back: told the delay of each message that is given back.
        intake_ended: waits, a bounded time, until no receive of ours is under way any more.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        holdings: Holdings,
        engine: Transcriber,
        metrics: Metrics,
        downloads: ThreadPool,
        commits: ThreadPool,
        defaults: JobDefaults,
        held_seconds: float,
        given_back: Callable[[float], None],
        intake_ended: Callable[[], object],
    ) -> None:
        self._pipeline = pipeline
        self._holdings = holdings
        self._engine = engine
        self._metrics = metrics
        self._downloads = downloads
        self._commits = commits
        self._defaults = defaults
        self._held_seconds = held_seconds
        self._given_back = given_back
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
            self._downloads.put(partial(self._bring, task))
        if held.open == 0:
            self._commits.put(partial(self._settle, held))
        return True

    # -- calling off --------------------------------------------------------------------------

    def call_off_waiting(self) -> None:
        """Give back what is fetched and has not begun."""
        self._call_off(self._holdings.waiting(), self._pipeline.interrupt)

    def call_off_running(self, *, engine_lost: bool) -> None:
        """Checkpoint and give back what the engine still has."""
        step = self._pipeline.broken if engine_lost else self._pipeline.interrupt
        self._call_off(self._holdings.running(), step)

    def lost(self, message: Message) -> None:
        """A lease is lost: stop its jobs."""
        self._metrics.add(LEASES_LOST)
        held = self._holdings.of(message)
        self._call_off(held.tasks if held else (), self._pipeline.lost)

    def expiring(self, message: Message) -> None:
        """A lease nears SQS's twelve hours: checkpoint its jobs, give it back."""
        log.warning(
            "lease.expiring",
            message="This message is held for almost twelve hours, which is all SQS allows",
            message_id=message.message_id,
        )
        held = self._holdings.of(message)
        self._call_off(held.tasks if held else (), self._pipeline.interrupt)

    def give_back_all(self) -> list[Message]:
        """Give back every message at once, whatever its jobs are doing; returns them."""
        rest = self._holdings.all()
        for held in rest:
            held.source.drop(held.message)
            self._holdings.remove(held)
        if rest:
            self._release(rest, 0)
        return [held.message for held in rest]

    def _call_off(self, tasks: list[Task] | tuple[Task, ...], step: Step) -> None:
        # What can't be claimed is on its way in or out, and looks at its lease by itself.
        for task in tasks:
            if self._holdings.claim(task):
                self._commits.put(partial(self._end, task, step))

    # -- the way in ---------------------------------------------------------------------------

    def _bring(self, task: Task) -> None:
        """Fetch a job and let it into the engine, on a download thread."""
        self._wait_for_space(task)
        ended = self._pipeline.fetch(task)
        if ended is not None:
            self._ended(task, ended)
            return
        for admitted in self._holdings.ready(task):
            self._enter(admitted)
        if self._holdings.draining:
            self.call_off_waiting()

    def _wait_for_space(self, task: Task) -> None:
        """Files wait in the bucket, not on this disk, while the engine has plenty."""
        while (
            self._engine.held_seconds() >= self._held_seconds
            and not self._holdings.draining
            and not task.lease.lost.is_set()
            and not task.lease.expiring.is_set()
        ):
            with self._holdings.changed:
                self._holdings.changed.wait(_SPACE_SECONDS)

    def _enter(self, task: Task) -> None:
        """Hand an admitted job to the engine."""
        ended = self._pipeline.submit(task)
        if ended is not None:
            if self._holdings.claim(task):
                self._ended(task, ended)
            return
        submission = task.submission
        assert submission is not None
        if not self._holdings.is_running(task):
            submission.cancel()  # lost, or called off, while it was being handed over
            return
        submission.future.add_done_callback(lambda _: self._came_back(task))

    # -- the way out --------------------------------------------------------------------------

    def _came_back(self, task: Task) -> None:
        """The engine is done with a job, on one of the engine's threads."""
        if self._holdings.claim(task):
            self._commits.put(partial(self._end, task, self._pipeline.finish))

    def _end(self, task: Task, step: Step) -> None:
        """Bring a claimed job to its end, on a commit thread."""
        self._ended(task, step(task))

    def _reject(self, held: Held, rejected: Rejected) -> None:
        ended = self._pipeline.reject(held, rejected)
        self._metrics.job_answered(ended.answer)
        if self._holdings.answer(held, ended.answer, ended.delay):
            self._settle(held)

    def _ended(self, task: Task, ended: Outcome) -> None:
        """A job has its answer: tidy up, settle the message if it was the last, let others in."""
        self._pipeline.discard(task)
        self._metrics.job_answered(
            ended.answer,
            audio_seconds=ended.audio_seconds,
            seconds=ended.seconds,
            stages=ended.stages,
        )
        admitted = self._holdings.leave(task)
        held = self._holdings.of(task.message)
        if held is not None and self._holdings.answer(held, ended.answer, ended.delay):
            self._settle(held)
        for other in admitted:
            self._enter(other)

    def _settle(self, held: Held) -> None:
        """Every job of the message is answered: delete it, or give it back."""
        message = held.message
        settlement = settle(held.answers)
        # The lease goes first: a heartbeat after a release would take the message back.
        held.source.drop(message)
        if settlement is Settlement.DELETE:
            held.source.delete([message])
        elif settlement is Settlement.RELEASE:
            self._release([held], held.delay)
            self._given_back(held.delay)
        self._holdings.remove(held)

    def _release(self, released: list[Held], delay: int) -> None:
        """Give messages back. While draining, not to ourselves.

        The last long poll of our own may still be under way: it would take them at once, only
        to give them back again, and each would have one receive less.
        """
        if self._holdings.draining:
            self._intake_ended()
        by_source: dict[Source, list[Message]] = {}
        for held in released:
            by_source.setdefault(held.source, []).append(held.message)
        for source, messages in by_source.items():
            source.release(messages, delay)
