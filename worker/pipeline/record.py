"""What is held against a job, and how it may run because of it (pure).

A job can kill the worker that runs it: a poisonous file, too little memory. Its record, kept in
its checkpoint, tells the next worker, which runs such a job alone and in the end gives it up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["Record", "Run", "judge", "last_delivery", "needs_mark"]

_DEATH = 0.25
"""What a worker's death counts against the one job it had, in failures."""


class Run(StrEnum):
    """In what company a job may enter the engine."""

    TOGETHER = "together"
    ALONE = "alone"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a job's earlier runs; it travels in the job's checkpoint.

    Attributes:
        failures: failures that were this job's and nobody else's, noted by a worker that saw
            them.
        deaths: workers that died while they had this job alone. Nobody saw why: the job may
            have killed them, or the machine may have been taken away.
        suspect: a worker died, or its engine broke, while this job was in it.
        running: the mark of a run that has begun. It is taken back by whoever ends the run
            in good order, so one that is found by the next worker tells of a death.
    """

    failures: int = 0
    deaths: int = 0
    suspect: bool = False
    running: Run | None = None

    @property
    def clean(self) -> bool:
        """Nothing is held against the job."""
        return self == Record()

    def found(self) -> Record:
        """The record as the next worker must read it: a mark still there is a death.

        A death in company makes a suspect of everybody who was there; only a death alone is
        counted. Receives are not: each interruption of an innocent job raises those too.
        """
        if self.running is None:
            return self
        alone = self.running is Run.ALONE
        return Record(failures=self.failures, deaths=self.deaths + alone, suspect=True)

    def begun(self, run: Run) -> Record:
        """The record to keep while the job runs."""
        return replace(self, running=run)

    def ended(self) -> Record:
        """The run ended in good order (interrupted, or the world failed): no mark."""
        return replace(self, running=None)

    def failed(self) -> Record:
        """The run ended with a failure of this job's own, before somebody's eyes."""
        return replace(self, failures=self.failures + 1, suspect=True, running=None)

    def broke(self, run: Run) -> Record:
        """The engine broke, and the worker lived to see it, while the job was in it."""
        if run is Run.ALONE:
            return self.failed()
        return replace(self, suspect=True, running=None)

    def forgiven(self) -> Record:
        """What stays after giving up: an operator who sends the job again means it."""
        return Record()


def judge(record: Record, *, max_failures: int) -> Run:
    """How a job with this (found) record may run.

    A death alone is a quarter of a failure: where workers are killed from outside, an innocent
    job that is long, or unlucky, sees several of them, and to give it up wrongly costs more
    than some restarts. Seldom is it the count that decides: the queue's limit on receives,
    ten or more, is near by then.
    """
    if record.failures + record.deaths * _DEATH >= max_failures:
        return Run.GIVE_UP
    return Run.TOGETHER if record.clean else Run.ALONE


def needs_mark(receive_count: int, record: Record) -> bool:
    """Whether the beginning of this run must be written down first.

    A first delivery has killed nobody, and one write a job would be paid by all; so the mark
    is kept from the second delivery on. A poisonous job gets one more run for it.
    """
    return receive_count > 1 or not record.clean


def last_delivery(receive_count: int, max_receive_count: int | None) -> bool:
    """Whether the redrive policy takes the message away if it is received once more."""
    return max_receive_count is not None and receive_count >= max_receive_count
