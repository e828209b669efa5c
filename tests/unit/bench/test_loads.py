from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from worker.bench.loads import Load, make_loads, read_clips, read_folders
from worker.errors import SettingsError


def tone(path: Path, seconds: float) -> None:
    samples = np.sin(np.arange(int(seconds * 16_000)) * 0.1) * 10_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tone(tmp_path / "b.wav", 1.0)
    tone(tmp_path / "a.wav", 2.0)
    (tmp_path / "notes.txt").write_text("no audio")
    return tmp_path


def transcripts(folder: Path, text: str) -> None:
    (folder / "transcripts.csv").write_text(text, encoding="utf-8")


def test_transcripts_name_the_clips_and_their_order(folder: Path) -> None:
    transcripts(folder, 'file,text\nb.wav,"One, two"\na.wav,three\n')
    clips = read_clips([folder])
    assert [(clip.path.name, clip.reference) for clip in clips] == [
        ("b.wav", "One, two"),
        ("a.wav", "three"),
    ]
    assert read_clips([folder, folder], limit=3) == [*clips, clips[0]]


def test_without_transcripts_all_audio_is_taken(folder: Path) -> None:
    assert [(clip.path.name, clip.reference) for clip in read_clips([folder])] == [
        ("a.wav", None),
        ("b.wav", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,text\nc.wav,hello\n", "row 2: there is no file"),
        ("name,words\na.wav,hello\n", "columns file and text are needed"),
    ],
)
def test_wrong_transcripts_say_what_is_wrong(folder: Path, text: str, message: str) -> None:
    transcripts(folder, text)
    with pytest.raises(SettingsError, match=message):
        read_clips([folder])


def test_no_folder_or_no_audio_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no folder"):
        read_clips([tmp_path / "missing"])
    with pytest.raises(SettingsError, match="no audio in"):
        read_clips([tmp_path])


def test_loads(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    transcripts(folder, "file,text\nb.wav,one\na.wav,two\n")
    scratch = tmp_path_factory.mktemp("scratch")
    clips, joined = make_loads(read_clips([folder]), ("clips", "joined"), scratch)
    assert [path.name for path in clips.paths] == ["b.wav", "a.wav"]
    assert clips.seconds == pytest.approx(3.0)
    assert clips.references == joined.references == ("one", "two")
    assert (clips.counts, joined.counts) == ((1, 1), (2,))
    assert joined.seconds == pytest.approx(3.5)
    with wave.open(str(joined.paths[0])) as file:
        assert file.getnframes() == int(3.5 * 16_000)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert not samples[16_000:24_000].any()
    assert samples[:16_000].any()
    assert samples[24_000:].any()


def test_a_clip_without_a_reference_takes_all_of_them(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    tone(other / "c.wav", 0.5)
    transcripts(other, "file,text\nc.wav,hello\n")
    (load,) = make_loads(read_clips([folder, other]), ["clips"], folder)
    assert load.references is None


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio at all")
    with pytest.raises(SettingsError, match=r"bad\.wav"):
        make_loads(read_clips([tmp_path]), ["clips"], tmp_path)


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """A recording of 4 s with three pieces, and another of 2 s with one."""
    tone(tmp_path / "talk.wav", 4.0)
    tone(tmp_path / "other.wav", 2.0)
    table = 'start,end,text\n0.0,0.8,one\n1.2,2.0,"two, too"\n3.0,4.0,three\n'
    (tmp_path / "talk.csv").write_text(table, encoding="utf-8")
    (tmp_path / "other.csv").write_text("start,end,text\n0,2,four\n", encoding="utf-8")
    (tmp_path / "figures.csv").write_text("beside no audio", encoding="utf-8")
    return tmp_path


def test_a_recording_with_a_table_is_long_and_no_clip(long_folder: Path) -> None:
    material = read_folders([long_folder])
    assert not material.clips
    assert material.loads == ("long",)
    (load,) = make_loads(material.clips, material.loads, long_folder, material.recordings)
    assert [path.name for path in load.paths] == ["other.wav", "talk.wav"]
    assert load.references == ("four", "one", "two, too", "three")
    assert load.counts == (1, 3)
    assert load.seconds == pytest.approx(6.0)
    with pytest.raises(SettingsError, match="only long recordings in"):
        read_clips([long_folder])


def test_a_folder_may_hold_both(long_folder: Path) -> None:
    tone(long_folder / "clip.wav", 1.0)
    material = read_folders([long_folder])
    assert [clip.path.name for clip in material.clips] == ["clip.wav"]
    assert material.loads == ("clips", "joined", "long")
    assert material.warm_up(long_folder) == long_folder / "clip.wav"
    transcripts(long_folder, "file,text\nclip.wav,hello\n")
    assert read_folders([long_folder]).recordings == material.recordings


def test_many_are_whole_recordings_that_begin_elsewhere(
    long_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recordings = read_folders([long_folder]).recordings[1:]
    scratch = tmp_path_factory.mktemp("scratch")
    (load,) = make_loads([], ["long-many"], scratch, recordings, many=3)
    assert len(set(load.paths)) == 3
    assert load.seconds == pytest.approx(12.0)
    assert load.counts == (3, 3, 3)
    assert load.references == (
        *("one", "two, too", "three"),
        *("three", "one", "two, too"),
        *("three", "one", "two, too"),
    )


def test_wrong_loads_say_what_is_missing(folder: Path, long_folder: Path) -> None:
    with pytest.raises(SettingsError, match="load long needs long recordings"):
        make_loads(read_clips([folder]), ["clips", "long"], folder)
    with pytest.raises(SettingsError, match="load joined needs clips"):
        make_loads([], ["joined"], folder, read_folders([long_folder]).recordings)


@pytest.mark.parametrize(("files", "pieces"), [(1, (2,)), (2, (3,)), (2, None)])
def test_a_load_knows_what_is_said_in_which_file(
    files: int, pieces: tuple[int, ...] | None
) -> None:
    with pytest.raises(ValueError, match="say how many each has"):
        Load("long", (Path("a"),) * files, 1.0, ("one", "two", "three"), pieces)


def test_what_is_warmed_up_with_is_the_beginning_of_a_recording(long_folder: Path) -> None:
    with wave.open(str(read_folders([long_folder]).warm_up(long_folder))) as file:
        assert file.getnframes() == 2.0 * 16_000
