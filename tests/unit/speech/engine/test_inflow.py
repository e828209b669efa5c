"""What comes from the prepare pool: frames become windows, and no file holds more than it may."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.engine_parts import decoded, end, parts, window
from worker.errors import ErrorCode, JobError
from worker.speech.api import Partial, WindowText
from worker.speech.config import QUEUED_SECONDS
from worker.speech.engine.file import File
from worker.speech.engine.inflow import (
    FILE_SHARE,
    HELD_BATCHES,
    HELD_SECONDS,
    MIN_HELD_SECONDS,
    most_held_seconds,
)
from worker.speech.engine.language import VOTERS

PATIENCE = 30.0


def test_a_frame_is_a_window_with_its_features_and_samples() -> None:
    engine = parts()
    file, feed = engine.file(samples=True)
    pcm = np.array([0, 32767, -32768], dtype="<i2")
    features = window(feed, 0, 2.0, pcm=pcm.tobytes())
    prepared = file.state.windows[0]
    assert prepared.seconds == pytest.approx(2.0)
    assert prepared.samples is not None
    np.testing.assert_array_equal(prepared.samples, pcm)
    batch = engine.batch()
    assert batch is not None
    (item,) = batch.items
    request = engine.flow.request(item)
    assert request is not None
    np.testing.assert_array_equal(request.sound, features)
    assert request.seconds == pytest.approx(2.0)
    assert request.language == "en"


def test_a_window_without_samples_has_none() -> None:
    engine = parts()
    file, feed = engine.file()
    window(feed, 0, 2.0)
    assert file.state.windows[0].samples is None


def test_a_window_that_the_checkpoint_has_is_not_decoded() -> None:
    engine = parts()
    kept = WindowText(index=0, start=0.0, end=2.0, text="kept", avg_logprob=-0.1)
    file, feed = engine.file(resume=Partial(windows=(kept,)))
    header = {"kind": "window", "index": 0, "spans": [[0, 32_000]], "speech": [[]], "done": True}
    feed.frame(header, b"")
    end(feed, 2.0)
    assert engine.batch() is None
    assert [segment.text for segment in file.future.result(0).segments] == ["kept"]
    assert file.future.result(0).resumed == 1


def test_a_file_is_answered_with_its_last_word_and_its_end() -> None:
    engine = parts()
    file, feed = engine.file()
    feed.frame({"kind": "opened", "stated_seconds": 50.0}, b"")
    assert file.progress() == (0.0, 50.0)
    window(feed, 0, 3.0)
    engine.decode()
    assert not file.future.done()
    assert engine.shared.stats.audio_seconds == 0.0
    end(feed, 40.0)
    recognition = file.future.result(0)
    assert [segment.text for segment in recognition.segments] == ["so it is"]
    assert recognition.audio_seconds == engine.shared.stats.audio_seconds == 40.0
    assert recognition.seconds == {"transcribe": 0.5, "decode": 0.25}
    assert engine.shared.files == {}


def test_what_comes_of_a_file_that_is_gone_is_dropped() -> None:
    engine = parts()
    file, feed = engine.file()
    window(feed, 0, 3.0)
    file.cancel()
    assert not feed.wanted()
    window(feed, 1, 3.0)
    end(feed, 40.0)
    assert len(engine.shared.batcher) == 0
    assert engine.shared.stats.audio_seconds == 0.0
    with pytest.raises(CancelledError):
        file.future.result(0)


def test_a_file_that_can_not_be_prepared_fails_with_the_reason() -> None:
    engine = parts()
    file, feed = engine.file()
    other, _ = engine.file()
    window(feed, 0, 3.0)
    feed.failed(JobError(ErrorCode.NOT_MEDIA, "no decoder knows it"))
    error = file.future.exception(0)
    assert isinstance(error, JobError)
    assert error.code is ErrorCode.NOT_MEDIA
    assert len(engine.shared.batcher) == 0
    assert not other.future.done()


def test_what_is_held_is_a_guess_until_windows_come_and_nothing_when_they_have_words() -> None:
    engine = parts()
    assert engine.inflow.held_seconds() == 0.0
    _, first = engine.file(name="first")
    engine.file(name="second")
    assert engine.inflow.held_seconds() == 2 * QUEUED_SECONDS
    window(first, 0, 4.0)
    window(first, 1, 5.0)
    assert engine.inflow.held_seconds() == pytest.approx(9.0 + QUEUED_SECONDS)
    engine.decode()
    end(first, 40.0)
    assert engine.inflow.held_seconds() == QUEUED_SECONDS


def test_one_file_may_hold_half_and_all_files_together_the_limit() -> None:
    engine = parts(held_seconds=1.0)  # raised to the least that is of use
    _, long = engine.file(name="long")
    _, other = engine.file(name="other")
    _, third = engine.file(name="third")
    count = 0
    while long.has_room():
        window(long, count, 20.0)
        count += 1
    assert MIN_HELD_SECONDS / FILE_SHARE <= count * 20.0 < MIN_HELD_SECONDS / FILE_SHARE + 20.0
    assert other.has_room()
    for index in range(8):
        window(other, index, 20.0)
    assert engine.inflow.held_seconds() >= MIN_HELD_SECONDS
    assert not third.has_room(), "it holds nothing, but there is no room left for anybody"


def test_a_vote_gets_its_windows_whatever_is_held() -> None:
    engine = parts()
    _, full = engine.file(name="full")
    for index in range(16):
        window(full, index, 20.0)
    assert not full.has_room()
    file, feed = engine.file(name="voting", language=None)
    for index in range(VOTERS):
        assert feed.has_room(), index
        window(feed, index, 20.0)
    assert not feed.has_room()
    file.cancel()
    assert feed.has_room(), "nobody may wait for a file that is gone"


@pytest.mark.parametrize("release", ["words", "cancel", "stop"])
def test_a_paused_file_goes_on_when_there_is_room_or_nobody_waits(release: str) -> None:
    engine = parts()
    file, feed = engine.file()
    for index in range(8):
        window(feed, index, 20.0)
    paused = threading.Thread(target=feed.wait_for_room, daemon=True)
    paused.start()
    paused.join(0.2)
    assert paused.is_alive()
    if release == "words":
        batch = engine.batch(1)
        assert batch is not None
        with engine.flow.lock:
            engine.flow.request(batch.items[0])
            engine.flow.decoded(batch.items[0], decoded("so it is"), 0.5)
    elif release == "cancel":
        file.cancel()
    else:
        engine.flow.stop()
    paused.join(PATIENCE)
    assert not paused.is_alive()


def test_a_batch_waits_for_windows_only_while_some_can_come() -> None:
    engine = parts()
    assert not engine.inflow.expecting(), "there is no file"
    _, feed = engine.file()
    assert engine.inflow.expecting()
    for index in range(16):
        window(feed, index, 20.0)
    assert not engine.inflow.expecting(), "no room: they wait for the batch"
    engine.decode()
    assert engine.inflow.expecting()
    window(feed, 16, 20.0)
    end(feed, 600.0)
    assert not engine.inflow.expecting(), "its windows are all here"


def test_frames_are_progress_only_while_the_device_has_nothing_to_do() -> None:
    engine = parts()
    _, feed = engine.file()
    began = engine.shared.last_step
    time.sleep(0.01)
    feed.frame({"kind": "progress"}, b"")
    seen = engine.shared.last_step
    assert seen > began
    window(feed, 0, 3.0)
    seen = engine.shared.last_step
    time.sleep(0.01)
    window(feed, 1, 3.0)
    assert engine.shared.last_step == seen, "a window waits for the device"


class Stage:
    """A whole-file stage of the test's own: looks on, and does as it is told."""

    name = "speakers"

    def __init__(self) -> None:
        self.heard: list[NDArray[np.float32]] = []
        self.error: JobError | None = None
        self.release = threading.Event()
        self.inside = threading.Event()
        self.release.set()

    def run(self, file: File, samples: NDArray[np.float32]) -> None:
        del file
        self.heard.append(samples)
        self.inside.set()
        assert self.release.wait(PATIENCE)
        if self.error is not None:
            raise self.error


def test_a_whole_file_stage_hears_all_samples_and_its_time_is_counted() -> None:
    stage = Stage()
    engine = parts(stages=lambda _: [stage])
    file, feed = engine.file()
    pieces = [np.arange(3, dtype=np.float32), np.arange(5, dtype=np.float32)]
    for piece in pieces:
        feed.frame({"kind": "samples"}, piece.tobytes())
    end(feed, 2.0)
    (heard,) = stage.heard
    np.testing.assert_array_equal(heard, np.concatenate(pieces))
    assert file.future.result(0).seconds["speakers"] >= 0.0
    silent, feed = engine.file()
    end(feed, 0.0)
    assert stage.heard[1].shape == (0,)
    assert silent.future.result(0).segments == ()


def test_a_recognition_waits_for_its_whole_file_stages() -> None:
    stage = Stage()
    stage.release.clear()
    engine = parts(stages=lambda _: [stage])
    file, feed = engine.file()
    window(feed, 0, 3.0)
    engine.decode()
    ending = threading.Thread(target=end, args=(feed, 3.0), daemon=True)
    ending.start()
    assert stage.inside.wait(PATIENCE)
    assert not file.state.windows, "every window has its words"
    assert not file.future.done()
    # Minutes of it, while the device has nothing to do, are no hang.
    engine.shared.last_step -= 1000.0
    progress = engine.shared.last_progress()
    assert progress is not None
    assert time.monotonic() - progress < 500.0
    stage.release.set()
    assert [segment.text for segment in file.future.result(PATIENCE).segments] == ["so it is"]
    ending.join(PATIENCE)
    assert engine.shared.whole_file == 0


def test_a_whole_file_stage_that_fails_fails_its_file() -> None:
    stage = Stage()
    stage.error = JobError(ErrorCode.ENGINE_FAILED, "too many speakers")
    engine = parts(stages=lambda _: [stage])
    file, feed = engine.file()
    window(feed, 0, 3.0)
    end(feed, 3.0)
    assert file.future.exception(0) is stage.error
    assert len(engine.shared.batcher) == 0
    assert engine.shared.failure is None
    assert engine.shared.whole_file == 0


def test_a_file_cancelled_in_a_whole_file_stage_decodes_nothing_more() -> None:
    stage = Stage()
    stage.release.clear()
    engine = parts(stages=lambda _: [stage])
    file, feed = engine.file(language=None)
    window(feed, 0, 3.0)
    window(feed, 1, 3.0)
    ending = threading.Thread(target=end, args=(feed, 3.0), daemon=True)
    ending.start()
    assert stage.inside.wait(PATIENCE)
    file.cancel()
    stage.release.set()
    ending.join(PATIENCE)
    assert not ending.is_alive()
    assert len(engine.shared.batcher) == 0
    assert engine.shared.stats.audio_seconds == 0.0


def test_what_may_be_held_is_what_was_asked_or_some_full_batches() -> None:
    assert most_held_seconds(0.0, 64) == HELD_BATCHES * 64 * 30
    assert most_held_seconds(0.0, 2) == HELD_SECONDS
    assert most_held_seconds(400.0, 64) == 400.0
    assert most_held_seconds(60.0, 64) == MIN_HELD_SECONDS
