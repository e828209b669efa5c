"""Where clips for the kinds come from, and where their sets lie: folders of audio with texts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.bench.kind_sets import Source
from worker.bench.loads import Clip, read_clips, read_folders
from worker.bench.recordings import TRANSCRIPTS, decode, write_wav
from worker.errors import SettingsError
from worker.speech.model.detection import ranking_of
from worker.speech.model.whisper import Whisper
from worker.speech.prepare.features import FrontEnd, pad
from worker.speech.windows import MEL_FRAMES_PER_SECOND, SAMPLE_RATE, WINDOW_SECONDS
from worker.speech.words import attention

__all__ = ["align", "read_sets", "read_sources", "write_set"]

_FULL_SCALE = 32767.0


def read_sources(folders: Sequence[Path]) -> list[Source]:
    """The clips of some folders and the pieces of their long recordings; a reader a folder.

    Raises:
        SettingsError: a folder isn't there or has no audio, or nobody says what a clip says.
    """
    return [source for folder in folders for source in _read_sources(folder)]


def align(sources: Sequence[Source], model: Whisper, language: str | None) -> list[Source]:
    """The clips with the times of their words, by the attention of a model that is given the text.

    Clips longer than a window come back as they are.

    Args:
        sources: the clips.
        model: finds the times.
        language: of all clips; None to detect each one's.
    """
    import ctranslate2

    front = FrontEnd(model.mels)
    found = []
    for source in sources:
        if source.seconds > WINDOW_SECONDS:
            found.append(source)
            continue
        features = front(source.samples)
        padded = pad(features, WINDOW_SECONDS * MEL_FRAMES_PER_SECOND)[None]
        encoded = model.model.encode(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(padded))
        )
        spoken = language or ranking_of(model.model.detect_language(encoded)[0])[0][0]
        tokenizer = model.tokenizer(spoken, "transcribe")
        tokens = tokenizer.encode(" " + source.text)
        (alignment,) = attention.align(
            model.model, encoded, [tokens], features.shape[1], tokenizer, [features.max(axis=0)]
        )
        found.append(replace(source, words=tuple(alignment.words())))
    return found


def write_set(folder: Path, sources: Sequence[Source]) -> list[Clip]:
    """Writes a set as WAV files with a transcripts.csv; the clips that it then has."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    with (folder / TRANSCRIPTS).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "text"])
        for number, source in enumerate(sources, start=1):
            path = folder / f"{number:03d}-{source.name}.wav"
            write_wav(path, [np.round(source.samples * _FULL_SCALE).astype("<i2")])
            rows.writerow([path.name, source.text])
            clips.append(Clip(path, source.text))
    return clips


def read_sets(folder: Path) -> dict[str, list[Clip]]:
    """Sets that lie in a folder, each in one of its own; texts of a set are known or unknown.

    A set without a transcripts.csv, or in whose rows no text stands, has none.

    Raises:
        SettingsError: there is no such folder, no set in it, or a set is wrong.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder: name one that holds a folder for each set")
    found = {path.name: read_clips([path]) for path in sorted(folder.iterdir()) if path.is_dir()}
    if not found:
        raise SettingsError(f"no folders in {folder}: it must hold one for each set")
    return {
        name: clips
        if any(clip.reference for clip in clips)
        else [Clip(clip.path, None) for clip in clips]
        for name, clips in found.items()
    }


def _read_sources(folder: Path) -> list[Source]:
    material = read_folders([folder])
    found = []
    for clip in material.clips:
        if not clip.reference:
            raise SettingsError(
                f"{clip.path} has no text: kinds are made of clips whose text stands in "
                f"{folder / TRANSCRIPTS}"
            )
        found.append(Source(clip.path.stem, _read(clip.path), clip.reference, folder.name))
    for recording in material.recordings:
        samples = _read(recording.path)
        for number, piece in enumerate(recording.pieces, start=1):
            start, end = round(piece.start * SAMPLE_RATE), round(piece.end * SAMPLE_RATE)
            name = f"{recording.path.stem}-{number}"
            found.append(Source(name, samples[start:end], piece.text, folder.name))
    return found


def _read(path: Path) -> NDArray[np.float32]:
    samples = np.concatenate(list(decode(path)))
    return samples.astype(np.float32) / np.float32(_FULL_SCALE)
