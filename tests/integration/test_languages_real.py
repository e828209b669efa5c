"""Which language the real base model is asked to write: odd beginnings, many languages at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.media import write_wav
from tests.fakes.tiny_model import base_model
from worker.speech.api import Options, Recognition
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import Engine
from worker.speech.prepare.audio import AudioLimits, AudioReader

PATIENCE = 300.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    base_model()
    started = Engine(
        EngineConfig(
            model="base",
            device="cpu",
            compute_type="int8",
            batch_size=8,
            batch_size_given=True,
            word_times="none",
            self_test=False,
        )
    )
    started.start()
    yield started
    started.stop()


def samples(path: Path) -> NDArray[np.float32]:
    """A file as float32 [n] at 16 kHz."""
    with AudioReader(path, AudioLimits(120.0)) as reader:
        return np.concatenate(list(reader))


def quiet(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * 16_000), dtype=np.float32)


def odd_beginning(path: Path, speech: NDArray[np.float32], *, seconds: float = 0.7) -> Path:
    """The first moment of some speech, 2.5 s of silence, then all of it."""
    voice = int(np.argmax(np.abs(speech) > 0.1 * np.abs(speech).max()))
    first = speech[voice : voice + round(seconds * 16_000)]
    return write_wav(path, np.concatenate([quiet(0.5), first, quiet(2.5), speech]))


def detected(engine: Engine, *paths: Path, options: Options) -> list[str]:
    """The languages of some files that are decoded at once."""
    submissions = [engine.submit(path, options, name=path.name) for path in paths]
    found: list[Recognition] = [each.future.result(PATIENCE) for each in submissions]
    assert all(each.segments for each in found)
    return [each.language.code if each.language else "" for each in found]


def test_a_first_utterance_of_a_second_does_not_decide_the_language(
    engine: Engine, speech_dir: Path, tmp_path: Path
) -> None:
    german = samples(speech_dir / "languages" / "de.wav")
    paths = [
        speech_dir / "text-faults" / "b_own_es.wav",
        odd_beginning(tmp_path / "de.wav", german),
    ]
    assert detected(engine, *paths, options=Options(words=False)) == ["es", "de"]


@pytest.mark.long
@pytest.mark.parametrize("code", ["de", "fr", "ja"])
@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.0, 1.5])
def test_whatever_the_first_utterance_sounds_like(
    engine: Engine, speech_dir: Path, tmp_path: Path, code: str, seconds: float
) -> None:
    speech = samples(speech_dir / "languages" / f"{code}.wav")
    path = odd_beginning(tmp_path / f"{code}.wav", speech, seconds=seconds)
    assert detected(engine, path, options=Options(words=False)) == [code]


@pytest.mark.long
def test_six_languages_at_once_are_each_detected(engine: Engine, speech_dir: Path) -> None:
    spoken = {
        speech_dir / "languages" / "de.wav": "de",
        speech_dir / "languages" / "fr.wav": "fr",
        speech_dir / "languages" / "ja.wav": "ja",
        speech_dir / "text-faults" / "b_own_es.wav": "es",
        speech_dir / "text-faults" / "b_word_pt.wav": "pt",
        speech_dir / "english" / "LJ001-0002.flac": "en",
    }
    assert detected(engine, *spoken, options=Options(words=False)) == list(spoken.values())
