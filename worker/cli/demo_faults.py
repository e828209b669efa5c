"""What went wrong in a demo: each cause has one sentence, whatever it spoilt (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.errors import ExitCode
from worker.sender.send import Answers

__all__ = ["Ending", "faults"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a demo ended.

    Attributes:
        answers: of its jobs.
        exit_code: the worker's, negative for a signal; None while it runs.
        last_error: what the worker said last, if it failed.
        stage: what was being done at last.
        timed_out: whether the demo's time was up.
        timeout: that time, in seconds.
        leftovers: a sentence for each queue that still has messages.
        missing: a sentence for each file that no result has.
        untold: a sentence for each result whose speakers are not told apart as they should be.
    """

    answers: Answers
    exit_code: int | None
    last_error: str
    stage: str
    timed_out: bool
    timeout: float
    leftovers: Sequence[str] = field(default_factory=tuple)
    missing: Sequence[str] = field(default_factory=tuple)
    untold: Sequence[str] = field(default_factory=tuple)


def faults(ending: Ending) -> list[str]:
    """A sentence for each cause; none if everything is as it should be."""
    if ending.exit_code is not None and ending.exit_code != ExitCode.OK:
        return [_died(ending.exit_code, ending.last_error)]
    if ending.answers.failed:
        # Their dead letters and missing results follow from that.
        return [f"{f.job_id} failed: {f.code}: {f.message}" for f in ending.answers.failed]
    unanswered = ", ".join(ending.answers.waiting)
    if ending.timed_out and unanswered:
        return [
            f"time was up after {ending.timeout:g} s ({ending.stage.lower()}), with no answer for"
            f" {unanswered}: give a longer --timeout"
        ]
    if unanswered:
        return [f"the worker ended without an answer for {unanswered}"]
    if ending.exit_code is None:
        return ["the worker didn't end itself when it was idle"]
    return [*ending.leftovers, *ending.missing, *ending.untold]


def _died(code: int, last_error: str) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the worker {how}{': ' if last_error else ''}{last_error}"
