"""What goes into an engine and what comes out: the types that both transcribers share.

The pipeline and the command line know only this module and `engine.build`, so the optimized and
the standard transcriber, and the tests' fake engine, are interchangeable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from worker.results.speakers import Diarization
from worker.results.transcript import Channel, EngineInfo, Language, Segment, Task, Word
from worker.speech.media.raw import RawAudio

WordTimes = Literal["aligned", "attention", "none"]
CarryContext = Literal["auto", "off", "on"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asks of one audio file.

    What the texts among them say is private, so a repr shows none of them.

    Attributes:
        language: Whisper language code, or None to detect it.
        task: transcribe, or translate (into English).
        words: whether to find words and their times.
        prompt: text that the decoder is to take for what was said before.
        hotwords: words and names that the decoder is to prefer.
        vocabulary: the same as a list of phrases, of which it is told as many as it has room for.
        carry_context: whether a window is prompted with the text of the windows before it: never
            (off), wherever that text stands (on), or there so far as it costs little (auto).
        language_options: Whisper codes that detection may choose from; empty: all of the model's.
            Where `language` is given, nothing is detected.
        multilingual: whether each window is decoded in its own language, instead of all in one;
            not with `language`.
        diarize: whether to tell speakers apart.
        min_speakers: the least number of them; None: one.
        max_speakers: the greatest number of them; None: as many as are found.
        channel_identification: whether each channel is transcribed on its own; not with `diarize`.
        channel_labels: what channels, or tracks, are called, in their order; those beyond are
            called ch_0, ch_1, ... or track_0, track_1, ...
        audio_stream: number of the audio track to transcribe, from 0; `all`: each on its own (not
            with the other two); None: the first that is marked and has sound.
        raw: what the file holds, if it has no header; None lets FFmpeg find out. For local files:
            no job asks for it.
    """

    language: str | None = None
    task: Task = "transcribe"
    words: bool = True
    prompt: str | None = field(default=None, repr=False)
    hotwords: str | None = field(default=None, repr=False)
    vocabulary: tuple[str, ...] = field(default=(), repr=False)
    carry_context: CarryContext = "auto"
    language_options: tuple[str, ...] = ()
    multilingual: bool = False
    diarize: bool = False
    min_speakers: int | None = None
    max_speakers: int | None = None
    channel_identification: bool = False
    channel_labels: tuple[str, ...] = ()
    audio_stream: int | Literal["all"] | None = None
    raw: RawAudio | None = None


class WindowText(BaseModel):
    """One finished window: the unit of a checkpoint. Times in seconds of the audio.

    Attributes:
        index: position among the file's windows, from 0; from 2**30 on, a further part of one that
            was divided.
        start: where its speech begins.
        end: where its speech ends.
        text: empty where nothing was said.
        avg_logprob: mean log probability of the text's tokens.
        no_speech_prob: that nothing was said; None where not known.
        temperature: at which the text was decoded; None where not known.
        words: with their times; empty where none were asked for or found.
        speech: start and end of each stretch in which speech was heard, where the text has no
            words; empty where not known.
        language: the Whisper code it was decoded in; None where that is not known.
        carried: tokens of its text that the next window may be prompted with; empty where the
            text was doubted or the window is silent.
        dropped_seconds: of speech of which no text could be believed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float | None = None
    temperature: float | None = None
    words: tuple[Word, ...] = ()
    speech: tuple[tuple[float, float], ...] = ()
    language: str | None = None
    carried: tuple[int, ...] = ()
    dropped_seconds: float = 0.0


class Partial(BaseModel):
    """The finished windows of an unfinished submission, as a checkpoint carries them.

    A submission that resumes from it keeps each of these windows whose index, start and end are
    found again in the audio, and decodes the others anew.

    Attributes:
        language: of the file.
        word_times: how words got their times.
        windows: those that are finished.
        channels: the same of each channel, or track, where each is transcribed on its own; nothing
            else is there then. A release that knows none never gets such a job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: Language | None = None
    word_times: Literal["aligned", "attention"] | None = None
    windows: tuple[WindowText, ...] = ()
    channels: tuple[Partial, ...] = Field(default=(), exclude_if=lambda value: not value)

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, channels: tuple[Partial, ...]) -> tuple[Partial, ...]:
        if any(channel.channels for channel in channels):
            raise ValueError("a channel has no channels")
        return channels

    @property
    def finished(self) -> int:
        """How many windows it has, in all channels."""
        return len(self.windows) + sum(channel.finished for channel in self.channels)


@dataclass(frozen=True, slots=True)
class Recognition:
    """The result of one audio file.

    Attributes:
        audio_seconds: length of the decoded audio.
        language: of the file, the one most spoken in it where there are several; None where
            there was no speech to detect it in.
        segments: windows in order of their start, inside the audio; those of one channel never
            overlap.
        word_times: how words got their times; None without words.
        seconds: this file's share of each stage (decode, windows, transcribe, align, diarize).
        windows: how many windows the file had; `resumed` of them came from a checkpoint.
        notes: what the engine decided by itself for this file, one sentence each.
        languages: (Whisper code, seconds of speech decoded in it), the most seconds first.
        diarization: who speaks when; None where nobody asked for it.
        channels: of each channel, or track, in their order, where each was transcribed on its own:
            `Channel.text` is empty, and made of the segments that have its label.
    """

    audio_seconds: float
    language: Language | None
    segments: Sequence[Segment]
    word_times: Literal["aligned", "attention"] | None
    seconds: dict[str, float]
    windows: int
    resumed: int = 0
    notes: tuple[str, ...] = ()
    languages: tuple[tuple[str, float], ...] = ()
    diarization: Diarization | None = None
    channels: tuple[Channel, ...] | None = None

    @property
    def text(self) -> str:
        """What was said, segment after segment."""
        return " ".join(segment.text for segment in self.segments)


class Submission(Protocol):
    """One file inside an engine."""

    @property
    def future(self) -> Future[Recognition]:
        """The result; raises JobError, EngineError or CancelledError."""
        ...

    def partial(self) -> Partial:
        """The windows finished so far; callable from any thread, at any time."""
        ...

    def progress(self) -> tuple[float, float | None]:
        """(seconds of audio done, seconds of audio in all or None while unknown)."""
        ...

    def on_text_done(self, call: Callable[[], object]) -> None:
        """Have `call` called once nothing but who speaks is missing, on a thread of the engine.

        At once, on this thread, if that is so already. Never where nobody asks who speaks, or where
        that is known before the text.
        """
        ...

    def cancel(self) -> None:
        """Cancel its future and stop working on it soon. Callable from any thread."""
        ...


@dataclass(slots=True)
class EngineStats:
    """Counters since start, and how it is at this moment.

    A window is counted when it is decoded. What follows from its text (second attempts, looks,
    audits) is counted when the text is read, a moment later.

    Attributes:
        windows: decoded, each attempt and each audit counted.
        batches: decoded.
        batch_slots: windows that would have fitted those batches.
        encoder_calls: calls of the model's encoder, warm-up included.
        encoded_windows: windows in those calls.
        second_attempts: decodings beyond each window's first, looks apart.
        prompted_windows: decoded with the text before them.
        looks: of those, windows that had a text already.
        audio_seconds: of the files decoded to their end.
        busy_seconds: that the device decoded.
        out_of_memory: batches that ran out of the device's memory.
        waiting_windows: ready to be decoded now.
        short_windows: that were tried with less than 30 s of encoder.
        short_failed: of those, windows that failed their checks.
        audits: short windows decoded in full as well, to compare.
        gpu_used_bytes: the card's memory in use by all processes; None without a card, and
            where the card was not asked (see `Transcriber.sample`).
        gpu_bytes: the card's memory in all; None likewise.
    """

    windows: int = 0
    batches: int = 0
    batch_slots: int = 0
    encoder_calls: int = 0
    encoded_windows: int = 0
    second_attempts: int = 0
    prompted_windows: int = 0
    looks: int = 0
    audio_seconds: float = 0.0
    busy_seconds: float = 0.0
    out_of_memory: int = 0
    waiting_windows: int = 0
    short_windows: int = 0
    short_failed: int = 0
    audits: int = 0
    gpu_used_bytes: int | None = None
    gpu_bytes: int | None = None

    def extra(self) -> dict[str, float]:
        """What a status document shows beside the usual counters, if there is anything.

        Counters of prompted windows, short windows and audits once there was one, and the card's
        memory where the card was asked.
        """
        shown: dict[str, float] = {}
        if self.prompted_windows:
            shown |= {"prompted_windows": self.prompted_windows, "looks": self.looks}
        if self.short_windows:
            shown |= {"short_windows": self.short_windows, "short_failed": self.short_failed}
        if self.audits:
            shown["audits"] = self.audits
        if self.gpu_used_bytes is not None and self.gpu_bytes is not None:
            shown |= {"gpu_used_bytes": self.gpu_used_bytes, "gpu_bytes": self.gpu_bytes}
        return shown


class Transcriber(Protocol):
    """An engine: started once, fed from any thread, stopped once."""

    @property
    def info(self) -> EngineInfo:
        """Model, device and versions, as written into every result. After `start`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same audio might give another text.

        A checkpoint is resumed only by an engine of the same fingerprint. After `start`.
        """
        ...

    @property
    def stats(self) -> EngineStats:
        """A snapshot of the counters; cheap, and asks nobody. After `start`."""
        ...

    def sample(self) -> EngineStats:
        """The same, with what only the card can say: its memory. After `start`.

        Asks the card's driver, which takes a moment and may wait for the device.
        """
        ...

    def start(self) -> None:
        """Load the model, warm it up, test it.

        Raises:
            MachineError: the machine can't do what the settings ask.
            SettingsError: a model or compute type that doesn't exist.
            EngineError: what was asked can't be loaded now, and may be at the next start.
        """
        ...

    def check(self, options: Options) -> None:
        """Whether the loaded model can do what the options ask. After `start`.

        Raises:
            JobError: it can't; `submit` would refuse a file with these options.
        """
        ...

    def submit(
        self,
        path: Path,
        options: Options,
        *,
        name: str,
        resume: Partial | None = None,
        alone: bool = False,
        scratch: Path | None = None,
    ) -> Submission:
        """Queue a local file.

        Args:
            path: the file; it must stay until the future is done.
            options: what is asked.
            name: the job id, for logs.
            resume: finished windows of an earlier submission of the same file.
            alone: whether its windows share no batch with those of other files.
            scratch: a folder in which files may lie until the future is done; submissions may
                share one. None: the engine makes one.

        Raises:
            JobError: the loaded model can't do what the options ask.
            TransientError: not now: the network, or the disk, is in the way.
            EngineError: the engine is stopped or broken.
        """
        ...

    def held_seconds(self) -> float:
        """Seconds of audio inside: waiting, prepared or being decoded."""
        ...

    def most_held_seconds(self) -> float:
        """Seconds of audio inside from which on no more is to be brought."""
        ...

    def last_progress(self) -> float | None:
        """time.monotonic() of the last finished step on the device.

        None while there is no work, and before `start`.
        """
        ...

    def failure(self) -> BaseException | None:
        """What killed one of the engine's own threads, if anything did."""
        ...

    def stop(self) -> None:
        """Cancel what is unfinished, and end threads and children."""
        ...
