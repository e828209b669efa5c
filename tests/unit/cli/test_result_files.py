"""Results as files: whole or not at all; what an earlier run left is removed or kept."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.fakes.engine import FakeEngine
from tests.fakes.local_files import audio, found
from worker.cli.result_files import ResultFiles, WriteError
from worker.cli.targets import Existing, Target, plan
from worker.results.formats import render
from worker.results.names import FORMAT_NAMES, Format
from worker.results.transcript import Segment, Transcript
from worker.speech.api import Recognition
from worker.speech.assemble import Input, assemble, timings


def transcript(text: str) -> Transcript:
    engine = FakeEngine()
    segment = Segment(id=0, start=0.0, end=4.0, text=text, avg_logprob=-0.2)
    recognition = Recognition(5.0, None, [segment], None, {}, windows=1)
    return assemble(
        recognition,
        job_id="talk",
        input=Input("talk.flac", 1),
        task="transcribe",
        engine=engine.info,
        timings=timings(recognition),
    )


def target(folder: Path, formats: Iterable[Format], existing: Existing = "refuse") -> Target:
    files = found(audio(folder / "talk.flac"))
    (only,) = plan(files, folder / "out", tuple(formats), existing=existing).targets
    return only


def texts(result: Transcript, *formats: Format) -> list[tuple[Format, str]]:
    return [(fmt, render(result, fmt)) for fmt in (*formats, "json")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").iterdir())


def run(folder: Path, text: str, *formats: Format) -> ResultFiles:
    """A run that replaces what is there."""
    results = ResultFiles(overwrite=True)
    results.write(
        target(folder, ("json", *formats), "overwrite"), texts(transcript(text), *formats)
    )
    return results


def test_results_are_written_with_the_rights_of_any_new_file(tmp_path: Path) -> None:
    ResultFiles().write(target(tmp_path, ("json", "srt")), texts(transcript("Müller"), "srt"))
    assert names(tmp_path) == ["talk.json", "talk.srt"]
    assert "Müller" in (tmp_path / "out" / "talk.srt").read_text(encoding="utf-8")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "out" / "talk.json").stat().st_mode == plain.stat().st_mode


def test_no_half_result_has_a_results_name(tmp_path: Path) -> None:
    """The file system refuses in the middle of the json, which is the larger."""
    where = target(tmp_path, ("json", "srt"))
    results = ResultFiles()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(WriteError) as caught:
            results.write(where, texts(transcript("Hello."), "srt"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == f"{where.results['json']} can't be written: File too large"
    assert names(tmp_path) == []


def test_what_came_to_be_meanwhile_is_kept(tmp_path: Path) -> None:
    where = target(tmp_path, ("json", "srt"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talk.json").write_text("another's")
    with pytest.raises(WriteError, match=r"talk\.json has come to be meanwhile and is kept"):
        ResultFiles().write(where, texts(transcript("Hello."), "srt"))
    assert names(tmp_path) == ["talk.json"]
    assert (tmp_path / "out" / "talk.json").read_text() == "another's"


def test_what_was_begun_can_be_removed_at_any_moment(tmp_path: Path) -> None:
    results = ResultFiles()

    def interrupted() -> Iterable[tuple[Format, str]]:
        yield "srt", "..."
        assert len(names(tmp_path)) == 1
        results.discard()
        assert names(tmp_path) == []
        yield "json", "{}"

    with pytest.raises(WriteError):
        results.write(target(tmp_path, ("json", "srt")), interrupted())
    assert names(tmp_path) == []


def test_an_earlier_result_in_a_format_left_out_is_removed(tmp_path: Path) -> None:
    others: list[Format] = [fmt for fmt in FORMAT_NAMES if fmt != "json"]
    run(tmp_path, "Yesterday.", *others)
    assert len(names(tmp_path)) == len(FORMAT_NAMES)
    results = run(tmp_path, "Today.", "txt")
    assert names(tmp_path) == ["talk.json", "talk.txt"]
    assert "Today" in (tmp_path / "out" / "talk.txt").read_text()
    assert results.kept == []


def test_what_may_hold_somebodys_corrections_is_kept_and_named(tmp_path: Path) -> None:
    run(tmp_path, "Yesterday.", "srt", "vtt")
    edited = tmp_path / "out" / "talk.srt"
    edited.write_text(edited.read_text().replace("Yesterday", "The day before"))
    (tmp_path / "out" / "talk.tsv").write_text("a table of another program")
    results = run(tmp_path, "Today.")
    assert names(tmp_path) == ["talk.json", "talk.srt", "talk.tsv"]
    assert "The day before" in edited.read_text()
    assert sorted(results.kept) == [edited, tmp_path / "out" / "talk.tsv"]


@pytest.mark.parametrize("json", [None, "", "{}", '{"text": "of another program"}'])
def test_without_a_json_of_ours_nothing_is_ours(tmp_path: Path, json: str | None) -> None:
    run(tmp_path, "Yesterday.", "srt")
    document = tmp_path / "out" / "talk.json"
    document.unlink()
    if json is not None:
        document.write_text(json)
    results = run(tmp_path, "Today.")
    assert results.kept == [tmp_path / "out" / "talk.srt"]
    assert names(tmp_path) == ["talk.json", "talk.srt"]


def test_nothing_is_removed_where_writing_fails(tmp_path: Path) -> None:
    run(tmp_path, "Yesterday.", "srt")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(WriteError):
            run(tmp_path, "Today.")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["talk.json", "talk.srt"]
    assert "Yesterday" in (tmp_path / "out" / "talk.json").read_text()


def test_the_longest_name_that_fits_is_written(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") - len(".json")
    files = found(audio(tmp_path / f"{'x' * longest}.wav"[:longest]))
    (where,) = plan(files, tmp_path / "out", ("json",)).targets
    ResultFiles().write(where, texts(transcript("Hello.")))
    assert names(tmp_path) == [f"{'x' * longest}.json"]


def test_a_link_to_nothing_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    where = target(tmp_path, ("json",))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talk.json").symlink_to("gone")
    with pytest.raises(WriteError, match="has come to be meanwhile and is kept"):
        ResultFiles().write(where, texts(transcript("Hello.")))
    assert (tmp_path / "out" / "talk.json").is_symlink()
