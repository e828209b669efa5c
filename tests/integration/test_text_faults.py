"""Recordings whose text, language or times once came out wrong: what becomes of each today.

Each runs with the defaults, its language unknown. What was said stands in the folder's README.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.tiny_model import base_engine
from worker.bench.wer import errors_by_clip, normalize
from worker.speech.api import Options
from worker.speech.engine.engine import Engine

PATIENCE = 300.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Outcome:
    """What is asked of one file.

    Attributes:
        language: the one to be detected; None where the base model knows none of its script.
        like: the file in whose row the README has its words, if it has.
        most: word errors in a hundred. Where no peer is right, what the better one has.
        times: how often the words are said.
        lost: most seconds of speech without a text, unless a note names them.
    """

    language: str | None
    like: str | None = None
    most: float = 0.0
    times: int = 1
    lost: float = 3.0


FAULTS = {
    "b_own_es.wav": Outcome("es", lost=6.0),
    "b_word_pt.wav": Outcome("pt", "b_word_pt", times=2),
    "c_paused1.2.wav": Outcome("en", "c_paused1.2", 14.9),
    "c_paused2.2.wav": Outcome("en", "c_paused1.2", 14.9),
    "c_quiet60.wav": Outcome("en", "c_paused1.2", 14.9),
    "d_LJ001-0008.wav": Outcome("en", "d_LJ001-0008"),
    # WhisperX, which leaves pauses in the window, has 4.9; faster-whisper this.
    "p_q1_2.0.wav": Outcome("en", "p_q1_2.0", 12.2),
    "p_quiet2nd35.wav": Outcome("en", "p_quiet2nd35", 38.7),
    "r_tst01.wav": Outcome("en", lost=16.0),
    "x_hi.wav": Outcome(None),
    "x_ta.wav": Outcome(None),
    "x_te.wav": Outcome(None),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with base_engine(batch_size=4, word_times="attention", context="auto") as started:
        yield started


@pytest.fixture(scope="module")
def folder(speech_dir: Path) -> Path:
    return speech_dir / "text-faults"


def said_in(folder: Path, name: str) -> str:
    """The quoted words of a file's row in the README."""
    rows = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    cells = next(row.split("|") for row in rows if row.startswith(f"| {name}."))
    return " ".join(re.findall(r'"([^"]+)"', cells[2]))


def test_the_table_has_every_file(folder: Path) -> None:
    assert set(FAULTS) == {path.name for path in folder.glob("*.wav")}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_came_out_wrong(engine: Engine, folder: Path, name: str) -> None:
    expected = FAULTS[name]
    found = engine.submit(folder / name, Options(), name=name).future.result(PATIENCE)
    text = found.text
    assert found.language is not None
    if expected.language is not None:
        assert found.language.code == expected.language, text
    if expected.like is not None:
        words = normalize(said_in(folder, expected.like)) * expected.times
        errors = sum(errors_by_clip([words], normalize(text)))
        assert 100 * errors / len(words) <= expected.most, text
    lost = found.audio_seconds - sum(each.end - each.start for each in found.segments)
    assert lost <= expected.lost or any("s of speech have no text" in note for note in found.notes)
