"""Who speaks in pyannote's recording: the packaged models in their child, beside base."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.engines import until
from tests.fakes.tiny_model import base_engine
from worker.results.transcript import Word
from worker.speech.api import Options
from worker.speech.packages import package_folders
from worker.speech.speakers import packaged
from worker.speech.speakers.child import KILLED_FIRST, NICENESS

PATIENCE = 300.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def sample() -> Path:
    """Two women on the telephone, for 30 s."""
    if packaged.folder() is None or importlib.util.find_spec("pyannote") is None:
        pytest.skip("needs the extra 'speakers'")
    return package_folders("pyannote.audio")[0] / "sample" / "sample.wav"


def test_two_women_are_told_apart_beside_their_text(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    options = Options(language="en", diarize=True)
    with base_engine(batch_size=4, word_times="attention", diarize_model="packaged") as engine:
        # A model that is named has been loaded by now.
        (pid,) = (each for each in engine.children() if "speakers" in _module(each))
        child = psutil.Process(pid)
        assert child.nice() == NICENESS
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == str(KILLED_FIRST)
        submission = engine.submit(sample, options, name="sample", scratch=scratch)
        found = submission.future.result(PATIENCE)
        again = engine.submit(sample, options, name="again", resume=submission.partial())
        assert again.future.result(PATIENCE).diarization == found.diarization
        assert again.future.result().resumed == found.windows
        assert _module(pid), "one child for both"
    assert list(scratch.iterdir()) == []
    assert list(temporary.iterdir()) == [], "the child was killed"
    assert found.diarization is not None
    assert found.diarization.diarizer == "packaged"
    assert found.seconds["diarize"] > 0.0
    assert len({voice.speaker for voice in found.diarization.voices}) == 2
    words = [word for segment in found.segments for word in segment.words]
    said: dict[str, Counter[str]] = {}
    for word in words:
        for voice in found.diarization.exclusive:
            if voice.start <= _middle(word) < voice.end:
                said.setdefault(voice.speaker, Counter())[word.word.strip(" .,").lower()] += 1
    diane, sheila = sorted(said.values(), key=lambda counted: counted["sheila"])
    assert diane["diane"] == 1
    assert sheila["sheila"] == sheila["texas"] == sheila["yankee"] == 1
    assert not sheila["diane"]


def test_what_a_run_leaves_that_is_killed_the_next_one_removes(
    sample: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = _transcribe(sample, tmp_path / "out")
    environ = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environ) as killed:
        until(lambda: list(temporary.glob("*/*/samples-*/samples-*")))
        killed.kill()
    assert list(temporary.glob("*/*/samples-*/samples-*"))
    subprocess.run(command, env=environ, check=True, timeout=PATIENCE)
    assert json.loads((tmp_path / "out" / "sample.json").read_bytes())["speakers"]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_run_that_is_ended_while_its_models_load_leaves_nothing(
    sample: Path, tmp_path: Path, seconds: float
) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(_transcribe(sample, tmp_path / "out"), env=environ) as run:
        until(lambda: list(tmp_path.glob("*/*/speakers-child-*")))
        time.sleep(seconds)
        run.terminate()
    assert run.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def _transcribe(path: Path, output: Path) -> list[str]:
    """A command line that takes its temporary files from TMPDIR."""
    return [
        *(sys.executable, "-m", "worker", "transcribe", str(path), "--model", "base", "--quiet"),
        *("--device", "cpu", "--diarize", "--diarize-model", "packaged"),
        *("--output-dir", str(output)),
    ]


def _module(pid: int) -> str:
    return psutil.Process(pid).cmdline()[-1]


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2
