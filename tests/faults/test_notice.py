"""A spot notice in the middle of a long job: nothing that was decoded is decoded again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import Aws
from tests.fakes.engine import fake_audio
from tests.fakes.imds import FakeImds
from tests.fakes.site import site, wait_for

WINDOWS = 40
NOTICE_SECONDS = 20.0


@pytest.mark.timeout(120)
def test_a_worker_ends_inside_the_notice_and_the_next_one_goes_on(aws: Aws, tmp_path: Path) -> None:
    slow = {"seconds_per_audio_second": 0.02, "batch_size": 2}
    audio = fake_audio(30.0 * WINDOWS, seed=1)
    with site(aws, tmp_path) as place, FakeImds() as imds:
        del imds["instance-id"]  # only notices: no Auto Scaling call is made
        uri = place.upload("long", audio)
        place.send({"input": uri, "job_id": "undisturbed"})
        assert place.worker().wait(30) == 0
        place.send({"input": uri, "job_id": "long"})
        first = place.worker(
            engine=slow,
            idle_timeout=600,
            drain_timeout=2,
            extra={
                "AWS_EC2_METADATA_DISABLED": "false",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.endpoint,
            },
        )
        wait_for(lambda: len(place.windows_of("long")) >= 6, 60, "no window was decoded")
        imds.announce_termination(NOTICE_SECONDS)
        noticed = time.monotonic()
        assert first.wait(NOTICE_SECONDS) == 0
        assert time.monotonic() - noticed < NOTICE_SECONDS
        (notice,) = first.events("drain.spot")
        assert notice["messages_held"] == 1
        checkpoint = place.read("long", "checkpoint.json")
        kept = {window["index"] for window in checkpoint["partial"]["windows"]}
        assert 6 <= len(kept) < WINDOWS
        assert place.done() == {"undisturbed"}
        assert len(place.waiting()) == 1

        assert place.worker().wait(60) == 0
        decoded = place.windows_of("long")
        assert {index: decoded[index] for index in kept} == dict.fromkeys(kept, 1)
        assert set(decoded) == set(range(WINDOWS))
        assert place.read("long")["segments"] == place.read("undisturbed")["segments"]
        assert place.read("long")["text"] == place.read("undisturbed")["text"]
        assert place.keys("transcripts/long/checkpoint") == []
        assert place.waiting() == place.dead() == []
