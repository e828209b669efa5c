"""A worker that is paused for longer than its lease: it commits nothing over the other's."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.site import site, wait_for


@pytest.mark.timeout(120)
def test_a_paused_worker_that_wakes_up_leaves_the_other_s_result_alone(
    aws: Aws, tmp_path: Path
) -> None:
    with site(aws, tmp_path, versioned=True) as place:
        paused = place.worker(
            engine={"seconds_per_audio_second": 0.05, "batch_size": 1},
            idle_timeout=600,
            visibility=3,
        )
        paused.wait_for_event("worker.ready")
        place.job("job", seconds=150)
        wait_for(lambda: place.windows_of("job"), 60, "no window was decoded")
        paused.signal(signal.SIGSTOP)
        other = place.worker(idle_timeout=1)
        other.wait_for_event("job.completed", seconds=60)
        assert place.done() == {"job"}
        first = place.read("job")
        paused.signal(signal.SIGCONT)
        paused.wait_for_event("job.lost")
        assert other.wait(30) == 0
        paused.process.terminate()
        assert paused.wait(30) == 0
        assert paused.events("job.completed") == []
        assert place.read("job") == first
        assert set(place.versions().values()) == {1}
        assert place.waiting() == place.dead() == []
        assert place.failed() == {}
        assert place.leftovers() == []
