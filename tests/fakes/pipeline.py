"""The steps of a job without any I/O, for tests of who calls them, when, and from which thread.

Each step is noted in `steps` and ends as `outcomes` says. A submitted job stays in the "engine"
until the test ends it with `engine_done`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from worker.jobs.message import Rejected
from worker.pipeline.answers import Answer, Outcome
from worker.pipeline.record import Run
from worker.pipeline.task import Held, Task
from worker.speech.api import Partial, Recognition

_USUAL = {
    "fetch": None,
    "submit": None,
    "finish": Outcome(Answer.COMMITTED, audio_seconds=30.0, seconds=1.0),
    "interrupt": Outcome(Answer.RELEASED),
    "broken": Outcome(Answer.RELEASED),
    "lost": Outcome(Answer.LOST),
    "reject": Outcome(Answer.FAILED),
}


@dataclass
class FakeSubmission:
    """A job in the engine; `text` is done when nothing but who speaks is missing."""

    future: Future[Recognition] = field(default_factory=Future)
    text: Future[None] = field(default_factory=Future)
    cancelled: bool = False

    def partial(self) -> Partial:
        return Partial()

    def progress(self) -> tuple[float, float | None]:
        return 10.0, 30.0

    def on_text_done(self, call: Callable[[], object]) -> None:
        self.text.add_done_callback(lambda _: call())

    def cancel(self) -> None:
        self.cancelled = True


class FakePipeline:
    """See the module.

    Attributes:
        steps: (step, job id) in the order of their calls; `discard` is not among them.
        outcomes: how a step ends for one job, where not as usual.
        suspects: ids of jobs that must run alone.
        submissions: those made, by job id.
        discarded: ids of jobs whose files were removed.
        pauses: a step of a job waits here until the test sets the event.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.suspects: set[str] = set()
        self.submissions: dict[str, FakeSubmission] = {}
        self.discarded: list[str] = []
        self.pauses: dict[tuple[str, str], threading.Event] = {}

    def fetch(self, task: Task) -> Outcome | None:
        if task.job.job_id in self.suspects:
            task.run = Run.ALONE
        return self._step("fetch", task.job.job_id)

    def submit(self, task: Task) -> Outcome | None:
        outcome = self._step("submit", task.job.job_id)
        if outcome is None:
            task.submission = self.submissions[task.job.job_id] = FakeSubmission()
        return outcome

    def engine_done(self, job_id: str) -> None:
        """The engine is done with a job."""
        self.submissions[job_id].future.set_result(
            Recognition(
                audio_seconds=30.0,
                language=None,
                segments=(),
                word_times=None,
                seconds={},
                windows=1,
            )
        )

    def finish(self, task: Task) -> Outcome:
        return self._end("finish", task.job.job_id)

    def interrupt(self, task: Task) -> Outcome:
        return self._end("interrupt", task.job.job_id)

    def broken(self, task: Task) -> Outcome:
        return self._end("broken", task.job.job_id)

    def lost(self, task: Task) -> Outcome:
        return self._end("lost", task.job.job_id)

    def reject(self, held: Held, rejected: Rejected) -> Outcome:
        return self._end("reject", rejected.job_id or held.message.origin_id)

    def discard(self, task: Task) -> None:
        self.discarded.append(task.job.job_id)

    def _end(self, step: str, job_id: str) -> Outcome:
        outcome = self._step(step, job_id)
        assert outcome is not None
        return outcome

    def _step(self, step: str, job_id: str) -> Outcome | None:
        self.steps.append((step, job_id))
        pause = self.pauses.get((step, job_id))
        if pause is not None:
            assert pause.wait(20), f"the test never let {step} of {job_id} go on"
        return self.outcomes.get((step, job_id), _USUAL[step])
