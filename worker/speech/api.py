"""What goes into an engine and what comes out: the types both transcribers share.

`pipeline` and the command line know only this module and `engine.build`; the optimized and
the standard transcriber, and the tests' fake engine, are interchangeable behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from worker.results.transcript import EngineInfo, Language, Segment, Word

Task = Literal["transcribe", "translate"]
WordTimes = Literal["aligned", "attention", "none"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asks of one audio file.

    Attributes:
        language: Whisper language code, or None to detect it.
        task: transcribe, or translate (into English).
        words: whether words get times.
        prompt: text that the decoder takes as having come before.
        hotwords: words and names to favour.
    """

    language: str | None = None
    task: Task = "transcribe"
    words: bool = True
    prompt: str | None = None
    hotwords: str | None = None


class WindowText(BaseModel):
    """One finished window: the unit of a checkpoint. Times in seconds of the audio."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    start: float
    end: float
    text: str
    avg_logprob: float
    words: tuple[Word, ...] = ()


class Partial(BaseModel):
    """The finished windows of an unfinished submission, as a checkpoint carries them.

    A resumed submission gives each window back unchanged if a window of the same index,
    start and end comes up again; anything else is decoded anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: Language | None = None
    word_times: Literal["aligned", "attention"] | None = None
    windows: tuple[WindowText, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine knows of one audio file when it is done with it.

    Attributes:
        audio_seconds: length of the decoded audio.
        language: None where there was no speech to detect it in.
        segments: in order, never overlapping, inside the audio.
        word_times: how words got their times; None without words.
        seconds: this file's share of each stage: decode, windows, transcribe, align.
        windows: how many windows the file had; `resumed` of them came from a checkpoint.
        notes: what the engine decided by itself about this file, one sentence each.
    """

    audio_seconds: float
    language: Language | None
    segments: Sequence[Segment]
    word_times: Literal["aligned", "attention"] | None
    seconds: dict[str, float]
    windows: int
    resumed: int = 0
    notes: tuple[str, ...] = ()


class Submission(Protocol):
    """One file on its way through an engine."""

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

    def cancel(self) -> None:
        """Stop working on it, soon; its future is cancelled. Callable from any thread."""
        ...


@dataclass(slots=True)
class EngineStats:
    """Counters since start; read without a lock, so a reader may see them a moment apart."""

    windows: int = 0
    batches: int = 0
    batch_slots: int = 0
    encoder_calls: int = 0
    encoded_windows: int = 0
    second_attempts: int = 0
    audio_seconds: float = 0.0
    busy_seconds: float = 0.0
    out_of_memory: int = 0
    waiting_windows: int = 0
    extra: dict[str, float] = field(default_factory=dict)


class Transcriber(Protocol):
    """An engine: started once, fed from any thread, stopped once."""

    @property
    def info(self) -> EngineInfo:
        """Model, device and versions, as written into every result. After `start`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same audio might give another text; ties checkpoints."""
        ...

    @property
    def stats(self) -> EngineStats:
        """Counters since start."""
        ...

    def start(self) -> None:
        """Load, warm up, self-test. Raises MachineError or SettingsError."""
        ...

    def submit(
        self,
        path: Path,
        options: Options,
        *,
        name: str,
        resume: Partial | None = None,
        alone: bool = False,
    ) -> Submission:
        """Queue a local file. `name` (the job id) is for logs; `alone` shares no batch.

        Raises:
            JobError: the options can't be met by the loaded model.
        """
        ...

    def held_seconds(self) -> float:
        """Seconds of audio inside: waiting, prepared or being decoded."""
        ...

    def last_progress(self) -> float | None:
        """time.monotonic() of the last finished step on the device; None while it has no work."""
        ...

    def failure(self) -> BaseException | None:
        """What killed one of the engine's own threads, if anything did."""
        ...

    def stop(self) -> None:
        """End threads and children; what is unfinished is cancelled."""
        ...
