"""The standard transcriber: stock WhisperX (`whisperx_model`), one file at a time.

The reference that the optimized one is compared with, behind the same interface. Files are decoded
in the prepare pool's children and wait for the one thread that calls WhisperX. It keeps no
checkpoints: a resumed file starts over.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import EngineError, JobError, WorkerError
from worker.logs import get_logger
from worker.results.transcript import EngineInfo
from worker.speech.api import (
    EngineStats,
    Options,
    Partial,
    Recognition,
    Submission,
    Transcriber,
)
from worker.speech.config import QUEUED_SECONDS, EngineConfig
from worker.speech.engine.inflow import HELD_SECONDS
from worker.speech.engine.selections import selection_of
from worker.speech.engine.whisperx_model import Audio, WhisperX
from worker.speech.model.choices import CHILDREN
from worker.speech.model.loaded import Loaded
from worker.speech.prepare.frames import PrepareConfig, PrepareTask, read_samples
from worker.speech.prepare.pool import PreparePool
from worker.threads import SupervisedThread

log = get_logger(__name__)


class _StandardFile(Submission):
    """One submitted file: its samples gather here, then it waits for the device."""

    def __init__(self, owner: StandardTranscriber, path: Path, options: Options) -> None:
        self.options = options
        self.task = PrepareTask(str(path), raw=options.raw, selection=selection_of(options))
        self.audio_seconds: float | None = None
        """Its length; None before it is decoded."""
        self._pieces: list[NDArray[np.float32]] = []
        self._owner = owner
        self._future: Future[Recognition] = Future()

    @property
    def future(self) -> Future[Recognition]:
        """See `api.Submission`."""
        return self._future

    def partial(self) -> Partial:
        """Nothing: WhisperX returns a file's text all at once."""
        return Partial()

    def progress(self) -> tuple[float, float | None]:
        """See `api.Submission`."""
        done = self._future.done()
        return (self.audio_seconds or 0.0) if done else 0.0, self.audio_seconds

    def on_text_done(self, call: Callable[[], object]) -> None:
        """See `api.Submission`. Never: this transcriber doesn't tell who speaks."""

    def cancel(self) -> None:
        """See `api.Submission`."""
        self._owner.drop(self)

    def wanted(self) -> bool:
        """See `pool.Client`."""
        return not self._future.done()

    def has_room(self) -> bool:
        """See `pool.Client`."""
        return self._owner.has_room()

    def wait_for_room(self) -> None:
        """See `pool.Client`."""
        self._owner.wait_for_room(self)

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        """See `pool.Client`."""
        if header["kind"] == "samples":
            self._pieces.append(read_samples(payload))
        elif header["kind"] == "end":
            self.audio_seconds = float(header["audio_seconds"])
            audio = Audio(
                samples=np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32),
                seconds=self.audio_seconds,
                peak=float(header["peak"]),
                notes=tuple(header["notes"]),
                prepare_seconds=header["seconds"],
            )
            self._pieces.clear()
            self._owner.prepared(self, audio)

    def failed(self, error: WorkerError) -> None:
        """See `pool.Client`."""
        self._owner.fail(self, error)


@dataclass(frozen=True, slots=True)
class _Running:
    """The parts of a started transcriber."""

    whisperx: WhisperX
    pool: PreparePool
    thread: SupervisedThread


class StandardTranscriber(Transcriber):
    """See the module and `api.Transcriber`."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._files: set[_StandardFile] = set()
        self._ready: queue.SimpleQueue[tuple[_StandardFile, Audio] | None] = queue.SimpleQueue()
        self._stats = EngineStats()
        self._stopping = False
        self._failure: BaseException | None = None
        self._last_step = time.monotonic()
        self._running: _Running | None = None

    @property
    def loaded(self) -> Loaded:
        """The model and its device."""
        return self._parts.whisperx.loaded

    @property
    def info(self) -> EngineInfo:
        """See `api.Transcriber`."""
        return self.loaded.info

    @property
    def fingerprint(self) -> str:
        """See `api.Transcriber`."""
        return self.loaded.fingerprint

    @property
    def stats(self) -> EngineStats:
        """See `api.Transcriber`."""
        with self._changed:
            return replace(self._stats)

    def sample(self) -> EngineStats:
        """See `api.Transcriber`; the memory of the card isn't shown here."""
        return self.stats

    def start(self) -> None:
        """See `api.Transcriber`."""
        config = self._config
        whisperx = WhisperX(config, lambda: self._stopping)
        pool = PreparePool(
            PrepareConfig(
                mels=whisperx.loaded.model.mels,
                vad="none",
                max_audio_seconds=config.max_audio_seconds,
                memory_bytes=config.prepare_memory_bytes,
            ),
            workers=config.num_workers or CHILDREN,
            stall_seconds=config.prepare_stall_seconds,
            on_failure=self._broken,
        )
        thread = SupervisedThread(
            "device", lambda: self._run(whisperx), lambda _, error: self._broken(error)
        )
        self._running = _Running(whisperx, pool, thread)
        pool.start()
        thread.start()

    def check(self, options: Options) -> None:
        """See `api.Transcriber`."""
        self.loaded.check(options)

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
        """See `api.Transcriber`. Files are always alone here, and never resumed."""
        del name, resume, alone, scratch
        self.check(options)
        file = _StandardFile(self, path, options)
        with self._changed:
            if self._failure is not None:
                raise EngineError(f"the engine has stopped: {self._failure}")
            if not self._files:
                self._last_step = time.monotonic()
            self._files.add(file)
        self._parts.pool.submit(file)
        return file

    def held_seconds(self) -> float:
        """See `api.Transcriber`."""
        with self._changed:
            return sum(file.audio_seconds or QUEUED_SECONDS for file in self._files)

    def most_held_seconds(self) -> float:
        """See `api.Transcriber`."""
        return self._config.held_seconds or HELD_SECONDS

    def last_progress(self) -> float | None:
        """See `api.Transcriber`."""
        with self._changed:
            return self._last_step if self._files else None

    def failure(self) -> BaseException | None:
        """See `api.Transcriber`."""
        return self._failure

    def stop(self) -> None:
        """See `api.Transcriber`."""
        with self._changed:
            self._stopping = True
            files = list(self._files)
        for file in files:
            self.drop(file)
        self._ready.put(None)
        if self._running is not None:
            self._running.pool.stop()
            self._running.thread.join()
            self._running.whisperx.close()

    # What its files call.

    def has_room(self) -> bool:
        """Whether another file's samples may be held."""
        with self._changed:
            held = sum(file.audio_seconds or 0.0 for file in self._files)
            return held < self.most_held_seconds()

    def wait_for_room(self, file: _StandardFile) -> None:
        """Block until `has_room` or the file is not wanted."""
        while not self.has_room() and file.wanted():
            with self._changed:
                self._changed.wait(1.0)

    def prepared(self, file: _StandardFile, audio: Audio) -> None:
        """A file is decoded: it waits for the device thread."""
        self._ready.put((file, audio))

    def fail(self, file: _StandardFile, error: WorkerError) -> None:
        """End a file with an error."""
        with self._changed:
            self._files.discard(file)
            if not file.future.done():
                file.future.set_exception(error)
            self._changed.notify_all()

    def drop(self, file: _StandardFile) -> None:
        """Cancel a file."""
        with self._changed:
            self._files.discard(file)
            file.future.cancel()
            self._changed.notify_all()

    @property
    def _parts(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the engine is not started")
        return self._running

    def _run(self, whisperx: WhisperX) -> None:
        """What the device thread does: one file after the other, until it is stopped."""
        while (ready := self._ready.get()) is not None:
            self._recognize(whisperx, *ready)
            del ready  # or the last file's samples would stay in memory until the next file

    def _recognize(self, whisperx: WhisperX, file: _StandardFile, audio: Audio) -> None:
        if not file.wanted():
            return
        try:
            recognition = whisperx.recognize(audio, file.options)
        except JobError as error:
            self.fail(file, error)
        else:
            self._finish(file, recognition)

    def _finish(self, file: _StandardFile, recognition: Recognition) -> None:
        seconds = recognition.seconds["transcribe"]
        kind = "GPU" if self.loaded.device.is_card else "CPU"
        log.info(
            "batch.completed",
            message=f"{kind} batch processing completed",
            windows=recognition.windows,
            jobs=1,
            audio_seconds=round(recognition.audio_seconds, 2),
            seconds=round(seconds, 3),
        )
        with self._changed:
            self._stats.windows += recognition.windows
            self._stats.batches += 1
            self._stats.audio_seconds += recognition.audio_seconds
            self._stats.busy_seconds += seconds
            self._last_step = time.monotonic()
            self._files.discard(file)
            if not file.future.done():
                file.future.set_result(recognition)
            self._changed.notify_all()

    def _broken(self, error: BaseException) -> None:
        """One of the transcriber's own threads died: every file fails with it."""
        with self._changed:
            if self._stopping:
                return
            self._failure = error
            files = list(self._files)
        log.error("engine.broken", message=f"The engine has stopped: {error}", error=repr(error))
        for file in files:
            self.fail(file, EngineError(f"the engine has stopped: {error}"))
