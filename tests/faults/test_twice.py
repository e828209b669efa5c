"""The same job in two workers at once: one result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.engine import fake_audio
from tests.fakes.site import site


@pytest.mark.timeout(90)
def test_of_two_workers_with_the_same_job_one_commits_and_the_other_ends_quietly(
    aws: Aws, tmp_path: Path
) -> None:
    with site(aws, tmp_path, versioned=True) as place:
        workers = [
            place.worker(
                engine={"seconds_per_audio_second": 0.02, "batch_size": 1},
                pace={"max_leases": 1},  # so that neither worker gets both messages of a pair
                idle_timeout=2,
            )
            for _ in range(2)
        ]
        for worker in workers:
            worker.wait_for_event("worker.ready")
        for number in range(3):
            uri = place.upload(f"a{number}", fake_audio(60, seed=number))
            for _ in range(2):
                place.send({"input": uri, "job_id": f"job-{number}"})
        assert [worker.wait(60) for worker in workers] == [0, 0]
        assert place.done() == {"job-0", "job-1", "job-2"}
        commits = {
            key: count
            for key, count in place.versions().items()
            if key.endswith("/transcript.json")
        }
        assert list(commits.values()) == [1, 1, 1], "no result was written over"
        ends = [event["event"] for worker in workers for event in worker.events()]
        assert ends.count("job.completed") == 3
        assert ends.count("job.already") == 3
        assert place.waiting() == place.dead() == []
        assert place.failed() == {}
        errors = [e for worker in workers for e in worker.events() if e["level"] == "error"]
        assert errors == []
