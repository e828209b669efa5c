"""Far more messages than a worker can do: it takes what it can hold and no more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import Aws
from tests.fakes.engine import fake_audio
from tests.fakes.site import site
from worker.daemon import policy

BATCH_SIZE = 8


def _flood(aws: Aws, folder: Path, *, messages: int, seconds: float) -> str:
    bound = policy.lease_bound(BATCH_SIZE)
    with site(aws, folder) as place:
        uri = place.upload("a", fake_audio(30))
        for number in range(messages):
            place.send({"input": uri, "job_id": f"job-{number}", "formats": ["json"]})
        worker = place.worker(
            engine={"seconds_per_audio_second": 0.01, "batch_size": 2},
            idle_timeout=600,
            visibility=30,
            drain_timeout=0,
            batch_size=BATCH_SIZE,
        )
        worker.wait_for_event("job.completed", 5)
        process = psutil.Process(worker.pid)
        before = process.memory_info().rss
        most = before
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            most = max(most, process.memory_info().rss)
            time.sleep(0.2)
        # Memory follows what is held, not what waits.
        assert most - before < 24 * 2**20, "memory grew"
        held = place.sqs.most_held(place.queue_url)
        assert bound / 2 < held <= bound
        worker.process.terminate()
        assert worker.wait(30) == 0
        done = len(place.done())
        left = place.waiting()
        assert done >= 10
        assert done + len(left) == messages
        assert place.depth() == (len(left), 0), "all were released at once"
        assert len({json.loads(body)["job_id"] for body in left}) == len(left)
        return (
            f"{messages} messages waiting: at most {held} held (bound {bound}), memory "
            f"{before / 2**20:.0f} to {most / 2**20:.0f} MiB over {done} jobs"
        )


@pytest.mark.timeout(90)
def test_a_thousand_messages_are_not_hoarded(aws: Aws, tmp_path: Path) -> None:
    _flood(aws, tmp_path, messages=1000, seconds=6)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_ten_thousand_messages_are_not_hoarded(
    aws: Aws, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    figures(_flood(aws, tmp_path, messages=10_000, seconds=120))
