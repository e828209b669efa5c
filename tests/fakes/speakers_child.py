"""A child that tells speakers apart as a test wants it: a real process, with the real protocol.

The name of the model is the script; `SCRIPTS` says what happens on a card (nothing here needs one)
and what on the CPU. Otherwise the first half of a file is one voice's, the second another's.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import MachineError
from worker.results.speakers import Diarization, Voice
from worker.speech.children.framing import write_frame
from worker.speech.children.process import Child
from worker.speech.children.rules import begin, child_environment
from worker.speech.model.choices import Device
from worker.speech.speakers.attempts import CPU, Finder, Load
from worker.speech.speakers.child import serve
from worker.speech.speakers.choice import Chosen
from worker.speech.speakers.frames import SpeakersConfig, config_frame, progress_frame
from worker.speech.speakers.process import SpeakersProcess
from worker.speech.windows import SAMPLE_RATE

HALVES = "halves"
"""The script in which nothing goes wrong."""


def _die(sent: signal.Signals) -> None:
    os.kill(os.getpid(), sent)


def _babble() -> None:
    os.write(3, b"Found only 2 clusters.\n")  # the replies' descriptor: the first after stderr
    time.sleep(60)


def _say_slowly() -> None:
    stream = io.BytesIO()
    write_frame(stream, *progress_frame(0.75))
    half = len(stream.getvalue()) // 2
    os.write(3, stream.getvalue()[:half])
    time.sleep(0.2)
    os.write(3, stream.getvalue()[half:])


def _stop_midway() -> None:
    stream = io.BytesIO()
    write_frame(stream, *progress_frame(0.75))
    os.write(3, stream.getvalue()[:-1])
    time.sleep(60)


def _fail(error: Exception) -> None:
    raise error


SCRIPTS: dict[str, Callable[[bool], object]] = {
    HALVES: lambda on_card: None,
    "dies": lambda on_card: _die(signal.SIGKILL),
    "dies on a card": lambda on_card: _die(signal.SIGKILL) if on_card else None,
    "stands still": lambda on_card: time.sleep(60),
    "stands still on a card": lambda on_card: time.sleep(60) if on_card else None,
    "babbles": lambda on_card: _babble(),
    "stops midway": lambda on_card: _stop_midway(),
    "says it slowly": lambda on_card: _say_slowly(),
    "has no room on a card": lambda on_card: (
        _fail(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")) if on_card else None
    ),
    "has no room": lambda on_card: _fail(MemoryError()),
}
"""What a child does with each file, told whether it is on a card."""


def chosen(script: str = HALVES) -> Chosen:
    """The model that stands for a script."""
    return Chosen(script, "packaged", Path("-"), note="A note on the model.")


def start_scripted(config: SpeakersConfig) -> Child:
    """A child of this module."""
    return Child(__name__, config_frame(config), child_environment())


def make_process(
    script: str, _: Chosen | None, device: Device, **seconds: float
) -> SpeakersProcess:
    """The process with children of this module; seconds as `SpeakersProcess` has them."""
    return SpeakersProcess(
        SpeakersConfig(chosen(script), str(device)),
        start=start_scripted,
        **{"stall_seconds": 60.0, **seconds},
    )


def loader(config: SpeakersConfig) -> Load:
    """Loads what acts by the script."""
    script = config.chosen.name
    if script == "can't be loaded":
        raise MachineError("a file is damaged")
    if script == "loads for ever":
        time.sleep(60)
    return partial(_Scripted, SCRIPTS[script])


class _Scripted(Finder):
    def __init__(self, script: Callable[[bool], object], device: str) -> None:
        self._script = script
        self._on_card = device != CPU

    def find(
        self,
        samples: NDArray[np.int16],
        *,
        min_speakers: int | None,
        max_speakers: int | None,
        progress: Callable[[float], None],
    ) -> Diarization:
        progress(0.5)
        self._script(self._on_card)
        seconds = len(samples) / SAMPLE_RATE
        bounds = f"{min_speakers} to {max_speakers}"
        voices = (Voice(0.0, seconds / 2, "A"), Voice(seconds / 2, seconds, bounds))
        return Diarization("scripted", voices, voices)


if __name__ == "__main__":
    requests, replies = begin()
    os.write(1, b"Models print.\n")
    serve(requests, replies, loader)
