"""Damaged media: every mutated file ends, in words or in one error, and leaves nothing behind.

Small files of every kind are mutated (see `tests.fakes.damage`) and go through the real engine's
children with their limits. The seed is the test's; a file that once did harm is kept in `KEPT`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.fakes.damage import damaged, originals
from tests.fakes.media import encode
from worker.errors import ErrorCode, JobError, WorkerError
from worker.speech.config import SPANS, WINDOWS
from worker.speech.media.raw import RawAudio
from worker.speech.media.selection import Selection
from worker.speech.prepare.frames import LAST, PrepareConfig, PrepareTask
from worker.speech.prepare.pool import PreparePool

SEED = 4
MEMORY = 2 << 30
STALL_SECONDS = 20.0
MAX_AUDIO_SECONDS = 600.0

KEPT = (
    # A packet, or a table, that claims more memory than there is: the file was refused for it.
    ("m4a", 300),
    ("fragmented mp4", 573),
    ("3gp", 840),
    ("avi", 1_512),
    ("mp4 film", 1_596),
    ("joined mp4", 4_861),
)
"""Kinds of files and numbers of mutations that every run repeats, whatever its size."""

WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"selection": Selection(channel=1)},
    {},
    {"survey": "channels"},
    {"selection": Selection(stream=0)},
    {"survey": "tracks"},
    {},
)
"""How files are read, in turn; those that are kept as they were when they did harm."""

ALLOWED = {
    ErrorCode.INVALID_JOB,  # there is no such channel
    ErrorCode.NOT_MEDIA,
    ErrorCode.NO_AUDIO_STREAM,
    ErrorCode.DECODE_FAILED,
    ErrorCode.DECODE_LIMIT,
    ErrorCode.DECODE_CRASHED,
    ErrorCode.AUDIO_TOO_LONG,
    ErrorCode.EMPTY_FILE,
}


class Client:
    """Counts what comes of one file."""

    def __init__(self, path: Path, raw: RawAudio | None = None, **how: Any) -> None:
        self.task = PrepareTask(str(path), raw=raw, **how)
        self.ends = 0
        self.errors: list[JobError] = []
        self.over = threading.Event()

    def wanted(self) -> bool:
        return True

    def has_room(self) -> bool:
        return True

    def wait_for_room(self) -> None:
        raise AssertionError("there is room")

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        del payload
        if header["kind"] in LAST:
            self.ends += 1
            self.over.set()

    def failed(self, error: WorkerError) -> None:
        assert isinstance(error, JobError)
        self.errors.append(error)
        self.over.set()


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(50, marks=pytest.mark.timeout(110)),
        pytest.param(2_000, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_every_damaged_file_ends(
    count: int,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    figures: Callable[[str], None],
) -> None:
    broken: list[BaseException] = []
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    pool = PreparePool(
        PrepareConfig(
            mels=80,
            spans=asdict(SPANS),
            windows=asdict(WINDOWS),
            memory_bytes=MEMORY,
            max_audio_seconds=MAX_AUDIO_SECONDS,
        ),
        workers=2,
        stall_seconds=STALL_SECONDS,
        on_failure=broken.append,
    )
    pool.start()
    clients: dict[str, Client] = {}
    try:
        whole = originals(tmp_path_factory.mktemp("media"))  # while the children start
        by_name = {original.name: original for original in whole}
        chosen = [(by_name[name], number, WAYS[0]) for name, number in KEPT]
        chosen += [
            (whole[number % len(whole)], number, WAYS[number % len(WAYS)])
            for number in range(count)
        ]
        for original, number, how in chosen:
            path = tmp_path / f"{original.name} {number}"
            path.write_bytes(damaged(original.data, SEED * 1_000_003 + number))
            clients[path.name] = Client(path, original.raw, **how)
        for client in clients.values():
            pool.submit(client)
        for name, client in clients.items():
            assert client.over.wait(2 * STALL_SECONDS), f"{name} never ended"
    finally:
        pool.stop()
    assert not broken
    for name, client in clients.items():
        assert client.ends + len(client.errors) == 1, f"{name}: one answer, not more"
        for error in client.errors:
            assert error.code in ALLOWED, (name, error.message)
            assert str(tmp_path) not in error.message, "no local path is shown"
    outcomes = [client.ends for client in clients.values()]
    assert 0 < sum(outcomes) < len(outcomes), "some survive their damage and some don't"
    assert {path.name for path in tmp_path.iterdir()} == set(clients)
    codes = Counter(error.code.value for client in clients.values() for error in client.errors)
    figures(f"{len(clients)} damaged files: {sum(outcomes)} were read, {dict(codes.most_common())}")
    deadline = time.monotonic() + 5
    while left := {c.pid for c in psutil.Process().children(recursive=True)} - before:
        assert time.monotonic() < deadline, f"children are left: {left}"
        time.sleep(0.1)


def test_a_small_file_that_decodes_to_hours_is_stopped(tmp_path: Path) -> None:
    """Two hours of silence are some hundred kilobytes of FLAC, and no header has their length."""
    path = encode(
        tmp_path / "bomb.flac", np.zeros(2 * 3600 * 1_000, np.float32), codec="flac", rate=1_000
    )
    data = bytearray(path.read_bytes())
    # STREAMINFO's count of samples, 36 bits from the middle of byte 21: 0 is "unknown".
    data[21] &= 0xF0
    data[22:26] = b"\0\0\0\0"
    path.write_bytes(bytes(data))
    assert len(data) < 2 << 20
    pool = PreparePool(
        PrepareConfig(
            mels=80,
            spans=asdict(SPANS),
            windows=asdict(WINDOWS),
            memory_bytes=MEMORY,
            max_audio_seconds=60.0,
        ),
        workers=1,
        stall_seconds=STALL_SECONDS,
        on_failure=lambda error: None,
    )
    pool.start()
    client = Client(path)
    try:
        pool.submit(client)
        assert client.over.wait(STALL_SECONDS)
    finally:
        pool.stop()
    (error,) = client.errors
    assert error.code is ErrorCode.AUDIO_TOO_LONG
    assert "max_audio_seconds = 60" in error.message
