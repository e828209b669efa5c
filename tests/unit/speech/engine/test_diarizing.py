"""Speakers beside the text: what counts as progress, what waits, and where samples lie."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from tests.fakes.engine_parts import Parts, end, parts, window
from tests.fakes.model import FakeModel, load_fake
from tests.fakes.speakers_child import chosen
from worker.errors import (
    EngineError,
    ErrorCode,
    JobError,
    MachineError,
    TransientError,
    WorkerError,
)
from worker.results.speakers import Diarization
from worker.speech.config import EngineConfig
from worker.speech.engine import diarizing
from worker.speech.engine.diarizing import WAITING_SECONDS, Diarizing
from worker.speech.engine.engine import Engine
from worker.speech.engine.file import File
from worker.speech.model.choices import Device
from worker.speech.model.loaded import Loaded
from worker.speech.speakers.choice import ModelChoice
from worker.speech.speakers.frames import Found, SpeakersConfig
from worker.speech.speakers.process import Client, SpeakersProcess
from worker.speech.windows import FULL_POSITIONS

CARD, CPU = Device("cuda", 0, "no card at all"), Device("cpu", 0, "a processor")


def _no_child(_: SpeakersConfig) -> NoReturn:
    raise AssertionError("nothing needs a child here")


class Idle(SpeakersProcess):
    """A process without a thread or a child: it keeps what it is given."""

    def __init__(self, device: Device) -> None:
        super().__init__(SpeakersConfig(chosen(), str(device)), start=_no_child)
        self.queued: list[Client] = []

    def submit(self, client: Client) -> None:
        self.queued.append(client)


class Kit:
    """Diarizing in an engine without threads; the test plays the process."""

    def __init__(self, device: Device = CPU, *, context: Literal["full", "adaptive"] = "full"):
        self.engine: Parts = parts(context=context)
        self.process = Idle(device)
        self.diarizing = Diarizing(
            ModelChoice(EngineConfig()),
            device,
            self.engine.shared,
            self.engine.flow,
            process=self.process,
        )
        self.engine.inflow.decoded = self.diarizing.decoded

    def file(self, scratch: Path, seconds: float, name: str = "job") -> tuple[File, Path]:
        """A file of one window, decoded to its end."""
        file, feed = self.engine.file(name=name, diarize=True)
        with self.engine.flow.lock:
            samples = Path(self.diarizing.add(file, scratch))
        samples.touch()
        window(feed, 0, 3.0)
        end(feed, seconds)
        return file, samples


@pytest.mark.parametrize("device", [CARD, CPU])
def test_a_silent_child_is_progress_only_while_the_device_has_nothing_to_do(
    device: Device, tmp_path: Path
) -> None:
    kit = Kit(device)
    kit.file(tmp_path, 3.0)
    shared = kit.engine.shared
    seen = shared.last_step = shared.last_step - 10.0
    assert kit.process.tick() is device.is_card, "text has every core of a CPU"
    assert shared.last_step == seen, "a window waits: a device that hangs is to be noticed"
    kit.engine.decode()
    assert kit.process.tick()
    assert shared.last_step > seen


def test_hours_of_audio_that_wait_are_counted_but_for_the_file_at_work(tmp_path: Path) -> None:
    kit = Kit()
    names = ("a", "b", "c")
    for name in names:
        (tmp_path / name).mkdir()
        kit.file(tmp_path / name, WAITING_SECONDS * 0.6, name)
    assert kit.diarizing.behind()
    kit.process.queued[0].begins()
    assert kit.diarizing.behind()
    kit.process.queued[1].begins()
    assert not kit.diarizing.behind()


def test_a_file_that_waits_holds_no_windows_and_its_samples_go_with_its_answer(
    tmp_path: Path,
) -> None:
    kit = Kit()
    file, samples = kit.file(tmp_path, 40.0)
    kit.engine.decode()
    assert not file.future.done()
    assert kit.engine.inflow.held_seconds() == 0.0
    assert file.progress() == (20.0, 40.0)
    (client,) = kit.process.queued
    client.begins()
    client.progress(0.5)
    assert file.progress() == (30.0, 40.0)
    client.found(Found(Diarization("x", (), ()), "cpu", ("A note.",)))
    assert not samples.exists()
    found = file.future.result(0)
    assert found.diarization == Diarization("x", (), ())
    assert "A note." in found.notes


def test_progress_never_falls_whether_text_or_speakers_are_told_first(tmp_path: Path) -> None:
    kit = Kit()
    file, _ = kit.file(tmp_path, 40.0)
    (client,) = kit.process.queued
    client.begins()
    assert file.progress() == (0.0, 40.0)
    client.progress(1.0)
    assert file.progress() == (20.0, 40.0)
    client.found(Found(Diarization("x", (), ()), "cpu", ()))
    assert file.progress() == (20.0, 40.0)
    kit.engine.decode()
    assert file.progress() == (40.0, 40.0)


def test_text_that_only_waits_for_speakers_keeps_nothing_to_be_decoded_again(
    tmp_path: Path,
) -> None:
    kit = Kit(context="adaptive")
    file, _ = kit.file(tmp_path, 40.0)
    kept: list[int] = []
    file.on_text_done(lambda: kept.append(len(file.state.short)))
    (item,) = kit.engine.decode("what the short window said")
    assert item.key.positions < FULL_POSITIONS
    assert kept == [0]


def test_a_result_that_can_not_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Kit()
    file, _ = kit.file(tmp_path, 40.0)
    kit.engine.decode()
    (client,) = kit.process.queued
    monkeypatch.setattr(type(file.state), "recognition", lambda *_: 1 / 0)
    client.found(Found(Diarization("x", (), ()), "cpu", ()))
    assert isinstance(file.future.exception(0), ZeroDivisionError)


def test_it_is_told_once_when_only_speakers_are_missing(tmp_path: Path) -> None:
    kit = Kit()
    file, _ = kit.file(tmp_path, 40.0)
    told: list[str] = []
    file.on_text_done(lambda: told.append("waited"))
    assert told == []
    kit.engine.decode()
    assert told == ["waited"]
    with kit.engine.flow.lock:
        kit.engine.flow.finish_if_done(file)
    file.on_text_done(lambda: told.append("late"))
    assert told == ["waited", "late"]
    (client,) = kit.process.queued
    client.begins()
    client.found(Found(Diarization("x", (), ()), "cpu", ()))
    assert file.future.done()
    assert told == ["waited", "late"]


def test_a_file_that_knows_its_speakers_first_never_waits_for_them(tmp_path: Path) -> None:
    kit = Kit()
    file, _ = kit.file(tmp_path, 40.0)
    plain, feed = kit.engine.file(name="plain")
    window(feed, 0, 3.0)
    end(feed, 3.0)
    told: list[File] = []
    for each in (file, plain):
        each.on_text_done(lambda each=each: told.append(each))  # type: ignore[misc]
    (client,) = kit.process.queued
    client.begins()
    client.found(Found(Diarization("x", (), ()), "cpu", ()))
    kit.engine.decode()
    assert file.future.done()
    assert plain.future.done()
    assert told == []


@pytest.mark.parametrize("cancelled", [False, True])
def test_samples_go_however_a_file_ends(tmp_path: Path, cancelled: bool) -> None:
    kit = Kit()
    file, samples = kit.file(tmp_path, 40.0)
    if cancelled:
        file.cancel()
    else:
        kit.engine.flow.fail(file, JobError(ErrorCode.ENGINE_FAILED, "a window fails"))
    assert not samples.exists()
    (client,) = kit.process.queued
    assert not client.wanted()
    client.failed(JobError(ErrorCode.DIARIZATION_FAILED, "too late"))
    assert file.future.cancelled() is cancelled


def test_a_process_whose_thread_ends_breaks_the_engine(tmp_path: Path) -> None:
    kit = Kit()
    file, _ = kit.file(tmp_path, 40.0)
    kit.process.broken(ZeroDivisionError("a defect"))
    assert isinstance(file.future.exception(0), EngineError)
    assert isinstance(kit.engine.shared.failure, ZeroDivisionError)


def test_one_folder_serves_all_who_bring_none_until_the_end_and_one_that_vanished_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kit = Kit()
    assert kit.diarizing.ensure(tmp_path / "own") == tmp_path / "own"
    assert list(tmp_path.iterdir()) == []
    first = kit.diarizing.ensure(None)
    assert kit.diarizing.ensure(None) == first
    (_, one), (_, other) = (kit.file(first, 40.0, name) for name in ("a", "b"))
    assert one != other
    shutil.rmtree(first)
    assert kit.diarizing.ensure(None).is_dir()
    monkeypatch.setattr(kit.process, "stop", lambda: None)
    kit.diarizing.stop()
    with pytest.raises(EngineError, match="the engine is stopped"):
        kit.diarizing.ensure(None)
    kit.diarizing.close()
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_can_not_be_made_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(TransientError, match=f"'{tmp_path / 'gone'}/samples"):
        Kit().diarizing.ensure(None)


class Told(Idle):
    """Loads as a test wants it."""

    def __init__(self, device: Device, steps: list[str], error: WorkerError | None = None) -> None:
        super().__init__(device)
        self._steps, self._error = steps, error

    def start(self) -> None:
        self._steps.append("speakers")

    def wait_until_loaded(self) -> None:
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._steps.append("stopped")


def _no_stages(*_: object) -> NoReturn:
    raise RuntimeError("a defect")


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (None, RuntimeError),  # what is assembled then fails
        (TransientError("too slow"), EngineError),
        (JobError(ErrorCode.DIARIZATION_NOT_AVAILABLE, "a file is damaged"), MachineError),
    ],
)
def test_a_named_model_is_loaded_after_whisper_and_goes_with_a_start_that_fails(
    monkeypatch: pytest.MonkeyPatch, found: WorkerError | None, error: type[Exception]
) -> None:
    """The memory of a card is measured between the two."""
    steps: list[str] = []

    def load(config: EngineConfig) -> Loaded:
        steps.append("whisper")
        return load_fake(config, FakeModel())

    monkeypatch.setattr(diarizing, "require", lambda _: chosen())
    engine = Engine(
        EngineConfig(model="fake", device="cpu", word_times="none"),
        load=load,
        stages=_no_stages,
        speakers=lambda _, device: Told(device, steps, found),
    )
    with pytest.raises(error):
        engine.start()
    assert steps == ["whisper", "speakers", "stopped"]
