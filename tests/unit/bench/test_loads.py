from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from worker.bench.loads import make_loads, read_clips
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
