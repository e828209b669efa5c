"""What an engine is built from, and the rules of windows that come with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worker.speech.api import WordTimes
from worker.speech.windows import SpanOptions, WindowOptions

SPANS = SpanOptions()
"""faster-whisper's for batches. With 0.2 s of padding in place of 0.4 the 80 clips, joined,
lost 3 points of word error rate."""

WINDOWS = WindowOptions(max_window=26.0, max_gap=4.0, cut_from=0.5)
"""With full context. Silence is cut out between spans, as faster-whisper does, but a window ends
where nothing is said for 4 s: its text would otherwise stand over minutes in a subtitle. Tried on
the 80 clips joined into one file (base int8, beam 5; word errors in a hundred). Windows that end
where the next span doesn't fit: 20 s 16.5, 22 s 17.7, 24 s 17.1, 26 s 16.9, 28 s 17.1 to 17.3, and
30 s 17.3 to 19.1, because no silence follows the speech and one window of 21 fell into a loop at
every temperature. Windows that end at the longest pause of their second half: 24 s 16.2, 26 s
15.8, 28 s 16.3; of the last 0.4: 24 s 16.3, 28 s 17.0."""

WINDOWS_ADAPTIVE = WindowOptions(max_window=16.0, max_gap=1.0, join_gap=1.0)
"""With adaptive context nothing is gained by filling windows across silence: speech less than
a second apart stays together, silence included, up to 16 s. Tried on the 80 clips joined into one
file (base int8, beam 5; word errors in a hundred, CPU seconds of one run on a busy machine):
12 s 17.9, 61; 16 s 16.4, 75; 20 s 17.0, 75; 30 s 22.0 (one window lost), 109. Ending at the
longest pause of the second half gained nothing here: 16 s 16.9 (15.9 without, in the same hour),
20 s 17.1, 24 s 16.1."""


QUEUED_SECONDS = 30.0
"""What a file counts as held before its length is known."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything an engine is built from; see the settings of the same names.

    Attributes:
        batch_size_given: whether somebody chose `batch_size`. Then it bounds windows; as a
            default it bounds what they cost: short ones count for their length.
    """

    model: str = "large-v3"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    compute_type: str = "int8_float16"
    batch_size: int = 64
    batch_size_given: bool = False
    beam_size: int = 5
    transcriber: Literal["optimized", "standard"] = "optimized"
    vad: Literal["silero", "pyannote"] = "silero"
    word_times: WordTimes = "aligned"
    context: Literal["full", "adaptive", "auto"] = "auto"
    num_workers: int = 2
    cpu_threads: int = 0
    max_wait: float = 0.5
    held_seconds: float = 1800.0
    max_audio_seconds: float = 43_200.0
    prepare_memory_bytes: int = 2 << 30
    prepare_stall_seconds: float = 60.0
    model_dir: Path | None = None
    self_test: bool = True
