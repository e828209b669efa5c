"""What an engine is built from, and the rules by which it cuts windows.

Why the rules are what they are, with the word error rates of variants: `worker/speech/README.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worker.speech.api import WordTimes
from worker.speech.windows import SpanOptions, WindowOptions

SPANS = SpanOptions(threshold=0.4, release=0.25, min_speech=0.09)
"""How speech is found: faster-whisper's rule for batches, with lower thresholds: speech that Silero
is unsure of, as it is of sung words and of voices under music, costs less to decode than to lose.
No syllable is shorter than three frames."""

WINDOWS = WindowOptions(max_window=29.0, max_gap=4.0, cut_from=0.8)
"""Silence is cut out between spans, as faster-whisper does, but a window ends where nothing is said
for 4 s: its text would otherwise stand over minutes in a subtitle. One that is full ends at the
longest pause of its last fifth. The longer the windows, the fewer: each costs 30 s of encoder and
the reading of its prompt. How much encoder a window gets has no part in how it is cut."""

QUEUED_SECONDS = 30.0
"""Seconds of audio that a file counts for before its length is known."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything an engine is built from; what each field does is said at the setting of its name.

    Attributes:
        batch_size_given: whether somebody chose `batch_size`. Explicit: most windows in a batch.
            Default: most 30-s equivalents, so that short windows pack denser.
        compute_type_given: whether somebody chose `compute_type`, and is to be warned if the device
            can't do it.
        word_times_given: whether somebody chose `word_times`, and is to be told if it can't be had.
    """

    model: str = "large-v3"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    compute_type: str = "int8_float16"
    batch_size: int = 64
    batch_size_given: bool = False
    compute_type_given: bool = False
    beam_size: int = 5
    transcriber: Literal["optimized", "standard"] = "optimized"
    vad: Literal["silero", "pyannote"] = "silero"
    word_times: WordTimes = "aligned"
    word_times_given: bool = False
    diarize_model: str = "auto"
    context: Literal["full", "adaptive", "auto"] = "auto"
    num_workers: int = 0
    cpu_threads: int = 0
    max_wait: float = 0.5
    held_seconds: float = 0.0
    max_audio_seconds: float = 43_200.0
    prepare_memory_bytes: int = 2 << 30
    prepare_stall_seconds: float = 60.0
    model_dir: Path | None = None
    self_test: bool = True
