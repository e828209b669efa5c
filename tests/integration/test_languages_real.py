"""Which language the real base model is asked to write: odd beginnings, many languages at once."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.media import write_wav
from tests.fakes.speech import samples_of
from tests.fakes.tiny_model import base_engine
from tests.wording import alike
from worker.speech.api import Options, Recognition
from worker.speech.engine.engine import Engine

PATIENCE = 300.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with base_engine(batch_size=8, word_times="none", self_test=False) as started:
        yield started


def quiet(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * 16_000), dtype=np.float32)


def odd_beginning(path: Path, speech: NDArray[np.float32], *, seconds: float = 0.7) -> Path:
    """The first moment of some speech, 2.5 s of silence, then all of it."""
    voice = int(np.argmax(np.abs(speech) > 0.1 * np.abs(speech).max()))
    first = speech[voice : voice + round(seconds * 16_000)]
    return write_wav(path, np.concatenate([quiet(0.5), first, quiet(2.5), speech]))


def transcripts(speech_dir: Path) -> dict[str, str]:
    """What is said in the files of languages/, by language."""
    with (speech_dir / "languages" / "transcripts.csv").open(encoding="utf-8") as file:
        return {row["language"]: row["text"] for row in csv.DictReader(file)}


def joined(path: Path, speech_dir: Path, codes: Sequence[str], pause: float) -> Path:
    """The files of some languages one after the other."""
    parts = [samples_of(speech_dir / "languages" / f"{code}.wav") for code in codes]
    return write_wav(path, np.concatenate([x for part in parts for x in (part, quiet(pause))]))


def detected(engine: Engine, *paths: Path, options: Options) -> list[str]:
    """The languages of some files that are decoded at once."""
    submissions = [engine.submit(path, options, name=path.name) for path in paths]
    found: list[Recognition] = [each.future.result(PATIENCE) for each in submissions]
    assert all(each.segments for each in found)
    return [each.language.code if each.language else "" for each in found]


def test_a_first_utterance_of_a_second_does_not_decide_the_language(
    engine: Engine, speech_dir: Path, tmp_path: Path
) -> None:
    german = samples_of(speech_dir / "languages" / "de.wav")
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
    speech = samples_of(speech_dir / "languages" / f"{code}.wav")
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


@pytest.mark.parametrize(
    "pause",
    [
        pytest.param(0.3, id="inside a window"),
        pytest.param(5.0, id="between windows", marks=pytest.mark.long),
    ],
)
def test_each_part_of_a_multilingual_file_is_in_its_language(
    engine: Engine, speech_dir: Path, tmp_path: Path, pause: float
) -> None:
    said = transcripts(speech_dir)
    path = joined(tmp_path / "a.wav", speech_dir, ["de", "fr"], pause)
    options = Options(words=False, multilingual=True)
    result = engine.submit(path, options, name="a").future.result(PATIENCE)
    assert [segment.language for segment in result.segments] == ["de", "fr"]
    for segment in result.segments:
        assert segment.language is not None
        assert alike(segment.text, said[segment.language]) > 0.8
    assert result.segments[0].end <= result.segments[1].start
    assert {code for code, _ in result.languages} == {"de", "fr"}
    assert result.languages[0][1] >= result.languages[1][1], "most first"
    assert all(4.0 < seconds < 6.5 for _, seconds in result.languages)
    assert result.language is not None
    assert result.language.code == result.languages[0][0]


@pytest.mark.long
def test_a_file_of_two_languages_is_otherwise_in_the_one_of_most_of_it(
    engine: Engine, speech_dir: Path, tmp_path: Path
) -> None:
    german = samples_of(speech_dir / "languages" / "de.wav")
    english = samples_of(speech_dir / "english" / "LJ001-0001.flac")
    more = samples_of(speech_dir / "english" / "LJ001-0004.flac")
    parts = [german, quiet(5.0), english, quiet(0.5), more]
    path = write_wav(tmp_path / "a.wav", np.concatenate(parts))
    result = engine.submit(path, Options(words=False), name="a").future.result(PATIENCE)
    assert result.language is not None
    assert result.language.code == "en"
    assert [code for code, _ in result.languages] == ["en"]
    assert {segment.language for segment in result.segments} == {"en"}


@pytest.mark.long
@pytest.mark.parametrize("multilingual", [False, True])
def test_only_languages_of_the_options_are_detected(
    engine: Engine, speech_dir: Path, tmp_path: Path, *, multilingual: bool
) -> None:
    path = joined(tmp_path / "a.wav", speech_dir, ["de", "fr", "ja"], 0.3)
    options = Options(words=False, language_options=("fr", "ja"), multilingual=multilingual)
    result = engine.submit(path, options, name="a").future.result(PATIENCE)
    found = {segment.language for segment in result.segments}
    assert found <= {"fr", "ja"}
    assert len(found) == (2 if multilingual else 1)
