"""The real base model's words in conversations whose turns are known: who says them, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.tiny_model import base_engine
from worker.results.presentation import Presentation
from worker.results.speakers import Diarization, Voice
from worker.results.transcript import Timings, Transcript
from worker.speech.api import Options
from worker.speech.assemble import Input, assemble

PATIENCE = 1200.0

RIGHT = 0.9
"""Of ten words nine, at least: times of words from attention may be half a second off."""

MOST_ERRORS = 0.12
"""Diarization error rate of segments, 0.25 s beside the ends of turns left out, overlap counted.
Segments have one speaker at a time, so that of what two say at once half counts as missed, as do
pauses within a turn that end a sentence: up to 10 in a hundred."""


def turns_of(rttm: Path) -> tuple[Voice, ...]:
    lines = [line.split() for line in rttm.read_text(encoding="utf-8").splitlines()]
    return tuple(
        sorted(
            Voice(float(start), round(float(start) + float(seconds), 3), speaker)
            for _, _, _, start, seconds, _, _, speaker, *_ in lines
        )
    )


def alone(voices: tuple[Voice, ...]) -> tuple[Voice, ...]:
    """One speaker at a time: who came first has the word."""
    kept: list[Voice] = []
    reached = 0.0
    for voice in voices:
        if voice.end > reached:
            kept.append(voice._replace(start=max(voice.start, reached)))
            reached = voice.end
    return tuple(kept)


def right_words(made: Transcript, voices: tuple[Voice, ...]) -> float:
    """The share of words in whose middle their speaker is heard."""
    assert made.speakers is not None
    first_heard = dict.fromkeys(voice.speaker for voice in voices)
    names = {one.label: speaker for one, speaker in zip(made.speakers, first_heard, strict=True)}
    words = [word for segment in made.segments for word in segment.words]
    right = [
        word
        for word in words
        if any(
            voice.start <= (word.start + word.end) / 2 <= voice.end
            and names.get(word.speaker or "") == voice.speaker
            for voice in voices
        )
    ]
    return len(right) / len(words)


def error_rate(made: Transcript, voices: tuple[Voice, ...]) -> float:
    core = pytest.importorskip("pyannote.core")
    metrics = pytest.importorskip("pyannote.metrics.diarization")
    reference, found = core.Annotation(), core.Annotation()
    for number, voice in enumerate(voices):
        reference[core.Segment(voice.start, voice.end), number] = voice.speaker
    for segment in made.segments:
        if segment.speaker and segment.start < segment.end:
            found[core.Segment(segment.start, segment.end), segment.id] = segment.speaker
    whole = core.Timeline([core.Segment(0, made.input.audio_seconds)])
    # Its collar is what both sides of an end have together.
    rate = metrics.DiarizationErrorRate(collar=0.5)(reference, found, uem=whole)
    return float(rate)


@pytest.mark.long
@pytest.mark.timeout(PATIENCE)
def test_words_and_segments_are_of_those_who_say_them(speech_dir: Path) -> None:
    paths = sorted((speech_dir / "speakers").glob("*.flac"))
    if not paths:
        pytest.skip(f"needs conversations in {speech_dir / 'speakers'}")
    with base_engine(batch_size=4, word_times="attention") as engine:
        futures = [
            engine.submit(path, Options(language="en"), name=path.stem).future for path in paths
        ]
        heard = [future.result(PATIENCE) for future in futures]
        info = engine.info
    for path, recognition in zip(paths, heard, strict=True):
        voices = turns_of(path.with_suffix(".rttm"))
        found = replace(recognition, diarization=Diarization("reference", voices, alone(voices)))
        for presentation in (Presentation(), Presentation(segment_resolution="window")):
            made = assemble(
                found,
                job_id=path.stem,
                input=Input(path.name, 1),
                task="transcribe",
                engine=info,
                timings=Timings(),
                presentation=presentation,
            )
            assert right_words(made, voices) > RIGHT, path.name
            assert error_rate(made, voices) < MOST_ERRORS, path.name
