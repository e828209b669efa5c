"""The running machine: files in, recognitions out, the device never idle in between.

Threads: the prepare pool's (one a child process), the device threads (one on a
card; one a lane on a CPU), which alone call the model, and one align thread. They meet under
one lock, around `state.FileState` and the batcher, which decide; nothing here waits while
holding it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.errors import EngineError, ErrorCode, JobError, WorkerError
from worker.logs import get_logger
from worker.results.transcript import EngineInfo, Word
from worker.speech.api import (
    EngineStats,
    Options,
    Partial,
    Submission,
    Transcriber,
)
from worker.speech.config import QUEUED_SECONDS, SPANS, WINDOWS, WINDOWS_ADAPTIVE, EngineConfig
from worker.speech.engine.audits import Audits
from worker.speech.engine.batcher import Batch, Batcher, Item, Key
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.decoder import Decoder
from worker.speech.engine.file import File
from worker.speech.engine.guard import Guard
from worker.speech.engine.language import VOTERS
from worker.speech.engine.state import (
    FileState,
    Rung,
    Step,
    WindowState,
    full_ladder,
)
from worker.speech.engine.word_router import Wording
from worker.speech.model.device import memory_in_use
from worker.speech.model.loaded import Loaded, load
from worker.speech.model.memory import is_out_of_memory
from worker.speech.model.whisper import Decoded, Request
from worker.speech.prepare.features import FrontEnd
from worker.speech.prepare.frames import (
    PrepareConfig,
    PrepareTask,
    read_samples,
    read_window,
)
from worker.speech.prepare.pool import PreparePool
from worker.speech.windows import FULL_POSITIONS

if TYPE_CHECKING:
    from worker.speech.model.pyannote import PyannoteDetector

__all__ = ["Engine", "EngineConfig", "build"]

log = get_logger(__name__)

FILE_SHARE = 2
"""One file may hold one part in this many of the seconds that may be held."""

MIN_HELD_SECONDS = 300.0
"""Less than this could not hold one batch and the next."""


def build(config: EngineConfig) -> Transcriber:
    """The transcriber that the configuration asks for, not yet started."""
    if config.transcriber == "standard":
        from worker.speech.engine.standard import StandardTranscriber

        return StandardTranscriber(config)
    return Engine(config)


class Engine(Transcriber):
    """The optimized transcriber: full batches across files. See `api.Transcriber`."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        load: Callable[[EngineConfig], Loaded] = load,
        guard: Guard | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self._config = config
        self._load = load
        self._changed = threading.Condition(self.lock)
        self._batcher = Batcher(max_wait=config.max_wait)
        self._files: dict[int, File] = {}
        self._next_number = 0
        self._held_limit = max(MIN_HELD_SECONDS, config.held_seconds)
        self._stats = EngineStats()
        self._stopping = False
        self._failure: BaseException | None = None
        self._last_step = time.monotonic()
        self._decoding = 0
        self._detecting = 0
        self._threads: list[threading.Thread] = []
        self._wording = Wording(
            config.word_times,
            self._changed,
            found=self._words_found,
            progressed=self._step_done,
        )
        self._loaded: Loaded | None = None
        self._audits = Audits(guard or Guard())
        self._decoder: Decoder
        self._pyannote: PyannoteDetector | None = None
        self._pool: PreparePool | None = None

    # Start and stop.

    @property
    def loaded(self) -> Loaded:
        """The model and its device; for measurements, never to be called while files run."""
        assert self._loaded is not None, "the engine is not started"
        return self._loaded

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
        self._stats.encoder_calls = self.loaded.model.encoder_calls
        self._stats.encoded_windows = self.loaded.model.encoded_windows
        self._stats.out_of_memory = self._decoder.out_of_memory
        self._stats.waiting_windows = len(self._batcher)
        if self.loaded.device.kind == "cuda":
            used, total = memory_in_use(self.loaded.device)
            self._stats.extra |= {"gpu_used_bytes": used, "gpu_bytes": total}
        return self._stats

    def start(self) -> None:
        """See `api.Transcriber`."""
        config = self._config
        loaded = self._loaded = self._load(config)
        self._decoder = Decoder(
            loaded.model, loaded.budget, beam_size=config.beam_size, probe=loaded.run_probe
        )
        self._wording.start(str(loaded.device))
        if config.vad == "pyannote":
            from worker.speech.model.pyannote import PyannoteDetector

            self._pyannote = PyannoteDetector(loaded.device)
            self._front_end = FrontEnd(loaded.model.mels)
        self._pool = PreparePool(
            PrepareConfig(
                mels=loaded.model.mels,
                vad="silero" if config.vad == "silero" else "none",
                spans=asdict(SPANS),
                windows=asdict(WINDOWS),
                max_audio_seconds=config.max_audio_seconds,
                memory_bytes=config.prepare_memory_bytes,
            ),
            workers=config.num_workers,
            stall_seconds=config.prepare_stall_seconds,
            on_failure=self._broken,
        )
        self._pool.start()
        self._batcher.lanes = loaded.lanes
        lanes = [(self._device_loop, f"device-{lane}") for lane in range(loaded.lanes)]
        for target, name in (*lanes, (self._align_loop, "align")):
            thread = threading.Thread(target=self._guard, args=(target,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._last_step = time.monotonic()

    def stop(self) -> None:
        """See `api.Transcriber`."""
        with self.lock:
            self._stopping = True
            for file in list(self._files.values()):
                self._forget(file)
                file.future.cancel()
            self._changed.notify_all()
        if self._pool is not None:
            self._pool.stop()
        for thread in self._threads:
            thread.join()
        self._wording.close()

    def failure(self) -> BaseException | None:
        """See `api.Transcriber`."""
        return self._failure

    def children(self) -> list[int]:
        """Process ids of the prepare pool."""
        return self._pool.children() if self._pool is not None else []

    # Files in.

    def submit(
        self,
        path: Path,
        options: Options,
        *,
        name: str,
        resume: Partial | None = None,
        alone: bool = False,
    ) -> Submission:
        """See `api.Transcriber`."""
        self.loaded.check(options)
        if not self.loaded.model.multilingual:
            options = replace(options, language="en")
        assert self._pool is not None
        with self.lock:
            if self._failure is not None:
                raise EngineError(f"the engine has stopped: {self._failure}")
            if self._stopping:
                raise EngineError("the engine is stopped")
            number = self._next_number
            self._next_number += 1
            adaptive = self._short_allowed(options.language)
            state = FileState(name=name, options=options, ladder=full_ladder, resume=resume)
            state.ladder = lambda seconds: self._ladder(state, seconds)
            file = File(self, number, state, path)
            file.alone = alone
            file.context = self.loaded.model.context(options)
            file.mode = self._wording.mode_for(file)
            file.task = PrepareTask(
                path=str(path),
                done=tuple((w.index, w.start, w.end) for w in resume.windows) if resume else (),
                samples=file.mode == "aligned",
                windows=asdict(WINDOWS_ADAPTIVE if adaptive else WINDOWS),
            )
            if not self._files:
                self._last_step = time.monotonic()
            self._files[number] = file
        self._pool.submit(file)
        return file

    def cancel(self, file: File) -> None:
        """See `api.Submission.cancel`."""
        with self.lock:
            self._forget(file)
            file.future.cancel()

    def held_seconds(self) -> float:
        """See `api.Transcriber`."""
        with self.lock:
            queued = sum(
                QUEUED_SECONDS
                for file in self._files.values()
                if not file.state.windows and file.state.total is None
            )
            return queued + self._held()

    def last_progress(self) -> float | None:
        """See `api.Transcriber`."""
        with self.lock:
            if not self._files:
                return None
            # pyannote takes minutes for a file of hours, and gives all windows at its end.
            if self._detecting and self._device_idle():
                return time.monotonic()
            return self._last_step

    def idle(self) -> bool:
        """Whether no file is held and nothing is decoded, audits included."""
        with self.lock:
            return not self._files and self._device_idle()

    def _device_idle(self) -> bool:
        return not self._decoding and not len(self._batcher)

    def _short_allowed(self, language: str | None) -> bool:
        """Whether windows of a language may be decoded with less than 30 s of encoder."""
        if self._config.context == "auto":
            return self._audits.guard.allows(language)
        return self._config.context == "adaptive"

    def _ladder(self, state: FileState, seconds: float) -> Sequence[Rung]:
        language = state.language.code if state.language else None
        return adaptive_ladder(seconds) if self._short_allowed(language) else full_ladder(seconds)

    # The prepare pool's calls.

    def has_room(self, file: File) -> bool:
        """Whether another window of this file may be held. Call with the lock."""
        if file.gone:
            return True
        if file.state.language is None and len(file.state.windows) < VOTERS:
            # Without them its vote can't close, and what it holds would never go.
            return True
        held = self._held()
        own = file.state.held_seconds
        return held < self._held_limit and own < self._held_limit / FILE_SHARE

    def wait_for_room(self, file: File) -> None:
        """Blocks a pool thread until its file may hold more, or is gone."""
        with self.lock:
            while not self.has_room(file) and not self._stopping:
                self._changed.wait(1.0)

    def on_frame(self, file: File, header: dict[str, Any], payload: bytes) -> None:
        """A frame of a child about one file."""
        kind = header["kind"]
        with self.lock:
            if self._device_idle():
                # Hours without speech give the device nothing to do: the file comes on.
                self._last_step = time.monotonic()
        if kind == "samples":
            file.pieces.append(read_samples(payload))
            return
        if kind == "end" and self._pyannote is not None:
            with self.lock:
                self._detecting += 1
            try:
                self._detect(file, self._pyannote)
            except RuntimeError as error:
                self.fail(file, _detector_failed(error))
            finally:
                with self.lock:
                    self._detecting -= 1
        with self.lock:
            if file.gone:
                return
            state = file.state
            if kind == "opened":
                state.stated_seconds = header["stated_seconds"]
            elif kind == "window":
                self._follow(file, self._add(file, header, payload))
            elif kind == "end":
                self._follow(
                    file, state.end(header["audio_seconds"], header["damaged"], header["seconds"])
                )
                self._stats.audio_seconds += header["audio_seconds"]
                log.debug(
                    "file.prepared",
                    message="File decoded to its end",
                    job_id=state.name,
                    audio_seconds=header["audio_seconds"],
                    windows=state.total,
                )
            self._finish_if_done(file)
            self._changed.notify_all()

    def _detect(self, file: File, detector: PyannoteDetector) -> None:
        """Windows and features of a whole file, on a pool thread: pyannote can't stream."""
        began = time.monotonic()
        samples = np.concatenate(file.pieces) if file.pieces else np.zeros(0, dtype=np.float32)
        file.pieces.clear()
        done = {index: (start, end) for index, start, end in file.task.done}
        for window in detector.windows(samples):
            piece = samples[window.spans[0].start : window.spans[0].end]
            known = done.get(window.index) == (window.start, window.end)
            features = None if known else self._front_end(piece)
            with self.lock:
                if not file.gone:
                    step = file.state.add_window(
                        window.index, window.spans, features, piece if file.task.samples else None
                    )
                    self._follow(file, step)
        with self.lock:
            file.state.spend("windows", time.monotonic() - began)

    def fail(self, file: File, error: WorkerError) -> None:
        """Ends one file with an error."""
        with self.lock:
            if not file.gone:
                self._forget(file)
                with suppress(InvalidStateError):
                    file.future.set_exception(error)

    def _add(self, file: File, header: dict[str, Any], payload: bytes) -> Step:
        window = read_window(header, payload, self.loaded.model.mels)
        return file.state.add_window(window.index, window.spans, window.features, window.samples)

    # What follows from an event; with the lock.

    def _follow(self, file: File, step: Step) -> None:
        for index in step.ready:
            self._enqueue(file, index)
        for index, decoded in step.texts:
            self._text_stands(file, index, decoded)

    def _enqueue(self, file: File, index: int) -> None:
        window = file.state.windows[index]
        rung = window.rung
        self._batcher.add(
            Item(
                job=file.number,
                index=index,
                key=Key(
                    prompt_length=len(file.context) + self.loaded.model.start_length(),
                    temperature=rung.temperature,
                    positions=rung.positions,
                    alone=file.number if file.alone else None,
                ),
                seconds=window.seconds,
                ready_at=time.monotonic(),
            )
        )

    def _text_stands(self, file: File, index: int, decoded: Decoded) -> None:
        """A window's text is decided: its words are next."""
        window = file.state.windows[index]
        self._watch(file, window, decoded)
        window.features = None
        self._wording.text_stands(file, index, decoded)

    def _watch(self, file: File, window: WindowState, decoded: Decoded) -> None:
        """Tells the guard how a short window fared, and lets it draw audits."""
        if window.rungs[0].positions == FULL_POSITIONS or file.state.language is None:
            return
        language = file.state.language.code
        failed = len(window.attempts) > 1
        self._count("short_windows")
        self._count("short_failed", failed)
        if self._config.context != "auto":
            return
        self._heed(self._audits.guard.decoded(language, failed=failed))
        if failed or not self._audits.guard.allows(language):
            return
        assert window.features is not None
        item = self._audits.offer(
            self._next_number,
            language=language,
            name=file.state.name,
            index=window.index,
            features=window.features,
            seconds=window.seconds,
            task=file.state.options.task,
            context=file.context,
            text=decoded.text,
            prompt_length=len(file.context) + self.loaded.model.start_length(),
            now=time.monotonic(),
        )
        if item is not None:
            self._next_number += 1
            self._batcher.add(item)

    def _heed(self, sentence: str) -> None:
        """The guard has had enough of short windows in some language: say so, once."""
        if sentence:
            log.warning("context.full", message=sentence)

    def _count(self, name: str, amount: float = 1) -> None:
        self._stats.extra[name] = self._stats.extra.get(name, 0) + amount

    def _audited(self, item: Item, outcome: Decoded | JobError) -> None:
        self._count("audits")
        again, sentence = self._audits.outcome(
            item, None if isinstance(outcome, JobError) else outcome, time.monotonic()
        )
        self._heed(sentence)
        if again is not None:
            self._batcher.add(again)

    def _words_found(self, file: File, index: int, words: Sequence[Word]) -> None:
        file.state.words(index, words)
        file.attention.pop(index, None)
        self._finish_if_done(file)
        self._changed.notify_all()

    def _finish_if_done(self, file: File) -> None:
        if file.gone or not file.state.finished:
            return
        self._forget(file)
        language = file.state.language
        if language is not None and (why := self._audits.guard.why_not(language.code)):
            file.state.notes.append(why)
        word_times = file.mode if file.mode in ("aligned", "attention") else None
        with suppress(InvalidStateError):  # a caller may have cancelled the future itself
            file.future.set_result(file.state.recognition(word_times))

    def _forget(self, file: File) -> None:
        file.gone = True
        self._files.pop(file.number, None)
        self._batcher.drop(file.number)
        self._wording.forget(file)
        self._changed.notify_all()

    def _held(self) -> float:
        return sum(file.state.held_seconds for file in self._files.values())

    # The device threads, one a lane.

    def _device_loop(self) -> None:
        while (batch := self._next_batch()) is not None:
            began = time.monotonic()
            outcomes = self._decoder.decode(
                self._requests(batch.items),
                positions=batch.key.positions,
                temperature=batch.key.temperature,
            )
            seconds = time.monotonic() - began
            self._tell(batch, seconds)
            share = seconds / len(batch.items) / self.loaded.lanes
            with self.lock:
                self._decoding -= 1
                self._account(batch, seconds)
                self._last_step = time.monotonic()
                for item, outcome in outcomes:
                    if item.job in self._audits:
                        self._audited(item, outcome)
                        continue
                    file = self._files.get(item.job)
                    if file is None:
                        continue
                    if isinstance(outcome, JobError):
                        self.fail(file, outcome)
                        continue
                    file.state.spend("transcribe", share)
                    rung = file.state.windows[item.index].rung
                    before = file.state.second_attempts
                    self._follow(file, file.state.decoded(item.index, rung, outcome))
                    self._stats.second_attempts += file.state.second_attempts - before
                self._changed.notify_all()

    def _next_batch(self) -> Batch | None:
        with self.lock:
            while not self._stopping:
                now = time.monotonic()
                batch = self._batcher.next_batch(
                    now, self._decoder.budget.capacity, expecting=self._expecting()
                )
                if batch is not None:
                    self._decoding += 1
                    return batch
                self._changed.wait(self._batcher.wait_seconds(now))
            return None

    def _expecting(self) -> bool:
        """Whether windows are being prepared that nothing of ours holds up."""
        return self._held() < self._held_limit and any(
            file.state.total is None for file in self._files.values()
        )

    def _requests(self, items: Sequence[Item]) -> list[tuple[Item, Request]]:
        pairs = []
        with self.lock:
            for item in items:
                if item.job in self._audits:
                    pairs.append((item, self._audits.request(item.job)))
                    continue
                file = self._files.get(item.job)
                if file is None:
                    continue
                window = file.state.windows[item.index]
                assert window.features is not None
                language = file.state.language
                pairs.append(
                    (
                        item,
                        Request(
                            features=window.features,
                            seconds=window.seconds,
                            language=language.code if language else None,
                            task=file.state.options.task,
                            context=file.context,
                            # A short window is asked when its last word ends.
                            want_words=item.key.positions < FULL_POSITIONS
                            or self._wording.wants_attention(file),
                        ),
                    )
                )
        return pairs

    def _account(self, batch: Batch, seconds: float) -> None:
        stats = self._stats
        stats.batches += 1
        stats.windows += len(batch.items)
        stats.batch_slots += batch.capacity
        stats.busy_seconds += seconds / self.loaded.lanes

    def _tell(self, batch: Batch, seconds: float) -> None:
        kind = "GPU" if self.loaded.device.kind == "cuda" else "CPU"
        log.info(
            "batch.completed",
            message=f"{kind} batch processing completed",
            windows=len(batch.items),
            capacity=batch.capacity,
            jobs=len({item.job for item in batch.items}),
            audio_seconds=round(sum(item.seconds for item in batch.items), 2),
            seconds=round(seconds, 3),
            positions=batch.key.positions,
            temperature=batch.key.temperature,
        )

    def _align_loop(self) -> None:
        self._wording.run(lambda: self._files.values(), lambda: self._stopping)

    def _step_done(self) -> None:
        self._last_step = time.monotonic()

    # Failure of our own.

    def _guard(self, target: Any) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 # whatever it is, nobody waits in vain
            self._broken(error)

    def _broken(self, error: BaseException) -> None:
        """One of the engine's own threads died: every file fails with it."""
        with self.lock:
            if self._stopping:
                return
            self._failure = error
            log.error(
                "engine.broken",
                message=f"The engine has stopped: {error}",
                error=repr(error),
            )
            for file in list(self._files.values()):
                self.fail(file, EngineError(f"the engine has stopped: {error}"))
            self._stopping = True
            self._changed.notify_all()


def _detector_failed(error: RuntimeError) -> JobError:
    """Pyannote looks at a whole file at once, so it is the file that was too much for it."""
    return JobError(
        ErrorCode.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorCode.ENGINE_FAILED,
        f"The pyannote speech detector failed on the file ({type(error).__name__}: {error}); "
        "use vad = silero.",
    )
