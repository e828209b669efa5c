"""An engine without a model, for tests that kill, cut and flood the worker around it.

The "audio" is a text file: one header line `FAKE {"seconds": 95.0, ...}` and any bytes behind
it. What the engine makes of it depends on these bytes alone, so two runs can be compared.
Anything without such a header is "not media". Header fields:

    seconds   length of the audio; it is cut into windows of 30 s
    marker    crash: the process is killed (SIGKILL) when the first window is decoded
              hang:  the device never finishes that window
              sticky: the engine breaks for good, as after a CUDA error
              bad:   the job fails with `decode_failed`
              garbled: the result can't be read; the error that says so quotes a private text
    marker_window  which window the marker strikes at (default 0)

Each decoded window is one line in the file that `FAKE_ENGINE_LOG` names, appended in one
write, so that windows can be counted across processes: `<pid> <name> <index>`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from worker.errors import EngineError, ErrorCode, JobError
from worker.results.transcript import EngineInfo, Language, Segment, Word
from worker.speech.api import EngineStats, Options, Partial, Recognition, Submission, WindowText

WINDOW_SECONDS = 30.0
LOG_VARIABLE = "FAKE_ENGINE_LOG"
PRIVATE_TEXT = "the secret words of a customer"
_MAGIC = b"FAKE "


def fake_audio(
    seconds: float, *, seed: int = 0, marker: str | None = None, marker_window: int = 0
) -> bytes:
    """A file of `seconds` of fake audio; another `seed` has another text."""
    header: dict[str, object] = {"seconds": seconds, "seed": seed}
    if marker:
        header |= {"marker": marker, "marker_window": marker_window}
    return _MAGIC + json.dumps(header).encode() + b"\n"


@dataclass(frozen=True)
class _Audio:
    seconds: float
    digest: str
    marker: str | None
    marker_window: int

    @property
    def windows(self) -> int:
        return math.ceil(self.seconds / WINDOW_SECONDS) if self.seconds > 0 else 0

    def window(self, index: int, options: Options) -> WindowText:
        start = index * WINDOW_SECONDS
        end = min(self.seconds, start + WINDOW_SECONDS)
        text = f"Window {index} of {self.digest[:12]}."
        spoken: tuple[Word, ...] = ()
        if options.words:
            parts = text.split()
            step = (end - start) / len(parts)
            spoken = tuple(
                Word(word=part, start=start + i * step, end=start + (i + 1) * step, score=0.5)
                for i, part in enumerate(parts)
            )
        return WindowText(
            index=index,
            start=start,
            end=end,
            text=text,
            avg_logprob=-0.25,
            words=spoken,
            language=_spoken(options, index),
        )


@dataclass
class _Job(Submission):
    """One submission; its fields change under the engine's lock."""

    engine: FakeEngine
    name: str
    options: Options
    alone: bool
    audio: _Audio
    resume: dict[int, WindowText]
    result: Future[Recognition] = field(default_factory=Future)
    done: dict[int, WindowText] = field(default_factory=dict)
    resumed: int = 0
    cancelled: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def future(self) -> Future[Recognition]:
        return self.result

    def partial(self) -> Partial:
        with self.engine.lock:
            windows = tuple(self.done[index] for index in sorted(self.done))
        return Partial(
            language=_language(self.options, self.audio),
            word_times="aligned" if self.options.words else None,
            windows=windows,
        )

    def progress(self) -> tuple[float, float | None]:
        with self.engine.lock:
            return sum(w.end - w.start for w in self.done.values()), self.audio.seconds

    def on_text_done(self, call: Callable[[], object]) -> None:
        """Never: it tells nobody who speaks."""

    def cancel(self) -> None:
        self.engine.cancel(self)

    def missing(self) -> list[int]:
        return [index for index in range(self.audio.windows) if index not in self.done]


class FakeEngine:
    """The Transcriber of the fault tests.

    Args:
        seconds_per_audio_second: how long one second of audio occupies the device.
        batch_size: windows per step; a step lasts as long as its longest window.
        start_seconds: how long loading takes.
        fingerprint: stands for the model; another one invalidates checkpoints.
        start_error: raised by `start`.
        stop_waits: how long `stop` waits for the batch on the device; None: until it is done, as
            the real engine does.
    """

    def __init__(
        self,
        *,
        seconds_per_audio_second: float = 0.0,
        batch_size: int = 8,
        start_seconds: float = 0.0,
        fingerprint: str = "fake-1",
        start_error: Exception | None = None,
        most_held: float = 1800.0,
        stop_waits: float | None = 2.0,
    ) -> None:
        self._stop_waits = stop_waits
        self._most_held = most_held
        self._pace = seconds_per_audio_second
        self._batch = batch_size
        self._start_seconds = start_seconds
        self._fingerprint = fingerprint
        self._start_error = start_error
        self.lock = threading.Lock()
        self._wake = threading.Condition(self.lock)
        self._jobs: deque[_Job] = deque()
        self._progress: float | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fake-device", daemon=True)
        self._stats = EngineStats()
        self.started = False
        self.companions: deque[tuple[str, ...]] = deque(maxlen=500)
        """The names that shared each of the last steps, for tests of `alone` and of order."""

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            model="fake",
            device="cpu",
            compute_type="int8",
            batch_size=self._batch,
            beam_size=1,
            vad="none",
            transcriber="fake",
            versions={"fake": "1"},
        )

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def stats(self) -> EngineStats:
        return replace(self._stats)

    def sample(self) -> EngineStats:
        return self.stats

    def start(self) -> None:
        time.sleep(self._start_seconds)
        if self._start_error:
            raise self._start_error
        self.started = True
        self._thread.start()

    def check(self, options: Options) -> None:
        for code in (options.language, *options.language_options):
            if code in ("xx", "yue"):
                raise JobError(
                    ErrorCode.LANGUAGE_NOT_SUPPORTED, f"language = {code!r} is not known"
                )

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
        self.check(options)
        audio = _read(path)
        job = _Job(
            self,
            name,
            options,
            alone,
            audio or _Audio(0.0, "", "not_media", 0),
            {window.index: window for window in (resume.windows if resume else ())},
        )
        with self._wake:
            if self._stopping or self._failure:
                raise EngineError("the engine has stopped")
            self._jobs.append(job)
            self._stats.waiting_windows = sum(len(j.missing()) for j in self._jobs)
            self._wake.notify()
        return job

    def held_seconds(self) -> float:
        with self.lock:
            return sum(job.audio.seconds for job in self._jobs)

    def most_held_seconds(self) -> float:
        return self._most_held

    def last_progress(self) -> float | None:
        return self._progress

    def failure(self) -> BaseException | None:
        return self._failure

    def cancel(self, job: _Job) -> None:
        with self._wake:
            job.cancelled = True
            if job in self._jobs:
                self._jobs.remove(job)
        job.result.cancel()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            left = list(self._jobs)
            self._jobs.clear()
            self._wake.notify()
        for job in left:
            job.result.cancel()
        if self.started:
            self._thread.join(timeout=self._stop_waits)

    # -- the device ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._stopping:
                    self._progress = None
                    self._wake.wait()
                if self._stopping:
                    return
                self._progress = time.monotonic()
                batch = self._next_batch()
                self.companions.append(tuple(sorted({job.name for job, _ in batch})))
            if not self._decode(batch):
                return
            self._progress = time.monotonic()
            self._finish()

    def _next_batch(self) -> list[tuple[_Job, int]]:
        """Oldest job first; one that runs alone shares no step."""
        batch: list[tuple[_Job, int]] = []
        for job in list(self._jobs):
            if job.alone and batch:
                break
            for index in range(job.audio.windows):
                kept = job.resume.get(index)
                if kept is not None and index not in job.done:
                    job.done[index] = kept
                    job.resumed += 1
            room = self._batch - len(batch)
            batch.extend((job, index) for index in job.missing()[:room])
            if job.alone or len(batch) >= self._batch:
                break
        return batch

    def _decode(self, batch: list[tuple[_Job, int]]) -> bool:
        began = time.monotonic()
        for job, index in batch:
            if job.audio.marker and index == job.audio.marker_window:
                if job.audio.marker == "crash":
                    os.kill(os.getpid(), signal.SIGKILL)
                if job.audio.marker == "hang":
                    threading.Event().wait()
                if job.audio.marker == "sticky":
                    return self._break(EngineError("the device is lost"))
        windows = [(job, job.audio.window(index, job.options)) for job, index in batch]
        longest = max((w.end - w.start for _, w in windows), default=0.0)
        time.sleep(self._pace * longest)
        for job, window in windows:
            _log(job.name, window.index)
            with self.lock:
                job.done[window.index] = window
        self._stats.windows += len(windows)
        self._stats.batches += bool(windows)
        self._stats.batch_slots += self._batch if windows else 0
        self._stats.audio_seconds += sum(w.end - w.start for _, w in windows)
        self._stats.busy_seconds += time.monotonic() - began
        return True

    def _break(self, error: EngineError) -> bool:
        with self.lock:
            self._failure = error
            left = list(self._jobs)
            self._jobs.clear()
        for job in left:
            job.result.set_exception(error)
        return False

    def _finish(self) -> None:
        with self.lock:
            ready = [job for job in self._jobs if job.audio.marker == "not_media"]
            ready += [job for job in self._jobs if job not in ready and not job.missing()]
            for job in ready:
                self._jobs.remove(job)
            self._stats.waiting_windows = sum(len(j.missing()) for j in self._jobs)
        for job in ready:
            if not job.result.set_running_or_notify_cancel():
                continue
            marker = job.audio.marker
            if marker == "not_media":
                job.result.set_exception(JobError(ErrorCode.NOT_MEDIA, "no decoder knows it"))
            elif marker == "bad":
                job.result.set_exception(JobError(ErrorCode.DECODE_FAILED, "it is damaged"))
            elif marker == "garbled":
                job.result.set_result(replace(_recognition(job), segments=_Garbled()))
            else:
                job.result.set_result(_recognition(job))


class _Garbled(list[Segment]):
    """Segments that can't be read."""

    def __iter__(self) -> NoReturn:
        raise ValueError(PRIVATE_TEXT)


def _recognition(job: _Job) -> Recognition:
    windows = [job.done[index] for index in sorted(job.done)]
    return Recognition(
        audio_seconds=job.audio.seconds,
        language=_language(job.options, job.audio) if windows else None,
        segments=[
            Segment(
                id=number,
                start=window.start,
                end=window.end,
                text=window.text,
                avg_logprob=window.avg_logprob,
                words=window.words,
                language=window.language,
            )
            for number, window in enumerate(windows)
        ],
        word_times="aligned" if job.options.words and windows else None,
        seconds={
            "decode": 0.0,
            "windows": 0.0,
            "transcribe": time.monotonic() - job.began,
            "align": 0.0,
        },
        windows=len(windows),
        resumed=job.resumed,
        languages=_shares(windows),
    )


def _spoken(options: Options, index: int) -> str:
    """The first language that there may be, or with `multilingual` each in turn."""
    codes = options.language_options or ("en",)
    return options.language or codes[index % len(codes) if options.multilingual else 0]


def _shares(windows: list[WindowText]) -> tuple[tuple[str, float], ...]:
    seconds: dict[str, float] = {}
    for window in windows:
        assert window.language is not None
        spoken = window.end - window.start
        seconds[window.language] = seconds.get(window.language, 0.0) + spoken
    return tuple(sorted(seconds.items(), key=lambda share: -share[1]))


def _language(options: Options, audio: _Audio) -> Language | None:
    if options.language:
        return Language(code=options.language, probability=None, detected=False)
    if not audio.windows:
        return None
    return Language(code=_spoken(options, 0), probability=0.9, detected=True)


def _read(path: Path) -> _Audio | None:
    body = path.read_bytes()
    head, _, _ = body.partition(b"\n")
    if not head.startswith(_MAGIC):
        return None
    header = json.loads(head[len(_MAGIC) :])
    return _Audio(
        float(header["seconds"]),
        hashlib.sha256(body).hexdigest(),
        header.get("marker"),
        int(header.get("marker_window", 0)),
    )


def _log(name: str, index: int) -> None:
    path = os.environ.get(LOG_VARIABLE)
    if path:
        # One append-only write per line: lines of several processes never mix.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{os.getpid()} {name} {index}\n".encode())
        finally:
            os.close(handle)
