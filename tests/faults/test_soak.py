"""Many jobs through one worker: nothing piles up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.conftest import Aws
from tests.fakes.engine import fake_audio
from tests.fakes.site import Site, Worker, site, wait_for


@dataclass(frozen=True)
class Usage:
    """What a quiet worker has of each."""

    descriptors: int
    threads: int
    children: int
    files: int
    memory: int


def _usage(place: Site, worker: Worker) -> Usage:
    process = psutil.Process(worker.pid)
    return Usage(
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        children=len(process.children(recursive=True)),
        files=len(place.leftovers()),
        memory=process.memory_info().rss,
    )


def _quiet(place: Site, worker: Worker, jobs: int, seconds: float) -> Usage:
    """Wait until `jobs` are done and the worker has settled, then look."""
    wait_for(lambda: not place.waiting(), seconds, "jobs are left")
    wait_for(lambda: len(worker.events("job.completed")) == jobs, 10, "jobs are missing")
    time.sleep(1.0)
    return _usage(place, worker)


def _soak(aws: Aws, folder: Path, *, jobs: int, first: int, seconds: float) -> str:
    with site(aws, folder) as place:
        uris = [place.upload(f"a{n}", fake_audio(10 + n, seed=n)) for n in range(10)]

        def send(start: int, end: int) -> None:
            for n in range(start, end):
                place.send({"input": uris[n % 10], "job_id": f"job-{n}", "formats": ["json"]})

        worker = place.worker(idle_timeout=600, visibility=30, batch_size=16)
        send(0, first)
        before = _quiet(place, worker, first, seconds)
        send(first, jobs)
        after = _quiet(place, worker, jobs, seconds)
        worker.process.terminate()
        assert worker.wait(30) == 0
    assert after.threads == before.threads
    assert after.children == before.children
    assert after.files == before.files == 0
    # The HTTP pools keep a connection for each thread that ever needed one at the same time.
    assert after.descriptors <= before.descriptors + 4
    # 2 KiB a job would be a leak worth finding; the allocator's own noise is some MiB.
    assert after.memory - before.memory < 8 * 2**20 + 2048 * (jobs - first)
    assert list((folder / "work").rglob("input*")) == []
    return f"{jobs} jobs: after {first} {before}, at the end {after}"


@pytest.mark.timeout(110)
def test_nothing_piles_up(aws: Aws, tmp_path: Path) -> None:
    _soak(aws, tmp_path, jobs=150, first=60, seconds=60)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_piles_up_over_two_thousand_jobs(
    aws: Aws, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    figures(_soak(aws, tmp_path, jobs=2000, first=100, seconds=800))
