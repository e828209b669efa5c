"""From the card to the CPU: what fails on one is tried on the other, and then told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError, MachineError
from worker.results.speakers import Diarization
from worker.speech.speakers.attempts import Attempts, Finder
from worker.speech.speakers.frames import Found, SpeakersTask

FOUND = Diarization("scripted", (), ())
FULL = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")


class Scripted(Finder):
    """Raises what is left of the script, one for each file."""

    def __init__(self, script: list[Exception | None]) -> None:
        self._script = script

    def find(
        self,
        samples: NDArray[np.int16],
        *,
        min_speakers: int | None,
        max_speakers: int | None,
        progress: Callable[[float], None],
    ) -> Diarization:
        assert (len(samples), min_speakers, max_speakers) == (5, 2, 3)
        progress(1.0)
        if (error := self._script.pop(0)) is not None:
            raise error
        return FOUND


class Loads:
    """Loads what acts by a script, or raises; keeps where."""

    def __init__(
        self, script: Sequence[Exception | None] = (None,), errors: Sequence[Exception] = ()
    ) -> None:
        self.devices: list[str] = []
        self._script, self._errors = list(script), list(errors)

    def __call__(self, device: str) -> Finder:
        self.devices.append(device)
        if self._errors:
            raise self._errors.pop(0)
        return Scripted(self._script)


def find(attempts: Attempts, tmp_path: Path) -> Found:
    path = tmp_path / "samples"
    path.write_bytes(bytes(10))
    return attempts.find(SpeakersTask(str(path), 2, 3), lambda _: None)


def test_models_are_loaded_once(tmp_path: Path) -> None:
    loads = Loads([None, None])
    attempts = Attempts("cuda:0", loads)
    attempts.load()
    assert find(attempts, tmp_path) == find(attempts, tmp_path) == Found(FOUND, "cuda:0")
    assert loads.devices == ["cuda:0"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (FULL, "the card's memory ran out"),
        (RuntimeError("CUDA error: misaligned"), "the card failed (CUDA error: misaligned)"),
    ],
)
@pytest.mark.parametrize("loading", [False, True])
def test_what_a_card_can_not_do_is_done_on_the_cpu(
    tmp_path: Path, error: Exception, why: str, loading: bool
) -> None:
    loads = Loads([None], [error]) if loading else Loads([error, None])
    found = find(Attempts("cuda:0", loads), tmp_path)
    assert found == Found(FOUND, "cpu", (f"Speakers were told apart on the CPU: {why}.",))
    assert loads.devices == ["cuda:0", "cpu"]


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (MemoryError(), "memory ran out; use a machine"),
        (ValueError("no"), r"ValueError: no\); send"),
    ],
)
def test_what_the_cpu_can_not_do_fails_the_file_and_not_the_next(
    tmp_path: Path, error: Exception, match: str
) -> None:
    attempts = Attempts("cpu", Loads([error, None]))
    with pytest.raises(JobError, match=match) as caught:
        find(attempts, tmp_path)
    assert caught.value.code is ErrorCode.DIARIZATION_FAILED
    assert find(attempts, tmp_path) == Found(FOUND, "cpu")


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no")])
def test_what_no_card_has_to_do_with_is_not_repeated_on_the_cpu(
    tmp_path: Path, error: Exception
) -> None:
    loads = Loads([error, None])
    attempts = Attempts("cuda:0", loads)
    with pytest.raises(JobError, match="in this audio"):
        find(attempts, tmp_path)
    assert find(attempts, tmp_path) == Found(FOUND, "cuda:0")
    assert loads.devices == ["cuda:0", "cuda:0"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "memory ran out; use a machine with more."),
        (TypeError("another version"), "TypeError: another version."),
    ],
)
def test_of_models_that_can_not_be_loaded_nothing_is_said_of_the_audio(
    error: Exception, why: str
) -> None:
    with pytest.raises(JobError) as caught:
        Attempts("cpu", Loads(errors=[error])).load()
    assert caught.value.code is ErrorCode.DIARIZATION_NOT_AVAILABLE
    assert caught.value.message == f"The models that tell speakers apart can't be loaded: {why}"


def test_models_that_can_not_be_loaded_anywhere_are_not_tried_elsewhere() -> None:
    loads = Loads(errors=[MachineError("a file is damaged")])
    with pytest.raises(MachineError, match="damaged"):
        Attempts("cuda:0", loads).load()
    assert loads.devices == ["cuda:0"]


def test_a_parent_that_is_gone_is_no_failure_of_the_models(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError):
        find(Attempts("cuda:0", Loads([BrokenPipeError()])), tmp_path)
