"""What a demo says of speakers: who speaks how much, what told them apart, and what is amiss."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from tests.fakes.transcripts import segments, transcript
from worker.cli.demo_speakers import (
    SAMPLE_SPEAKERS,
    lines_of_speakers,
    speakers_fault,
    table_of_speakers,
)
from worker.results.transcript import Speaker, Transcript


def told(*words: int) -> Transcript:
    """A transcript of so many speakers, each with a number of words."""
    spoken = transcript(*segments("Hello.", "Oh, hello."))
    return spoken.model_copy(
        update={
            "engine": spoken.engine.model_copy(update={"diarizer": "two models [packaged]"}),
            "speakers": tuple(
                Speaker(label=f"SPEAKER_{number:02}", seconds=1.25 * count, turns=3, words=count)
                for number, count in enumerate(words)
            ),
        }
    )


def printed(shown: RenderableType) -> Sequence[str]:
    output = io.StringIO()
    Console(file=output, width=60).print(shown)
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        (told(3, 4), SAMPLE_SPEAKERS, None),
        (told(7), None, None),
        (told(), None, None),
        (
            told(7),
            SAMPLE_SPEAKERS,
            "call-17: words of 1 speaker are told apart, and 2 speak in it",
        ),
        (
            told(3, 3, 1),
            SAMPLE_SPEAKERS,
            "call-17: words of 3 speakers are told apart, and 2 speak in it",
        ),
        # Who is heard and says nothing is nobody whose words were told apart.
        (
            told(7, 0),
            SAMPLE_SPEAKERS,
            "call-17: words of 1 speaker are told apart, and 2 speak in it",
        ),
        (
            transcript(*segments("Hello.")),
            None,
            "call-17: its transcript doesn't say who speaks",
        ),
    ],
)
def test_speakers_that_are_not_told_apart_are_a_fault(
    found: Transcript, expected: int | None, said: str | None
) -> None:
    assert speakers_fault(found, expected=expected) == said


def test_who_speaks_how_much_and_what_told_them_apart() -> None:
    assert printed(table_of_speakers(told(2, 40))) == [
        "speaker     seconds  turns  words",
        "SPEAKER_00      2.5      3      2",
        "SPEAKER_01     50.0      3     40",
        "told apart by two models [packaged]",
    ]


def test_the_lines_are_those_of_the_txt_with_their_labels(tmp_path: Path) -> None:
    assert printed(lines_of_speakers(tmp_path)) == [""]
    text = "[SPEAKER_00]: Hello.\n[SPEAKER_01]: Oh, [red]hello.\n"
    (tmp_path / "transcript.txt").write_text(text)
    assert printed(lines_of_speakers(tmp_path)) == text.splitlines()
