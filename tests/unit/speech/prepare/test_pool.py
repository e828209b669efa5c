"""Real child processes: their limits, their deaths, and whom they take along."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest

from tests.fakes.media import write_wav
from tests.fakes.speech import samples_of, talk
from worker.errors import ErrorCode, JobError, WorkerError
from worker.speech.children.rules import KEPT_VARIABLES
from worker.speech.config import SPANS, WINDOWS
from worker.speech.media.selection import Selection
from worker.speech.prepare.frames import LAST, PrepareConfig, PrepareTask, read_survey
from worker.speech.prepare.pool import PreparePool

PATIENCE = 60.0
"""Seconds for what takes a tenth of one on a machine that has nothing else to do."""

MEMORY = 2 << 30


Found = TypeVar("Found")


class Recorder:
    """Takes one file's frames; what happens on them is the test's choice."""

    def __init__(
        self,
        path: Path,
        *,
        on_frame: Callable[[dict[str, Any]], None] = lambda _: None,
        room: int | None = None,
        **task: Any,
    ) -> None:
        self.task = PrepareTask(str(path), **task)
        self.frames: list[dict[str, Any]] = []
        self.error: WorkerError | None = None
        self.over = threading.Event()
        self.paused = threading.Event()
        self.gone = False
        self._on_frame = on_frame
        self._room = room
        self._changed = threading.Condition()

    @property
    def windows(self) -> int:
        return sum(header["kind"] == "window" for header in self.frames)

    @property
    def ended(self) -> bool:
        return bool(self.frames) and self.frames[-1]["kind"] == "end"

    def let_on(self) -> None:
        with self._changed:
            self._room = None
            self._changed.notify_all()

    def cancel(self) -> None:
        with self._changed:
            self.gone = True
            self._changed.notify_all()

    def wait(self) -> Recorder:
        assert self.over.wait(PATIENCE), f"nothing came of it: {self.frames[-3:]}"
        return self

    def failed_with(self, code: ErrorCode) -> str:
        self.wait()
        assert isinstance(self.error, JobError)
        assert self.error.code is code
        return self.error.message

    # What the pool calls.

    def wanted(self) -> bool:
        return not self.gone

    def has_room(self) -> bool:
        return self._room is None or self.windows < self._room

    def wait_for_room(self) -> None:
        self.paused.set()
        with self._changed:
            assert self._changed.wait_for(lambda: self.has_room() or self.gone, PATIENCE)

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        del payload
        self.frames.append(header)
        self._on_frame(header)
        if header["kind"] in LAST:
            self.over.set()

    def failed(self, error: WorkerError) -> None:
        self.error = error
        self.over.set()


class Pool(PreparePool):
    """A pool that keeps what it reports of itself."""

    def __init__(self, *, workers: int = 1, stall: float = 30.0, **config: Any) -> None:
        self.failures: list[BaseException] = []
        self.clients: list[Recorder] = []
        super().__init__(
            PrepareConfig(
                mels=80,
                **{
                    "spans": asdict(SPANS),
                    "windows": asdict(WINDOWS),
                    "memory_bytes": MEMORY,
                    **config,
                },
            ),
            workers=workers,
            stall_seconds=stall,
            on_failure=self.failures.append,
        )

    def put(self, client: Recorder) -> Recorder:
        self.clients.append(client)
        self.submit(client)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.cancel()
        self.stop()

    def pid(self) -> int:
        """The one child, once it is there."""
        (pid,) = until(self.children)
        return pid


def until(condition: Callable[[], Found]) -> Found:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


@pytest.fixture
def pools() -> Iterator[Callable[..., Pool]]:
    made: list[Pool] = []

    def make(**options: Any) -> Pool:
        made.append(Pool(**options))
        made[-1].start()
        return made[-1]

    yield make
    for pool in made:
        pool.close()
        assert pool.children() == []


def on_opened(act: Callable[[], None]) -> Callable[[dict[str, Any]], None]:
    """Something to do while the child is in the middle of the file."""
    return lambda header: act() if header["kind"] == "opened" else None


def test_files_go_through_and_a_bad_one_fails_alone(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools(workers=2)
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    good = [pool.put(Recorder(talk(tmp_path / f"{n}.wav", bursts=n))) for n in (1, 2, 3)]
    failed = pool.put(Recorder(bad))
    for bursts, client in zip((1, 2, 3), good, strict=True):
        client.wait()
        assert client.ended
        assert client.error is None
        assert client.windows == bursts
    assert "The file is text" in failed.failed_with(ErrorCode.NOT_MEDIA)
    assert failed.frames == []
    assert pool.failures == []
    # A bad file is answered, not died of: the same children are there.
    assert len(pool.children()) == 2


def test_a_child_surveys_a_file_and_then_reads_what_it_found(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools()
    speech, silence = samples_of(talk(tmp_path / "mono.wav")), np.zeros(16_000, np.float32)
    left = np.concatenate([silence, speech, silence])
    right = np.concatenate([silence, silence, speech])
    path = write_wav(tmp_path / "call.wav", np.stack([left, right], 1))
    first = pool.put(Recorder(path, survey="channels")).wait()
    pid = pool.pid()
    channels = read_survey(first.frames[-1]).found
    assert [each.selection for each in channels] == [Selection(0, 0), Selection(0, 1)]
    starts = []
    for each in channels:
        client = pool.put(Recorder(path, selection=each.selection)).wait()
        assert client.ended
        (window,) = [header for header in client.frames if header["kind"] == "window"]
        starts.append(window["spans"][0][0] / 16_000)
    assert starts[1] - starts[0] == pytest.approx(1.0, abs=0.1)
    assert pool.pid() == pid, "a survey is no reason to end a child"
    client = pool.put(Recorder(path, selection=Selection(stream=1)))
    assert "audio_stream is 1" in client.failed_with(ErrorCode.NO_AUDIO_STREAM)


def test_a_child_has_limits_no_credentials_and_no_torch(
    pools: Callable[..., Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cret")
    monkeypatch.setenv("WORKER_QUEUE_URL", "https://s3cret")
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    pool = pools(max_audio_seconds=100.0)
    pool.put(Recorder(talk(tmp_path / "a.wav"))).wait()
    pid = pool.pid()
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    names = {entry.split("=", 1)[0] for entry in environment if entry}
    assert names <= {*KEPT_VARIABLES, "PYTHONPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert "s3cret" not in "".join(environment)
    libraries = Path(f"/proc/{pid}/maps").read_text()
    assert "libtorch" not in libraries
    assert "libavcodec" in libraries
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (MEMORY, MEMORY)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    cpu, _ = resource.prlimit(pid, resource.RLIMIT_CPU)
    assert 60 < cpu < 200
    # Nothing of ours is open in it: its pipes, and what a process has anyway.
    assert not psutil.Process(pid).net_connections()


def test_a_file_that_wants_more_memory_than_allowed(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools()
    pid = pool.pid()
    pool.put(Recorder(talk(tmp_path / "a.wav"))).wait()
    # Nearly what it has taken by now: the features of a longer window are too much.
    room = psutil.Process(pid).memory_info().vms + (4 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (room, MEMORY))
    greedy = pool.put(Recorder(talk(tmp_path / "b.wav", seconds=19.0)))
    message = greedy.failed_with(ErrorCode.DECODE_LIMIT)
    assert f"prepare_memory_bytes = {MEMORY}" in message
    resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
    assert pool.put(Recorder(talk(tmp_path / "c.wav"))).wait().ended


@pytest.mark.parametrize(
    ("sent", "code", "match"),
    [
        (signal.SIGSEGV, ErrorCode.DECODE_CRASHED, "died on this file (SIGSEGV)"),
        (signal.SIGKILL, ErrorCode.DECODE_CRASHED, "died on this file (SIGKILL)"),
        (signal.SIGXCPU, ErrorCode.DECODE_LIMIT, "more CPU than any file"),
    ],
)
def test_a_child_that_dies_fails_the_file_it_holds_and_no_other(
    pools: Callable[..., Pool], tmp_path: Path, sent: signal.Signals, code: ErrorCode, match: str
) -> None:
    pool = pools()
    pid = pool.pid()
    victim = pool.put(
        Recorder(talk(tmp_path / "a.wav", bursts=3), on_frame=on_opened(lambda: os.kill(pid, sent)))
    )
    other = pool.put(Recorder(talk(tmp_path / "b.wav")))
    assert match in victim.failed_with(code)
    assert other.wait().ended
    assert other.error is None
    assert pool.pid() != pid
    assert pool.failures == []


def test_a_child_that_stands_still_is_replaced(pools: Callable[..., Pool], tmp_path: Path) -> None:
    pool = pools(stall=3.0)
    pid = pool.pid()
    stuck = pool.put(
        Recorder(
            talk(tmp_path / "a.wav", bursts=3),
            on_frame=on_opened(lambda: os.kill(pid, signal.SIGSTOP)),
        )
    )
    began = time.monotonic()
    assert "prepare_stall_seconds = 3" in stuck.failed_with(ErrorCode.DECODE_LIMIT)
    assert time.monotonic() - began >= 2.5
    assert pool.put(Recorder(talk(tmp_path / "b.wav"))).wait().ended
    assert not psutil.pid_exists(pid)


def test_a_child_that_died_between_two_files_is_no_files_fault(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools()
    pool.put(Recorder(talk(tmp_path / "a.wav"))).wait()
    pid = pool.pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    after = pool.put(Recorder(talk(tmp_path / "b.wav"))).wait()
    assert after.error is None
    assert after.ended


def test_an_interrupt_in_the_terminal_is_the_parents_to_answer(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools()
    pid = pool.pid()
    client = Recorder(
        talk(tmp_path / "a.wav", bursts=2),
        on_frame=on_opened(lambda: os.kill(pid, signal.SIGINT)),
    )
    assert pool.put(client).wait().ended
    assert pool.pid() == pid


def test_a_paused_file_does_not_keep_short_ones_waiting(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools(workers=1)
    long = pool.put(Recorder(talk(tmp_path / "long.wav", bursts=4), room=1))
    assert long.paused.wait(PATIENCE)
    # The next frame stands ready, and is not handed over.
    assert long.windows == 1
    for number in range(3):
        assert pool.put(Recorder(talk(tmp_path / f"{number}.wav"))).wait().ended
    assert not long.over.is_set()
    assert len(pool.children()) == 2
    long.let_on()
    assert long.wait().ended
    assert long.windows == 4


def test_the_end_of_a_file_takes_no_room(pools: Callable[..., Pool], tmp_path: Path) -> None:
    client = pools().put(Recorder(talk(tmp_path / "a.wav", bursts=2), room=2))
    assert client.wait().ended
    assert not client.paused.is_set()


def test_a_cancelled_file_is_dropped_in_the_middle(
    pools: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = pools()
    client = Recorder(talk(tmp_path / "a.wav", bursts=3))
    client._on_frame = lambda header: client.cancel() if header["kind"] == "window" else None
    pool.put(client)
    assert pool.put(Recorder(talk(tmp_path / "b.wav"))).wait().ended
    assert client.windows == 1
    assert not client.over.is_set()
    assert client.error is None


def test_a_paused_file_may_be_cancelled(pools: Callable[..., Pool], tmp_path: Path) -> None:
    pool = pools()
    client = pool.put(Recorder(talk(tmp_path / "a.wav", bursts=3), room=1))
    assert client.paused.wait(PATIENCE)
    client.cancel()
    assert pool.put(Recorder(talk(tmp_path / "b.wav"))).wait().ended


def test_children_that_do_not_come_up_are_told_and_not_left_behind() -> None:
    pool = Pool(spans={"no_such_option": 1.0})
    before = {child.pid for child in psutil.Process().children()}
    pool.start()
    (error,) = until(lambda: pool.failures)
    assert "child is gone" in str(error)
    pool.close()
    assert pool.children() == []
    assert {child.pid for child in psutil.Process().children()} <= before


def test_stopping_ends_children_and_threads_in_the_middle_of_files(tmp_path: Path) -> None:
    pool = Pool(workers=2)
    pool.start()
    clients = [pool.put(Recorder(talk(tmp_path / "a.wav", bursts=4), room=1)) for _ in range(5)]
    for client in clients[:2]:
        assert client.paused.wait(PATIENCE)
    pids = pool.children()
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 20.0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare-")]
    with pytest.raises(RuntimeError, match="stopped"):
        pool.submit(Recorder(tmp_path / "a.wav"))


PARENT = """
import sys, time
from worker.speech.prepare.pool import PreparePool
from worker.speech.prepare.frames import PrepareConfig
pool = PreparePool(
    PrepareConfig(mels=80), workers=2, stall_seconds=30.0, on_failure=lambda error: None
)
pool.start()
while len(pool.children()) < 2:
    time.sleep(0.05)
print(*pool.children(), flush=True)
time.sleep(600)
"""


def test_children_die_with_a_parent_that_is_killed() -> None:
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        try:
            assert len(pids) == 2
            for pid in pids:
                until(partial(_has_loaded, pid, "onnxruntime"))
            # One of them is stopped, as in a decoder that never comes back to its pipe.
            os.kill(pids[0], signal.SIGSTOP)
        finally:
            parent.kill()
    until(lambda: not any(_runs(pid) for pid in pids))


def _has_loaded(pid: int, library: str) -> bool:
    return library in Path(f"/proc/{pid}/maps").read_text()


def _runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
