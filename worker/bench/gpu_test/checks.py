"""The checks of scripts/test-gpu-optimization.py, and what follows from them (pure).

They ask the machine through `Machine` and `Session`, so that what a card would answer can be
tested without one; `gpu` has the real answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from worker.bench.gpu_test.libraries import Libraries
from worker.errors import WorkerError

__all__ = [
    "BATCHES",
    "Check",
    "Driver",
    "Machine",
    "Outcome",
    "Run",
    "Session",
    "run_checks",
    "verdict",
]

Kind = Literal["cuda", "cpu"]

BATCHES = (1, 16, 32, 64)

MIN_DRIVER = (525, 0)
"""What CUDA 12 needs where a library has machine code for the card (NVIDIA, "CUDA minor version
compatibility"): CTranslate2's wheel has it up to compute capability 8.x."""

COMPILING_DRIVER = (570, 0)
"""What CUDA 12.8's intermediate code needs, which newer cards must compile."""

NEWER_CAPABILITY = 9.0
"""Compute capability from which on CTranslate2's wheel has only intermediate code. An H200 (9.0)
compiled it in 15 s at the first call, with driver 580."""

MEMORY_SLACK = 1.1
"""A window may take this many times what the arithmetic says: batches keep a reserve for it."""

BATCH_GAIN = 1.5
"""Windows a second in the best batch over one at a time. A T4 gains several times that; a card
that gains nothing is shared, throttled or used through the wrong library."""


class Outcome(StrEnum):
    """What a check came to."""

    PASSED = "passed"
    FAILED = "failed"
    INFO = "info"
    """Neither right nor wrong."""
    SKIPPED = "not run"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Driver:
    """One card as its driver describes it."""

    card: str
    version: str
    memory_mib: int
    capability: str

    @property
    def number(self) -> tuple[int, ...]:
        """The driver's version, to compare."""
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())

    @property
    def compiles(self) -> bool:
        """Whether the card has to compile CTranslate2's code; True where nobody knows."""
        try:
            return float(self.capability) >= NEWER_CAPABILITY
        except ValueError:
            return True


@dataclass(frozen=True, slots=True)
class Run:
    """One batch of full windows.

    Attributes:
        windows: in it.
        seconds: it took.
        used_bytes: peak memory in use while it ran; None if that is unknown.
        problem: what is wrong with its texts; empty if they are right.
    """

    windows: int
    seconds: float
    used_bytes: int | None
    problem: str = ""

    @property
    def rate(self) -> float:
        """Windows a second."""
        return self.windows / self.seconds


class Session(Protocol):
    """A loaded model that passed its self-test."""

    @property
    def description(self) -> str:
        """Model, device and compute type."""
        ...

    @property
    def tuned(self) -> Sequence[str]:
        """What was said when torch's switches were set."""
        ...

    @property
    def self_test(self) -> tuple[Outcome, str]:
        """What the self-test came to: a failed one lets no session begin."""
        ...

    @property
    def window_seconds(self) -> float:
        """Seconds of audio in a window of `run`."""
        ...

    @property
    def window_bytes(self) -> int:
        """Bytes that a window takes by the arithmetic, with the tokens of the last batch."""
        ...

    @property
    def capacity(self) -> int:
        """Windows that fit a batch by the arithmetic."""
        ...

    def run(self, windows: int) -> Run:
        """Decodes a batch. Raises RuntimeError if the device fails."""
        ...

    def still_tuned(self) -> bool:
        """Whether torch's switches stand."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


class Machine(Protocol):
    """What can be asked of a machine. Every question may raise WorkerError with the reason."""

    def drivers(self) -> Sequence[Driver]:
        """The cards that the driver knows."""
        ...

    def libraries(self) -> Libraries:
        """The CUDA libraries, probed in a child process."""
        ...

    def compute_type(self, kind: Kind) -> str:
        """What is supported, which one is used, and why."""
        ...

    def load(self, kind: Kind) -> Session:
        """Loads the model and tests it on known speech."""
        ...


def run_checks(machine: Machine, kind: Kind, batches: Sequence[int] = BATCHES) -> Iterator[Check]:
    """The checks, as they are done; those that rest on a failed one are left out.

    Args:
        machine: whom to ask.
        kind: what is tested.
        batches: sizes to time; what doesn't fit is replaced by the most that does.
    """
    if kind == "cuda":
        driver = _asked("driver", lambda: _driver(machine.drivers()))
    else:
        driver = Check("driver", Outcome.SKIPPED, "the CPU is tested")
    yield driver
    # Asked even where there is no driver: what they say may be the cause.
    libraries = _asked("CUDA libraries", lambda: _libraries(machine.libraries(), kind))
    yield libraries
    if Outcome.FAILED in (driver.outcome, libraries.outcome):
        yield Check("model", Outcome.SKIPPED, "nothing can be loaded before the above is mended")
        return
    compute = _asked("compute type", lambda: (Outcome.PASSED, machine.compute_type(kind)))
    yield compute
    if compute.outcome is Outcome.FAILED:
        return
    try:
        session = machine.load(kind)
    except WorkerError as error:
        yield Check("model and self-test", Outcome.FAILED, str(error))
        return
    with closing(session):
        yield Check("model", Outcome.PASSED, session.description)
        yield Check("self-test", *session.self_test)
        yield from (Check(*_switch(line)) for line in session.tuned)
        runs: list[Run] = []
        for check in _batches(session, kind, batches, runs):
            yield check
            if check.outcome is Outcome.FAILED:
                return
        yield _memory(session, kind, runs)
        yield _gain(kind, runs)
        yield _still_tuned(session, kind)


def verdict(checks: Sequence[Check], kind: Kind) -> str:
    """The line that operators grep: `GPU test PASSED`, or `GPU test FAILED: reason`.

    A run on the CPU says `CPU test ...`, since it says nothing of a GPU.
    """
    what = "GPU test" if kind == "cuda" else "CPU test"
    for check in checks:
        if check.outcome is Outcome.FAILED:
            return f"{what} FAILED: {check.name}: {' '.join(check.detail.split())}"
    return f"{what} PASSED"


class _Question(Protocol):
    def __call__(self) -> tuple[Outcome, str]: ...


def _asked(name: str, question: _Question) -> Check:
    """A check that fails where its question can't be answered."""
    try:
        return Check(name, *question())
    except WorkerError as error:
        return Check(name, Outcome.FAILED, str(error))


def _driver(cards: Sequence[Driver]) -> tuple[Outcome, str]:
    if not cards:
        return Outcome.FAILED, "no GPU: the driver knows none on this machine"
    summary = "; ".join(
        f"{card.card}, {card.memory_mib} MiB, compute capability {card.capability}, "
        f"driver {card.version}"
        for card in cards
    )
    for card in cards:
        if card.number < MIN_DRIVER:
            return Outcome.FAILED, f"{summary}: too old, CUDA 12 needs 525 or newer"
        if card.compiles and card.number < COMPILING_DRIVER:
            return Outcome.FAILED, (
                f"{summary}: too old for this card, whose code is compiled from CUDA 12.8's: that "
                "needs 570 or newer"
            )
    return Outcome.PASSED, summary


def _libraries(found: Libraries, kind: Kind) -> tuple[Outcome, str]:
    summary = (
        f"torch {found.torch} (CUDA {found.cuda or 'none'}, cuDNN {found.cudnn or 'none'}), "
        f"CTranslate2 {found.ctranslate2}; cards: torch {found.torch_cards}, "
        f"CTranslate2 {found.ctranslate2_cards}"
    )
    problems = []
    if found.missing:
        problems.append(f"can't be opened: {', '.join(found.missing)}")
    if found.problem:
        problems.append(found.problem)
    if not found.torch_cards or not found.ctranslate2_cards:
        problems.append("no card can be used")
    if not problems:
        return Outcome.PASSED, summary
    outcome = Outcome.FAILED if kind == "cuda" else Outcome.INFO
    return outcome, f"{summary}; {'; '.join(problems)}"


def _switch(line: str) -> tuple[str, Outcome, str]:
    """`TF32: not on this card` -> a check; a switch that a card doesn't have is no failure."""
    name, _, detail = line.partition(": ")
    return name, Outcome.PASSED if detail == "on" else Outcome.INFO, detail


def _batches(
    session: Session, kind: Kind, batches: Sequence[int], runs: list[Run]
) -> Iterator[Check]:
    """Times batches of rising size; the largest that fits is tried even if none asked for it."""
    largest = min(session.capacity, max(batches))
    bound = "memory" if kind == "cuda" else "memory and cores"
    for size in sorted({*batches, largest}):
        name = f"batch of {size}"
        if size > session.capacity:
            detail = f"does not fit: {session.capacity} windows do, by {bound}"
            yield Check(name, Outcome.SKIPPED, detail)
            continue
        try:
            run = session.run(size)
        except RuntimeError as error:
            yield Check(name, Outcome.FAILED, f"{type(error).__name__}: {error}")
            return
        runs.append(run)
        speed = run.rate * session.window_seconds
        detail = f"{run.seconds:.2f} s, {run.rate:.2f} windows/s, {speed:.1f} audio s/s"
        if run.used_bytes is not None:
            detail += f", {run.used_bytes >> 20} MiB in use"
        if run.problem:
            yield Check(name, Outcome.FAILED, f"{detail}: {run.problem}")
        else:
            yield Check(name, Outcome.PASSED, detail)


def _memory(session: Session, kind: Kind, runs: Sequence[Run]) -> Check:
    """What a window really takes: the difference between the smallest and the largest batch."""
    name = "memory arithmetic"
    first, last = runs[0], runs[-1]
    if first.windows == last.windows or first.used_bytes is None or last.used_bytes is None:
        return Check(name, Outcome.SKIPPED, "two batches of different size are needed")
    measured = (last.used_bytes - first.used_bytes) / (last.windows - first.windows)
    detail = (
        f"a window takes {measured / (1 << 20):.0f} MiB in a batch of {last.windows}, "
        f"{session.window_bytes / (1 << 20):.0f} MiB by arithmetic; "
        f"{session.capacity} windows fit a batch"
    )
    if kind == "cpu":
        return Check(name, Outcome.INFO, detail)  # its allocator shares and keeps
    fits = measured <= session.window_bytes * MEMORY_SLACK
    return Check(name, Outcome.PASSED if fits else Outcome.FAILED, detail)


def _gain(kind: Kind, runs: Sequence[Run]) -> Check:
    name = "batches pay"
    if len(runs) < 2:
        return Check(name, Outcome.SKIPPED, "two batches of different size are needed")
    best = max(runs, key=lambda run: run.rate)
    gain = best.rate / runs[0].rate
    detail = f"{gain:.1f} times the windows a second in a batch of {best.windows}"
    if kind == "cpu":
        return Check(name, Outcome.INFO, detail)
    if gain < BATCH_GAIN:
        return Check(name, Outcome.FAILED, f"{detail}; at least {BATCH_GAIN:g} times is expected")
    return Check(name, Outcome.PASSED, detail)


def _still_tuned(session: Session, kind: Kind) -> Check:
    name = "switches after decoding"
    if kind == "cpu":
        return Check(name, Outcome.SKIPPED, "a CPU has none")
    if session.still_tuned():
        return Check(name, Outcome.PASSED, "TF32 and cuDNN benchmark stand as they were set")
    return Check(name, Outcome.FAILED, "TF32 or cuDNN benchmark was switched off")
