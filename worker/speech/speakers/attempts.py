"""On a card speakers are told apart there; where it can't be done there, on the CPU.

Where a card's memory runs out, the models first look at fewer chunks of the audio at a time, which
`diarizer.Diarizer` sees to. Only if not even one fits, or the card fails otherwise, the file begins
anew on the CPU; not after an error that has nothing to do with the card.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError, MachineError
from worker.results.speakers import Diarization
from worker.speech.model.memory import is_out_of_memory
from worker.speech.prepare.samples_file import map_samples
from worker.speech.speakers.frames import Found, SpeakersTask

__all__ = ["CPU", "Attempts", "Finder", "Load"]

CPU = "cpu"

_CARD_LIBRARIES = ("cuda", "cudnn", "cublas", "cufft")
"""What torch's errors on a card name, in lower case ("CUDA error: ...", "cuDNN error: ...")."""


class Finder(Protocol):
    """What tells speakers apart; see `diarizer.Diarizer`."""

    def find(
        self,
        samples: NDArray[np.int16],
        *,
        min_speakers: int | None,
        max_speakers: int | None,
        progress: Callable[[float], None],
    ) -> Diarization:
        """Who speaks when. Raises whatever torch and pyannote do."""
        ...


Load = Callable[[str], Finder]
"""Takes torch's name of a device. Raises MachineError where no device could hold the models, and
whatever torch does where this one can't."""


class Attempts:
    """See the module.

    Args:
        device: torch's name for where to begin.
        load: loads the models.

    Attributes:
        device: where the models are by now.
        notes: on that, sentences for results.
    """

    def __init__(self, device: str, load: Load) -> None:
        self.device = device
        self.notes: tuple[str, ...] = ()
        self._load = load
        self._finder: Finder | None = None

    def load(self) -> None:
        """Load the models, so that no file pays for that.

        Raises:
            MachineError: they can't be loaded.
            JobError: nor can they otherwise, on the CPU either.
        """
        while self._finder is None:
            try:
                self._finder = self._load(self.device)
            except MachineError:
                raise
            except Exception as error:  # noqa: BLE001  # pyannote may raise anything
                self._go_on(error, _not_loaded(error))

    def find(self, task: SpeakersTask, progress: Callable[[float], None]) -> Found:
        """Who speaks in a file.

        Args:
            task: the file.
            progress: told now and then which share of the file is done; on the CPU that begins
                anew.

        Raises:
            JobError: it can't be told.
            MachineError, JobError: the models can't be loaded on the CPU; see `load`.
        """
        samples = map_samples(Path(task.samples_file))
        while True:
            self.load()
            assert self._finder is not None
            try:
                diarization = self._finder.find(
                    samples,
                    min_speakers=task.min_speakers,
                    max_speakers=task.max_speakers,
                    progress=progress,
                )
            except BrokenPipeError:
                raise  # nobody reads the progress any more
            except Exception as error:  # noqa: BLE001  # as above
                self._go_on(error, _not_told(error))
            else:
                return Found(diarization, self.device, self.notes)

    def _go_on(self, error: Exception, otherwise: JobError) -> None:
        """Get ready for another attempt, on the CPU; raises `otherwise` where that can't help."""
        self._finder = None  # and its memory with it, before another is loaded
        full = is_out_of_memory(error)
        if self.device == CPU or not (full or _is_of_a_card(error)):
            raise otherwise from error
        why = "the card's memory ran out" if full else f"the card failed ({error})"
        self.notes = (f"Speakers were told apart on the CPU: {why}.",)
        self.device = CPU


def _is_of_a_card(error: Exception) -> bool:
    """Whether an error may be a card's: its libraries have no common class, and name themselves."""
    text = str(error).lower()
    return any(library in text for library in _CARD_LIBRARIES)


def _not_loaded(error: Exception) -> JobError:
    full = is_out_of_memory(error)
    why = "memory ran out; use a machine with more" if full else f"{type(error).__name__}: {error}"
    return JobError(
        ErrorCode.DIARIZATION_NOT_AVAILABLE,
        f"The models that tell speakers apart can't be loaded: {why}.",
    )


def _not_told(error: Exception) -> JobError:
    full = is_out_of_memory(error)
    return JobError(
        ErrorCode.DIARIZATION_FAILED,
        "Speakers could not be told apart in this audio: memory ran out; use a machine with more, "
        "or send the job without diarize."
        if full
        else "Speakers could not be told apart in this audio "
        f"({type(error).__name__}: {error}); send the job without diarize.",
    )
