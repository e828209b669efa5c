"""Who speaks in an engine's files: from the samples on disk to the file's answer.

Beside the text and never in its way: a file that is decoded to its end waits here for the one
process that tells speakers apart (`speakers.process`), while its windows go their own way. The
file is answered when both are done (`FileState.speakers_left`).
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from worker.errors import EngineError, MachineError, TransientError, WorkerError
from worker.logs import get_logger
from worker.results.speakers import notes_of_bounds
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.engine.file import File
from worker.speech.engine.flow import Flow
from worker.speech.engine.shared import Shared
from worker.speech.model.choices import Device
from worker.speech.model.device import usable_cores
from worker.speech.model.memory import SPEAKER_BYTES, SPEAKER_CONTEXT_BYTES
from worker.speech.speakers.choice import Chosen, ModelChoice, require
from worker.speech.speakers.frames import Found, SpeakersConfig, SpeakersTask
from worker.speech.speakers.process import SpeakersProcess, start_child

__all__ = [
    "WAITING_SECONDS",
    "Diarizing",
    "MakeProcess",
    "load_at_start",
    "process_for",
    "required",
]

log = get_logger(__name__)

WAITING_SECONDS = 4 * 3600.0
"""Seconds of audio that may wait for the process, beside the file that it has: half a gigabyte on
disk. On a CPU, where text comes first, files that want speakers would otherwise pile up for as long
as text comes in. Beyond it the engine counts as full: what it holds is finished, and new jobs are
left to other workers, until the next file is done."""

MOST_THREADS = 8
"""Threads of the models on a CPU. The embedding model, which takes most of the time, gets one
stretch of at most 3 s a call: too little to divide among more. That is a guess: machines of more
than two cores weren't measured."""

MakeProcess = Callable[[Chosen, Device], SpeakersProcess]
"""Makes the process for a model and a device; not started."""


def process_for(chosen: Chosen, device: Device) -> SpeakersProcess:
    """The process that tells speakers apart, with the real models."""
    return SpeakersProcess(
        SpeakersConfig(chosen, str(device), SPEAKER_BYTES - SPEAKER_CONTEXT_BYTES),
        start=partial(start_child, threads=min(MOST_THREADS, usable_cores())),
    )


def required(config: EngineConfig) -> Chosen | None:
    """The model that the settings name, on this machine; None where they name none.

    Raises:
        MachineError: it can't be had.
    """
    return None if config.transcriber == "standard" else require(config)


def load_at_start(process: SpeakersProcess) -> None:
    """Start a process and wait until it has loaded the models.

    Raises:
        MachineError: they can't be loaded.
        EngineError: not now: a restart may mend it.
    """
    process.start()
    try:
        process.wait_until_loaded()
    except TransientError as error:
        raise EngineError(str(error)) from error
    except WorkerError as error:
        raise MachineError(str(error)) from error


class Diarizing:
    """See the module. Callable from any thread.

    Args:
        choice: which model tells speakers apart.
        device: where the text is decoded, and where speakers are told apart.
        shared: the state of the engine.
        flow: ends files.
        process: one that is started already; None: the first file that asks starts one.
        make: makes one.
    """

    def __init__(
        self,
        choice: ModelChoice,
        device: Device,
        shared: Shared,
        flow: Flow,
        *,
        process: SpeakersProcess | None = None,
        make: MakeProcess = process_for,
    ) -> None:
        self._choice = choice
        self._device = device
        self._shared = shared
        self._flow = flow
        self._make = make
        self._starting = threading.Lock()
        self._stopped = False
        self._own_folder: Path | None = None
        self._process = self._ours(process) if process is not None else None
        self._asked: dict[int, _Speakers] = {}

    def refuse_without(self, options: Options) -> None:
        """Refuse options that ask for speakers where there surely is no model; takes no time.

        Raises:
            JobError: `diarization_not_available`.
        """
        if options.diarize and self._process is None:
            self._choice.refuse_without()

    def ensure(self, scratch: Path | None) -> Path:
        """See to it that there is a process. The first call may fetch a model.

        Args:
            scratch: a folder for samples; None: one of its own, which `close` removes.

        Returns:
            The folder for samples.

        Raises:
            JobError: `diarization_not_available`.
            TransientError: the network failed that the model comes by, or no folder can be made.
            EngineError: it is stopped.
        """
        if self._process is None:
            self._start(self._choice.make())
        return scratch or self._folder()

    def add(self, file: File, folder: Path) -> str:
        """A file wants to know who speaks: where its samples are to go. Call with the lock.

        Args:
            file: of the engine.
            folder: for its samples.
        """
        speakers = _Speakers(self._shared, self._flow, file, folder / f"samples-{file.number}")
        file.state.speakers_left = True
        self._asked[file.number] = speakers
        file.future.add_done_callback(lambda _: self._answered(file))
        return speakers.task.samples_file

    def decoded(self, file: File) -> None:
        """A file is decoded to its end: its samples are there. Call with the lock."""
        speakers = self._asked.get(file.number)
        if speakers is not None and self._process is not None:
            speakers.waits = True
            self._process.submit(speakers)

    def behind(self) -> bool:
        """Whether so much audio waits for the process that no more is to be brought."""
        with self._shared.changed:
            waiting = (each.seconds for each in self._asked.values() if each.waits)
            return sum(waiting) > WAITING_SECONDS

    def children(self) -> list[int]:
        """Process ids of the children that run."""
        return self._process.children() if self._process is not None else []

    def stop(self) -> None:
        """Kills the child and ends the thread; files must be cancelled by then."""
        with self._starting:
            self._stopped = True
        if self._process is not None:
            self._process.stop()

    def close(self) -> None:
        """Removes its own folder, once it is stopped and nobody writes there any more."""
        with self._starting:
            if self._own_folder is not None:
                shutil.rmtree(self._own_folder, ignore_errors=True)

    def _folder(self) -> Path:
        """Its own folder, made at the first call and after it was removed by somebody."""
        with self._starting:
            if self._stopped:
                raise EngineError("the engine is stopped")
            if self._own_folder is None or not self._own_folder.is_dir():
                try:
                    self._own_folder = Path(tempfile.mkdtemp(prefix="samples-"))
                except OSError as error:  # names the folder
                    raise TransientError(
                        f"no folder can be made for the samples of the audio: {error}"
                    ) from error
            return self._own_folder

    def _start(self, chosen: Chosen) -> None:
        with self._starting:
            if self._process is None and not self._stopped:
                process = self._ours(self._make(chosen, self._device))
                process.start()
                self._process = process

    def _ours(self, process: SpeakersProcess) -> SpeakersProcess:
        """The process, which tells this engine how it is."""
        process.tick = self._tick
        process.broken = self._flow.broken
        return process

    def _tick(self) -> bool:
        """Whether the child could work; it does, and that is progress where nothing else is."""
        shared = self._shared
        with shared.changed:
            idle = shared.device_idle()
            if idle and shared.files:
                shared.step()
            return idle or self._device.is_card

    def _answered(self, file: File) -> None:
        with self._shared.changed:
            speakers = self._asked.pop(file.number, None)
        if speakers is not None:
            # Where the file failed or is cancelled, under the engine's lock: 0.03 s for an hour.
            speakers.clear()


class _Speakers:
    """One file as the process sees it; see `process.Client`."""

    def __init__(self, shared: Shared, flow: Flow, file: File, samples: Path) -> None:
        options = file.state.options
        self.task = SpeakersTask(str(samples), options.min_speakers, options.max_speakers)
        self.waits = False
        self._shared = shared
        self._flow = flow
        self._file = file
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """Length of the file."""
        return self._file.state.audio_seconds or 0.0

    def wanted(self) -> bool:
        """See `process.Client`."""
        return not self._file.gone

    def begins(self) -> None:
        """See `process.Client`."""
        self._began = time.monotonic()
        with self._shared.changed:
            self.waits = False

    def progress(self, share: float) -> None:
        """See `process.Client`."""
        with self._shared.changed:
            self._file.state.speakers_done = share

    def found(self, found: Found) -> None:
        """See `process.Client`."""
        self.clear()
        with self._shared.changed:
            state = self._file.state
            state.spend("diarize", time.monotonic() - self._began)
            bounds = notes_of_bounds(
                found.diarization,
                min_speakers=self.task.min_speakers,
                max_speakers=self.task.max_speakers,
            )
            state.speakers_told(found.diarization, (*found.notes, *bounds))
            self._end()

    def failed(self, error: WorkerError) -> None:
        """See `process.Client`."""
        self.clear()
        log.warning(
            "speakers.failed",
            message=f"Speakers could not be told apart: {error}",
            job_id=self._file.state.name,
        )
        with self._shared.changed:
            self._file.state.speakers_failed(error)
            self._end()

    def clear(self) -> None:
        """Removes the samples; what can't be removed is logged."""
        try:
            # It may be removed before, or never written.
            Path(self.task.samples_file).unlink(missing_ok=True)
        except OSError as error:
            log.warning("speakers.not_removed", message=f"Samples could not be removed: {error}")

    def _end(self) -> None:
        self._flow.finish_if_done(self._file)
        self._shared.changed.notify_all()
