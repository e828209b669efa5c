"""A job that kills every worker that takes it: it is given up, and the innocent survive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.site import Worker, site
from tests.fakes.sqs_strict import SkippingClock, StrictSqs

VISIBILITY = 5
LAST_POLL = 1.2
"""A worker under test polls for a second."""


def _run(
    aws: Aws, folder: Path, *, max_failures: int, innocents: int, seconds: float, skip: bool
) -> int:
    """Start what dies again, as systemd would, until nothing waits; the number of deaths.

    What a worker held comes back when its visibility timeout is over. `skip` takes the queue over
    those seconds, once the last poll of the dead is answered: then all of it comes back at once.
    """
    clock = SkippingClock()
    with StrictSqs(clock=clock) as sqs, site(aws, folder, sqs=sqs, max_receives=10) as place:
        place.job("poison", seconds=60, marker="crash", marker_window=1)
        for number in range(innocents):
            place.job(f"innocent-{number}", seconds=40, seed=number)
        workers: list[Worker] = []
        deadline = time.monotonic() + seconds
        while place.waiting() and time.monotonic() < deadline:
            if not workers or not workers[-1].running:
                if workers and skip:
                    time.sleep(LAST_POLL)
                    clock.skip(VISIBILITY)
                workers.append(
                    place.worker(
                        engine={"seconds_per_audio_second": 0.005, "batch_size": 2},
                        idle_timeout=600,
                        max_failures=max_failures,
                        visibility=VISIBILITY,
                    )
                )
            time.sleep(0.1)
        assert place.waiting() == []
        assert place.done() == {f"innocent-{number}" for number in range(innocents)}
        assert place.failed() == {"poison": "too_many_attempts"}
        (letter,) = place.dead()
        assert "poison" in letter
        alone = [event for worker in workers for event in worker.events("job.suspect")]
        assert "poison" in {event["job_id"] for event in alone}
        return sum(worker.process.returncode == -9 for worker in workers)


@pytest.mark.timeout(150)
def test_a_job_that_kills_is_given_up_and_the_innocent_survive(aws: Aws, tmp_path: Path) -> None:
    deaths = _run(aws, tmp_path, max_failures=1, innocents=8, seconds=120, skip=True)
    assert deaths == 2 + 4, "two in company (the first leaves no mark), four alone"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_with_default_settings_a_job_that_kills_ends_with_the_queue_s_receives(
    aws: Aws, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    deaths = _run(aws, tmp_path, max_failures=3, innocents=30, seconds=280, skip=False)
    assert deaths == 10
    figures(f"{deaths} deaths until the poison was given up, 30 innocents done")
