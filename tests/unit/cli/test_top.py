"""`top` draws what `/status` says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from worker.cli import top
from worker.errors import MachineError

STATUS: dict[str, Any] = {
    "state": "running",
    "healthy": True,
    "uptime_seconds": 3725.0,
    "queue": {"visible": 12, "in_flight": 3, "delayed": 0},
    "messages_held": 2,
    "audio_held_seconds": 95.2,
    "windows_waiting": 7,
    "batch_fill": 0.875,
    "speed": 13.2,
    "jobs": {"committed": 40.0, "failed": 2.0},
    "engine": {"model": "large-v3", "device": "cuda:0", "compute_type": "int8_float16"},
    "extra": {"gpu_bytes": 15 * 2**30, "gpu_used_bytes": 6 * 2**30},
    "held": [
        {"job_id": "call-17", "stage": "engine", "done_seconds": 61.0, "total_seconds": 122.0},
        {"job_id": "call-18", "stage": "fetching", "done_seconds": 0.0, "total_seconds": None},
    ],
}


def drawn(status: dict[str, Any], *, width: int = 110, most_jobs: int = 20) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(top.view(status, most_jobs=most_jobs))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_worker_at_work() -> None:
    picture = drawn(STATUS)
    for shown in (
        "running",
        "up 1:02:05",
        "large-v3 on cuda:0 int8_float16",
        "12 waiting, 3 out",
        "40 jobs, 2 failed",
        "88%",
        "13.2x",
        "6.0 of 15.0 GiB",
        "call-17",
        "1:01/2:02",
        "0:00/?",
    ):
        assert shown in picture, shown


def test_a_worker_that_has_nothing_yet() -> None:
    idle = STATUS | {
        "engine": {},
        "held": [],
        "batch_fill": None,
        "speed": None,
        "extra": {},
        "queue": {"visible": None, "in_flight": None, "delayed": None},
    }
    picture = drawn(idle)
    assert "no job is held" in picture
    assert "? waiting" in picture
    assert "no GPU" in picture


BUSY = STATUS | {
    "queue": {"visible": 100_000, "in_flight": 1200, "delayed": 0},
    "messages_held": 320,
    "audio_held_seconds": 123_456.0,
    "windows_waiting": 4321,
    "jobs": {"committed": 1_234_567.0, "failed": 1234.0},
    "held": [
        {"job_id": "da692e74-aef3-40bf-8345-6cc58edc8cb9", "stage": "fetching",
         "done_seconds": 7325.0, "total_seconds": 43200.0},
        {"job_id": "Besprechung-Müller-2026-11-24-録音-0a4efeda1a6a555c", "stage": "ending",
         "done_seconds": 1.0, "total_seconds": 2.0},
    ],
}  # fmt: skip


def test_nothing_is_cut_off_at_80_columns() -> None:
    picture = drawn(BUSY, width=80)
    lines = picture.splitlines()
    assert max(cell_len(line) for line in lines) == 80
    assert "…" not in picture
    for whole in (
        "100000 waiting, 1200 out",
        "320 messages",
        "123456 s held",
        "4321 waiting",
        "1234567 jobs, 1234 failed",
        "6.0 of 15.0 GiB",
        "da692e74-aef3-40bf-8345-6cc58edc8cb9",
        "2:02:05/12:00:00",
    ):
        assert whole in picture, whole
    folded = "".join(line.strip("│ ").split("ending")[0].strip() for line in lines)
    assert "Besprechung-Müller-2026-11-24-録音-0a4efeda1a6a555c" in folded


def test_a_sick_worker_says_why_and_a_loading_one_is_not_sick() -> None:
    sick = STATUS | {"healthy": False, "unhealthy_because": "no progress on the device"}
    assert "unhealthy: no progress on the device" in drawn(sick)
    loading = {"state": "loading", "unhealthy_because": "the model is loading", "engine": {}}
    assert "unhealthy" not in drawn(STATUS | {"healthy": False} | loading)


def test_as_many_jobs_as_the_screen_holds() -> None:
    jobs = [STATUS["held"][0] | {"job_id": f"job-{n}"} for n in range(50)]
    picture = drawn(STATUS | {"held": jobs}, width=80, most_jobs=15)
    assert "and 35 more" in picture
    assert len(picture.splitlines()) <= 24


def test_many_jobs_are_counted_not_scrolled() -> None:
    jobs = [STATUS["held"][0] | {"job_id": f"job-{n}"} for n in range(50)]
    picture = drawn(STATUS | {"held": jobs})
    assert f"and {50 - top.MOST_JOBS} more" in picture
    assert f"job-{top.MOST_JOBS}" not in picture


@pytest.fixture
def port() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(STATUS).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


def test_once_prints_and_ends(port: int) -> None:
    console = Console(file=StringIO(), width=110)
    top.watch(console, port, seconds=1.0, once=True)
    assert isinstance(console.file, StringIO)
    assert "call-17" in console.file.getvalue()


def test_no_worker_there_says_how_to_have_one() -> None:
    with pytest.raises(MachineError, match="metrics_port = 1 "):
        top.read_status(1)
