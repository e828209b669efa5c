"""A Recognition and what its caller knows of the input, put together as a Transcript (pure).

The pipeline and the command `transcribe` share it, so that a result has one shape wherever it
was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.results.at_once import by_their_sentences
from worker.results.in_order import in_order
from worker.results.languages import written_in
from worker.results.presentation import Presentation
from worker.results.sentences import by_sentences, by_speakers
from worker.results.spacing import joint
from worker.results.speakers import Heard
from worker.results.speech_times import without_short_pauses
from worker.results.spelling import spans
from worker.results.transcript import (
    Channel,
    EngineInfo,
    InputInfo,
    Language,
    LanguageShare,
    Segment,
    Task,
    Timings,
    Transcript,
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

    Whatever the engine says, times come out rounded to milliseconds, inside the audio and in
    order, without overlap in a channel, and words inside their segment; segments without text are
    left out. A segment whose language isn't known has its channel's, or the file's.

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
    heard = None
    if recognition.diarization is not None:
        heard = Heard(recognition.diarization, audio_seconds)
        engine = engine.model_copy(update={"diarizer": recognition.diarization.diarizer})
    making = _Making(audio_seconds, task, presentation, heard)
    said, channels = _said(recognition, making)
    segments = said.segments
    speakers = heard.speakers(segments) if heard else None
    if not presentation.words:
        segments = tuple(_without_words(segment) for segment in segments)
    with_words = any(segment.words for segment in segments)
    return Transcript(
        job_id=job_id,
        input=InputInfo(
            uri=input.uri, etag=input.etag, bytes=input.bytes, audio_seconds=audio_seconds
        ),
        language=recognition.language,
        languages=tuple(
            LanguageShare(code=code, seconds=round(seconds, _DECIMALS))
            for code, seconds in recognition.languages
        ),
        task=task,
        text=said.text,
        segment_resolution=presentation.segment_resolution,
        segments=segments,
        speakers=speakers,
        turns=heard.turns if heard else None,
        channels=channels,
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


@dataclass(frozen=True, slots=True)
class _Said:
    """Segments in order of start, with ids from 0, and the text of all."""

    segments: tuple[Segment, ...]
    text: str


@dataclass(frozen=True, slots=True)
class _Making:
    """How what an engine found becomes what was said; one for all channels.

    Attributes:
        audio_seconds: length of the audio, in milliseconds.
        task: what was asked.
        presentation: how the text is shown.
        heard: who is heard when; None where nobody asked.
    """

    audio_seconds: float
    task: Task
    presentation: Presentation
    heard: Heard | None

    def said(self, found: Iterable[Segment], language: Language | None) -> _Said:
        """What was said in one channel.

        Where speakers are told apart it has words whether or not the result will: by them the
        speakers are known.
        """
        code = language.code if language else None
        words = self.presentation.words or self.heard is not None
        windows = in_order(found, self.audio_seconds, code, words=words)
        if self.heard:
            windows = tuple(self.heard.told(window) for window in windows)
            windows = by_their_sentences(windows, self.task, self.heard.during)
        cut = by_sentences if self.presentation.segment_resolution == "sentence" else by_speakers
        segments = cut(windows, self.task)
        if self.heard:
            segments = tuple(self.heard.labelled(segment) for segment in segments)
        segments = worded(segments, self.presentation)
        return _Said(segments, _text(windows, segments, self.task))


def _said(recognition: Recognition, making: _Making) -> tuple[_Said, tuple[Channel, ...] | None]:
    """What was said in all channels together, and these, if each was transcribed on its own."""
    if recognition.channels is None:
        return making.said(recognition.segments, recognition.language), None
    found: dict[str | None, list[Segment]] = {one.label: [] for one in recognition.channels}
    for segment in recognition.segments:
        found[segment.channel].append(segment)
    said = [making.said(found[one.label], one.language) for one in recognition.channels]
    segments = sorted(
        (segment for one in said for segment in one.segments), key=lambda segment: segment.start
    )
    channels = [
        one.model_copy(update={"text": its.text, "seconds": round(one.seconds, _DECIMALS)})
        for one, its in zip(recognition.channels, said, strict=True)
    ]
    numbered = tuple(
        segment.model_copy(update={"id": number}) for number, segment in enumerate(segments)
    )
    return _Said(numbered, _joined(numbered, making.task)), tuple(channels)


def _without_words(segment: Segment) -> Segment:
    """The segment without its words: in their place stands when speech was heard."""
    speech = without_short_pauses((word.start, word.end) for word in segment.words)
    return segment.model_copy(update={"words": (), "speech": segment.speech or speech})


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
