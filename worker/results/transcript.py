"""What a job becomes: words, segments, the transcript and the error document (pure).

These models are the result's contract: `schema_version` 1 means that a field may be added,
but none is renamed, removed or given another meaning. `transcript_schema` and
`error_schema` generate the JSON schemas under config/schemas/.
All times are seconds from the start of the audio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Task = Literal["transcribe", "translate"]
SegmentResolution = Literal["sentence", "window"]
LineWidth = Annotated[int, Field(ge=10, le=200)]
LineCount = Annotated[int, Field(ge=1, le=10)]
CueSeconds = Annotated[float, Field(ge=1.0, le=60.0, allow_inf_nan=False)]
StartIndex = Annotated[int, Field(ge=0, le=1_000_000)]


NOT_ASKED = ""
"""The `speaker` of a word or a segment where the job asked for none; left out of the json. Where it
did, None says that nobody is heard."""


class _Model(BaseModel):
    """Results are values: built once, never changed."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_inf_nan="null",
        # Readers that validate must not break on a field that a later worker adds.
        json_schema_extra=lambda schema: schema.pop("additionalProperties", None),
    )


class Word(_Model):
    """One word with its times; `start <= end`, both inside the word's segment."""

    word: str
    start: float
    end: float
    score: float | None = Field(default=None, description="0 to 1; null where not known")
    vocabulary_filter_match: Literal[True] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="only there, and true, where the job's `vocabulary_filter` tags the word",
    )
    speaker: str | None = Field(
        default=NOT_ASKED,
        exclude_if=lambda value: value == NOT_ASKED,
        description="label of who says it; null where nobody is heard; only there where the job"
        " asks for speakers",
    )


class Segment(_Model):
    """A sentence with its times, or a window (`Transcript.segment_resolution`).

    Segments are in order of their start, and those of one channel never overlap. One ends where
    the speaker changes. How sure the model was is known for windows:
    a sentence has what its window has, one of two windows the mean by characters, and the higher
    temperature.
    """

    id: int
    start: float
    end: float
    text: str
    avg_logprob: float = Field(description="mean log probability of the window's tokens")
    no_speech_prob: float | None = Field(
        default=None, description="that nothing was said in the window; null where not known"
    )
    temperature: float | None = Field(
        default=None, description="at which the window was decoded; null where not known"
    )
    compression_ratio: float | None = Field(
        default=None,
        description="of the window's text, as Whisper counts it: high where it repeats itself;"
        " null where not known",
    )
    words: tuple[Word, ...] = ()
    speech: tuple[tuple[float, float], ...] = Field(
        default=(),
        exclude_if=lambda value: not value,
        description="start and end of each stretch in which speech was heard; only there where"
        " words are missing",
    )
    language: str | None = Field(
        default=None, description="Whisper code of the language spoken; null where not known"
    )
    speaker: str | None = Field(
        default=NOT_ASKED,
        exclude_if=lambda value: value == NOT_ASKED,
        description="label of who speaks; null where nobody is heard; only there where the job"
        " asks for speakers",
    )
    channel: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="label of the channel, or of the track, that it was said in; only there where"
        " each is transcribed on its own",
    )


class Speaker(_Model):
    """Who was told apart from others by the voice."""

    label: str = Field(description="SPEAKER_00, SPEAKER_01, ... in order of first speech")
    seconds: float = Field(description="in which the voice is heard")
    turns: int = Field(description="how many there are of it in the transcript's `turns`")
    words: int = Field(description="how many words have the label")


class Turn(_Model):
    """A stretch in which a speaker is heard. Those of two speakers may overlap."""

    speaker: str
    start: float
    end: float


class Channel(_Model):
    """A channel of the audio, or a track of the file, that was transcribed on its own."""

    label: str
    audio_stream: int | None = Field(
        description="number of the track among the file's, from 0; null where the file falls into"
        " parts with tracks of their own"
    )
    channel: int | None = Field(
        description="number of the channel in its track, from 0; null where tracks are mixed into"
        " one channel each"
    )
    same_as: str | None = Field(
        default=None,
        description="label of the channel that holds the same samples, and has the text",
    )
    language: Language | None = Field(description="null where there was no speech")
    seconds: float = Field(description="of speech, without longer pauses")
    text: str


class Language(_Model):
    """The language the audio was decoded in; of several, the one most spoken."""

    code: str
    probability: float | None = Field(description="null where the job named the language")
    detected: bool


class LanguageShare(_Model):
    """A language that is spoken in the audio."""

    code: str
    seconds: float = Field(description="of speech that was decoded in it")


class InputInfo(_Model):
    """The object (or file) that was transcribed."""

    uri: str
    etag: str | None = None
    bytes: int
    audio_seconds: float


class EngineInfo(_Model):
    """What transcribed it: enough to tell two results apart by their engine."""

    model: str
    device: str
    compute_type: str
    batch_size: int
    beam_size: int
    vad: str
    transcriber: str
    notes: tuple[str, ...] = Field(
        default=(), description="choices the worker made by itself, such as the CPU on `auto`"
    )
    diarizer: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="what told the speakers apart; only there where the job asks for speakers",
    )
    versions: Mapping[str, str]


class SubtitleOptions(_Model):
    """What a job asks of its subtitles: srt and vtt."""

    max_line_width: LineWidth = Field(default=42, description="columns; wide characters take two")
    max_line_count: LineCount = Field(default=2, description="lines of a cue")
    max_cue_seconds: CueSeconds = 7.0
    highlight_words: bool = Field(
        default=False, description="each word underlined in its turn, in cues of its own"
    )
    vtt_word_times: bool = Field(
        default=False, description="times of words in the vtt, `<00:00:01.000>`"
    )
    output_start_index: StartIndex = Field(default=1, description="number of the first cue")


class Timings(_Model):
    """Seconds spent on this job, by stage. Stages of different jobs overlap in time."""

    fetch: float = 0.0
    decode: float = 0.0
    windows: float = 0.0
    transcribe: float = 0.0
    align: float = 0.0
    diarize: float = Field(
        default=0.0,
        exclude_if=lambda value: not value,
        description="only there where the job asks for speakers",
    )
    write: float = 0.0
    total: float = 0.0


class Transcript(_Model):
    """A committed result: `transcript.json`."""

    schema_version: Literal[1] = 1
    job_id: str
    status: Literal["completed"] = "completed"
    input: InputInfo
    language: Language | None = Field(description="null where there was no speech to detect it in")
    languages: tuple[LanguageShare, ...] = Field(
        default=(), description="all that were decoded, the one most spoken first"
    )
    task: Task
    text: str
    segment_resolution: SegmentResolution = Field(default="window", description="what a segment is")
    segments: tuple[Segment, ...]
    speakers: tuple[Speaker, ...] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="in order of first speech; only there where the job asks for speakers",
    )
    turns: tuple[Turn, ...] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="who is heard when, in order of start; only there where the job asks for"
        " speakers",
    )
    channels: tuple[Channel, ...] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="in their order; only there where each is transcribed on its own",
    )
    word_times: Literal["aligned", "attention"] | None = Field(
        default=None, description="how the times of words were found; null without words"
    )
    notes: tuple[str, ...] = Field(
        default=(), description="what the worker decided about this job, one sentence each"
    )
    engine: EngineInfo
    timings: Timings
    speed: float = Field(description="audio seconds per second from fetch to write")
    subtitles: SubtitleOptions = Field(
        default_factory=SubtitleOptions, description="how the srt and the vtt are made"
    )
    metadata: Mapping[str, str] = Field(default_factory=dict)


class ErrorDocument(_Model):
    """A failure kept for good: `error.json`."""

    schema_version: Literal[1] = 1
    job_id: str
    status: Literal["failed"] = "failed"
    input: str = Field(description="the job's input URI; empty where the message named none")
    code: str
    message: str
    attempts: int
    failed_at: str = Field(description="UTC, ISO 8601")
    metadata: Mapping[str, str] = Field(default_factory=dict)


def transcript_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of transcript.json."""
    return Transcript.model_json_schema(mode="serialization")


def error_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of error.json."""
    return ErrorDocument.model_json_schema(mode="serialization")
