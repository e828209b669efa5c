"""A job's record: its earlier failures, and how it may run because of them (pure).

A job can kill the worker that runs it: a poisonous file, too little memory. Its record is kept in
its checkpoint, where the next worker reads it. That worker runs such a job alone, and after too
many failures gives it up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["Record", "Run", "judge", "last_delivery", "needs_mark"]

_DEATH = 0.25
"""How many failures the death of a worker counts for, if it had only this job."""


class Run(StrEnum):
    """How a job may run: beside other jobs, alone, or not at all."""

    TOGETHER = "together"
    ALONE = "alone"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a job's earlier runs. It is kept in the job's checkpoint.

    Attributes:
        failures: failures that were certainly this job's own, counted by a worker that lived
            to see them.
        deaths: workers that died while this job ran alone in them. Nobody saw why: the job may
            have killed them, or the machine may have been taken away.
        suspect: a worker died, or its engine broke, while this job was in it.
        running: the mark of a run that has begun, and how it runs. Whoever ends the run removes
            the mark; so a mark that the next worker finds means that this worker died.
    """

    failures: int = 0
    deaths: int = 0
    suspect: bool = False
    running: Run | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing speaks against the job."""
        return self == Record()

    def found(self) -> Record:
        """The record as the next worker must read it: a mark that is still there is a death.

        If the worker died, every job in it becomes a suspect; only a job that ran alone is
        charged with the death. Deliveries are not counted as deaths: each interruption of an
        innocent job costs one too.
        """
        if self.running is None:
            return self
        alone = self.running is Run.ALONE
        return Record(failures=self.failures, deaths=self.deaths + alone, suspect=True)

    def begun(self, run: Run) -> Record:
        """The record while the job runs: with the mark."""
        return replace(self, running=run)

    def ended(self) -> Record:
        """The record after a run that ended through no fault of the job: without the mark."""
        return replace(self, running=None)

    def failed(self) -> Record:
        """The record after a failure of this job's own that a worker lived to see."""
        return replace(self, failures=self.failures + 1, suspect=True, running=None)

    def broke(self, run: Run) -> Record:
        """The record after the engine broke while the job was in it.

        If the job ran alone, that is its failure; else it becomes a suspect.
        """
        if run is Run.ALONE:
            return self.failed()
        return replace(self, suspect=True, running=None)

    def forgiven(self) -> Record:
        """The record after the job is given up: empty, for an operator who sends the job again."""
        return Record()


def judge(record: Record, *, max_failures: int) -> Run:
    """How a job may run.

    A death that is charged to the job counts as a quarter of a failure. Where workers are killed
    from outside, a long or unlucky job sees several deaths without a fault of its own, and to
    give it up wrongly costs more than some restarts. The queue's limit on deliveries, ten or
    more, often ends such a job first.

    Args:
        record: as `Record.found` reads it.
        max_failures: failures after which the job is given up.
    """
    if record.failures + record.deaths * _DEATH >= max_failures:
        return Run.GIVE_UP
    return Run.TOGETHER if record.clean else Run.ALONE


def needs_mark(receive_count: int, record: Record) -> bool:
    """Whether the mark of this run must be written before it begins.

    A first delivery has killed nobody yet, and a write for every job would be a cost for all of
    them; so marks are written from the second delivery on. A poisonous job gets one more run
    because of that.
    """
    return receive_count > 1 or not record.clean


def last_delivery(receive_count: int, max_receive_count: int | None) -> bool:
    """Whether the queue's redrive policy takes the message away if it is delivered once more."""
    return max_receive_count is not None and receive_count >= max_receive_count
