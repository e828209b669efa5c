"""Real children that die, stand still, babble: the file they have gets its answer, so do others."""

from __future__ import annotations

import errno
import itertools
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import psutil
import pytest

from tests.fakes import speakers_child
from tests.fakes.speakers_child import HALVES, start_scripted
from worker.errors import ErrorCode, JobError, TransientError, WorkerError
from worker.speech.children.process import Child
from worker.speech.children.rules import KEPT_VARIABLES, child_environment
from worker.speech.model.choices import Device
from worker.speech.speakers import process as process_module
from worker.speech.speakers.frames import Found, SpeakersConfig, SpeakersTask, config_frame
from worker.speech.speakers.process import SpeakersProcess, start_child

PATIENCE = 60.0

CARD, CPU = Device("cuda", 0, "no card at all"), Device("cpu", 0, "a processor")


class Recorder:
    """Takes what is found in one file."""

    def __init__(self, path: Path, seconds: float = 2.0) -> None:
        np.zeros(round(seconds * 16_000), dtype=np.int16).tofile(path)
        self.task = SpeakersTask(str(path), 1, 3)
        self.heard: list[float] = []
        self.over = threading.Event()
        self.begun = threading.Event()
        self.answer: Found | None = None
        self.error: WorkerError | None = None
        self.gone = False

    def wanted(self) -> bool:
        return not self.gone

    def begins(self) -> None:
        assert not self.begun.is_set()

    def progress(self, share: float) -> None:
        self.heard.append(share)
        self.begun.set()

    def found(self, found: Found) -> None:
        assert not self.over.is_set()
        self.answer = found
        self.over.set()

    def failed(self, error: WorkerError) -> None:
        assert not self.over.is_set()
        self.error = error
        self.over.set()

    def wait(self) -> Found:
        assert self.over.wait(PATIENCE)
        assert self.answer is not None, self.error
        return self.answer

    def failure(self) -> str:
        assert self.over.wait(PATIENCE)
        assert isinstance(self.error, JobError)
        assert self.error.code is ErrorCode.DIARIZATION_FAILED
        return self.error.message


Make = Callable[..., SpeakersProcess]


@pytest.fixture
def processes() -> Iterator[Make]:
    made: list[SpeakersProcess] = []

    def make(script: str = HALVES, device: Device = CARD, **seconds: float) -> SpeakersProcess:
        seconds = {"stall_seconds": PATIENCE, **seconds}
        made.append(speakers_child.make_process(script, None, device, **seconds))
        made[-1].start()
        return made[-1]

    yield make
    for process in made:
        process.stop()
        assert process.children() == []


def pid(process: SpeakersProcess) -> int:
    (found,) = process.children()
    return found


def test_files_queue_for_one_child_and_one_that_died_between_two_is_replaced(
    processes: Make, tmp_path: Path
) -> None:
    process = processes()
    process.wait_until_loaded()
    first = pid(process)
    clients = [Recorder(tmp_path / str(n), seconds=n) for n in (2, 4, 0)]
    for client in clients:
        process.submit(client)
    ends = [[(v.start, v.end, v.speaker) for v in c.wait().diarization.voices] for c in clients]
    assert ends[0] == [(0.0, 1.0, "A"), (1.0, 2.0, "1 to 3")]
    assert ends[1][-1][1] == 4.0
    assert ends[2][-1][1] == 0.0
    assert clients[0].heard == [0.5]
    assert clients[0].wait().notes == ("A note on the model.",)
    assert pid(process) == first
    os.kill(first, signal.SIGKILL)
    while psutil.Process(first).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    client = Recorder(tmp_path / "after")
    process.submit(client)
    assert client.wait() == clients[0].wait()
    assert pid(process) != first


def test_an_idle_child_that_stands_still_is_replaced_and_meanwhile_the_watchdog_is_fed(
    processes: Make, tmp_path: Path
) -> None:
    process = processes(taken_seconds=1.0)
    ticks = itertools.count()
    process.tick = lambda: next(ticks) >= 0
    process.wait_until_loaded()
    first = pid(process)
    os.kill(first, signal.SIGSTOP)
    before = next(ticks)
    client = Recorder(tmp_path / "audio")
    process.submit(client)
    assert client.wait().notes == ("A note on the model.",)
    assert pid(process) != first
    assert next(ticks) > before + 2


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("dies on a card", "died (SIGKILL)"),
        pytest.param("stands still on a card", "stood still", marks=pytest.mark.long),
    ],
)
def test_a_child_that_fails_on_the_card_gets_a_second_on_the_cpu_for_this_file_alone(
    processes: Make, tmp_path: Path, script: str, why: str
) -> None:
    process = processes(script, stall_seconds=1.0)
    process.wait_until_loaded()
    client = Recorder(tmp_path / "a")
    process.submit(client)
    answer = client.wait()
    assert answer.device == "cpu"
    assert f"at the first, its process {why}" in answer.notes[-1]
    without_child(process)  # the next begins on the card


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("babbles", "bytes); send the job again, or without diarize."),
        pytest.param("dies", "its process died (SIGKILL); use a machine", marks=pytest.mark.long),
        pytest.param("stands still", "its process stood still; send the", marks=pytest.mark.long),
        pytest.param("has no room", "memory ran out; use a machine", marks=pytest.mark.long),
    ],
)
def test_a_file_that_no_child_survives_fails_and_the_thread_lives(
    processes: Make, tmp_path: Path, script: str, why: str
) -> None:
    process = processes(script, CPU, stall_seconds=1.0)
    client = Recorder(tmp_path / "a")
    process.submit(client)
    assert why in client.failure()
    assert process._thread.alive


def test_a_card_without_room_leaves_the_file_to_the_cpu(processes: Make, tmp_path: Path) -> None:
    process = processes("has no room on a card")
    client = Recorder(tmp_path / "a")
    process.submit(client)
    assert "the card's memory ran out" in client.wait().notes[-1]
    without_child(process)


@pytest.mark.parametrize("script", ["stands still", "stops midway"])
def test_a_child_that_gets_no_core_is_not_standing_still_and_ends_with_its_file(
    processes: Make, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOOK_SECONDS", 0.05)
    process = processes(script, CPU, stall_seconds=0.1)
    looks: list[int] = []

    def tick() -> bool:
        looks.append(1)
        return False

    process.tick = tick
    working, waiting = Recorder(tmp_path / "a"), Recorder(tmp_path / "b")
    process.submit(working)
    process.submit(waiting)
    assert working.begun.wait(PATIENCE)
    looks.clear()
    while len(looks) < 10:
        time.sleep(0.02)
    assert not working.over.is_set()
    waiting.gone = working.gone = True
    without_child(process)
    assert not working.over.is_set()
    assert not waiting.heard


def without_child(process: SpeakersProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.children():
        assert time.monotonic() < deadline, "its child lives"
        time.sleep(0.01)


@pytest.mark.long
def test_models_that_can_not_be_loaded_are_told(processes: Make, tmp_path: Path) -> None:
    process = processes("can't be loaded")
    with pytest.raises(JobError, match="a file is damaged") as caught:
        process.wait_until_loaded()
    assert caught.value.code is ErrorCode.DIARIZATION_NOT_AVAILABLE
    client = Recorder(tmp_path / "a")
    process.submit(client)
    assert client.over.wait(PATIENCE)
    assert str(client.error) == "a file is damaged"


@pytest.mark.long
def test_a_process_that_is_stopped_answers_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []

    def start(config: SpeakersConfig) -> Child:
        started.append(start_scripted(config))
        return started[-1]

    monkeypatch.setattr(speakers_child, "start_scripted", start)
    process = speakers_child.make_process("stands still", None, CPU)
    process.start()
    working, waiting = Recorder(tmp_path / "a"), Recorder(tmp_path / "b")
    process.submit(working)
    process.submit(waiting)
    assert working.begun.wait(PATIENCE)
    waiting.gone = working.gone = True
    process.stop()
    assert process.children() == []
    assert not working.over.is_set()
    assert len(started) == 1, "nobody wants a second attempt"


def test_a_child_that_starts_while_its_process_is_stopped_ends_at_once() -> None:
    asked, go_on = threading.Event(), threading.Event()
    made: list[Child] = []

    def start(config: SpeakersConfig) -> Child:
        asked.set()
        assert go_on.wait(PATIENCE)
        made.append(start_scripted(config))
        return made[-1]

    config = SpeakersConfig(speakers_child.chosen("loads for ever"), "cpu")
    process = SpeakersProcess(config, start=start, load_seconds=2 * PATIENCE)
    process.start()
    assert asked.wait(PATIENCE)
    stopping = threading.Thread(target=process.stop)
    stopping.start()
    while not process._stopping:
        time.sleep(0.001)
    go_on.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert made[0].ended() == -signal.SIGKILL


def test_a_process_that_is_stopped_while_it_loads_says_so() -> None:
    process = speakers_child.make_process(HALVES, None, CPU)
    process.start()
    process.stop()
    with pytest.raises(CancelledError):
        process.wait_until_loaded()


def test_what_takes_long_to_say_is_heard_out(
    processes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOOK_SECONDS", 0.05)
    process = processes("says it slowly", CPU)
    client = Recorder(tmp_path / "a")
    process.submit(client)
    assert client.wait().notes == ("A note on the model.",)
    assert client.heard == [0.5, 0.75]


Start = Callable[[SpeakersConfig], Child]


@pytest.fixture
def started() -> Iterator[Callable[..., SpeakersProcess]]:
    """A started process with children of another kind."""
    made: list[SpeakersProcess] = []

    def make(start: Start, **seconds: float) -> SpeakersProcess:
        config = SpeakersConfig(speakers_child.chosen(), "cpu")
        made.append(SpeakersProcess(config, start=start, **seconds))
        made[-1].start()
        return made[-1]

    yield make
    for process in made:
        process.stop()


def no_room(_: SpeakersConfig) -> NoReturn:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


def test_a_machine_that_is_short_for_a_moment_costs_at_most_the_file_that_it_has(
    started: Callable[..., SpeakersProcess], tmp_path: Path
) -> None:
    starts: list[Start] = [no_room, no_room, start_scripted]
    process = started(lambda config: starts.pop(0)(config))
    with pytest.raises(TransientError, match=r"started: \[Errno 12\] Cannot allocate"):
        process.wait_until_loaded()
    first, second = Recorder(tmp_path / "a"), Recorder(tmp_path / "b")
    process.submit(first)
    process.submit(second)
    assert second.wait().device == "cpu"
    assert isinstance(first.error, TransientError)


def test_a_child_that_dies_while_it_loads_says_nothing_of_the_file(
    started: Callable[..., SpeakersProcess], tmp_path: Path
) -> None:
    process = started(lambda config: Child("no_such", config_frame(config), child_environment()))
    with pytest.raises(WorkerError) as caught:
        process.wait_until_loaded()
    said = "the models that tell speakers apart can't be loaded: its process died (exit status 1)"
    assert (type(caught.value), str(caught.value)) == (WorkerError, said)
    client = Recorder(tmp_path / "a")
    process.submit(client)
    assert client.over.wait(PATIENCE)
    assert (type(client.error), str(client.error)) == (TransientError, said)


def test_a_child_that_the_kernel_kills_while_it_loads_may_have_memory_the_next_time(
    started: Callable[..., SpeakersProcess],
) -> None:
    def start(config: SpeakersConfig) -> Child:
        child = start_scripted(replace(config, chosen=speakers_child.chosen("loads for ever")))
        os.kill(child.pid, signal.SIGKILL)
        return child

    with pytest.raises(TransientError, match=r"its process died \(SIGKILL\)"):
        started(start).wait_until_loaded()


def test_a_child_that_is_killed_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    config = SpeakersConfig(speakers_child.chosen("loads for ever"), "cpu")
    monkeypatch.setattr(process_module, "CHILD", speakers_child.__name__)
    child = start_child(config, 1)
    (folder,) = tmp_path.iterdir()
    assert psutil.Process(child.pid).environ()["TMPDIR"] == str(folder)
    (folder / "left").touch()
    assert child.end() == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_models_that_are_not_loaded_in_time_may_be_the_next_time(
    started: Callable[..., SpeakersProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(process_module, "DEATH_SECONDS", 0.0)
    process = started(start_scripted, load_seconds=0.002)
    with pytest.raises(TransientError, match=r"be loaded: loading took more than 0\.002 s"):
        process.wait_until_loaded()
    assert process.children() == []


def test_a_thread_that_a_defect_ends_is_told(
    started: Callable[..., SpeakersProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(no_room)
    ended: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    process.broken = ended.put
    client = Recorder(tmp_path / "a")
    monkeypatch.setattr(client, "failed", lambda error: 1 / 0)
    process.submit(client)
    assert isinstance(ended.get(timeout=PATIENCE), ZeroDivisionError)


def test_a_child_has_no_credentials_and_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WORKER_QUEUE_URL"):
        monkeypatch.setenv(name, "s3cret")
    for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    child = start_child(SpeakersConfig(speakers_child.chosen(), "cpu"), threads=2)
    try:
        environment = Path(f"/proc/{child.pid}/environ").read_text().split("\0")
    finally:
        child.end()
    told = dict(entry.split("=", 1) for entry in environment if entry)
    assert "s3cret" not in "".join(told.values())
    assert {name: told.pop(name) for name in told.keys() - {*KEPT_VARIABLES, "PYTHONPATH"}} == {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
    }
