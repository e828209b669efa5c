"""The standard transcriber: stock WhisperX, one file at a time.

The reference that the optimized one is compared with, behind the same interface. Files are
decoded in the prepare pool's children; speech detection, windows, prompts and batches are
WhisperX's own. It keeps no checkpoints: a resumed file starts over.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import EngineError, ErrorCode, JobError, WorkerError
from worker.logs import get_logger
from worker.results.transcript import EngineInfo, Language, Word
from worker.speech.api import (
    EngineStats,
    Options,
    Partial,
    Recognition,
    Submission,
    Transcriber,
    WindowText,
)
from worker.speech.config import QUEUED_SECONDS, EngineConfig
from worker.speech.engine.decoder import is_out_of_memory
from worker.speech.engine.state import segments
from worker.speech.model import device as devices
from worker.speech.model.loaded import Loaded, load
from worker.speech.prepare.child import PrepareConfig, PrepareTask
from worker.speech.prepare.pool import PreparePool
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE
from worker.speech.words.fit import fit_words
from worker.threads import SupervisedThread

if TYPE_CHECKING:
    from worker.speech.words.align import Aligner

log = get_logger(__name__)

MODEL_POLL_SECONDS = 0.05
"""How often it is looked whether an alignment model has loaded."""


class _StandardFile(Submission):
    """One submitted file: its samples gather here, then it waits for the device."""

    def __init__(self, owner: StandardTranscriber, path: Path, options: Options) -> None:
        self.options = options
        self.task = PrepareTask(str(path))
        self.pieces: list[NDArray[np.float32]] = []
        self.seconds: dict[str, float] = {}
        self.damaged = 0
        self.audio_seconds: float | None = None
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
            self.pieces.append(np.frombuffer(payload, dtype=np.float32))
        elif header["kind"] == "end":
            self.seconds = dict(header["seconds"])
            self.damaged = int(header["damaged"])
            self.audio_seconds = float(header["audio_seconds"])
            self._owner.prepared(self)

    def failed(self, error: JobError) -> None:
        """See `pool.Client`."""
        self._owner.fail(self, error)


class _WhisperX:
    """The loaded WhisperX: samples of a file -> its recognition. Used by one thread.

    Args:
        config: what to load.
        stopping: whether the transcriber is being stopped; ends the wait for a model.
    """

    def __init__(self, config: EngineConfig, stopping: Callable[[], bool]) -> None:
        os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")
        import whisperx.asr

        self.loaded = load(config)
        self._stopping = stopping
        self._pipeline: Any = whisperx.asr.load_model(
            config.model,
            device=self.loaded.device.kind,
            device_index=self.loaded.device.index,
            compute_type=self.loaded.compute_type,
            model=getattr(self.loaded.model, "loaded", None),
            asr_options={"beam_size": config.beam_size},
        )
        devices.tune_torch(self.loaded.device)
        self._aligner: Aligner | None = None
        if config.word_times == "aligned":
            from worker.speech.words.align import Aligner

            self._aligner = Aligner(str(self.loaded.device))

    def close(self) -> None:
        """Release the alignment models."""
        if self._aligner is not None:
            self._aligner.close()

    def recognize(self, file: _StandardFile) -> tuple[Recognition, float]:
        """A prepared file's recognition, and the seconds it took but for its words.

        Raises:
            JobError: WhisperX fails on this file.
            EngineError: the device is broken.
        """
        samples = np.concatenate(file.pieces) if file.pieces else np.zeros(0, dtype=np.float32)
        file.pieces.clear()
        began = time.monotonic()
        try:
            result = self._transcribe(samples, file.options)
        except RuntimeError as error:
            raise self._verdict(error) from error
        seconds = time.monotonic() - began
        file.seconds["transcribe"] = seconds
        code = str(result["language"]) if result["segments"] else None
        texts, notes = self._texts(samples, file, result)
        language = None
        if code is not None:
            detected = file.options.language is None
            language = Language(code=code, probability=None, detected=detected)
        audio_seconds = file.audio_seconds or 0.0
        recognition = Recognition(
            audio_seconds=audio_seconds,
            language=language,
            segments=segments(texts, audio_seconds),
            word_times="aligned" if any(text.words for text in texts) else None,
            seconds=file.seconds,
            windows=len(texts),
            notes=tuple(notes),
        )
        return recognition, seconds

    def _transcribe(self, samples: NDArray[np.float32], options: Options) -> Mapping[str, Any]:
        if not len(samples):
            return {"segments": [], "language": None}
        pipeline = self._pipeline
        pipeline.options = replace(
            pipeline.options, initial_prompt=options.prompt, hotwords=options.hotwords
        )
        pipeline.tokenizer = None
        try:
            result: Mapping[str, Any] = pipeline.transcribe(
                samples,
                batch_size=self.loaded.budget.capacity(FULL_POSITIONS),
                language=options.language,
                task=options.task,
            )
        except IndexError:
            # How WhisperX fails where its detector finds no speech.
            return {"segments": [], "language": None}
        finally:
            devices.tune_torch(self.loaded.device)
        return result

    def _texts(
        self, samples: NDArray[np.float32], file: _StandardFile, result: Mapping[str, Any]
    ) -> tuple[list[WindowText], list[str]]:
        from worker.speech.words.align import AlignmentError

        notes = [f"{file.damaged} damaged packets were skipped"] if file.damaged else []
        found: Sequence[Mapping[str, Any]] = result["segments"]
        words: list[list[Word]] = [[] for _ in found]
        if file.options.words and file.options.task == "transcribe" and found and self._aligner:
            language = str(result["language"])
            began = time.monotonic()
            if self._wait_for_model(self._aligner, language):
                try:
                    words = self._words(self._aligner, samples, found, language)
                except AlignmentError as error:
                    notes.append(f"No word times: {error}")
            else:
                notes.append(f"No word times: {self._aligner.why_not(language)}")
            file.seconds["align"] = time.monotonic() - began
        return [
            WindowText(
                index=index,
                start=float(segment["start"]),
                end=float(segment["end"]),
                text=str(segment["text"]).strip(),
                avg_logprob=float(segment["avg_logprob"]),
                words=tuple(
                    fit_words(words[index], float(segment["start"]), float(segment["end"]))
                ),
            )
            for index, segment in enumerate(found)
        ], notes

    @staticmethod
    def _words(
        aligner: Aligner,
        samples: NDArray[np.float32],
        found: Sequence[Mapping[str, Any]],
        language: str,
    ) -> list[list[Word]]:
        from worker.speech.words.align import AlignItem

        return aligner.align(
            [
                AlignItem(
                    samples=samples[
                        int(segment["start"] * SAMPLE_RATE) : int(segment["end"] * SAMPLE_RATE)
                    ],
                    text=str(segment["text"]),
                    language=language,
                    start=float(segment["start"]),
                    end=float(segment["end"]),
                )
                for segment in found
            ]
        )

    def _wait_for_model(self, aligner: Aligner, language: str) -> bool:
        """Whether there is one; blocks while it loads. There is nothing else to do meanwhile."""
        aligner.request(language)
        while (ready := aligner.ready(language)) is None and not self._stopping():
            time.sleep(MODEL_POLL_SECONDS)
        return bool(ready)

    def _verdict(self, error: RuntimeError) -> JobError:
        if is_out_of_memory(error):
            return JobError(
                ErrorCode.OUT_OF_MEMORY,
                "The device's memory ran out: lower batch_size, or use the optimized "
                "transcriber, which finds the size by itself.",
            )
        try:
            self.loaded.run_probe()
        except RuntimeError as broken:
            raise EngineError(f"the device is broken: {broken}") from error
        return JobError(
            ErrorCode.ENGINE_FAILED,
            f"WhisperX failed on this file ({type(error).__name__}: {error}); "
            "report it with the file.",
        )


@dataclass(frozen=True, slots=True)
class _Running:
    """The parts of a started transcriber."""

    whisperx: _WhisperX
    pool: PreparePool
    thread: SupervisedThread


class StandardTranscriber(Transcriber):
    """See the module and `api.Transcriber`."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._files: set[_StandardFile] = set()
        self._ready: queue.SimpleQueue[_StandardFile | None] = queue.SimpleQueue()
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
        whisperx = _WhisperX(config, lambda: self._stopping)
        pool = PreparePool(
            PrepareConfig(
                mels=whisperx.loaded.model.mels,
                vad="none",
                max_audio_seconds=config.max_audio_seconds,
                memory_bytes=config.prepare_memory_bytes,
            ),
            workers=config.num_workers,
            stall_seconds=config.prepare_stall_seconds,
            on_failure=self._broken,
        )
        thread = SupervisedThread(
            "device", lambda: self._run(whisperx), lambda _, error: self._broken(error)
        )
        self._running = _Running(whisperx, pool, thread)
        pool.start()
        thread.start()

    def submit(
        self,
        path: Path,
        options: Options,
        *,
        name: str,
        resume: Partial | None = None,
        alone: bool = False,
    ) -> Submission:
        """See `api.Transcriber`. Files are always alone here, and never resumed."""
        del name, resume, alone
        self.loaded.check(options)
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
            return held < self._config.held_seconds

    def wait_for_room(self, file: _StandardFile) -> None:
        """Block until `has_room` or the file is not wanted."""
        while not self.has_room() and file.wanted():
            with self._changed:
                self._changed.wait(1.0)

    def prepared(self, file: _StandardFile) -> None:
        """A file's samples are all here."""
        self._ready.put(file)

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

    def _run(self, whisperx: _WhisperX) -> None:
        """What the device thread does: one file after the other, until it is stopped."""
        while (file := self._ready.get()) is not None:
            if not file.wanted():
                continue
            try:
                recognition, seconds = whisperx.recognize(file)
            except JobError as error:
                self.fail(file, error)
            else:
                self._finish(file, recognition, seconds)

    def _finish(self, file: _StandardFile, recognition: Recognition, seconds: float) -> None:
        kind = "GPU" if self.loaded.device.kind == "cuda" else "CPU"
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
