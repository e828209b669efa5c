"""Which file writes which results, and what is said before anything is done."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.local_files import audio, found, without_privileges
from worker.cli.figures import Stats, check_stats
from worker.cli.media_files import MediaFile, find_files
from worker.cli.targets import Plan, Taken, plan, result_names
from worker.errors import SettingsError
from worker.results.names import FORMAT_NAMES, Format, ending

FORMATS: tuple[Format, ...] = ("json", "srt")


def media(path: str, place: str | None = None) -> MediaFile:
    return MediaFile(Path(path), PurePath(place or Path(path).name), 1)


def names(*files: MediaFile) -> list[str]:
    return [str(name) for name in result_names(files)]


def failed(todo: Plan) -> dict[str, str]:
    return {failure.path.name: failure.message for failure in todo.failures}


def test_results_have_the_name_of_their_file() -> None:
    assert names(media("a/talk.mp3"), media("b/x.y.wav"), media("c/.odd")) == [
        "talk",
        "x.y",
        ".odd",
    ]
    assert names(media("in/mo/talk.mp3", "mo/talk.mp3"), media("in/talk.mp3")) == [
        "mo/talk",
        "talk",
    ]


def test_of_one_name_each_keeps_what_differs() -> None:
    assert names(media("/r/mo/talk.mp3"), media("/r/fr/talk.wav"), media("/r/x.mp3")) == [
        "mo/talk", "fr/talk", "x",
    ]  # fmt: skip
    assert names(media("talk.mp3"), media("talk.wav")) == ["talk.mp3", "talk.wav"]
    assert names(media("a/talk.mp3"), media("a/talk.wav"), media("b/talk.wav")) == [
        "a/talk.mp3", "a/talk.wav", "b/talk",
    ]  # fmt: skip


def test_what_can_not_be_told_apart_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"would both write talk\.mp3\.json: rename one"):
        names(media("talk.mp3"), media("talk.wav"), media("b/talk.mp3.ogg"))


def test_a_name_that_ends_like_a_shape_of_others_is_not_taken_for_one() -> None:
    """`talk.openai.mp3` would have its json where `talk.mp3` has its `openai`."""
    assert names(media("talk.mp3"), media("talk.openai.mp3"), media("other.openai.mp3")) == [
        "talk.mp3", "talk.openai.mp3", "other.openai",
    ]  # fmt: skip
    assert names(media("a/talk.mp3"), media("b/talk.openai.mp3")) == ["a/talk", "b/talk.openai"]
    with pytest.raises(SettingsError, match=r"would both write talk\.openai\.json: rename one"):
        names(media("talk"), media("talk.openai"))


@given(
    st.sets(
        st.tuples(
            st.sampled_from(["", "a", "b", "a/c"]),
            st.sampled_from(["x", "y", "x.y", "x.openai", "x.openai.whisperx"]),
        ),
        max_size=6,
    ),
    st.lists(st.sampled_from([".mp3", ".wav"]), min_size=6, max_size=6),
)
def test_no_two_files_write_one_result(places: set[tuple[str, str]], extensions: list[str]) -> None:
    files = [
        media(str(PurePath("/r", folder, name + extension)))
        for (folder, name), extension in zip(sorted(places), extensions, strict=False)
    ]
    chosen = names(*files)
    results = [f"{name}{ending(fmt)}" for name in chosen for fmt in FORMAT_NAMES]
    assert len(set(results)) == len(results)
    assert not any(name.startswith(("/", "..")) for name in chosen)


def test_the_results_of_a_run(tmp_path: Path) -> None:
    file = audio(tmp_path / "in" / "mo" / "talk.flac")
    audio(tmp_path / "in" / "x.flac")
    files, _ = find_files([tmp_path / "in"])
    todo = plan(files, tmp_path / "out", FORMATS)
    assert [target.file.path for target in todo.targets] == [tmp_path / "in" / "x.flac", file]
    assert todo.targets[1].results == {
        "json": tmp_path / "out" / "mo" / "talk.json",
        "srt": tmp_path / "out" / "mo" / "talk.srt",
    }
    assert todo.targets[1].result("vtt") == tmp_path / "out" / "mo" / "talk.vtt"
    assert not (tmp_path / "out").exists(), "made when there is something to write"


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("file", "file is not a directory"),
        ("file/out", "file is not a directory"),
        ("file/a/b", "file is not a directory"),
        ("x" * 300, "File name too long"),
        (f"new/{'x' * 300}", "File name too long"),
    ],
)
def test_a_place_for_results_that_can_not_be_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SettingsError) as caught:
        plan(found(audio(Path("in") / "a.flac")), Path(output), FORMATS)
    assert str(caught.value) == f"--output-dir {output} can't be written: {problem}"


def test_a_place_that_may_not_be_written_is_one_sentence() -> None:
    with without_privileges() as folder:
        files = found(audio(folder / "a.flac"))
        (folder / "locked").mkdir()
        (folder / "locked").chmod(0o500)
        for output in (folder / "locked", folder / "locked" / "new"):
            with pytest.raises(SettingsError) as caught:
                plan(files, output, FORMATS)
            assert str(caught.value) == f"--output-dir {output} can't be written: Permission denied"


def test_results_that_can_not_be_written_fail_their_files_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "b.srt").mkdir(parents=True)
    long = "x" * 251
    paths = [audio(tmp_path / "in" / name) for name in ("a.flac", "b.flac", f"{long}.wav")]
    notes = audio(out / "notes.srt")
    todo = plan(found(*paths, notes), out, FORMATS, existing="overwrite")
    assert [target.file.path for target in todo.targets] == paths[:1]
    assert failed(todo) == {
        "b.flac": f"{out / 'b.srt'} can't be written: it is a directory",
        f"{long}.wav": f"{out / long}.json can't be written: File name too long",
        "notes.srt": f"{notes} is an input and would be overwritten: choose another --output-dir",
    }


def test_read_only_results_and_folders_fail_their_files_alone() -> None:
    with without_privileges() as folder:
        out = folder / "out"
        for name in ("a", "locked/b", "c"):
            audio(folder / "in" / f"{name}.flac")
        (out / "locked").mkdir(parents=True)
        (out / "locked").chmod(0o500)
        (out / "c.json").touch()
        (out / "c.json").chmod(0o400)
        files, _ = find_files([folder / "in"])
        todo = plan(files, out, FORMATS, existing="overwrite")
    assert [target.file.path.name for target in todo.targets] == ["a.flac"]
    assert failed(todo) == {
        "b.flac": f"{out / 'locked'} can't be written: Permission denied",
        "c.flac": f"{out / 'c.json'} can't be written: it is read-only",
    }


def test_results_that_exist_are_refused_in_one_sentence(tmp_path: Path) -> None:
    files = found(*(audio(tmp_path / f"{n}.flac") for n in range(4)))
    (tmp_path / "0.json").touch()
    with pytest.raises(SettingsError) as caught:
        plan(files, tmp_path, FORMATS)
    assert str(caught.value) == (
        f"1 of 4 files has results already ({tmp_path / '0.json'}): give --overwrite to replace"
        " them, or --skip-existing to keep them and do the rest"
    )
    for name in ("0.srt", "2.json", "3.json"):
        (tmp_path / name).touch()
    with pytest.raises(SettingsError, match=r"^3 of 4 files have results already \(.*, \.\.\.\):"):
        plan(files, tmp_path, FORMATS)


def test_skipping_leaves_what_is_there_and_does_what_is_missing(tmp_path: Path) -> None:
    files = found(*(audio(tmp_path / f"{n}.flac") for n in range(3)))
    for name in ("0.json", "0.srt", "1.json", "2.txt"):
        (tmp_path / name).touch()
    todo = plan(files, tmp_path, FORMATS, existing="skip")
    assert todo.skipped == files[:1]
    assert [sorted(target.results) for target in todo.targets] == [["srt"], ["json", "srt"]]


def test_overwriting_does_everything(tmp_path: Path) -> None:
    files = found(*(audio(tmp_path / f"{n}.flac") for n in range(2)))
    (tmp_path / "0.json").touch()
    todo = plan(files, tmp_path, FORMATS, existing="overwrite")
    assert [sorted(target.results) for target in todo.targets] == [["json", "srt"]] * 2


def test_a_link_to_nothing_is_a_result_that_is_there(tmp_path: Path) -> None:
    files = found(audio(tmp_path / "a.flac"))
    (tmp_path / "a.json").symlink_to("gone")
    with pytest.raises(SettingsError, match="1 of 1 file has results already"):
        plan(files, tmp_path, FORMATS)
    (target,) = plan(files, tmp_path, FORMATS, existing="skip").targets
    assert list(target.results) == ["srt"]


def test_a_name_can_not_have_the_terminal_do_something(tmp_path: Path) -> None:
    files = found(audio(tmp_path / "esc\x1b[31m\n.flac"))
    (tmp_path / "esc\x1b[31m\n.json").touch()
    with pytest.raises(SettingsError) as caught:
        plan(files, tmp_path, FORMATS)
    assert str(caught.value).isprintable()
    assert r"esc\x1b[31m\n.json" in str(caught.value)


def test_where_no_file_can_be_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't be written: no file can be made in /proc$"):
        plan(found(audio(tmp_path / "a.flac")), Path("/proc/x"), FORMATS)


@pytest.mark.parametrize(
    ("stats", "problem"),
    [
        ("no/such/stats.json", "can't be written: there is no directory no/such"),
        ("in/a.flac/stats", "can't be written: in/a.flac is not a directory"),
        ("in", "can't be written: it is a directory"),
        ("in/../in/a.flac", "is an input and would be overwritten"),
        ("out/a.json", "is the name of a result: choose another"),
        # Skipped, kept, or of an earlier run: whatever this one writes.
        ("out/a.html", "is the name of a result: choose another"),
        ("link.json", "is the name of a result: choose another"),
        ("hard.flac", "is an input and would be overwritten"),
        (
            "b.flac",
            "is there and holds no figures of an earlier run: choose another name, or remove it",
        ),
        (
            "list.json",
            "is there and holds no figures of an earlier run: choose another name, or remove it",
        ),
        ("x" * 300, "can't be written: File name too long"),
    ],
)
def test_figures_that_can_not_be_written_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stats: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = found(audio(Path("in") / "a.flac"))
    audio(Path("b.flac"))
    Path("hard.flac").hardlink_to("in/a.flac")
    Path("link.json").symlink_to("out/a.txt")
    Path("list.json").write_text("[1]")
    with pytest.raises(SettingsError) as caught:
        check_stats(Path(stats), Taken(files, Path("out")), Path("out"))
    assert str(caught.value) == f"--stats {stats} {problem}"


def test_figures_may_lie_anywhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = found(audio(Path("in") / "a.flac"))
    Path("empty.json").touch()
    Path("old.json").write_text(Stats().to_json())
    some = ("stats.json", "out/stats.json", "in/stats.json", "empty.json", "old.json", os.devnull)
    for stats in some:
        check_stats(Path(stats), Taken(files, Path("out")), Path("out"))
