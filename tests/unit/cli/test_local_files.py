"""Local files through an engine: names, refusals, failures, figures. The engine is a fake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import FakeEngine, fake_audio
from worker.cli.local_files import FileFailure, Report, check_files, transcribe_files
from worker.errors import EngineError, ErrorCode, SettingsError
from worker.results.formats import Format
from worker.results.transcript import Transcript
from worker.speech.api import Options

FORMATS: tuple[Format, ...] = ("json", "srt", "vtt", "txt")


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.stop()


def audio(path: Path, seconds: float, *, marker: str | None = None, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(fake_audio(seconds, marker=marker, seed=seed))
    return path


def run(
    paths: list[Path], output: Path, engine: FakeEngine, *, options: Options | None = None
) -> Report:
    return transcribe_files(
        paths,
        output,
        engine,
        options=options or Options(),
        formats=FORMATS,
        load_seconds=1.5,
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
    reported: list[tuple[Path, object]] = []
    report = transcribe_files(
        [bad, text, good],
        tmp_path / "out",
        engine,
        options=Options(),
        formats=FORMATS,
        load_seconds=0,
        on_done=lambda path, result: reported.append((path, type(result))),
    )
    assert {(f.path, f.code) for f in report.failures} == {
        (bad, ErrorCode.DECODE_FAILED),
        (text, ErrorCode.NOT_MEDIA),
    }
    assert report.stats.files == 1
    assert report.stats.failed == 2
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"good"}
    assert set(reported) == {(bad, FileFailure), (text, FileFailure), (good, Transcript)}


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


def test_two_files_of_one_stem_are_refused_before_anything_is_done(
    tmp_path: Path, engine: FakeEngine
) -> None:
    one, two = audio(tmp_path / "a" / "talk.flac", 5), audio(tmp_path / "b" / "talk.wav", 5)
    output = tmp_path / "out"
    with pytest.raises(SettingsError) as caught:
        run([one, two], output, engine)
    assert str(caught.value) == (
        f"{two} and {one} would both write {output / 'talk'}.json: rename one, or transcribe them"
        " into different directories"
    )
    assert not output.exists()


def test_a_result_never_overwrites_an_input(tmp_path: Path) -> None:
    path = audio(tmp_path / "notes.txt", 5)
    with pytest.raises(SettingsError, match=r"notes\.txt is an input and would be overwritten"):
        check_files([path], tmp_path, FORMATS)
    assert check_files([path], tmp_path / "out", FORMATS)


def test_every_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.compile("one.wav: there is.*two.wav: ", re.DOTALL)):
        check_files([tmp_path / "one.wav", tmp_path / "two.wav"], tmp_path / "out", FORMATS)


def test_an_output_directory_that_can_not_be_made_is_reported(
    tmp_path: Path, engine: FakeEngine
) -> None:
    path = audio(tmp_path / "a.flac", 5)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--output-dir .*file/out"):
        run([path], tmp_path / "file" / "out", engine)
