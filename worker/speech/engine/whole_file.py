"""Stages that need all samples of a file at once, and may add windows to it.

The place for anything that finds speech and can't look at a file piece by piece, such as pyannote's
speech detection. What says more of a file and adds no window doesn't belong here, where it would
hold up all that waits for the number of windows: who speaks is told beside the text (`diarizing`).

To add a stage, write a `WholeFileStage` and name it in `stages_for`: wherever there is a stage, the
prepare pool sends a file's samples too, beside its windows if Silero finds those.

What it costs: 230 MB an hour of audio while the file is in the engine. The stages of a file run
one after the other on its pool thread, when it is decoded to its end, so they take one of
`num_workers` places while they run. Its windows are decoded meanwhile, but a language vote that
needs the number of windows waits, because a stage may add some. The file's recognition is put
together when every stage is done (`FileState.stages_left`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError
from worker.speech.config import EngineConfig
from worker.speech.engine.file import File
from worker.speech.engine.resume import done
from worker.speech.model.loaded import Loaded
from worker.speech.model.memory import is_out_of_memory
from worker.speech.prepare.features import FrontEnd
from worker.speech.prepare.sound import Sound, to_samples
from worker.speech.windows import Span, Window


class WholeFileStage(Protocol):
    """One such stage. The engine calls it for many files, on several threads at a time."""

    @property
    def name(self) -> str:
        """The key in `Recognition.seconds` that its time is added to; unique among stages."""
        ...

    def run(self, file: File, samples: NDArray[np.float32]) -> None:
        """Do it for one file. Called without the engine's lock, after the last sample.

        Args:
            file: takes what the stage finds.
            samples: float32 [n] at 16 kHz, the whole file.

        Raises:
            JobError: it can't be done; the file fails with this.
        """
        ...


class Detector(Protocol):
    """What finds speech in a whole file; see `worker.speech.model.pyannote`."""

    def windows(self, samples: NDArray[np.float32]) -> Sequence[Window]:
        """The windows of a file, each of one span of at most 30 s."""
        ...


AddWindow = Callable[[File, int, Sequence[Span], Sound | None, NDArray[np.int16] | None], None]
"""Takes (file, index, spans, sound, samples) as `FileState.add_window` does."""


class SpeechDetection(WholeFileStage):
    """Finds the windows of a file, where the prepare pool does not.

    Args:
        detector: finds them.
        mels: feature bands to compute for them; 0 if the model computes them.
        add_window: takes them.
    """

    name = "windows"

    def __init__(self, detector: Detector, mels: int, add_window: AddWindow) -> None:
        self._detector = detector
        self._make: Callable[[NDArray[np.float32]], Sound] = FrontEnd(mels) if mels else to_samples
        self._add_window = add_window

    def run(self, file: File, samples: NDArray[np.float32]) -> None:
        """See `WholeFileStage`."""
        kept = {index: (start, end) for index, start, end in done(file.state.kept)}
        try:
            for window in self._detector.windows(samples):
                (span,) = window.spans
                piece = samples[span.start : span.end]
                known = kept.get(window.index) == (window.start, window.end)
                self._add_window(
                    file,
                    window.index,
                    window.spans,
                    None if known else self._make(piece),
                    to_samples(piece) if file.word_times == "aligned" else None,
                )
        except RuntimeError as error:
            raise _failed(error) from error


def stages_for(
    config: EngineConfig, loaded: Loaded, add_window: AddWindow
) -> Sequence[WholeFileStage]:
    """The stages that the configuration asks for, in the order in which they run.

    Args:
        config: of the engine.
        loaded: says on which device to run them, and how many feature bands windows have.
        add_window: for stages that find windows.
    """
    stages: list[WholeFileStage] = []
    if config.vad == "pyannote":
        # Imports torch and pyannote, which takes seconds.
        from worker.speech.model.pyannote import PyannoteDetector

        detector = PyannoteDetector(loaded.device)
        stages.append(SpeechDetection(detector, loaded.model.prepared_mels, add_window))
    return stages


def _failed(error: RuntimeError) -> JobError:
    """The detector looks at a whole file at once, so it is the file that was too much for it."""
    return JobError(
        ErrorCode.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorCode.ENGINE_FAILED,
        f"The pyannote speech detector failed on the file ({type(error).__name__}: {error}); "
        "use vad = silero.",
    )
