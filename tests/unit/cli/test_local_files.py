"""Local files through an engine: names, refusals, failures, figures. The engine is a fake."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine import FakeEngine
from tests.fakes.local_files import audio, found
from worker.cli.local_files import Report, Watcher, transcribe_files
from worker.cli.media_files import FileFailure
from worker.cli.progress import Progress
from worker.cli.result_files import ResultFiles
from worker.cli.targets import plan
from worker.errors import EngineError, ErrorCode, TransientError
from worker.results.names import Format
from worker.results.transcript import Transcript
from worker.speech.api import Options, Submission

FORMATS: tuple[Format, ...] = ("json", "srt", "vtt", "txt")


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.stop()


def run(
    paths: list[Path],
    output: Path,
    engine: FakeEngine,
    *,
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Report:
    todo = plan(found(*paths), output, FORMATS, existing="overwrite")
    assert not todo.failures
    return transcribe_files(
        todo.targets,
        engine,
        ResultFiles(overwrite=True),
        options=options or Options(),
        load_seconds=1.5,
        watcher=watcher,
    )


def test_every_format_of_every_file_is_written(tmp_path: Path, engine: FakeEngine) -> None:
    paths = [audio(tmp_path / "in" / f"call-{n}.flac", 40.0 + n, seed=n) for n in range(3)]
    report = run(paths, tmp_path / "new" / "out", engine)
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(
        f"call-{n}.{fmt}" for n in range(3) for fmt in FORMATS
    )
    for n, path in enumerate(paths):
        text = (tmp_path / "new" / "out" / f"call-{n}.json").read_text(encoding="utf-8")
        transcript = Transcript.model_validate_json(text)
        assert transcript.job_id == f"call-{n}"
        assert transcript.input.uri == path.name
        assert transcript.input.bytes == path.stat().st_size
        assert transcript.input.audio_seconds == 40.0 + n
        assert transcript.timings.total >= transcript.timings.write >= 0
        assert transcript.speed > 0
        assert len(transcript.segments) == 2
    assert report.failures == []


def test_the_time_of_writing_is_in_the_result(tmp_path: Path, engine: FakeEngine) -> None:
    # Timings are whole milliseconds, and a short file is written in less than one.
    path = audio(tmp_path / "long.flac", 10_800.0)
    run([path], tmp_path / "out", engine)
    text = (tmp_path / "out" / "long.json").read_text(encoding="utf-8")
    timings = Transcript.model_validate_json(text).timings
    assert timings.total >= timings.write > 0


def test_the_figures(tmp_path: Path, engine: FakeEngine) -> None:
    warm_up = audio(tmp_path / "warm-up.flac", 90.0)
    run([warm_up], tmp_path / "warm", engine)
    paths = [audio(tmp_path / f"{n}.flac", 61.0, seed=n) for n in range(2)]
    stats = json.loads(run(paths, tmp_path / "out", engine).stats.to_json())
    assert stats["files"] == 2
    assert stats["failed"] == 0
    assert stats["audio_seconds"] == 122.0
    assert stats["load_seconds"] == 1.5
    assert stats["windows"] == 6
    assert 1 <= stats["batches"] <= 2
    assert stats["batch_slots"] == 8 * stats["batches"]
    assert 0 < stats["seconds"] < 30


def test_a_file_that_fails_is_reported_and_the_others_are_done(
    tmp_path: Path, engine: FakeEngine
) -> None:
    good = audio(tmp_path / "good.flac", 10)
    bad = audio(tmp_path / "bad.flac", 10, marker="bad")
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    reported: list[FileFailure] = []
    watcher = Watcher(on_failure=reported.append)
    report = run([bad, text, good], tmp_path / "out", engine, watcher=watcher)
    assert {(f.path, f.code) for f in report.failures} == {
        (bad, ErrorCode.DECODE_FAILED),
        (text, ErrorCode.NOT_MEDIA),
    }
    assert report.stats.files == 1
    assert report.stats.failed == 2
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"good"}
    assert reported == report.failures


def test_what_is_in_the_way_of_one_file_fails_it_alone(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = engine.submit

    def full(path: Path, *args: Any, **kwargs: Any) -> Submission:
        if path.stem == "full":
            raise TransientError("no folder can be made: No space left on device: '/tmp/x'")
        return submit(path, *args, **kwargs)

    monkeypatch.setattr(engine, "submit", full)
    paths = [audio(tmp_path / f"{name}.flac", 10) for name in ("full", "good")]
    report = run(paths, tmp_path / "out", engine)
    ((failed, why),) = ((failure.path, failure.message) for failure in report.failures)
    assert failed == paths[0]
    assert "'/tmp/x'" in why
    assert report.stats.files == 1


def test_options_that_the_model_can_not_meet_fail_the_file(
    tmp_path: Path, engine: FakeEngine
) -> None:
    path = audio(tmp_path / "a.flac", 10)
    report = run([path], tmp_path / "out", engine, options=Options(language="xx"))
    assert [f.code for f in report.failures] == [ErrorCode.LANGUAGE_NOT_SUPPORTED]


def test_words_are_left_out_where_not_wanted(tmp_path: Path, engine: FakeEngine) -> None:
    path = audio(tmp_path / "a.flac", 10)
    for words in (True, False):
        run([path], tmp_path / "out", engine, options=Options(words=words))
        result = json.loads((tmp_path / "out" / "a.json").read_text())
        assert bool(result["segments"][0]["words"]) is words


def test_a_file_without_speech_gives_valid_empty_files(tmp_path: Path, engine: FakeEngine) -> None:
    path = audio(tmp_path / "silence.wav", 0)
    report = run([path], tmp_path / "out", engine)
    assert report.stats.files == 1
    result = json.loads((tmp_path / "out" / "silence.json").read_text())
    assert result["segments"] == []
    assert result["language"] is None
    assert (tmp_path / "out" / "silence.txt").read_text() == ""


def test_no_more_audio_goes_in_than_may_be_held(tmp_path: Path) -> None:
    class Watched(FakeEngine):
        most = 0.0

        def held_seconds(self) -> float:
            held = super().held_seconds()
            self.most = max(self.most, held)
            return held

    engine = Watched(seconds_per_audio_second=0.0005, most_held=60.0)
    engine.start()
    paths = [audio(tmp_path / f"{n}.flac", 30.0, seed=n) for n in range(12)]
    try:
        report = run(paths, tmp_path / "out", engine)
    finally:
        engine.stop()
    assert report.stats.files == 12
    assert 0 < engine.most <= 60.0 + 30.0


def test_a_broken_engine_ends_the_command(tmp_path: Path, engine: FakeEngine) -> None:
    path = audio(tmp_path / "a.flac", 10, marker="sticky")
    with pytest.raises(EngineError, match="the device is lost"):
        run([path], tmp_path / "out", engine)


def test_a_result_that_can_not_be_written_fails_its_file_alone(
    tmp_path: Path, engine: FakeEngine
) -> None:
    """The file system refuses, as where a disk is full, once all is transcribed."""
    small, large = audio(tmp_path / "small.flac", 5), audio(tmp_path / "large.flac", 3600)
    last = audio(tmp_path / "last.flac", 5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        report = run([small, large, last], tmp_path / "out", engine)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (failure,) = report.failures
    assert failure.path == large
    assert failure.message.startswith(f"{tmp_path / 'out' / 'large.'}")
    assert failure.message.endswith(" can't be written: File too large")
    assert (report.stats.files, report.stats.failed) == (2, 1)
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"small", "last"}


def test_what_is_missing_is_written_beside_what_is_there(
    tmp_path: Path, engine: FakeEngine
) -> None:
    path = audio(tmp_path / "a.flac", 5)
    kept = tmp_path / "a.json"
    kept.write_text("kept")
    todo = plan(found(path), tmp_path, FORMATS, existing="skip")
    report = transcribe_files(
        todo.targets, engine, ResultFiles(), options=Options(), load_seconds=0
    )
    assert report.failures == []
    assert kept.read_text() == "kept"
    assert {path.name for path in tmp_path.glob("a.*")} == {
        "a.flac", *(f"a.{fmt}" for fmt in FORMATS),
    }  # fmt: skip


def test_how_far_it_is_goes_up_to_all_of_it(tmp_path: Path) -> None:
    engine = FakeEngine(seconds_per_audio_second=0.002, batch_size=1, most_held=100)
    engine.start()
    paths = [audio(tmp_path / f"{n}.flac", 60.0 + n, seed=n) for n in range(3)]
    shown: list[Progress] = []
    try:
        run(paths, tmp_path / "out", engine, watcher=Watcher(on_progress=shown.append))
    finally:
        engine.stop()
    assert [progress.total for progress in shown] == [3] * len(shown)
    seconds = [progress.seconds or 0.0 for progress in shown]
    assert seconds == sorted(seconds)
    assert any(progress.done < 3 and (progress.seconds or 0) > 0 for progress in shown)
    assert any(progress.estimated for progress in shown), "the last waits outside of the engine"
    assert (shown[-1].done, shown[-1].seconds, shown[-1].of_seconds) == (3, 183.0, 183.0)


def test_a_run_that_is_stopped_keeps_what_is_done(tmp_path: Path) -> None:
    engine = FakeEngine(seconds_per_audio_second=0.005, batch_size=1)
    engine.start()
    paths = [audio(tmp_path / f"{n}.flac", 1.0 if n < 2 else 3000.0, seed=n) for n in range(4)]
    out = tmp_path / "out"
    began = time.monotonic()
    try:
        report = run(
            paths, out, engine, watcher=Watcher(stopping=lambda: (out / "1.json").exists())
        )
    finally:
        engine.stop()
    assert time.monotonic() - began < 10, "not the hour that the others would take"
    assert (report.stats.files, report.failures) == (2, [])
    assert {path.stem for path in out.iterdir()} == {"0", "1"}


def test_a_name_that_is_no_unicode_is_written_so_far_as_it_is(
    tmp_path: Path, engine: FakeEngine
) -> None:
    path = audio(tmp_path / os.fsdecode(b"caf\xe9.flac"), 5)
    report = run([path], tmp_path / "out", engine)
    assert report.failures == []
    (document,) = (tmp_path / "out").glob("*.json")
    assert os.fsencode(document.name) == b"caf\xe9.json"
    transcript = Transcript.model_validate_json(document.read_bytes())
    assert (transcript.job_id, transcript.input.uri) == ("caf\ufffd", "caf\ufffd.flac")
