"""Transcripts of texts: their words timed one after the other, a word a third of a second."""

from __future__ import annotations

from collections.abc import Sequence

from worker.results.presentation import Presentation
from worker.results.transcript import (
    EngineInfo,
    InputInfo,
    Language,
    Segment,
    Timings,
    Transcript,
    Word,
)
from worker.speech.api import Recognition
from worker.speech.assemble import Input, assemble, timings

ENGINE = EngineInfo(
    model="base",
    device="cpu",
    compute_type="int8",
    batch_size=8,
    beam_size=5,
    vad="silero",
    transcriber="optimized",
    versions={},
)

WORD_SECONDS = 0.3
PAUSE_SECONDS = 0.1


def words(text: str, start: float, scores: Sequence[float | None] = (0.9,)) -> tuple[Word, ...]:
    """The words of a text, at spaces; the scores are given out in turn."""
    step = WORD_SECONDS + PAUSE_SECONDS
    return tuple(
        Word(
            word=word,
            start=round(start + number * step, 3),
            end=round(start + number * step + WORD_SECONDS, 3),
            score=scores[number % len(scores)],
        )
        for number, word in enumerate(text.split())
    )


def segments(
    *texts: str, with_words: bool = True, scores: Sequence[float | None] = (0.9,)
) -> tuple[Segment, ...]:
    """Segments of texts, half a second apart."""
    found = []
    clock = 0.5
    for number, text in enumerate(texts):
        timed = words(text, clock, scores)
        end = timed[-1].end if timed else clock + 1.0
        found.append(
            Segment(
                id=number,
                start=clock,
                end=end,
                text=text,
                avg_logprob=-0.1,
                words=timed if with_words else (),
                language="en",
            )
        )
        clock = round(end + 0.5, 3)
    return tuple(found)


def transcript(
    *spoken: Segment, name: str = "s3://bucket/in/call-17.flac", etag: str | None = None
) -> Transcript:
    """The transcript of segments; its audio ends a second after them."""
    return Transcript(
        job_id="call-17",
        input=InputInfo(
            uri=name,
            etag=etag,
            bytes=1,
            audio_seconds=(spoken[-1].end if spoken else 0.0) + 1.0,
        ),
        language=Language(code="en", probability=0.99, detected=True),
        task="transcribe",
        text=" ".join(segment.text for segment in spoken),
        segments=spoken,
        word_times="attention" if any(segment.words for segment in spoken) else None,
        engine=ENGINE,
        timings=Timings(),
        speed=1.0,
    )


def assembled(found: Recognition, presentation: Presentation | None = None) -> Transcript:
    """A transcript of what was recognised in a file."""
    return assemble(
        found,
        job_id="call-17",
        input=Input("call-17.flac", 1),
        task="transcribe",
        engine=ENGINE,
        timings=timings(found),
        presentation=presentation,
    )
