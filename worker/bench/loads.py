"""What is transcribed: folders of clips, one by one or joined into one long file.

A folder may have a `transcripts.csv` with the columns `file` and `text`; then its files are
those named there, and word error rates can be computed.
"""

from __future__ import annotations

import csv
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.errors import JobError, SettingsError
from worker.speech.prepare.audio import AudioLimits, AudioReader
from worker.speech.windows import SAMPLE_RATE

__all__ = ["LOADS", "Clip", "Load", "LoadName", "make_loads", "read_clips"]

LoadName = Literal["clips", "joined"]

LOADS: tuple[LoadName, ...] = ("clips", "joined")

SILENCE_SECONDS = 0.5
"""Between two clips of the joined file."""

TRANSCRIPTS = "transcripts.csv"

SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mka", ".mkv", ".mov"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma"}
)
"""What is taken for media in a folder without transcripts."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording and, where it is known, what is said in it."""

    path: Path
    reference: str | None


@dataclass(frozen=True, slots=True)
class Load:
    """Files that a contestant transcribes in one go.

    Attributes:
        name: clips or joined.
        paths: the files.
        seconds: of audio in them.
        references: what is said, clip after clip: one for each file, or all of them in the one
            file; None where a clip has no transcript.
    """

    name: LoadName
    paths: tuple[Path, ...]
    seconds: float
    references: tuple[str, ...] | None


def read_clips(folders: Sequence[Path], limit: int | None = None) -> list[Clip]:
    """The clips of some folders, in order.

    Args:
        folders: each with audio files, and maybe with transcripts.csv.
        limit: takes only so many, the first ones.

    Raises:
        SettingsError: a folder isn't there, has no audio, or names a file that isn't there.
    """
    clips = [clip for folder in folders for clip in _read_folder(folder)]
    if not clips:
        raise SettingsError(f"no audio in {', '.join(map(str, folders))}: name folders that have")
    return clips[:limit]


def make_loads(clips: Sequence[Clip], names: Sequence[LoadName], scratch: Path) -> list[Load]:
    """The loads of some clips. Decodes them all, to know how long they are.

    Args:
        clips: see `read_clips`.
        names: which loads.
        scratch: where the joined file goes.

    Raises:
        SettingsError: a clip can't be decoded.
    """
    texts = [clip.reference for clip in clips]
    known = tuple(text for text in texts if text is not None)
    references = known if len(known) == len(texts) else None
    joined = scratch / "joined.wav"
    samples = _write_joined([clip.path for clip in clips], joined)
    silence = int(SILENCE_SECONDS * SAMPLE_RATE)
    lengths = {
        "clips": samples / SAMPLE_RATE,
        "joined": (samples + silence * (len(clips) - 1)) / SAMPLE_RATE,
    }
    paths = {"clips": tuple(clip.path for clip in clips), "joined": (joined,)}
    return [Load(name, paths[name], lengths[name], references) for name in names]


def _read_folder(folder: Path) -> list[Clip]:
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder: name folders that hold audio")
    listing = folder / TRANSCRIPTS
    if not listing.is_file():
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        return [Clip(path, None) for path in files]
    clips = []
    with listing.open(encoding="utf-8", newline="") as rows:
        for number, row in enumerate(csv.DictReader(rows), start=2):
            name, text = row.get("file"), row.get("text")
            if not name or text is None:
                raise SettingsError(
                    f"{listing}, row {number}: the columns file and text are needed"
                )
            path = folder / name
            if not path.is_file():
                raise SettingsError(f"{listing}, row {number}: there is no file {path}")
            clips.append(Clip(path, text))
    return clips


def _write_joined(paths: Sequence[Path], target: Path) -> int:
    """Writes the clips as one WAV file with silence between them; their samples, without it."""
    silence = np.zeros(int(SILENCE_SECONDS * SAMPLE_RATE), dtype=np.float32)
    total = 0
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for number, path in enumerate(paths):
            if number:
                file.writeframes(_int16(silence))
            for piece in _decode(path):
                total += len(piece)
                file.writeframes(_int16(piece))
    return total


def _decode(path: Path) -> Iterator[NDArray[np.float32]]:
    try:
        with AudioReader(path, AudioLimits()) as reader:
            yield from reader
    except JobError as error:
        raise SettingsError(f"{path}: {error.message}") from error


def _int16(samples: NDArray[np.float32]) -> bytes:
    return np.round(samples * 32767.0).astype("<i2").tobytes()
