"""scripts/test-gpu-optimization.py and scripts/benchmark-gpu-cpu-complete.py, as processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.fakes.tiny_model import base_model
from worker.bench.loads import make_loads, read_clips
from worker.bench.plan import Plan, Spec, line_up
from worker.bench.trial import Trial, run_trial
from worker.errors import ExitCode

GPU_TEST = REPOSITORY / "scripts" / "test-gpu-optimization.py"
BENCHMARK = REPOSITORY / "scripts" / "benchmark-gpu-cpu-complete.py"

pytestmark = pytest.mark.timeout(300)  # each process imports torch and WhisperX

needs_no_gpu = pytest.mark.skipif(
    shutil.which("nvidia-smi") is not None, reason="says what happens without a GPU"
)


def run(script: Path, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# --- the GPU test


@needs_no_gpu
def test_without_a_gpu_it_fails_with_that_reason(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "gpu-test.log"
    log.parent.mkdir()
    log.write_text("GPU test PASSED\n" * 100)  # of another day
    result = run(GPU_TEST, "--log-file", str(log))
    assert result.returncode == ExitCode.MACHINE
    lines = log.read_text().splitlines()
    assert lines[-1].startswith("GPU test FAILED: driver: no GPU")
    assert "PASSED" not in log.read_text()
    assert result.stdout.splitlines()[-1] == lines[-1]
    # The libraries are asked all the same: their state may be the cause.
    assert any(line.startswith("CUDA libraries: ") and "torch 2" in line for line in lines)


def test_on_a_cpu_it_runs_what_can_be_run(tmp_path: Path) -> None:
    base_model()
    log = tmp_path / "cpu.log"
    options = ["--device", "cpu", "--model", "base", "--beam-size", "1", "--batches", "1,2"]
    result = run(GPU_TEST, *options, "--log-file", str(log))
    assert result.returncode == ExitCode.OK, result.stderr
    text = log.read_text()
    assert text.splitlines()[-1] == "CPU test PASSED"
    assert "GPU test PASSED" not in text
    for line in ("self-test: passed", "batch of 2: passed", "memory arithmetic: info"):
        assert line in text
    assert "batch of 2" in result.stdout


def test_wrong_settings_and_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "gpu.log"
    result = run(GPU_TEST, "--batch-size", "none", "--log-file", str(log))
    assert result.returncode == ExitCode.SETTINGS
    assert log.read_text().splitlines()[-1].startswith("GPU test FAILED: settings: ")
    assert "batch_size" in log.read_text()
    result = run(GPU_TEST, "--log-file", str(tmp_path))
    assert result.returncode == ExitCode.SETTINGS
    assert "--log-file" in result.stderr


# --- the benchmark


@pytest.mark.long
def test_the_benchmark_measures_what_it_can_and_says_what_it_cannot(
    speech_dir: Path, tmp_path: Path
) -> None:
    base_model()
    files = {kind: tmp_path / "out" / f"report.{kind}" for kind in ("json", "markdown", "png")}
    result = run(
        BENCHMARK,
        str(speech_dir / "english"),
        *("--limit", "2", "--loads", "clips", "--contestants", "optimized"),
        *("--random-weights", "tiny", "--tokens", "7", "--beam-size", "1"),
        *(text for kind, path in files.items() for text in (f"--{kind}", str(path))),
    )
    assert result.returncode == ExitCode.OK, result.stderr
    document = json.loads(files["json"].read_text())
    on_cpu, on_card = document["rows"]
    assert on_cpu["random_weights"]
    assert on_cpu["model"] == "tiny (random weights)"
    assert on_cpu["seconds"] > 0
    assert on_cpu["overhead_over_floor"] > 0
    # Two windows, one in each lane's batch of up to four; no window is decoded twice.
    assert on_cpu["batch_fill"] == pytest.approx(0.25)
    assert on_cpu["word_error_rate"] == {"not_measured": "random weights recognise nothing"}
    assert on_cpu["peak_bytes"] > 100 << 20
    if shutil.which("nvidia-smi") is None:
        assert "no CUDA device" in on_card["seconds"]["not_measured"]
    assert files["markdown"].read_text() == result.stdout
    assert "15 to 30 times a CPU" in result.stdout
    assert "tiny (random weights)" in result.stdout
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "optimized transcriber (cpu): clips" in result.stderr  # progress


def test_wrong_arguments_say_what_is_allowed(tmp_path: Path) -> None:
    result = run(BENCHMARK, str(tmp_path), "--contestants", "whisper")
    assert result.returncode == ExitCode.SETTINGS
    assert "choose among whisperx, faster-whisper" in result.stderr
    result = run(BENCHMARK, str(tmp_path))
    assert result.returncode == ExitCode.SETTINGS
    assert "no audio in" in result.stderr


@pytest.fixture
def attempt(speech_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    clips = read_clips([speech_dir / "english"], 1)
    loads = make_loads(clips, ["clips"], tmp_path)

    def run_it(spec: Spec, timeout: float) -> Trial:
        return run_trial(
            spec,
            loads,
            warm_up=clips[0].path,
            timeout=timeout,
            log=tmp_path / "output.log",
            on_progress=lambda *_: None,
        )

    return run_it


def specs(plan: Plan, names: Sequence[str]) -> list[Spec]:
    return line_up(plan, ["cpu"], names)


def test_weights_that_cannot_be_had_are_the_reason(attempt: object) -> None:
    assert callable(attempt)
    (spec,) = specs(Plan(model="nobody/nothing"), ["faster-whisper"])
    trial = attempt(spec, 100.0)
    assert not trial.measurements
    assert "'nobody/nothing' can't be had" in trial.failure


def test_a_contestant_that_hangs_is_ended(attempt: object) -> None:
    assert callable(attempt)
    (spec,) = specs(replace(Plan(), model="base"), ["optimized"])
    began = time.monotonic()
    trial = attempt(spec, 0.5)
    assert trial.failure == "took longer than 0.5 s"
    assert time.monotonic() - began < 30
