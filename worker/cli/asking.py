"""Questions asked all at once, and answered in bounded time: what `check` wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.errors import WorkerError
from worker.threads import SupervisedThread

__all__ = ["Finding", "Question", "Verdict", "ask_all"]


class Verdict(StrEnum):
    """What a finding means to `run`."""

    OK = "ok"
    """There is nothing to mend."""
    WARNING = "warning"
    """The worker would run; something will go wrong one day."""
    CANNOT = "can't"
    """The worker could not do it."""
    NOT_ASKED = "not asked"
    """No setting asks for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`.

    Attributes:
        about: what was asked.
        verdict: how it stands.
        said: in words, with what to do where something is wrong.
    """

    about: str
    verdict: Verdict
    said: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how.

    Attributes:
        about: what its findings are about; one that isn't answered in time is answered for.
        ask: asks; may return several findings, or raise a WorkerError whose text is one.
        seconds: how long it may take, where that isn't what all of them may take: one that asks
            nothing of the network, and has an end of its own.
    """

    about: tuple[str, ...]
    ask: Callable[[], Sequence[Finding]]
    seconds: float | None = None


def ask_all(questions: Sequence[Question], *, seconds: float) -> list[Finding]:
    """Ask on a thread for each; the findings in the order of the questions.

    Args:
        questions: what to ask.
        seconds: how long each may take that doesn't say otherwise. What isn't answered by then is
            left alone: nothing waits for it, not even the end of the process.

    Raises:
        Exception: a question's own, if that is none of ours.
    """
    asked = [(question, _Asking(question)) for question in questions]
    for _, asking in asked:
        asking.start()
    began = time.monotonic()
    found: list[Finding] = []
    for question, asking in asked:
        patience = seconds if question.seconds is None else question.seconds
        if asking.join(began + patience - time.monotonic()):
            found += asking.findings()
        else:
            said = f"no answer within {patience:g} s: is the network there?"
            found += [Finding(about, Verdict.CANNOT, said) for about in question.about]
    return found


class _Asking:
    """A question on its way."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._findings: Sequence[Finding] = ()
        self._thread = SupervisedThread(f"ask-{question.about[0]}", self._ask)
        self.start = self._thread.start
        self.join = self._thread.join

    def _ask(self) -> None:
        try:
            self._findings = self._question.ask()
        except WorkerError as error:
            self._findings = [Finding(self._question.about[0], Verdict.CANNOT, str(error))]

    def findings(self) -> Sequence[Finding]:
        """What was found. Raises what killed the thread, if anything did."""
        if self._thread.failure is not None:
            raise self._thread.failure
        return self._findings
