"""One file's way: decode, find speech, cut windows, compute features. Streams; holds one window.

Runs in a child process (see `child`): its memory does not grow with the file's length. Where the
model computes features itself, windows go without.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.speech.children.framing import Frame
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.prepare.features import FrontEnd
from worker.speech.prepare.frames import (
    PROGRESS_SECONDS,
    PrepareConfig,
    PrepareTask,
    end_frame,
    opened_frame,
    progress_frame,
    samples_frame,
    window_frame,
)
from worker.speech.prepare.level import even_out
from worker.speech.prepare.passed_over import PassedOver, note
from worker.speech.prepare.samples_file import SamplesFile
from worker.speech.prepare.sound import to_samples
from worker.speech.prepare.surveying import survey
from worker.speech.prepare.vad import Silero
from worker.speech.windows import (
    SAMPLE_RATE,
    Padder,
    SpanFinder,
    SpanOptions,
    Window,
    WindowBuilder,
    WindowOptions,
)

__all__ = ["SpeechDetector", "SpeechStream", "Tools", "prepare"]

BLOCK_SECONDS = 4
"""Audio decoded before the speech detector looks at it."""


class SpeechStream(Protocol):
    """One file's way through a speech detector; see `hearing.Hearing`."""

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Speech probabilities of the next frames, [frames]: those that can be told by now."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """The probabilities of the frames that are left, [frames]."""
        ...


class SpeechDetector(Protocol):
    """What finds speech; see `vad.Silero`."""

    def stream(self) -> SpeechStream:
        """A fresh state, for one file."""
        ...


@dataclass(slots=True)
class Tools:
    """What a child loads once.

    Attributes:
        detector: None where speech is found elsewhere.
        front_end: computes features; None where the model does.
        spans: how speech probabilities become spans.
        windows: how spans become windows.
    """

    detector: SpeechDetector | None
    front_end: FrontEnd | None
    spans: SpanOptions
    windows: WindowOptions

    @classmethod
    def load(cls, config: PrepareConfig) -> Tools:
        """Loads what the configuration asks for."""
        return cls(
            detector=Silero() if config.vad == "silero" else None,
            front_end=FrontEnd(config.mels) if config.mels else None,
            spans=SpanOptions(**config.spans),
            windows=WindowOptions(**config.windows),
        )


def prepare(task: PrepareTask, config: PrepareConfig, tools: Tools) -> Iterator[Frame]:
    """The frames of one file, as they come; see `frames` for their kinds.

    Raises:
        JobError: see `media.reader.AudioReader`; of a survey see `surveying.survey`.
        TransientError: see `samples_file.SamplesFile`.
    """
    if task.survey is not None:
        return survey(task, config)
    return _prepare(task, config, tools)


def _prepare(task: PrepareTask, config: PrepareConfig, tools: Tools) -> Iterator[Frame]:
    clock = _StageClock()
    limits = AudioLimits(config.max_audio_seconds)
    with (
        SamplesFile(task.samples_file) as kept,
        AudioReader(Path(task.path), limits, task.raw, task.selection) as reader,
    ):
        yield opened_frame(reader.stated_seconds)
        chain: _SpeechChain | _SampleChain = (
            _SampleChain()
            if tools.detector is None
            else _SpeechChain(tools, tools.detector.stream(), task)
        )
        reported = 0
        peak = 0.0
        block: list[NDArray[np.float32]] = []
        size = 0
        pieces = iter(reader)
        while True:
            with clock.stage("decode"):
                piece = next(pieces, None)
            if piece is not None:
                block.append(piece)
                size += len(piece)
                if size < BLOCK_SECONDS * SAMPLE_RATE:
                    continue
            frames: list[Frame] = []
            with clock.stage("windows"):
                if block:
                    samples = np.concatenate(block)
                    kept.add(samples)
                    peak = max(peak, float(np.abs(samples).max(initial=0.0)))
                    if config.all_samples and tools.detector is not None:
                        frames.append(samples_frame(samples))
                    frames += chain.feed(samples)
                if piece is None:
                    frames += chain.finish()
            yield from frames
            block, size = [], 0
            if reader.samples - reported >= PROGRESS_SECONDS * SAMPLE_RATE or frames:
                reported = reader.samples
                yield progress_frame(reported / SAMPLE_RATE)
            if piece is None:
                break
        seconds = reader.samples / SAMPLE_RATE
        end = end_frame(seconds, peak, clock.seconds, [*reader.notes, *chain.notes])
    yield end


class _SampleChain:
    """Passes the samples on, where speech is found elsewhere."""

    notes: Sequence[str] = ()

    def feed(self, samples: NDArray[np.float32]) -> Iterator[Frame]:
        yield samples_frame(samples)

    def finish(self) -> list[Frame]:
        return []


class _SpeechChain:
    """Samples -> spans -> windows, with features if asked, holding one open window at the most.

    Attributes:
        notes: what the result is to say, known at the end.
    """

    def __init__(self, tools: Tools, stream: SpeechStream, task: PrepareTask) -> None:
        self._front_end = tools.front_end
        self._with_samples = task.samples
        self._done = {index: (start, end) for index, start, end in task.done}
        self.notes: Sequence[str] = ()
        self._stream = stream
        self._passed_over = PassedOver()
        self._finder = SpanFinder(tools.spans)
        self._padder = Padder(tools.spans)
        self._builder = WindowBuilder(tools.windows)
        self._buffer = _SampleBuffer()
        self._pad = int(tools.spans.pad * SAMPLE_RATE)

    def feed(self, samples: NDArray[np.float32]) -> Iterator[Frame]:
        self._buffer.add(samples)
        probabilities = self._stream.feed(samples).tolist()
        spans = self._finder.feed(probabilities)
        padded = [*self._padder.feed(spans), *self._padder.advance(self._finder.needed_from)]
        held = self._padder.needed_from
        coming = max(0, self._finder.needed_from - self._pad) if held is None else held
        self._passed_over.feed(probabilities, padded, coming)
        # Hours of silence after a word would otherwise keep it, and themselves, in memory.
        for window in (*self._builder.feed(padded), *self._builder.advance(coming)):
            yield self._frame(window)
        open_from = self._builder.needed_from
        self._buffer.forget(coming if open_from is None else min(coming, open_from))

    def finish(self) -> list[Frame]:
        samples = self._buffer.end
        probabilities = self._stream.finish().tolist()
        spans = self._finder.feed(probabilities) + self._finder.finish(samples)
        padded = [*self._padder.feed(spans), *self._padder.finish(samples)]
        self.notes = note(self._passed_over.finish(probabilities, padded, samples))
        windows = [*self._builder.feed(padded), *self._builder.finish()]
        return [self._frame(window) for window in windows]

    def _frame(self, window: Window) -> Frame:
        if self._done.get(window.index) == (window.start, window.end):
            return window_frame(window, None)
        samples = np.concatenate([self._buffer.cut(s.start, s.end) for s in window.spans])
        samples = even_out(samples, _places(window))
        if self._front_end is None:
            return window_frame(window, to_samples(samples))
        features = self._front_end(samples)
        return window_frame(window, features, samples if self._with_samples else None)


def _places(window: Window) -> Iterator[tuple[int, int]]:
    """Where a window's parts are among its samples: (first, end) of each."""
    before = 0
    for span in window.spans:
        for part in window.parts:
            if span.start <= part.start < span.end:
                yield before + part.start - span.start, before + part.end - span.start
        before += span.length


class _SampleBuffer:
    """The samples that open spans and windows still need, and no others."""

    def __init__(self) -> None:
        self._start = 0
        self._pieces: list[NDArray[np.float32]] = []
        self.end = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(samples)
        self.end += len(samples)

    def cut(self, start: int, end: int) -> NDArray[np.float32]:
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        whole = self._pieces[0] if self._pieces else np.zeros(0, dtype=np.float32)
        return whole[start - self._start : end - self._start]

    def forget(self, before: int) -> None:
        """Drops samples before a position."""
        while self._pieces and self._start + len(self._pieces[0]) <= before:
            self._start += len(self._pieces.pop(0))
        if self._pieces and before > self._start:
            # A copy, so that the rest of a large piece can be freed.
            self._pieces[0] = self._pieces[0][before - self._start :].copy()
            self._start = before


class _StageClock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"decode": 0.0, "windows": 0.0}
        self._name = ""
        self._since = 0.0

    def stage(self, name: str) -> _StageClock:
        self._name = name
        return self

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._name] += time.perf_counter() - self._since
