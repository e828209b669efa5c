"""What a demo shows of who speaks, and whether it is as it should be."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker.results.names import sibling
from worker.results.plural import counted
from worker.results.transcript import Transcript

__all__ = ["COMMAND", "SAMPLE_SPEAKERS", "lines_of_speakers", "speakers_fault", "table_of_speakers"]

COMMAND = "./scripts/demo --speakers"
"""What shows speakers; the demo that doesn't names it."""

SAMPLE_SPEAKERS = 2
"""Two women are on the telephone in the recording that comes with pyannote-audio."""


def speakers_fault(transcript: Transcript, *, expected: int | None) -> str | None:
    """A sentence on a transcript that doesn't tell its speakers apart; None if it does.

    Args:
        transcript: of a job that asked who speaks.
        expected: how many speakers have words in it; None where nobody knows.
    """
    if transcript.speakers is None:
        return f"{transcript.job_id}: its transcript doesn't say who speaks"
    found = sum(speaker.words > 0 for speaker in transcript.speakers)
    if expected is None or found == expected:
        return None
    return (
        f"{transcript.job_id}: words of {counted(found, 'speaker')} are told apart, and"
        f" {expected} speak in it"
    )


def lines_of_speakers(folder: Path) -> RenderableType:
    """A transcript's txt as it is: each line begins with the label of who says it."""
    path = folder / sibling("txt")
    return Text(path.read_text(encoding="utf-8").rstrip("\n") if path.is_file() else "")


def table_of_speakers(transcript: Transcript) -> RenderableType:
    """Who speaks in a transcript that says so, for how long, and what told them apart."""
    table = Table(box=None, pad_edge=False)
    for name in ("speaker", "seconds", "turns", "words"):
        table.add_column(name, justify="left" if name == "speaker" else "right")
    for speaker in transcript.speakers or ():
        table.add_row(
            escape(speaker.label), f"{speaker.seconds:.1f}", f"{speaker.turns}", f"{speaker.words}"
        )
    return Group(table, Text(f"told apart by {transcript.engine.diarizer}"))
