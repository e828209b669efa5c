"""The running machine: files in, recognitions out, the device never idle in between.

Threads: the prepare pool's (one a child process), one device thread that alone owns the
model, and one align thread. They meet under one lock, around `state.FileState` and the
batcher, which decide; nothing here waits while holding it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from worker.errors import EngineError, ErrorCode, JobError, MachineError, WorkerError
from worker.logs import get_logger
from worker.speech import device as devices
from worker.speech import models
from worker.speech.api import (
    EngineStats,
    Options,
    Partial,
    Recognition,
    Submission,
    Transcriber,
    WordTimes,
)
from worker.speech.batcher import Batch, Batcher, Item, Key
from worker.speech.features import FrontEnd
from worker.speech.pool import PreparePool
from worker.speech.prepare import PrepareConfig, PrepareTask
from worker.speech.state import FileState, Step, full_ladder, to_file_time
from worker.speech.weights import Dimensions, read_dimensions
from worker.speech.whisper import Decoded, Request, Whisper
from worker.speech.windows import SAMPLE_RATE, Span, SpanOptions, WindowOptions
from worker.speech.words import spread_words
from worker.transcript import EngineInfo, Word

if TYPE_CHECKING:
    from worker.speech.align import Aligner

log = get_logger(__name__)

CODE_VERSION = 1
"""Raised when a change of ours may change texts: checkpoints of older code are not resumed."""

FILE_SHARE = 2
"""One file may hold one part in this many of the seconds that may be held."""

MIN_HELD_SECONDS = 300.0
"""Less than this could not hold one batch and the next."""

QUEUED_SECONDS = 30.0
"""What a file counts as held before anything of it is known."""

SPANS = SpanOptions()
WINDOWS = WindowOptions(max_gap=4.0)

OUT_OF_MEMORY_ADVICE = (
    "Not even one window fits the device's memory: use compute_type = int8_float16, "
    "model = turbo or medium, a smaller beam_size, or end other processes on the card."
)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything an engine is built from; see the settings of the same names."""

    model: str = "large-v3"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    compute_type: str = "int8_float16"
    batch_size: int = 64
    beam_size: int = 5
    transcriber: Literal["optimized", "standard"] = "optimized"
    vad: Literal["silero", "pyannote"] = "silero"
    word_times: WordTimes = "aligned"
    context: Literal["full", "adaptive", "auto"] = "full"
    num_workers: int = 2
    cpu_threads: int = 0
    max_wait: float = 0.5
    held_seconds: float = 1800.0
    max_audio_seconds: float = 43_200.0
    prepare_memory_bytes: int = 2 << 30
    prepare_stall_seconds: float = 60.0
    model_dir: Path | None = None
    self_test: bool = True


def build(config: EngineConfig) -> Transcriber:
    """The transcriber that the configuration asks for, not yet started."""
    if config.transcriber == "standard":
        from worker.speech.standard import StandardTranscriber

        return StandardTranscriber(config)
    return Engine(config)


class _File(Submission):
    """One submission: its state, its future, and its seat in the prepare pool."""

    def __init__(self, engine: Engine, number: int, state: FileState, path: Path) -> None:
        self.number = number
        self.state = state
        self.path = path
        self.alone = False
        self.mode: WordTimes = "none"
        self.attention: dict[int, tuple[Word, ...]] = {}
        self.undecided: list[int] = []
        self.aligning: set[int] = set()
        self.context: tuple[int, ...] = ()
        self.gone = False
        self.pieces: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        self.task = PrepareTask(str(path))
        self._engine = engine
        self._future: Future[Recognition] = Future()

    @property
    def future(self) -> Future[Recognition]:
        return self._future

    def partial(self) -> Partial:
        with self._engine.lock:
            word_times = self.mode if self.mode != "none" else None
            return self.state.partial().model_copy(update={"word_times": word_times})

    def progress(self) -> tuple[float, float | None]:
        with self._engine.lock:
            return self.state.progress()

    def cancel(self) -> None:
        self._engine.cancel(self)

    # The prepare pool's side.

    def wanted(self) -> bool:
        return not self.gone

    def has_room(self) -> bool:
        with self._engine.lock:
            return self._engine.has_room(self)

    def wait_for_room(self) -> None:
        self._engine.wait_for_room(self)

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        self._engine.on_frame(self, header, payload)

    def failed(self, error: JobError) -> None:
        self._engine.fail(self, error)


class Engine(Transcriber):
    """The optimized transcriber: full batches across files. See `api.Transcriber`."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._batcher = Batcher(max_wait=config.max_wait)
        self._files: dict[int, _File] = {}
        self._next_number = 0
        self._align_queue: list[tuple[_File, int, str]] = []
        self._held_limit = max(MIN_HELD_SECONDS, config.held_seconds)
        self._stats = EngineStats()
        self._stopping = False
        self._failure: BaseException | None = None
        self._last_step = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._notes: list[str] = []
        self._aligner: Aligner | None = None
        self._told: set[str] = set()
        self._whisper: Whisper
        self._device: devices.Device
        self._dimensions: Dimensions
        self._budget: devices.Budget
        self._compute_type: str
        self._info: EngineInfo
        self._fingerprint = ""
        self._pool: PreparePool

    # Start and stop.

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def stats(self) -> EngineStats:
        self._stats.encoder_calls = self._whisper.encoder_calls
        self._stats.encoded_windows = self._whisper.encoded_windows
        self._stats.waiting_windows = len(self._batcher)
        return self._stats

    @property
    def budget(self) -> devices.Budget:
        """What a batch may hold now; shrinks when memory runs out."""
        return self._budget

    @property
    def whisper(self) -> Whisper:
        """The loaded model, for measurements; never call it while the engine works."""
        return self._whisper

    def start(self) -> None:
        config = self._config
        self._device, note = devices.find_device(config.device)
        if note:
            self._note(note, "device.chosen")
        directory = models.resolve(config.model, config.model_dir)
        self._dimensions = read_dimensions(directory)
        chosen = devices.choose_compute_type(
            config.compute_type, self._device.kind, devices.supported_compute_types(self._device)
        )
        if chosen.note:
            self._note(chosen.note, "device.compute_type")
        self._compute_type = chosen.name
        cores = config.cpu_threads or devices.usable_cores()
        began = time.monotonic()
        self._whisper = Whisper(directory, self._device, chosen.name, cores)
        log.info(
            "model.loaded",
            message=f"Model loaded on {self._device}",
            model=config.model,
            device_name=self._device.name,
            compute_type=chosen.name,
            seconds=round(time.monotonic() - began, 2),
        )
        tuned = devices.tune_torch(self._device)
        self._budget = devices.budget(
            self._dimensions,
            batch_size=config.batch_size,
            beam_size=config.beam_size,
            compute_type=chosen.name,
            device=self._device,
            free_bytes=devices.free_memory(self._device),
            reserve_align=config.word_times == "aligned",
            cores=cores,
        )
        log.info(
            "device.tuned",
            message="; ".join(tuned),
            batch_windows=self._budget.capacity(1500),
            batch_size=config.batch_size,
        )
        self._describe(directory)
        if config.self_test:
            self._self_test()
        if config.word_times == "aligned":
            from worker.speech.align import Aligner

            self._aligner = Aligner(str(self._device), model_dir=None)
        self._pool = PreparePool(
            PrepareConfig(
                mels=self._whisper.mels,
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
        for target, name in ((self._device_loop, "device"), (self._align_loop, "align")):
            thread = threading.Thread(target=self._guard, args=(target,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._last_step = time.monotonic()

    def stop(self) -> None:
        with self.lock:
            self._stopping = True
            for file in list(self._files.values()):
                self._forget(file)
                file.future.cancel()
            self._changed.notify_all()
        if hasattr(self, "_pool"):
            self._pool.stop()
        for thread in self._threads:
            thread.join()
        if self._aligner is not None:
            self._aligner.close()

    def failure(self) -> BaseException | None:
        return self._failure

    def children(self) -> list[int]:
        """Process ids of the prepare pool."""
        return self._pool.children()

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
        options = self._checked(options)
        with self.lock:
            if self._failure is not None:
                raise EngineError(f"the engine has stopped: {self._failure}")
            number = self._next_number
            self._next_number += 1
            state = FileState(name=name, options=options, ladder=full_ladder, resume=resume)
            file = _File(self, number, state, path)
            file.alone = alone
            file.context = self._whisper.context(options)
            file.mode = self._word_mode(file)
            file.task = PrepareTask(
                path=str(path),
                done=tuple((w.index, w.start, w.end) for w in resume.windows) if resume else (),
                samples=file.mode == "aligned",
            )
            if not self._files:
                self._last_step = time.monotonic()
            self._files[number] = file
        self._pool.submit(file)
        return file

    def cancel(self, file: _File) -> None:
        """See `api.Submission.cancel`."""
        with self.lock:
            self._forget(file)
            file.future.cancel()

    def held_seconds(self) -> float:
        with self.lock:
            queued = sum(
                QUEUED_SECONDS
                for file in self._files.values()
                if not file.state.windows and file.state.total is None
            )
            return queued + self._held()

    def last_progress(self) -> float | None:
        with self.lock:
            return self._last_step if self._files else None

    def _checked(self, options: Options) -> Options:
        self._whisper.check(options)
        if options.task == "translate" and not models.translates(
            self._config.model, self._dimensions
        ):
            raise JobError(
                ErrorCode.TASK_NOT_SUPPORTED,
                f"task = 'translate' can't be done by model {self._config.model!r}, which was "
                "trained on transcription alone; use large-v3 or medium.",
            )
        if not self._whisper.multilingual and options.language is None:
            return replace(options, language="en")
        return options

    # The prepare pool's calls.

    def has_room(self, file: _File) -> bool:
        """Whether another window of this file may be held. Call with the lock."""
        if file.gone:
            return True
        held = self._held()
        own = file.state.held_seconds
        return held < self._held_limit and own < self._held_limit / FILE_SHARE

    def wait_for_room(self, file: _File) -> None:
        """Blocks a pool thread until its file may hold more, or is gone."""
        with self.lock:
            while not self.has_room(file) and not self._stopping:
                self._changed.wait(1.0)

    def on_frame(self, file: _File, header: dict[str, Any], payload: bytes) -> None:
        """A frame of a child about one file."""
        kind = header["kind"]
        if kind == "samples":
            file.pieces.append(np.frombuffer(payload, dtype=np.float32))
            return
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
            self._finish_if_done(file)
            self._changed.notify_all()

    def fail(self, file: _File, error: WorkerError) -> None:
        """Ends one file with an error."""
        with self.lock:
            if not file.gone:
                self._forget(file)
                file.future.set_exception(error)

    def _add(self, file: _File, header: dict[str, Any], payload: bytes) -> Step:
        spans = [Span(start, end) for start, end in header["spans"]]
        if header.get("done"):
            return file.state.add_window(header["index"], spans, None, None)
        mels, frames = self._whisper.mels, int(header["frames"])
        size = mels * frames * 4
        features = np.frombuffer(payload, dtype=np.float32, count=mels * frames)
        samples = None
        if len(payload) > size:
            raw = np.frombuffer(payload, dtype="<i2", offset=size)
            samples = raw.astype(np.float32) / 32767.0
        return file.state.add_window(
            header["index"], spans, features.reshape(mels, frames), samples
        )

    # What follows from an event; with the lock.

    def _follow(self, file: _File, step: Step) -> None:
        for index in step.ready:
            self._enqueue(file, index)
        for index, decoded in step.texts:
            self._text_stands(file, index, decoded)

    def _enqueue(self, file: _File, index: int) -> None:
        window = file.state.windows[index]
        rung = window.rung
        self._batcher.add(
            Item(
                job=file.number,
                index=index,
                key=Key(
                    prompt_length=len(file.context) + self._whisper.start_length(),
                    temperature=rung.temperature,
                    positions=rung.positions,
                    alone=file.number if file.alone else None,
                ),
                seconds=window.seconds,
                ready_at=time.monotonic(),
            )
        )

    def _text_stands(self, file: _File, index: int, decoded: Decoded) -> None:
        """A window's text is decided: find its words, one way or another."""
        window = file.state.windows[index]
        if file.mode == "none" or not decoded.tokens:
            self._words_found(file, index, ())
            return
        if file.mode == "attention":
            self._words_found(file, index, to_file_time(decoded.words, window.spans))
            return
        file.attention[index] = to_file_time(decoded.words, window.spans)
        file.undecided.append(index)
        self._route_undecided(file)

    def _route_undecided(self, file: _File) -> None:
        """Sends windows to the aligner, or settles for attention, once that is known."""
        language = file.state.language
        if language is None or self._aligner is None or not file.undecided:
            return
        self._aligner.request(language.code)
        ready = self._aligner.ready(language.code)
        if ready is None:
            return
        waiting, file.undecided = file.undecided, []
        if ready:
            self._align_queue += [(file, index, language.code) for index in waiting]
            self._changed.notify_all()
            return
        self._settle_for_attention(file, language.code)
        for index in waiting:
            self._words_found(file, index, file.attention.pop(index, ()))

    def _settle_for_attention(self, file: _File, language: str) -> None:
        assert self._aligner is not None
        file.mode = "attention"
        why = self._aligner.why_not(language)
        file.state.notes.append(f"Word times come from attention: {why}")
        if language not in self._told:
            self._told.add(language)
            log.warning(
                "words.attention",
                message=f"Word times in {language!r} come from attention: {why}",
                language=language,
            )

    def _words_found(self, file: _File, index: int, words: Sequence[Word]) -> None:
        file.state.words(index, words)
        file.attention.pop(index, None)
        self._finish_if_done(file)
        self._changed.notify_all()

    def _finish_if_done(self, file: _File) -> None:
        if file.gone or not file.state.finished:
            return
        self._forget(file)
        word_times = file.mode if file.mode in ("aligned", "attention") else None
        file.future.set_result(file.state.recognition(word_times))

    def _forget(self, file: _File) -> None:
        file.gone = True
        self._files.pop(file.number, None)
        self._batcher.drop(file.number)
        self._align_queue = [entry for entry in self._align_queue if entry[0] is not file]
        self._changed.notify_all()

    def _held(self) -> float:
        return sum(file.state.held_seconds for file in self._files.values())

    def _word_mode(self, file: _File) -> WordTimes:
        """How this file's words are to get their times."""
        options = file.state.options
        if not options.words or self._config.word_times == "none":
            return "none"
        # An alignment model hears the language spoken; a translation is in another.
        if self._config.word_times == "attention" or options.task == "translate":
            return "attention"
        language = file.state.language
        if language is not None and self._aligner is not None:
            self._aligner.request(language.code)
            if self._aligner.ready(language.code) is False:
                self._settle_for_attention(file, language.code)
                return "attention"
        return "aligned"

    # The device thread.

    def _device_loop(self) -> None:
        while (batch := self._next_batch()) is not None:
            began = time.monotonic()
            outcomes = self._decode(batch.items, batch.key)
            self._report(batch, time.monotonic() - began)
            share = (time.monotonic() - began) / len(batch.items)
            with self.lock:
                self._last_step = time.monotonic()
                for item, outcome in outcomes:
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
                    now, self._budget.capacity, expecting=self._expecting()
                )
                if batch is not None:
                    return batch
                self._changed.wait(self._batcher.wait_seconds(now))
            return None

    def _expecting(self) -> bool:
        """Whether windows are being prepared that nothing of ours holds up."""
        return self._held() < self._held_limit and any(
            file.state.total is None for file in self._files.values()
        )

    def _decode(
        self, items: Sequence[Item], key: Key
    ) -> list[tuple[Item, Decoded | JobError]]:
        """Decodes windows; halves on failure until the ones at fault are alone."""
        pairs = self._requests(items)
        if not pairs:
            return []
        try:
            decoded = self._whisper.decode(
                [request for _, request in pairs],
                positions=key.positions,
                beam_size=self._config.beam_size,
                temperature=key.temperature,
            )
        except (RuntimeError, ValueError) as error:
            return self._after_failure([item for item, _ in pairs], key, error)
        return [(item, outcome) for (item, _), outcome in zip(pairs, decoded, strict=True)]

    def _after_failure(
        self, items: Sequence[Item], key: Key, error: Exception
    ) -> list[tuple[Item, Decoded | JobError]]:
        memory = "out of memory" in str(error).lower()
        if memory:
            self._stats.out_of_memory += 1
            with self.lock:
                self._budget = self._budget.halved(len(items), key.positions)
            log.warning(
                "batch.out_of_memory",
                message=f"Out of memory with {len(items)} windows: "
                f"batches hold at most {self._budget.capacity(key.positions)} from now on",
                windows=len(items),
                positions=key.positions,
            )
        if len(items) > 1:
            middle = len(items) // 2
            return self._decode(items[:middle], key) + self._decode(items[middle:], key)
        if memory:
            return [(items[0], JobError(ErrorCode.OUT_OF_MEMORY, OUT_OF_MEMORY_ADVICE))]
        # A CUDA error that sticks fails every batch from now on: no job's fault.
        try:
            self._probe()
        except RuntimeError as broken:
            raise EngineError(f"the device is broken: {broken}") from error
        log.error(
            "window.failed",
            message="A window can't be decoded, its batch-mates can",
            window=items[0].index,
            error=repr(error),
        )
        return [
            (
                items[0],
                JobError(
                    ErrorCode.ENGINE_FAILED,
                    f"Window {items[0].index} of the audio can't be decoded "
                    f"({type(error).__name__}: {error}); report it with the file.",
                ),
            )
        ]

    def _requests(self, items: Sequence[Item]) -> list[tuple[Item, Request]]:
        pairs = []
        with self.lock:
            for item in items:
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
                            want_words=self._wants_attention(file),
                        ),
                    )
                )
        return pairs

    def _wants_attention(self, file: _File) -> bool:
        """Attention's words are found for as long as the aligner may still be refused."""
        if file.mode == "attention":
            return True
        language = file.state.language
        return file.mode == "aligned" and not (
            language is not None
            and self._aligner is not None
            and self._aligner.ready(language.code)
        )

    def _report(self, batch: Batch, seconds: float) -> None:
        stats = self._stats
        stats.batches += 1
        stats.windows += len(batch.items)
        stats.batch_slots += batch.capacity
        stats.busy_seconds += seconds
        kind = "GPU" if self._device.kind == "cuda" else "CPU"
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

    # The align thread.

    def _align_loop(self) -> None:
        while True:
            with self.lock:
                while not self._stopping and not self._align_queue:
                    for file in list(self._files.values()):
                        self._route_undecided(file)
                    if not self._align_queue:
                        loading = any(file.undecided for file in self._files.values())
                        self._changed.wait(0.1 if loading else None)
                if self._stopping:
                    return
                work, self._align_queue = self._align_queue, []
                for file, index, _ in work:
                    file.aligning.add(index)
            self._align(work)

    def _align(self, work: Sequence[tuple[_File, int, str]]) -> None:
        from worker.speech.align import AlignItem

        items = []
        with self.lock:
            work = [entry for entry in work if not entry[0].gone]
            for file, index, language in work:
                window = file.state.windows[index]
                assert window.samples is not None
                items.append(
                    AlignItem(
                        samples=window.samples,
                        text=_text_of(file, index),
                        language=language,
                        start=0.0,
                        end=window.seconds,
                    )
                )
        if not items:
            return
        began = time.monotonic()
        found = self._words_of(items)
        share = (time.monotonic() - began) / len(items)
        with self.lock:
            self._last_step = time.monotonic()
            for (file, index, _), words in zip(work, found, strict=True):
                if file.gone:
                    continue
                file.state.spend("align", share)
                file.aligning.discard(index)
                spans = file.state.windows[index].spans
                self._words_found(file, index, to_file_time(words, spans))

    def _words_of(self, items: Sequence[Any]) -> list[list[Word]]:
        """The aligner's words; where it fails, the one segment at fault gets its text's spread."""
        from worker.speech.align import AlignmentError

        assert self._aligner is not None
        try:
            return self._aligner.align(items)
        except AlignmentError as error:
            if len(items) > 1:
                return [words for item in items for words in self._words_of([item])]
            log.warning(
                "words.spread",
                message="A segment can't be aligned: its words are spread over it",
                error=str(error),
            )
            return [spread_words(items[0].text.split(), items[0].start, items[0].end)]

    # Start-up.

    def _self_test(self) -> None:
        """Known speech must give known words: a card or driver that doesn't is refused."""
        from worker.speech.selftest import check_text, known_speech

        speech = known_speech()
        if speech is None:
            log.warning("selftest.skipped", message="Self-test skipped: no known speech is here")
            return
        began = time.monotonic()
        features = FrontEnd(self._whisper.mels)(speech.samples)
        self._probe_request = Request(
            features=features, seconds=len(speech.samples) / SAMPLE_RATE,
            language="en", task="transcribe",
        )  # fmt: skip
        try:
            text = self._probe()
        except RuntimeError as error:
            raise MachineError(f"the self-test on known speech failed on {self._device}: {error}") \
                from error
        check_text(text, speech, str(self._device))
        log.info(
            "selftest.passed",
            message="Self-test passed on known speech",
            seconds=round(time.monotonic() - began, 2),
        )

    def _probe(self) -> str:
        """Decodes something that is known to work; raises RuntimeError if it doesn't."""
        request = getattr(self, "_probe_request", None) or Request(
            features=np.full((self._whisper.mels, 100), -1.5, dtype=np.float32),
            seconds=1.0,
            language="en",
            task="transcribe",
        )
        (decoded,) = self._whisper.decode(
            [request], positions=1500, beam_size=self._config.beam_size, temperature=0.0
        )
        return decoded.text

    def _describe(self, directory: Path) -> None:
        config = self._config
        self._info = EngineInfo(
            model=config.model,
            device=str(self._device),
            compute_type=self._compute_type,
            batch_size=self._budget.capacity(1500),
            beam_size=config.beam_size,
            vad=config.vad,
            transcriber=config.transcriber,
            notes=tuple(self._notes),
            versions=devices.versions(),
        )
        # What decides texts and windows; the batch size doesn't.
        identity = {
            "code": CODE_VERSION,
            "model": models.identity(directory),
            "compute_type": self._compute_type,
            "beam_size": config.beam_size,
            "vad": config.vad,
            "context": config.context,
            "spans": asdict(SPANS),
            "windows": asdict(WINDOWS),
            "word_times": config.word_times,
            "versions": devices.versions(),
        }
        encoded = json.dumps(identity, sort_keys=True, default=str).encode()
        self._fingerprint = hashlib.sha256(encoded).hexdigest()[:32]

    def _note(self, sentence: str, event: str) -> None:
        """A choice of ours: once in the log, and in every result."""
        self._notes.append(sentence)
        log.warning(event, message=sentence)

    # Failure of our own.

    def _guard(self, target: Any) -> None:
        try:
            target()
        except BaseException as error:  # whatever it is, nothing waits for this thread in vain
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


def _text_of(file: _File, index: int) -> str:
    from worker.speech.quality import best

    return best([attempt for attempt, _ in file.state.windows[index].attempts]).text
