"""What one job costs the worker itself: milliseconds of CPU from its receive to its delete.

A real worker process with the fake engine; queue and bucket are in this process, so that only
the worker is counted. It says what it finds and judges nothing: see the page beside it.
"""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.serving import WSGIRequestHandler

from tests.conftest import Aws
from tests.cost.clocked_worker import FILE_VARIABLE, REQUEST
from tests.fakes.engine import LOG_VARIABLE, fake_audio
from tests.fakes.site import Site, Worker, site, wait_for

JOBS = 300
"""In one round: several times what the worker holds at once, as when the queue is never empty."""

ROUNDS = 4
WARM_UP = 60
QUIET_SECONDS = 5.0


class _Load:
    """Jobs without end for one worker, so many to a message."""

    def __init__(self, place: Site, worker: Worker, per_message: int) -> None:
        self._place = place
        self._tasks = Path(f"/proc/{worker.pid}/task")
        self._per_message = per_message
        self._sent = 0
        self._inputs = [place.upload(f"a{n}", fake_audio(10 + n, seed=n)) for n in range(10)]

    def cpu(self) -> float:
        """Milliseconds that the worker's threads have taken since the start of each.

        Those that have ended are not in it; none of the worker's ends while it runs. The kernel
        counts these in nanoseconds, and a process's own times in hundredths of a second.
        """
        found = [int(one.read_text().split()[0]) for one in self._tasks.glob("*/schedstat")]
        return sum(found) / 1e6

    def milliseconds_a_job(self, jobs: int) -> float:
        """Send jobs, wait until the last one's message is deleted."""
        before = self.cpu()
        for start in range(0, jobs, self._per_message):
            batch = [self._job() for _ in range(min(self._per_message, jobs - start))]
            self._place.send(batch[0] if self._per_message == 1 else {"jobs": batch})
        wait_for(lambda: not self._place.waiting(), 120, "jobs are left")
        time.sleep(0.2)  # the last thread comes to rest
        return (self.cpu() - before) / jobs

    def _job(self) -> dict[str, str]:
        number = self._sent
        self._sent += 1
        return {"input": self._inputs[number % 10], "job_id": f"job-{number}"}


def _worker(place: Site, clocks: Path | None = None) -> Worker:
    """One that waits as long as in service; the fake engine keeps no list of windows."""
    extra = {LOG_VARIABLE: ""} | ({FILE_VARIABLE: str(clocks)} if clocks else {})
    return place.worker(
        extra=extra,
        command=("-m", "tests.cost.clocked_worker" if clocks else "tests.fakes.run_worker"),
        pace={"poll": 5, "tick": 0.5, "watch": 5.0},
        idle_timeout=600,
        visibility=120,
        batch_size=16,
    )


@pytest.fixture(autouse=True)
def _connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of moto ends the connection after each answer; S3 does not."""
    monkeypatch.setattr(WSGIRequestHandler, "protocol_version", "HTTP/1.1")
    monkeypatch.setattr(WSGIRequestHandler, "disable_nagle_algorithm", True)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("per_message", [1, 10])
def test_the_cpu_of_a_job(
    aws: Aws, tmp_path: Path, record_property: Callable[[str, object], None], per_message: int
) -> None:
    with site(aws, tmp_path) as place:
        worker = _worker(place)
        load = _Load(place, worker, per_message)
        load.milliseconds_a_job(WARM_UP)
        rounds = [load.milliseconds_a_job(JOBS) for _ in range(ROUNDS)]
        before = load.cpu()
        time.sleep(QUIET_SECONDS)
        quiet = (load.cpu() - before) / QUIET_SECONDS
        worker.process.terminate()
        assert worker.wait(30) == 0
        assert len(place.done()) == WARM_UP + ROUNDS * JOBS
    record_property(
        "figure",
        f"{per_message} to a message: {min(rounds):.2f} ms of CPU a job in the quickest of "
        f"{ROUNDS} rounds, {statistics.median(rounds):.2f} in the middle one; "
        f"{quiet:.1f} ms a second without work",
    )


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("per_message", [1, 10])
def test_the_parts_of_it(
    aws: Aws, tmp_path: Path, record_property: Callable[[str, object], None], per_message: int
) -> None:
    clocks = tmp_path / "clocks.json"
    jobs = JOBS
    with site(aws, tmp_path) as place:
        worker = _worker(place, clocks)
        load = _Load(place, worker, per_message)
        load.milliseconds_a_job(WARM_UP)
        worker.signal(signal.SIGUSR1)
        total = load.milliseconds_a_job(jobs)
        worker.process.terminate()
        assert worker.wait(30) == 0
        assert len(place.done()) == WARM_UP + jobs
    spent: dict[str, tuple[int, float]] = json.loads(clocks.read_text())
    requests = {part: one for part, one in spent.items() if part.startswith(REQUEST)}
    parts = {part: one for part, one in spent.items() if part not in requests}
    left = total - sum(milliseconds for _, milliseconds in parts.values()) / jobs
    parts["all else: threads, waiting, holdings"] = (0, left * jobs)
    lines = [f"{per_message} to a message, with clocks: {total:.2f} ms of CPU a job"]
    for table in (requests, parts):
        ordered = sorted(table.items(), key=lambda item: -item[1][1])
        lines += [
            f"    {milliseconds / jobs:6.3f} ms {calls / jobs:6.2f} calls a job  {part}"
            for part, (calls, milliseconds) in ordered
        ]
    record_property("figure", "\n".join(lines))
