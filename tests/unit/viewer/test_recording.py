"""A recording is served as it is, and as WAV to browsers that can't play it."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.fakes.media import tone, write_wav
from tests.fakes.site import wait_for
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


def test_the_decoder_does_not_outlive_its_parent(tmp_path: Path) -> None:
    source, decoded = tmp_path / "long.wav", tmp_path / "decoded.part"
    size = 2 * 48_000 * 3600
    form = (16, 1, 1, 48_000, 96_000, 2, 16)
    with source.open("wb") as file:
        file.write(
            struct.pack(
                "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", *form, b"data", size
            )
        )
        file.truncate(44 + size)  # an hour of silence that takes no room
    code = (
        "import sys; from pathlib import Path; from worker.viewer.decoding import decode;"
        "decode(*map(Path, sys.argv[1:]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(source), str(decoded)])
    try:
        wait_for(decoded.exists, 30, "nothing is decoded")
        (child,) = psutil.Process(parent.pid).children()
        child.suspend()  # before it has done all
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([child], timeout=10)
        for process in alive:
            process.kill()
    finally:
        parent.kill()
        parent.wait()
    assert not alive
