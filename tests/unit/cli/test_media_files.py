"""What was typed, as files: paths, directories, patterns, and what there is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.local_files import without_privileges
from worker.cli.media_files import EXTENSIONS, RAW_EXTENSIONS, find_files


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "rec/b.mp3", "rec/a.WAV", "rec/notes.txt", "rec/.hidden.mp3", "rec/.trash/x.mp3",
        "rec/monday/c.flac", "rec/monday/late/d.opus", "rec/call.ul", "odd.bin", "empty/readme.md",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(*typed: str, raw: bool = False) -> list[tuple[str, str]]:
    files, failures = find_files([Path(item) for item in typed], raw=raw)
    assert failures == []
    return [(str(file.path), str(file.place)) for file in files]


def problems(*typed: str) -> list[str]:
    _, failures = find_files([Path(item) for item in typed])
    return [str(failure) for failure in failures]


def test_a_file_is_taken_whatever_its_name(tree: Path) -> None:
    assert places("odd.bin", "rec/notes.txt", "rec/.hidden.mp3") == [
        ("odd.bin", "odd.bin"),
        ("rec/notes.txt", "notes.txt"),
        ("rec/.hidden.mp3", ".hidden.mp3"),
    ]
    assert find_files([Path("odd.bin")])[0][0].size == 4


def test_of_a_directory_the_media_files_at_any_depth(tree: Path) -> None:
    (tree / "rec" / "loop").symlink_to(tree / "rec")
    assert places("rec") == [
        ("rec/a.WAV", "a.WAV"),
        ("rec/b.mp3", "b.mp3"),
        ("rec/monday/c.flac", "monday/c.flac"),
        ("rec/monday/late/d.opus", "monday/late/d.opus"),
    ]
    assert places("rec", raw=True) == [("rec/call.ul", "call.ul")]


def test_a_pattern_is_what_it_is_to_a_shell(tree: Path) -> None:
    assert places("rec/*.mp3") == [("rec/b.mp3", "b.mp3")]
    assert places("re?/**/*.[fo]*") == [
        ("rec/monday/c.flac", "rec/monday/c.flac"),
        ("rec/monday/late/d.opus", "rec/monday/late/d.opus"),
    ]
    assert places("rec/m*") == [
        ("rec/monday/c.flac", "monday/c.flac"),
        ("rec/monday/late/d.opus", "monday/late/d.opus"),
    ]
    absolute = str(tree / "rec" / "*.mp3")
    assert places(absolute) == [(str(tree / "rec" / "b.mp3"), "b.mp3")]


def test_a_name_with_a_patterns_signs_is_that_file(tree: Path) -> None:
    (tree / "talk [1].mp3").write_bytes(b"1234")
    (tree / "dir [1]").mkdir()
    (tree / "dir [1]" / "x.mp3").write_bytes(b"1234")
    assert places("talk [1].mp3", "dir [1]") == [
        ("talk [1].mp3", "talk [1].mp3"),
        ("dir [1]/x.mp3", "x.mp3"),
    ]


def test_each_file_once_however_often_it_is_typed(tree: Path) -> None:
    typed = ("rec/b.mp3", "rec", "rec/*.mp3", "./rec/../rec/b.mp3", str(tree / "rec" / "b.mp3"))
    assert len(places(*typed)) == 4


def test_what_is_not_there_is_named_and_the_rest_is_found(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "dangling.mp3").symlink_to(tree / "nowhere")
    typed = (
        "no.wav",
        "*.nothing",
        "empty",
        "pipe",
        "dangling.mp3",
        "x" * 300,
        "rec/b.mp3/x",
        "rec",
    )
    files, _ = find_files([Path(item) for item in typed])
    assert len(files) == 4
    assert problems(*typed) == [
        "no.wav: there is no such file",
        "*.nothing: no file matches this pattern",
        "empty: the directory holds no media file, by the extensions of its files",
        "pipe: it is no regular file",
        "dangling.mp3: there is no such file",
        f"{'x' * 300}: it can't be read: File name too long",
        "rec/b.mp3/x: there is no such file",
    ]


def test_a_name_can_not_forge_a_line(tree: Path) -> None:
    assert problems("a\nb\x1bc\udce9.wav") == [r"a\nb\x1bc\udce9.wav: there is no such file"]


def test_what_may_not_be_read_is_named() -> None:
    with without_privileges() as folder:
        (folder / "locked").mkdir()
        (folder / "locked" / "x.mp3").touch()
        (folder / "a.mp3").touch()
        (folder / "b.mp3").write_bytes(b"1234")
        (folder / "a.mp3").chmod(0)
        (folder / "locked").chmod(0)
        files, failures = find_files([folder, folder / "locked" / "x.mp3"])
    assert [file.path.name for file in files] == ["b.mp3"]
    assert [str(failure).replace(str(folder), "") for failure in failures] == [
        "/locked: the directory can't be read: Permission denied",
        "/a.mp3: it can't be read: Permission denied",
        "/locked/x.mp3: it can't be read: Permission denied",
    ]


def test_extensions_are_written_as_they_are_compared() -> None:
    for extension in EXTENSIONS | RAW_EXTENSIONS:
        assert extension == extension.lower().strip(".")
    assert not EXTENSIONS & RAW_EXTENSIONS


def test_a_file_without_a_byte_is_said_as_to_its_owner(tmp_path: Path) -> None:
    (tmp_path / "a.flac").touch()
    assert problems(str(tmp_path / "a.flac")) == [
        f"{tmp_path / 'a.flac'}: empty_file: the file has no bytes"
    ]
