"""A Recognition and what its caller knows of the input, put together as a Transcript (pure).

The pipeline and the command `transcribe` share it, so that a result has one shape wherever it
was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.results.languages import written_in
from worker.results.presentation import Presentation
from worker.results.sentences import by_sentences
from worker.results.spacing import joint
from worker.results.speech_times import clipped
from worker.results.spelling import spans
from worker.results.transcript import (
    EngineInfo,
    InputInfo,
    LanguageShare,
    Segment,
    Task,
    Timings,
    Transcript,
    Word,
)
from worker.results.wording.worded import notes_of_tags, worded
from worker.speech.api import Recognition

__all__ = ["Input", "assemble", "timings", "with_timings"]

_DECIMALS = 3
"""Times are rounded to milliseconds, as in subtitles."""


@dataclass(frozen=True, slots=True)
class Input:
    """What is known of the file before anything has read it.

    Attributes:
        uri: of the object, or the file's name.
        bytes: its size.
        etag: the object's; None for a local file.
    """

    uri: str
    bytes: int
    etag: str | None = None


def assemble(
    recognition: Recognition,
    *,
    job_id: str,
    input: Input,  # noqa: A002  # the result's own name for it
    task: Task,
    engine: EngineInfo,
    timings: Timings,
    metadata: Mapping[str, str] | None = None,
    presentation: Presentation | None = None,
) -> Transcript:
    """The transcript of one input.

    Whatever the engine says, times come out rounded to milliseconds, inside the audio, in
    order and without overlap, and words inside their segment; segments without text are left
    out. A segment whose language isn't known has the file's.

    Args:
        recognition: what the engine made of the audio.
        job_id: the job's.
        input: the file.
        task: what was asked.
        engine: `Transcriber.info`.
        timings: as far as they are known; `with_timings` sets them again after writing.
        metadata: echoed.
        presentation: how the text is shown; None: as it is where a job asks for nothing.
    """
    presentation = presentation or Presentation()
    audio_seconds = round(recognition.audio_seconds, _DECIMALS)
    language = recognition.language
    windows = _in_order(
        recognition.segments,
        audio_seconds,
        language.code if language else None,
        words=presentation.words,
    )
    resolution = presentation.segment_resolution
    segments = by_sentences(windows, task) if resolution == "sentence" else windows
    segments = worded(segments, presentation)
    with_words = any(segment.words for segment in segments)
    return Transcript(
        job_id=job_id,
        input=InputInfo(
            uri=input.uri, etag=input.etag, bytes=input.bytes, audio_seconds=audio_seconds
        ),
        language=language,
        languages=tuple(
            LanguageShare(code=code, seconds=round(seconds, _DECIMALS))
            for code, seconds in recognition.languages
        ),
        task=task,
        text=_text(windows, segments, task),
        segment_resolution=resolution,
        segments=segments,
        word_times=recognition.word_times if with_words else None,
        notes=(*recognition.notes, *notes_of_tags(segments, presentation)),
        engine=engine,
        timings=timings,
        speed=_speed(audio_seconds, timings),
        subtitles=presentation.subtitles,
        metadata=dict(metadata or {}),
    )


def timings(
    recognition: Recognition, *, fetch: float = 0.0, write: float = 0.0, total: float = 0.0
) -> Timings:
    """The engine's stages and the caller's, in seconds, rounded to milliseconds.

    A result shows the engine's stages that `Timings` has a field for.
    """
    engine = {stage: recognition.seconds.get(stage, 0.0) for stage in Timings.model_fields}
    seconds = engine | {"fetch": fetch, "write": write, "total": total}
    return Timings(**{stage: round(value, _DECIMALS) for stage, value in seconds.items()})


def with_timings(transcript: Transcript, timings: Timings) -> Transcript:
    """The same transcript with its timings, now that its other files are written."""
    return transcript.model_copy(
        update={
            "timings": timings,
            "speed": _speed(transcript.input.audio_seconds, timings),
        }
    )


def _speed(audio_seconds: float, timings: Timings) -> float:
    return round(audio_seconds / timings.total, 2) if timings.total > 0 else 0.0


def _text(windows: Sequence[Segment], segments: Sequence[Segment], task: Task) -> str:
    """All that was said, the same whether segments are windows or sentences.

    Sentences stand in it as they stood in their windows, unless their words were changed since.
    """
    text = _joined(windows, task)
    is_spelled = spans(text, [segment.text for segment in segments]) is not None
    return text if is_spelled else _joined(segments, task)


def _joined(segments: Sequence[Segment], task: Task) -> str:
    """The text of all segments, joined as their languages are written."""
    parts: list[str] = []
    before: str | None = None
    for segment in segments:
        language = written_in(segment.language, task)
        parts += [joint(before, language) if parts else "", segment.text]
        before = language
    return "".join(parts)


def _in_order(
    segments: Iterable[Segment], audio_seconds: float, language: str | None, *, words: bool
) -> tuple[Segment, ...]:
    kept: list[Segment] = []
    clock = 0.0
    for segment in sorted(segments, key=lambda segment: segment.start):
        text = segment.text.strip()
        if not text:
            continue
        start, end = _inside(segment.start, segment.end, clock, audio_seconds)
        clock = end
        kept.append(
            segment.model_copy(
                update={
                    "id": len(kept),
                    "start": start,
                    "end": end,
                    "text": text,
                    "avg_logprob": round(segment.avg_logprob, 4),
                    "language": segment.language or language,
                    "words": _words_in_order(segment.words, start, end) if words else (),
                    "speech": clipped(segment.speech, start, end),
                }
            )
        )
    return tuple(kept)


def _words_in_order(words: Iterable[Word], opens: float, closes: float) -> tuple[Word, ...]:
    kept: list[Word] = []
    clock = opens
    for word in words:
        start, clock = _inside(word.start, word.end, clock, closes)
        score = None if word.score is None else round(word.score, _DECIMALS)
        kept.append(word.model_copy(update={"start": start, "end": clock, "score": score}))
    return tuple(kept)


def _inside(start: float, end: float, opens: float, closes: float) -> tuple[float, float]:
    """[start, end] in milliseconds, moved as little as it takes to lie in [opens, closes]."""
    start = min(max(round(start, _DECIMALS), opens), closes)
    return start, min(max(round(end, _DECIMALS), start), closes)
