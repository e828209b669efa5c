"""Long recordings: what is said in them, piece by piece, and several made of one.

A recording is a media file with a table of the same name beside it: `talk.flac` and `talk.csv`. The
table has the columns `start`, `end` (seconds) and `text`, and a row for each piece of a few
seconds, in the order in which they begin. `transcripts.csv` is no such table: it lists clips.
"""

from __future__ import annotations

import csv
import wave
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import JobError, SettingsError
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.windows import SAMPLE_RATE

__all__ = [
    "SUFFIXES",
    "TRANSCRIPTS",
    "Piece",
    "Recording",
    "Turned",
    "decode",
    "order",
    "read_recordings",
    "turn",
    "write_wav",
]

TRANSCRIPTS = "transcripts.csv"

SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mka", ".mkv", ".mov"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma"}
)
"""What is taken for media."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Words in a recording. Times in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A long recording with what is said in it; the pieces in order."""

    path: Path
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Turned:
    """A recording that begins elsewhere.

    Attributes:
        samples: int16, at 16 kHz.
        texts: of the pieces in it, in their new order.
    """

    samples: NDArray[np.int16]
    texts: tuple[str, ...]


def read_recordings(folder: Path) -> list[Recording]:
    """The long recordings in a folder, by name.

    Raises:
        SettingsError: the table beside a media file lacks columns, or its times are wrong.
    """
    return [
        Recording(path, _read_pieces(path.with_suffix(".csv")))
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and path.with_suffix(".csv").name != TRANSCRIPTS
        and path.with_suffix(".csv").is_file()
    ]


def order(pieces: Sequence[Piece], share: float, seconds: float | None = None) -> list[int]:
    """The pieces of a recording that begins elsewhere and goes on from its start.

    Args:
        pieces: in order.
        share: of the recording that lies before the new beginning, 0 to below 1.
        seconds: ends with the piece by which so much was said; a whole turn if None.

    Returns:
        The indices of the pieces, at least one.
    """
    starts = [piece.start for piece in pieces]
    first = bisect_left(starts, share * pieces[-1].end) % len(pieces)
    turned = [(first + index) % len(pieces) for index in range(len(pieces))]
    if seconds is None:
        return turned
    said = np.cumsum([pieces[index].end - pieces[index].start for index in turned])
    return turned[: int(np.searchsorted(said, seconds)) + 1]


def turn(recording: Recording, samples: NDArray[np.int16], pieces: Sequence[int]) -> Turned:
    """A recording made of some pieces of another, cut half-way between them.

    Args:
        recording: the other one.
        samples: its own, int16 at 16 kHz.
        pieces: the indices of the pieces.
    """
    found = recording.pieces
    cuts = [
        # Where two overlap, the second one begins.
        after.start - max(0.0, after.start - before.end) / 2
        for before, after in pairwise(found)
    ]
    edges = [0, *(round(cut * SAMPLE_RATE) for cut in cuts), len(samples)]
    return Turned(
        np.concatenate([samples[edges[index] : edges[index + 1]] for index in pieces]),
        tuple(found[index].text for index in pieces),
    )


def decode(path: Path) -> Iterator[NDArray[np.int16]]:
    """A media file's samples at 16 kHz, in pieces.

    Raises:
        SettingsError: it can't be decoded.
    """
    try:
        with AudioReader(path, AudioLimits()) as reader:
            for samples in reader:
                yield np.round(samples * 32767.0).astype("<i2")
    except JobError as error:
        raise SettingsError(f"{path}: {error.message}") from error


def write_wav(path: Path, pieces: Iterable[NDArray[np.int16]]) -> int:
    """Writes samples at 16 kHz as a WAV file; how many they are."""
    total = 0
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for samples in pieces:
            total += len(samples)
            file.writeframes(samples.tobytes())
    return total


def _read_pieces(table: Path) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    with table.open(encoding="utf-8", newline="") as rows:
        for number, row in enumerate(csv.DictReader(rows), start=2):
            try:
                piece = Piece(float(row["start"]), float(row["end"]), row["text"] or "")
            except (KeyError, TypeError, ValueError) as error:
                raise SettingsError(
                    f"{table}, row {number}: the columns start and end (seconds) and text are "
                    f"needed for each piece of the recording beside it"
                ) from error
            before = pieces[-1].start if pieces else 0.0
            if not before <= piece.start < piece.end:
                raise SettingsError(
                    f"{table}, row {number}: {piece.start:g} to {piece.end:g} s: a piece must "
                    f"end after it begins, and begin no sooner than the one before it"
                )
            pieces.append(piece)
    if not pieces:
        raise SettingsError(f"{table} has no rows: give the pieces of the recording beside it")
    return tuple(pieces)
