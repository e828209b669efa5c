"""Signals to a real process, and a device that hangs for ever."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import Aws
from tests.fakes.media import encode
from tests.fakes.site import REAL_WORKER, site, wait_for
from tests.fakes.speech import samples_of
from worker.cli.demo import sample_recording


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_held_and_exits_0(
    aws: Aws, tmp_path: Path, number: signal.Signals
) -> None:
    with site(aws, tmp_path) as place:
        place.job("held", seconds=60)
        worker = place.worker(
            engine={"seconds_per_audio_second": 0.03, "batch_size": 1}, idle_timeout=600
        )
        wait_for(lambda: place.windows_of("held"), 60, "no window was decoded")
        worker.signal(number)
        assert worker.wait(20) == 0
        assert place.done() == {"held"}
        assert place.waiting() == []
        assert worker.events("drain.signal")[0]["message"].startswith(number.name)


def test_a_second_signal_ends_it_at_once(aws: Aws, tmp_path: Path) -> None:
    with site(aws, tmp_path) as place:
        place.job("long", seconds=3000)
        worker = place.worker(
            engine={"seconds_per_audio_second": 0.03, "batch_size": 1}, idle_timeout=600
        )
        wait_for(lambda: place.windows_of("long"), 60, "no window was decoded")
        worker.signal(signal.SIGTERM)
        worker.wait_for_event("drain.signal")
        assert worker.running
        worker.signal(signal.SIGTERM)
        began = time.monotonic()
        assert worker.wait(10) == 1
        assert time.monotonic() - began < 3
        assert place.leftovers() == []
        assert len(place.waiting()) == 1, "its lease will lapse"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_second_interrupt_of_the_real_engine_leaves_nothing(aws: Aws, tmp_path: Path) -> None:
    """Native threads are in the middle of a batch: none aborts, no child or file is left."""
    recording = encode(
        tmp_path / "long.flac", np.tile(samples_of(sample_recording()), 40), codec="flac"
    )
    with site(aws, tmp_path) as place:
        uri = place.upload(recording.name, recording.read_bytes())
        place.send({"input": uri, "job_id": "long", "language": "en", "words": False})
        worker = place.worker(
            command=REAL_WORKER,
            idle_timeout=600,
            model="base",
            device="cpu",
            compute_type="int8",
            word_times="none",
        )
        worker.wait_for_event("batch.completed", seconds=120)
        children = psutil.Process(worker.pid).children(recursive=True)
        assert children
        worker.signal(signal.SIGINT)
        worker.wait_for_event("drain.signal")
        worker.signal(signal.SIGINT)
        assert worker.wait(10) == 1
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
        assert place.leftovers() == []
        log = worker.log.read_text()
        for sign in ("Traceback", "terminate called", "Fatal Python error"):
            assert sign not in log


def test_a_signal_while_the_model_loads_ends_it(aws: Aws, tmp_path: Path) -> None:
    with site(aws, tmp_path) as place:
        place.job("a")
        worker = place.worker(engine={"start_seconds": 60}, metrics_emf=True)
        wait_for(lambda: list((tmp_path / "work").glob("*/*")), 60, "it does not start")
        time.sleep(0.5)
        worker.signal(signal.SIGTERM)
        assert worker.wait(15) == 0
        assert len(place.waiting()) == 1


def test_a_batch_that_outlasts_the_stop_is_abandoned_and_the_worker_is_well(
    aws: Aws, tmp_path: Path
) -> None:
    with site(aws, tmp_path) as place:
        place.job("slow", seconds=60)
        worker = place.worker(
            # A window takes the device a minute.
            engine={"seconds_per_audio_second": 2, "batch_size": 1, "stop_waits": None},
            pace={"engine_stop": 0.5},
            idle_timeout=600,
            drain_timeout=0.2,
            visibility=60,
        )
        worker.wait_for_event("job.started")
        worker.signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        (drained,) = worker.events("drain.finished")
        assert (drained["jobs_done"], drained["jobs_given_back"]) == (0, 1)
        assert [event["job_id"] for event in worker.events("job.interrupted")] == ["slow"]
        assert len(worker.events("engine.abandoned")) == 1
        assert worker.events("engine.stuck") == []
        assert [event["level"] for event in worker.events() if event["level"] == "error"] == []
        assert place.depth() == (1, 0), "at once, not after its visibility timeout"
        assert place.leftovers() == []


def test_a_hung_device_ends_the_process_and_the_queue_has_its_job_back(
    aws: Aws, tmp_path: Path
) -> None:
    with site(aws, tmp_path) as place:
        place.job("hangs", seconds=60, marker="hang", marker_window=1)
        worker = place.worker(
            idle_timeout=600, watchdog_timeout=2, visibility=60, engine={"batch_size": 1}
        )
        assert worker.wait(40) == 1
        assert [event["level"] for event in worker.events("engine.hung")] == ["error"]
        assert place.depth() == (1, 0), "at once, not after its visibility timeout"
        assert place.receive_count() == 2, "it did not take it back itself"
        assert place.leftovers() == []
        kept = place.read("hangs", "checkpoint.json")
        assert [window["index"] for window in kept["partial"]["windows"]] == [0]
