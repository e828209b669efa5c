"""A recording is served as it is, and as WAV to browsers that can't play it."""

from __future__ import annotations

import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.media import tone, write_wav
from worker.errors import MachineError
from worker.viewer.recording import Recording


def test_what_browsers_play_comes_first_and_what_all_play_last(tmp_path: Path) -> None:
    assert Recording(tmp_path / "a.MP3", tmp_path).sources == (
        ("recording", "audio/mpeg"),
        ("decoded.wav", "audio/wav"),
    )
    assert Recording(tmp_path / "a.amr", tmp_path).sources == (("decoded.wav", "audio/wav"),)


def test_other_names_are_no_files(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.amr", tmp_path)
    assert recording.file("a.amr") is None
    assert recording.file("recording") is None
    assert recording.file("") is None


def test_a_recording_is_decoded_once_whoever_asks(tmp_path: Path) -> None:
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    source.mkdir()
    scratch.mkdir()
    path = write_wav(source / "-odd name.wma", tone(1.0))
    recording = Recording(path, scratch)
    found: list[Path | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(recording.file("decoded.wav")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [scratch / "decoded.wav"] * 2
    assert list(scratch.iterdir()) == [scratch / "decoded.wav"]
    with wave.open(str(scratch / "decoded.wav")) as wav:
        assert (wav.getnchannels(), wav.getframerate(), wav.getsampwidth()) == (1, 16_000, 2)
        samples = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")
    assert len(samples) == 16_000
    assert np.abs(samples).max() > 1000


def test_what_no_decoder_reads_is_said_and_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "talk.wma"
    path.write_bytes(b"no media at all" * 100)
    recording = Recording(path, tmp_path)
    with pytest.raises(MachineError, match="The file is text; send the audio itself") as first:
        recording.file("decoded.wav")
    with pytest.raises(MachineError) as second:
        recording.file("decoded.wav")
    assert second.value is first.value
    assert list(tmp_path.iterdir()) == [path]
