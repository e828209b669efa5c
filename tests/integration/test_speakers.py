"""Who speaks, beside the text: the real engine and children around models that are scripted."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.engines import ENGLISH, PATIENCE, making_engines, until
from tests.fakes import speakers_child
from tests.fakes.model import FakeModel
from tests.fakes.speakers_child import HALVES
from tests.fakes.speech import talk
from worker.errors import EngineError, ErrorCode, JobError, MachineError, TransientError
from worker.speech.api import Submission
from worker.speech.engine import diarizing
from worker.speech.engine.engine import Engine
from worker.speech.speakers import choice, packaged
from worker.speech.speakers.choice import ModelChoice

ASKED = replace(ENGLISH, diarize=True, max_speakers=3)

Make = Callable[..., Engine]
"""Takes (model, script of `speakers_child`, fields of `EngineConfig`); gives a started engine."""


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(ModelChoice, "make", lambda _: speakers_child.chosen())
    monkeypatch.setattr(choice, "why_not", lambda _: "")
    with making_engines() as make:
        yield lambda model, script=HALVES, **config: make(
            model, speakers=partial(speakers_child.make_process, script), max_wait=0.05, **config
        )


def wait_for_text(submission: Submission) -> None:
    done = threading.Event()
    submission.on_text_done(done.set)
    assert done.wait(PATIENCE), "something else than its speakers is missing"


def test_a_file_has_its_answer_when_text_and_speakers_are_there(
    engines: Make, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    opened = threading.Event()
    engine = engines(FakeModel(gate=lambda: opened.wait(PATIENCE)))
    path = talk(tmp_path / "a.wav", bursts=2)
    bounded = replace(ASKED, min_speakers=3)
    submission = engine.submit(path, bounded, name="a", scratch=scratch)
    # Speakers are told apart while the text is still to come, and their samples are gone then.
    until(lambda: submission.state.diarization)  # type: ignore[attr-defined] # the engine's own
    assert not submission.future.done()
    assert list(scratch.iterdir()) == []
    opened.set()
    found = submission.future.result(PATIENCE)
    assert found.diarization is not None
    assert found.diarization.diarizer == "scripted"
    seconds = found.audio_seconds
    assert [(v.start, v.end) for v in found.diarization.exclusive] == [
        (0.0, seconds / 2), (seconds / 2, seconds),
    ]  # fmt: skip
    assert found.diarization.voices[1].speaker == "3 to 3"
    assert found.notes == (
        "A note on the model.",
        "min_speakers = 3, but 2 speakers were found.",
    )
    assert found.seconds["diarize"] > 0.0
    assert len(found.segments) == 2
    plain = engine.submit(path, ENGLISH, name="plain").future.result(PATIENCE)
    assert plain.diarization is None
    assert plain.segments == found.segments
    # A folder that is gone is the world's fault, and no other file's.
    gone = engine.submit(path, ASKED, name="gone", scratch=tmp_path / "vanished")
    with pytest.raises(TransientError, match="No such file or directory"):
        gone.future.result(PATIENCE)


def test_files_that_wait_for_speakers_leave_others_alone_and_end_with_the_engine(
    engines: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(diarizing, "WAITING_SECONDS", 20.0)
    path = talk(tmp_path / "a.wav", bursts=2)
    engine = engines(FakeModel(), "stands still")
    waiting = [engine.submit(path, ASKED, name=str(n)) for n in range(4)]
    for each in waiting:
        wait_for_text(each)
    until(lambda: engine.held_seconds() == engine.most_held_seconds())
    assert len(list(tmp_path.glob("samples-*/samples-*"))) == 4
    other = engine.submit(path, ENGLISH, name="other").future.result(PATIENCE)
    assert len(other.segments) == 2
    assert not any(each.future.done() for each in waiting)
    # The child says nothing, and a watchdog need not fear for the device.
    before = engine.last_progress()
    assert before is not None
    until(lambda: (engine.last_progress() or 0.0) > before)
    # Of what waits no more than may; the first is in the child's hands.
    waiting[3].cancel()
    waiting[2].cancel()
    assert engine.held_seconds() == 0.0
    engine.stop()
    for each in waiting:
        with pytest.raises(CancelledError):
            each.future.result(0)
    assert list(tmp_path.glob("samples-*")) == []


def test_a_job_that_ends_before_its_speakers_are_told_keeps_its_whole_text(
    engines: Make, tmp_path: Path
) -> None:
    path = talk(tmp_path / "a.wav", bursts=3)
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    failing = engines(model, "has no room")
    failed = failing.submit(path, ASKED, name="failed")
    # One that fails without its speakers is decoded to its end first.
    until(lambda: failed.state.failure)  # type: ignore[attr-defined] # the engine's own
    assert not failed.future.done()
    opened.set()
    error = failed.future.exception(PATIENCE)
    assert isinstance(error, JobError)
    assert error.code is ErrorCode.DIARIZATION_FAILED
    assert failing.failure() is None
    kept = failed.partial()
    assert len(kept.windows) == model.encoded_windows == 3
    engine = engines(model, "stands still")
    interrupted = engine.submit(path, ASKED, name="interrupted", resume=kept)
    wait_for_text(interrupted)
    kept = interrupted.partial()
    interrupted.cancel()
    found = engines(model).submit(path, ASKED, name="again", resume=kept).future.result(PATIENCE)
    assert found.diarization is not None
    assert (found.resumed, found.windows, len(found.segments)) == (3, 3, 3)
    assert model.encoded_windows == 3, "its text was decoded once"


def test_without_a_model_no_job_that_asks_is_decoded(
    engines: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(packaged, "folder", lambda: None)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    model = FakeModel()
    engine = engines(model, diarize_model="auto", model_dir=tmp_path)
    for refuse in (
        lambda: engine.check(ASKED),
        lambda: engine.submit(talk(tmp_path / "a.wav"), ASKED, name="a"),
    ):
        with pytest.raises(JobError) as caught:
            refuse()
        assert caught.value.code is ErrorCode.DIARIZATION_NOT_AVAILABLE
    engine.check(ENGLISH)
    assert model.calls == []


def test_a_model_that_is_named_is_loaded_at_the_start_or_nothing_starts(
    engines: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diarizing, "require", lambda _: speakers_child.chosen())
    with pytest.raises(MachineError, match="a file is damaged"):
        engines(FakeModel(), "can't be loaded", diarize_model="packaged")
    engine = engines(FakeModel(), diarize_model="packaged")
    assert len(engine.children()) >= 1
    engine.stop()
    with pytest.raises(EngineError):
        engine.submit(Path("-"), ASKED, name="late")
