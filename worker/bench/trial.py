"""Runs one contestant on all loads, in a process of its own.

Each has a process, so that the memory measured is that contestant's alone, a card is empty when
the next one sizes its batches, and one that crashes or hangs costs its own row only.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from worker.bench.contestants import Contestant, make
from worker.bench.loads import Load
from worker.bench.machine import PeakMemory, card_bytes
from worker.bench.plan import Spec, Started
from worker.bench.probe import Floor, replay
from worker.errors import WorkerError
from worker.threads import SupervisedThread

__all__ = ["Measurement", "Trial", "measure", "run_trial"]

OnProgress = Callable[[str, int, int], None]
"""Called with a load's name, how many of its files are done, and how many it has."""

END_SECONDS = 30.0
"""Seconds that a process may take to end after its last message."""

LOG_TAIL = 400
"""Characters of a crashed process's output that go into the reason."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contestant on one load, once.

    Attributes:
        seconds: from the first file opened to the last text there; without loading.
        audio_seconds: of the load.
        texts: of each file.
        settled_seconds: after the last text, until the contestant did nothing more.
        windows: decoded, each second attempt counted again.
        slots: windows that its calls of `generate` had room for.
        second_attempts: windows decoded again because their text failed the checks.
        file_windows: windows that the files had; None if it isn't known.
        short_windows: of these, windows that were tried with less than 30 s of encoder.
        peak_bytes: resident, of the process and its children; None if it is unknown.
        card_peak_bytes: in use on the card; None on a CPU.
        floor: the same calls, bare; None if that was not asked for.
        notes: what the contestant decided by itself.
    """

    seconds: float
    audio_seconds: float
    texts: tuple[str, ...]
    windows: int
    slots: int
    settled_seconds: float = 0.0
    second_attempts: int = 0
    file_windows: int | None = None
    short_windows: int = 0
    peak_bytes: int | None = None
    card_peak_bytes: int | None = None
    floor: Floor | None = None
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Trial:
    """What a contestant's run came to.

    Attributes:
        spec: the contestant.
        started: None if it didn't get that far.
        measurements: by load; those that a failure cut off are missing.
        failure: why something is missing, or None.
    """

    spec: Spec
    started: Started | None = None
    measurements: dict[str, Measurement] = field(default_factory=dict)
    failure: str | None = None


def measure(
    contestant: Contestant, load: Load, batch_size: int, on_progress: OnProgress
) -> Measurement:
    """Runs a started contestant on a load.

    Args:
        contestant: started.
        load: what to transcribe.
        batch_size: windows that its calls have room for.
        on_progress: called after each file.
    """
    # Audits of what was transcribed before are no part of it.
    contestant.settle()
    probe = contestant.probe
    probe.reset()
    probe.record = contestant.spec.floor
    done = 0

    def on_file() -> None:
        nonlocal done
        done += 1
        on_progress(load.name, done, len(load.paths))

    card: PeakMemory | None = None
    with ExitStack() as open_now:
        memory = open_now.enter_context(PeakMemory(discount=lambda: probe.recorded_bytes))
        if contestant.spec.device == "cuda":
            card = open_now.enter_context(PeakMemory(card_bytes))
        began = time.perf_counter()
        texts = contestant.transcribe(load.paths, on_file)
        seconds = time.perf_counter() - began
        recorded = list(probe.recorded)
    contestant.settle()
    settled = time.perf_counter() - began - seconds
    windows = probe.windows
    slots = contestant.slots or probe.calls * batch_size
    floor = replay(probe.model, recorded, contestant.lanes) if contestant.spec.floor else None
    probe.reset()
    return Measurement(
        seconds=seconds,
        audio_seconds=load.seconds,
        texts=tuple(texts),
        windows=windows,
        slots=slots,
        settled_seconds=settled,
        second_attempts=contestant.second_attempts,
        file_windows=contestant.file_windows,
        short_windows=contestant.short_windows,
        peak_bytes=memory.bytes,
        card_peak_bytes=card.bytes if card else None,
        floor=floor,
        notes=tuple(contestant.notes),
    )


def run_trial(
    spec: Spec,
    loads: Sequence[Load],
    *,
    warm_up: Path,
    timeout: float,
    log: Path,
    on_progress: OnProgress,
) -> Trial:
    """Runs a contestant on all loads; never raises for what the contestant does.

    Args:
        spec: the contestant.
        loads: in order.
        warm_up: a clip that is transcribed before them: the first call of everything loads
            kernels and models that no later one does.
        timeout: seconds for all of it.
        log: where the process's output goes; overwritten.
        on_progress: called after each file.
    """
    trial = Trial(spec)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_serve, args=(theirs, spec, tuple(loads), warm_up, log))
    with _environment(spec.environment):
        process.start()
    theirs.close()
    deadline = time.monotonic() + timeout
    try:
        while trial.failure is None:
            if not wait_for([ours], max(0.0, deadline - time.monotonic())):
                trial.failure = f"took longer than {timeout:g} s"
                break
            try:
                kind, *values = ours.recv()
            except EOFError:
                process.join(END_SECONDS)
                trial.failure = f"its process ended with {process.exitcode}{_tail(log)}"
                break
            if kind == "end":
                break
            _follow(trial, kind, values, on_progress)
        process.join(0.0 if trial.failure else END_SECONDS)
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
            process.join()
    return trial


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process started within inherits; some are read before it runs Python."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _follow(trial: Trial, kind: str, values: list[Any], on_progress: OnProgress) -> None:
    """One message of the process."""
    if kind == "progress":
        on_progress(*values)
    elif kind == "started":
        (trial.started,) = values
    elif kind == "measured":
        name, measurement = values
        trial.measurements[name] = measurement
    else:
        (trial.failure,) = values


def _serve(
    connection: Connection, spec: Spec, loads: Sequence[Load], warm_up: Path, log: Path
) -> None:
    """The process: one contestant, from start to stop."""
    _send_output_to(log)
    SupervisedThread("watch-parent", _end_with_parent).start()
    from worker.logs import configure

    configure("WARNING")
    contestant = make(spec)
    try:
        started = contestant.start()
        contestant.transcribe([warm_up], lambda: None)
        connection.send(("started", started))
        for load in loads:
            measurement = measure(
                contestant,
                load,
                started.batch_size,
                lambda *progress: connection.send(("progress", *progress)),
            )
            connection.send(("measured", load.name, measurement))
        contestant.stop()
        connection.send(("end",))
    except WorkerError as error:
        connection.send(("failed", str(error)))
    except Exception as error:  # noqa: BLE001 # a contestant's defect is its row's, not the run's
        traceback.print_exc()
        connection.send(("failed", f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """Ends this process with the benchmark's, so that none goes on computing for nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _send_output_to(log: Path) -> None:
    """Libraries print, to both streams; the terminal is the progress display's."""
    sys.stdout.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _tail(log: Path) -> str:
    try:
        text = " ".join(log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:].split())
    except OSError:
        return ""
    return f": ...{text}" if text else ""
