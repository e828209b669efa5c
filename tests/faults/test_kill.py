"""kill -9: workers die at random, and yet each job gets its one result."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Aws
from tests.fakes.site import REAL_WORKER, Site, Worker, site

Send = Callable[[int], None]

# A step of the fake device takes 0.3 s at most, a job one or two of them.
WORKER: dict[str, Any] = {
    "engine": {"seconds_per_audio_second": 0.01, "batch_size": 2},
    "idle_timeout": 600,
}


def _run(
    place: Site,
    send: Send,
    start: Callable[[], Worker],
    *,
    jobs: int,
    per_second: float,
    seconds: float,
    life: Callable[[random.Random, float], float],
    seed: int,
) -> int:
    """Two workers on one queue, each killed at random; returns the number of kills.

    The jobs come one after the other, so that the kills strike workers in the middle of work.

    Args:
        place: where.
        send: sends the job of a number.
        start: starts a worker.
        jobs: how many.
        per_second: how many are sent a second.
        seconds: after which it is given up.
        life: how many seconds a worker that took so many to get ready lives from then on.
        seed: of the draw.
    """
    rng = random.Random(seed)
    workers = [start() for _ in range(2)]
    started = [time.monotonic() for _ in workers]
    due: list[float | None] = [None, None]
    began = time.monotonic()
    sent = kills = 0
    while (sent < jobs or place.waiting()) and time.monotonic() < began + seconds:
        while sent < min(jobs, 1 + (time.monotonic() - began) * per_second):
            send(sent)
            sent += 1
        for n, worker in enumerate(workers):
            moment = due[n]
            if moment is None:
                if worker.events("worker.ready"):
                    now = time.monotonic()
                    due[n] = now + life(rng, now - started[n])
            elif time.monotonic() >= moment:
                worker.kill()
                kills += 1
                workers[n], due[n], started[n] = start(), None, time.monotonic()
        time.sleep(0.1)
    return kills


def _send(place: Site, number: int) -> None:
    seconds = random.Random(number).uniform(1, 90)
    place.job(f"job-{number:03}", seconds=seconds, seed=number)


def _some_seconds(rng: random.Random, _startup: float) -> float:
    return rng.uniform(1.0, 6.0)


def _check(place: Site, jobs: int) -> None:
    assert place.waiting() == []
    assert place.failed() == {}
    assert place.dead() == []
    assert place.done() == {f"job-{number:03}" for number in range(jobs)}
    commits = {k: n for k, n in place.versions().items() if k.endswith("/transcript.json")}
    assert set(commits.values()) == {1}, "a result was overwritten"


@pytest.mark.timeout(150)
def test_two_workers_killed_at_random_lose_and_repeat_nothing(aws: Aws, tmp_path: Path) -> None:
    with site(aws, tmp_path, versioned=True, max_receives=30) as place:
        kills = _run(
            place,
            partial(_send, place),
            partial(place.worker, **WORKER),
            jobs=30,
            per_second=2.0,
            seconds=120,
            life=_some_seconds,
            seed=4,
        )
        _check(place, 30)
        assert kills >= 3, "too few kills to show anything"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_hundred_jobs_survive_random_kills(
    aws: Aws, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    with site(aws, tmp_path, versioned=True, max_receives=30) as place:
        kills = _run(
            place,
            partial(_send, place),
            partial(place.worker, **WORKER),
            jobs=200,
            per_second=1.0,
            seconds=840,
            life=_some_seconds,
            seed=5,
        )
        _check(place, 200)
        assert kills >= 20, "too few kills to show anything"
        windows = place.decoded()
        figures(
            f"200 jobs, {kills} kills: 200 commits, each written once; "
            f"{len(windows)} windows decoded {sum(windows.values())} times"
        )


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_real_model_survives_random_kills(
    aws: Aws, tmp_path: Path, speech_dir: Path, figures: Callable[[str], None]
) -> None:
    """The command `run` with the base model on recorded speech; nothing in it is a fake."""
    clips = sorted((speech_dir / "english").glob("*.flac"))[:12]
    with site(aws, tmp_path, versioned=True, max_receives=30) as place:

        def send(number: int) -> None:
            clip = clips[number]
            uri = place.upload(clip.name, clip.read_bytes())
            place.send({"input": uri, "job_id": f"job-{number:03}", "language": "en"})

        def start() -> Worker:
            return place.worker(
                command=REAL_WORKER,
                idle_timeout=600,
                visibility_timeout=10,
                model="base",
                device="cpu",
                compute_type="int8",
                batch_size=4,
                word_times="attention",
                num_workers=1,
            )

        kills = _run(
            place,
            send,
            start,
            jobs=len(clips),
            per_second=0.2,
            seconds=840,
            # Long enough for a job or two, however slow the machine is today.
            life=lambda rng, startup: startup * rng.uniform(0.3, 1.5),
            seed=6,
        )
        _check(place, len(clips))
        assert kills >= 3, "too few kills to show anything"
        assert all(place.read(f"job-{n:03}")["text"] for n in range(len(clips)))
        figures(f"{len(clips)} clips with the base model, {kills} kills: each committed once")
