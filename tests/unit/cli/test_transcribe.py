"""The command `transcribe` as a process: what it says, how it ends, how it is interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.local_files import audio
from tests.fakes.site import REPOSITORY, wait_for
from worker.__main__ import INTERRUPTED
from worker.errors import ExitCode

COMMAND = (sys.executable, "-m", "tests.fakes.run_transcribe", "transcribe")

SLOW = {"seconds_per_audio_second": 0.02, "batch_size": 1}
"""Of an engine that takes 0.6 s for a window, and a minute for an hour of audio."""


def environment(**engine: object) -> dict[str, str]:
    # As `restart_for_cpu` would set it: the process need not start twice.
    return dict(os.environ) | {
        "FAKE_ENGINE": json.dumps(engine),
        "WORKER_DEVICE": "cuda",
        "COLUMNS": "200",
    }


def command(*arguments: Path | str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment() | {"PYTHONPATH": str(REPOSITORY)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_first_day(tmp_path: Path) -> None:
    """A directory and a pattern, results where one stands, once more, and once more anew."""
    audio(tmp_path / "rec" / "mo" / "talk.mp3")
    audio(tmp_path / "rec" / "fr" / "talk.mp3")
    audio(tmp_path / "call-1.wav")
    audio(tmp_path / "call-2.wav", marker="bad")
    typed = ("rec", "call-*.wav", "gone.wav", "--formats", "txt")
    done = command(*typed, cwd=tmp_path, WORKER_MODLE="base", WORKER_MODEL="a-model")
    assert done.returncode == ExitCode.FAILURE, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].split(" WARNING ")[1].startswith("WORKER_MODLE is no setting; did you mean")
    assert lines[1:5] == [
        "gone.wav: there is no such file",
        "Loading the model a-model ...",
        "fake is loaded: cpu, int8",
        "Transcribing ...",
    ]
    assert lines[5].startswith("call-2.wav: decode_failed: ")
    assert re.fullmatch(
        r"3 of 5 files, 15\.0 s of audio in \d\.\d s; results in \.", "\n".join(lines[6:])
    )
    results = ["call-1.json", "call-1.txt"]
    results += [f"{day}/talk.{fmt}" for day in ("fr", "mo") for fmt in ("json", "txt")]
    inputs = {"call-1.wav", "call-2.wav", "rec/fr/talk.mp3", "rec/mo/talk.mp3"}
    assert sorted(set(names(tmp_path)) - inputs) == results

    again = command("rec", cwd=tmp_path)
    assert again.returncode == ExitCode.SETTINGS
    assert again.stderr == (
        "error: 2 of 2 files have results already (fr/talk.json, fr/talk.txt, mo/talk.json, ...):"
        " give --overwrite to replace them, or --skip-existing to keep them and do the rest\n"
    )
    alone = command(
        "call-2.wav", "--output-dir", "none", "--stats", "none/stats.json", cwd=tmp_path
    )
    assert alone.returncode == ExitCode.FAILURE
    assert "--stats" not in alone.stderr
    assert alone.stderr.splitlines()[-1].startswith("0 of 1 file, ")
    assert json.loads((tmp_path / "none" / "stats.json").read_bytes())["failed"] == 1

    kept = {path: path.read_bytes() for path in tmp_path.rglob("talk.*")}
    done = command("rec", "--skip-existing", "--formats", "txt", "--stats", "s.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "2 files skipped: the results are there\n")
    assert json.loads((tmp_path / "s.json").read_bytes())["files"] == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("talk.*")} == kept

    skipped = command(*typed, "--skip-existing", "--quiet", cwd=tmp_path)
    assert skipped.returncode == ExitCode.FAILURE
    assert [line.split(": ")[0] for line in skipped.stderr.splitlines()] == [
        "gone.wav",
        "call-2.wav",
    ]


@contextmanager
def running(folder: Path, *arguments: str, **engine: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**engine) | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background of a script would have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_is_said_and_keeps_what_is_done(tmp_path: Path, number: signal.Signals) -> None:
    audio(tmp_path / "a.mp3", 1.0)
    audio(tmp_path / "b.mp3", 3600.0)
    out = tmp_path / "out"
    with running(tmp_path, "a.mp3", "b.mp3", "--output-dir", "out", **SLOW) as process:
        wait_for((out / "a.json").exists, 30, "nothing is done")
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert said.splitlines()[-2:] == [
        "Transcribing ...",
        "Stopping; 1 of 2 files done, results in out; press Ctrl-C again to end at once",
    ]
    assert names(out) == [f"a.{fmt}" for fmt in ("json", "srt", "txt", "vtt")]


def test_a_signal_while_the_model_loads_ends_it(tmp_path: Path) -> None:
    audio(tmp_path / "a.mp3")
    with running(tmp_path, "a.mp3", "--output-dir", "out", start_seconds=60) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Loading the model ")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == INTERRUPTED
    assert said == "Stopped while the model was loading; nothing is transcribed\n"
    assert not (tmp_path / "out").exists()


def test_a_second_ctrl_c_in_a_terminal_ends_it_at_once(tmp_path: Path) -> None:
    """The device is in the middle of a window, and won't be back for an hour."""
    audio(tmp_path / "a.mp3", 30.0, marker="hang")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(  # noqa: S606
            sys.executable,
            [*COMMAND, "a.mp3", "--output-dir", "out"],
            environment() | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "80"},
        )
    shown = ""
    try:
        for awaited in ("Transcribing", "press Ctrl-C again", None):
            while awaited is None or awaited not in shown:
                try:
                    shown += os.read(terminal, 65536).decode()
                except OSError:  # the other end is closed
                    break
            if awaited is not None:
                os.write(terminal, b"\x03")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == INTERRUPTED
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "Stopping; 0 of 1 file done; press" in text, "there are no results yet"
    assert "s of audio" not in text, "the engine was not waited for"
    assert "Traceback" not in text
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"
    assert not (tmp_path / "out").exists()
