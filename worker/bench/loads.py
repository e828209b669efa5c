"""What is transcribed: clips one by one or joined, long recordings one or many at once.

A folder may have a `transcripts.csv` with the columns `file` and `text`; then its clips are those
named there, and word error rates can be computed. A media file with a table of its own, `talk.csv`
beside `talk.flac`, is a long recording and no clip (see `recordings`). A folder may hold both.

- `clips`: each clip.
- `joined`: all clips as one file, with half a second of silence between them.
- `long`: each long recording.
- `long-many`: several files at once, made of the long recordings. Each begins at another piece of
  one and goes on, from its start, up to there: no two say the same at the same time.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.bench.recordings import (
    SUFFIXES,
    TRANSCRIPTS,
    Recording,
    decode,
    order,
    read_recordings,
    turn,
    write_wav,
)
from worker.errors import SettingsError
from worker.speech.windows import SAMPLE_RATE

__all__ = [
    "LOADS",
    "MANY",
    "Clip",
    "Load",
    "LoadName",
    "Material",
    "make_loads",
    "read_clips",
    "read_folders",
]

LoadName = Literal["clips", "joined", "long", "long-many"]

LOADS: tuple[LoadName, ...] = ("clips", "joined", "long", "long-many")

MANY = 8
"""Files of the load long-many."""

SILENCE_SECONDS = 0.5
"""Between two clips of the joined file."""

WARM_UP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording and, where it is known, what is said in it."""

    path: Path
    reference: str | None


@dataclass(frozen=True, slots=True)
class Load:
    """Files that a contestant transcribes in one go.

    Attributes:
        name: one of `LOADS`.
        paths: the files.
        seconds: of audio in them.
        references: what is said, piece after piece, file after file; None where a clip has no
            transcript.
        pieces: how many of the references each file has; one if None.

    Raises:
        ValueError: the references are more or fewer than the files' pieces.
    """

    name: LoadName
    paths: tuple[Path, ...]
    seconds: float
    references: tuple[str, ...] | None
    pieces: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        counts = self.counts
        if len(counts) != len(self.paths) or (
            self.references is not None and sum(counts) != len(self.references)
        ):
            raise ValueError(f"{len(self.paths)} files, {counts} pieces: say how many each has")

    @property
    def counts(self) -> tuple[int, ...]:
        """How many references each file has."""
        return (1,) * len(self.paths) if self.pieces is None else self.pieces


@dataclass(frozen=True, slots=True)
class Material:
    """What some folders hold: clips and long recordings, one of them at least."""

    clips: tuple[Clip, ...]
    recordings: tuple[Recording, ...]

    @property
    def loads(self) -> tuple[LoadName, ...]:
        """The loads that can be made of it; long-many, which takes longest, only if asked for."""
        joined: tuple[LoadName, ...] = ("clips", "joined") if self.clips else ()
        return (*joined, "long") if self.recordings else joined

    def warm_up(self, scratch: Path) -> Path:
        """A short file to begin with: the first clip, or the beginning of a recording.

        Args:
            scratch: where the beginning goes.

        Raises:
            SettingsError: the recording can't be decoded.
        """
        if self.clips:
            return self.clips[0].path
        path = scratch / "warm-up.wav"
        recording = self.recordings[0]
        samples = np.concatenate(list(decode(recording.path)))
        beginning = turn(recording, samples, order(recording.pieces, 0.0, WARM_UP_SECONDS))
        write_wav(path, [beginning.samples])
        return path


def read_folders(folders: Sequence[Path], limit: int | None = None) -> Material:
    """The clips and long recordings of some folders, in order.

    Args:
        folders: each with audio files, and maybe with tables of what is said.
        limit: takes only so many clips, the first ones.

    Raises:
        SettingsError: a folder isn't there, has no audio, or has a table that is wrong.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"{folder} is no folder: name folders that hold audio")
    recordings = {folder: read_recordings(folder) for folder in folders}
    clips = [
        clip
        for folder in folders
        for clip in _read_clips(folder, {one.path for one in recordings[folder]})
    ]
    found = Material(
        tuple(clips[:limit]), tuple(one for folder in folders for one in recordings[folder])
    )
    if not found.loads:
        raise SettingsError(f"no audio in {', '.join(map(str, folders))}: name folders that have")
    return found


def read_clips(folders: Sequence[Path], limit: int | None = None) -> list[Clip]:
    """The clips of some folders, in order.

    Args:
        folders: each with audio files, and maybe with transcripts.csv.
        limit: takes only so many, the first ones.

    Raises:
        SettingsError: a folder isn't there, has no clips, or names a file that isn't there.
    """
    clips = read_folders(folders, limit).clips
    if not clips:
        raise SettingsError(
            f"only long recordings in {', '.join(map(str, folders))}: name folders with clips"
        )
    return list(clips)


def make_loads(
    clips: Sequence[Clip],
    names: Sequence[LoadName],
    scratch: Path,
    recordings: Sequence[Recording] = (),
    *,
    many: int = MANY,
    many_seconds: float | None = None,
) -> list[Load]:
    """The loads of some clips and long recordings. Decodes them, to know how long they are.

    Args:
        clips: see `read_clips`.
        names: which loads.
        scratch: where files go that are made: joined, and turned recordings.
        recordings: see `read_folders`.
        many: files of the load long-many.
        many_seconds: each of them ends with the piece by which so much is said; a whole
            recording if None.

    Raises:
        SettingsError: a file can't be decoded, or there is nothing to make a load of.
    """
    found: dict[LoadName, Load] = {}
    for name in names:
        if not (clips if name in ("clips", "joined") else recordings):
            kind = "clips" if name in ("clips", "joined") else "long recordings"
            raise SettingsError(f"the load {name} needs {kind}, and the folders have none")
    if {"clips", "joined"} & set(names):
        for load in _of_clips(clips, scratch):
            found[load.name] = load
    if "long" in names:
        found["long"] = _long(recordings)
    if "long-many" in names:
        found["long-many"] = _long_many(recordings, many, many_seconds, scratch)
    return [found[name] for name in names]


def _of_clips(clips: Sequence[Clip], scratch: Path) -> tuple[Load, Load]:
    texts = [clip.reference for clip in clips]
    known = tuple(text for text in texts if text is not None)
    references = known if len(known) == len(texts) else None
    paths = tuple(clip.path for clip in clips)
    joined = scratch / "joined.wav"
    silence = np.zeros(int(SILENCE_SECONDS * SAMPLE_RATE), dtype=np.int16)
    total = write_wav(joined, _with_silence(paths, silence)) / SAMPLE_RATE
    spoken = total - SILENCE_SECONDS * (len(clips) - 1)
    return (
        Load("clips", paths, spoken, references),
        Load("joined", (joined,), total, references, (len(clips),)),
    )


def _with_silence(paths: Sequence[Path], silence: NDArray[np.int16]) -> Iterator[NDArray[np.int16]]:
    for number, path in enumerate(paths):
        if number:
            yield silence
        yield from decode(path)


def _long(recordings: Sequence[Recording]) -> Load:
    return Load(
        "long",
        tuple(one.path for one in recordings),
        sum(len(samples) for one in recordings for samples in decode(one.path)) / SAMPLE_RATE,
        tuple(piece.text for one in recordings for piece in one.pieces),
        tuple(len(one.pieces) for one in recordings),
    )


def _long_many(
    recordings: Sequence[Recording], count: int, seconds: float | None, scratch: Path
) -> Load:
    """So many files of the recordings in turn; those of one recording begin far apart."""
    paths: list[Path] = []
    samples_in_all = 0
    texts: list[str] = []
    pieces: list[int] = []
    for first, recording in enumerate(recordings[:count]):
        samples = np.concatenate(list(decode(recording.path)))
        turns = len(range(first, count, len(recordings)))
        for number in range(turns):
            one = turn(recording, samples, order(recording.pieces, number / turns, seconds))
            paths.append(scratch / f"long-{len(paths) + 1}.wav")
            samples_in_all += write_wav(paths[-1], [one.samples])
            texts += one.texts
            pieces.append(len(one.texts))
    return Load(
        "long-many", tuple(paths), samples_in_all / SAMPLE_RATE, tuple(texts), tuple(pieces)
    )


def _read_clips(folder: Path, recordings: set[Path]) -> list[Clip]:
    listing = folder / TRANSCRIPTS
    if not listing.is_file():
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        return [Clip(path, None) for path in files if path not in recordings]
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
