"""Every file of `media-faults` through the real engine: what is said, when, and what it notes.

The recordings' README tells how each file was made, and by whom such were sent. In the clean one
each sentence begins and ends within 0.1 s of its place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY
from tests.fakes.tiny_model import base_engine, base_model
from tests.wording import alike
from worker.errors import ErrorCode, ExitCode, JobError
from worker.results.transcript import Transcript
from worker.speech.api import Options, Recognition
from worker.speech.media.raw import RawAudio

PATIENCE = 300.0

STARTS_WITHIN, ENDS_WITHIN = 0.25, 0.3
"""Seconds. A hole's edge may cut a word."""

AROUND = 0.3
"""Seconds before and behind a sentence in which a word is still taken for one of its own: half of
the shortest pause between two."""

ALIKE = 0.75
"""The clean recording's worst sentence has 0.83: it is a small model."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


class Said(NamedTuple):
    """A sentence, and the seconds from which and to which a player plays it."""

    start: float
    end: float
    text: str


def later(sentences: tuple[Said, ...], seconds: float) -> tuple[Said, ...]:
    return tuple(Said(one.start + seconds, one.end + seconds, one.text) for one in sentences)


SHORT = (
    Said(
        0.2,
        5.664,
        "produced the block books, which were the immediate predecessors of the true printed book,",
    ),
    Said(
        6.264,
        10.614,
        "it is of the first importance that the letter used should be fine in form;",
    ),
)
TALK = (
    Said(
        0.5,
        8.952,
        "the invention of movable metal letters in the middle of the fifteenth century may justly "
        "be considered as the invention of the art of printing.",
    ),
    Said(
        9.952,
        18.559,
        "Printing, then, for our purpose, may be considered as the art of making books by means of "
        "movable types.",
    ),
    Said(
        19.559,
        26.664,
        "but by printers in Strasburg, Basle, Paris, Lubeck, and other cities.",
    ),
    Said(
        27.664,
        33.578,
        "But about the same year Mentelin at Strasburg began to print in a type which is "
        "distinctly Roman;",
    ),
    Said(
        34.578,
        44.469,
        "And it was a matter of course that in the Middle Ages, when the craftsmen took care that "
        "beautiful form should always be a part of their productions whatever they were,",
    ),
    Said(45.469, 47.482, "in being comparatively modern."),
)
OTHER = (
    Said(
        0.2,
        8.017,
        "Now, as all books not primarily intended as picture-books consist principally of types "
        "composed to form letterpress,",
    ),
    Said(
        8.617,
        14.701,
        "But though on the whole, except in Italy, Gothic letter was most often used",
    ),
)
TALK_SECONDS = 47.986
SHORT_SECONDS = 11.114

# Six times the talk; the third breaks off 4 s after its start, the fourth begins 3 s after its own.
WITH_A_HOLE_OF_47_S = (
    *TALK,
    *later(TALK, TALK_SECONDS),
    Said(96.472, 100.1, "the invention of movable metal letters in the middle of the"),
    Said(
        147.1,
        152.91,
        "in the middle of the fifteenth century may justly be considered as the invention of the "
        "art of printing.",
    ),
    *later(TALK[1:], 3 * TALK_SECONDS),
    *later(TALK, 4 * TALK_SECONDS),
    *later(TALK, 5 * TALK_SECONDS),
)


class Heard(NamedTuple):
    """What must come of a file.

    Attributes:
        sentences: in time.
        notes: how each begins.
        left: seconds between which a hole left the end of a word, of which anything may be made.
    """

    sentences: tuple[Said, ...]
    notes: tuple[str, ...] = ()
    left: tuple[float, float] = (0.0, 0.0)


class Refused(NamedTuple):
    """What must come of a file of which nothing can be heard."""

    code: ErrorCode
    sentence: str


CLEAN = Heard(SHORT)
TURNED = "Channels that cancel each other were turned over before they were mixed"
TWO = "The file holds 2 recordings one after the other: times count through"

OUTCOMES: dict[str, Heard | Refused] = {
    "12:30.wav": CLEAN,
    "audiojs__ima4_mono.caf": Heard((), ("Nothing was heard: no speech was found in 0.5 s",)),
    "c71.m4a": CLEAN,
    "c71.opus": CLEAN,
    "cenc.mp4": Refused(
        ErrorCode.NOT_MEDIA,
        "The audio is encrypted (CENC, as of streaming services); send it without protection.",
    ),
    "d_3ch_plain_c3.wav": CLEAN,
    "d_6ch_plain_c4.wav": CLEAN,
    "d_inverted.wav": Heard(SHORT, (TURNED,)),
    "fonts70.mkv": CLEAN,
    "h_silent_small.aac": Heard(later(SHORT, 8.0)),
    "hole24.m4a": Heard(
        WITH_A_HOLE_OF_47_S,
        ("1102 damaged packets were skipped", "47.0 s of silence stand in 1 place"),
    ),
    "k_default_second.mp4": Heard(
        SHORT,
        ("Of 2 audio tracks, counted from 0, track 1 (default) was transcribed; left out: 0",),
    ),
    "k_silent_first.mkv": Heard(
        SHORT,
        (
            "Of 2 audio tracks, counted from 0, track 1 was transcribed; left out: 0 (default) "
            "without sound",
        ),
    ),
    "late7.ts": Heard(later(SHORT, 7.0), ("7.0 s of silence stand in 1 place",)),
    "q2_rl.mov": Heard((Said(0.2, 1.6, "produced the block books"),)),
    "raw.ul": Refused(ErrorCode.NOT_MEDIA, "--input-format, --input-rate and --input-channels"),
    "short.wav": CLEAN,
    "t_drop6.mp4": Heard(
        (*TALK[:2], *TALK[3:]), ("6.0 s of silence stand in 1 place",), left=(26.0, 26.664)
    ),
    "t_fllfe.wav": CLEAN,
    "t_pause10.webm": Heard(
        (*TALK[:2], *later(TALK[2:], 10.0)), ("10.0 s of silence stand in 1 place",)
    ),
    "t_start4.mp4": Heard(later(TALK, 4.0), ("4.0 s of silence stand in 1 place",)),
    "t_start4.ts": Heard(later(TALK, 4.0), ("4.0 s of silence stand in 1 place",)),
    "t_talk_dtx.amr": Heard(TALK),
    "unknown_first.mka": Heard(
        SHORT,
        (
            "Of 2 audio tracks, counted from 0, track 1 was transcribed; left out: 0 (default) "
            "without a decoder",
        ),
    ),
    "x_amr_dtx_pause.amr": Heard((*SHORT, *later(OTHER, 30.0 + SHORT_SECONDS))),
    "x_cat_pids.ts": Heard(
        (*SHORT, *later(OTHER, SHORT_SECONDS)), ("The file's clock jumps once", TWO)
    ),
    "x_chain_opus.ogg": Heard((*SHORT, *later(OTHER, SHORT_SECONDS)), (TWO,)),
    # Nearly all of the third sentence is in the hole.
    "x_hole.m4a": Heard(
        (*TALK[:2], Said(25.9, 26.664, "cities"), *TALK[3:]),
        ("178 damaged packets were skipped", "7.6 s of silence stand in 1 place"),
    ),
    "x_trunc.mp4": Refused(ErrorCode.NOT_MEDIA, "The file was cut off before its index (moov)"),
    "zip.mp3": Refused(ErrorCode.NOT_MEDIA, "The file is a ZIP archive; send the audio in it."),
}


@pytest.fixture(scope="module")
def folder(speech_dir: Path) -> Path:
    return speech_dir / "media-faults"


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Recognition | BaseException]:
    """What came of each file: all at once, so that the engine's batches are full."""
    paths = sorted(path for path in folder.iterdir() if path.name != "README.md")
    telephone = Options(raw=RawAudio("mulaw", 8_000, 1))
    with base_engine(batch_size=8, word_times="attention") as engine:
        asked = {path.name: engine.submit(path, Options(), name=path.name) for path in paths}
        asked["raw.ul as mu-law"] = engine.submit(folder / "raw.ul", telephone, name="raw.ul")
        outcomes = {
            name: submission.future.exception(PATIENCE) or submission.future.result()
            for name, submission in asked.items()
        }
        assert engine.failure() is None
    return outcomes


def check(found: Recognition, expected: Heard) -> None:
    """Each sentence is heard in its place, nothing is heard elsewhere, and the notes are these."""
    words = [
        word
        for segment in found.segments
        for word in segment.words
        if not expected.left[0] <= (word.start + word.end) / 2 <= expected.left[1]
    ]
    for said in expected.sentences:
        own = [
            word
            for word in words
            if said.start - AROUND < (word.start + word.end) / 2 < said.end + AROUND
        ]
        words = [word for word in words if word not in own]
        text = " ".join(word.word for word in own)
        assert alike(text, said.text) > ALIKE, (said, text)
        assert own[0].start == pytest.approx(said.start, abs=STARTS_WITHIN), (said, text)
        assert own[-1].end == pytest.approx(said.end, abs=ENDS_WITHIN), (said, text)
    assert not words, "heard where nothing is said"
    assert len(found.notes) == len(expected.notes), found.notes
    for note, start in zip(found.notes, expected.notes, strict=True):
        assert note.startswith(start)


def test_the_table_has_every_file(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"README.md", *OUTCOMES}


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_file_has_its_text_in_time_or_its_sentence(
    found: dict[str, Recognition | BaseException], folder: Path, name: str
) -> None:
    expected, outcome = OUTCOMES[name], found[name]
    if isinstance(expected, Refused):
        assert isinstance(outcome, JobError)
        assert outcome.code is expected.code
        assert expected.sentence in outcome.message
        assert str(folder) not in outcome.message
        return
    assert isinstance(outcome, Recognition), outcome
    check(outcome, expected)


def test_a_file_without_a_header_is_read_by_what_is_said_of_it(
    found: dict[str, Recognition | BaseException],
) -> None:
    outcome = found["raw.ul as mu-law"]
    assert isinstance(outcome, Recognition), outcome
    check(outcome, CLEAN)


def test_a_relative_path_with_a_colon(folder: Path, tmp_path: Path) -> None:
    base_model()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "worker", "transcribe", "12:30.wav"),
            *("--output-dir", str(tmp_path), "--formats", "json", "--no-words"),
            *("--model", "base", "--device", "cpu", "--compute-type", "int8"),
            *("--beam-size", "2", "--no-self-test"),
        ],
        cwd=folder,
        env=dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == ExitCode.OK, done.stderr
    transcript = Transcript.model_validate_json((tmp_path / "12:30.json").read_bytes())
    assert alike(transcript.text, " ".join(said.text for said in SHORT)) > ALIKE
