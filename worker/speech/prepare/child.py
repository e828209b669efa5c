"""A child process that turns one local file at a time into windows with features.

Media decoders crash, hang and swallow memory, so they run here: with a memory limit, a CPU
limit, no credentials and no torch (which alone maps more than the limit allows). The parent
hands in a path and reads frames back; nothing that a child sends is unpickled or executed.

    parent -> child   {"path": ..., "done": [[index, start, end], ...], ...}
    child -> parent   taken, opened, window* (features, maybe samples) and progress*, then end;
                      or error at any point after the first

A frame is two little-endian uint32 lengths, a JSON header and a binary payload.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError

_LENGTHS = struct.Struct("<II")

MAX_HEADER = 1 << 22
MAX_PAYLOAD = 1 << 24
"""A window of 128 bands and its samples is 2.5 MB."""

BLOCK_SECONDS = 4
"""Audio decoded before the speech detector looks at it."""

PROGRESS_SECONDS = 30
"""Audio after which a child says that it lives, windows or not."""

CPU_BASE_SECONDS = 60
CPU_PER_AUDIO_SECOND = 0.1
"""CPU a file may take: decoding, detection and features take about 0.01 s a second."""


class FrameError(Exception):
    """The other end is gone, or sent what no child of ours sends."""


@dataclass(frozen=True, slots=True)
class PrepareConfig:
    """What all files have in common.

    Attributes:
        mels: bands of the loaded model.
        vad: silero, or none to send the samples alone (speech is then found elsewhere).
        spans: `windows.SpanOptions` as a mapping.
        windows: `windows.WindowOptions` as a mapping.
        max_audio_seconds: longer audio is refused.
        memory_bytes: address space of the child; 0 sets no limit.
    """

    mels: int
    vad: str = "silero"
    spans: dict[str, float] = field(default_factory=dict)
    windows: dict[str, float] = field(default_factory=dict)
    max_audio_seconds: float = 43_200.0
    memory_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """One file.

    Attributes:
        path: a local file.
        done: (index, start, end) of windows that need no features: a checkpoint has them.
        samples: whether windows come with their samples (for alignment).
        windows: `windows.WindowOptions` as a mapping, in place of the configuration's.
    """

    path: str
    done: tuple[tuple[int, float, float], ...] = ()
    samples: bool = False
    windows: dict[str, float] | None = None


def write_frame(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Sends one frame."""
    encoded = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(encoded), len(payload)))
    stream.write(encoded)
    stream.write(payload)
    stream.flush()


def parse_lengths(data: bytes) -> tuple[int, int]:
    """(header bytes, payload bytes) of the frame that starts with these `LENGTHS_SIZE` bytes.

    Raises:
        FrameError: longer than any frame of ours.
    """
    header, payload = _LENGTHS.unpack(data)
    if header > MAX_HEADER or payload > MAX_PAYLOAD:
        raise FrameError(f"a frame of {header} + {payload} bytes")
    return header, payload


LENGTHS_SIZE = _LENGTHS.size


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame, or None at the end of the stream."""
    lengths = stream.read(LENGTHS_SIZE)
    if len(lengths) < LENGTHS_SIZE:
        return None
    header, payload = parse_lengths(lengths)
    return json.loads(stream.read(header)), stream.read(payload)


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


def prepare(
    task: PrepareTask, config: PrepareConfig, tools: Tools
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The frames of one file, as they come; memory does not grow with the file's length.

    Raises:
        JobError: see `audio.AudioReader`.
    """
    from worker.speech.prepare.audio import AudioLimits, AudioReader
    from worker.speech.windows import SAMPLE_RATE

    clock = _StageClock()
    with AudioReader(Path(task.path), AudioLimits(config.max_audio_seconds)) as reader:
        yield {"kind": "opened", "stated_seconds": reader.stated_seconds}, b""
        chain = tools.chain(task) if config.vad == "silero" else _SampleChain()
        told = 0
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
            with clock.stage("windows"):
                frames = list(chain.feed(np.concatenate(block))) if block else []
                if piece is None:
                    frames += chain.finish()
            yield from frames
            block, size = [], 0
            if reader.samples - told >= PROGRESS_SECONDS * SAMPLE_RATE or frames:
                told = reader.samples
                yield {"kind": "progress", "seconds": told / SAMPLE_RATE}, b""
            if piece is None:
                break
        end = {
            "kind": "end",
            "audio_seconds": reader.samples / SAMPLE_RATE,
            "damaged": reader.damaged,
            "seconds": clock.seconds,
        }
    yield end, b""


class _SampleChain:
    """Passes the samples on, where speech is found elsewhere."""

    def feed(self, samples: NDArray[np.float32]) -> Iterator[tuple[dict[str, Any], bytes]]:
        yield {"kind": "samples"}, samples.astype(np.float32).tobytes()

    def finish(self) -> list[tuple[dict[str, Any], bytes]]:
        return []


class _SpeechChain:
    """Samples -> spans -> windows -> features, holding one open window at the most."""

    def __init__(self, tools: Tools, task: PrepareTask) -> None:
        from worker.speech.windows import (
            SAMPLE_RATE,
            Padder,
            SpanFinder,
            WindowBuilder,
            WindowOptions,
        )

        self._tools = tools
        self._task = task
        self._done = {index: (start, end) for index, start, end in task.done}
        self._stream = tools.silero.stream()
        self._finder = SpanFinder(tools.spans)
        self._padder = Padder(tools.spans)
        self._builder = WindowBuilder(
            tools.windows if task.windows is None else WindowOptions(**task.windows)
        )
        self._buffer = _SampleBuffer()
        self._pad = int(tools.spans.pad * SAMPLE_RATE)

    def feed(self, samples: NDArray[np.float32]) -> Iterator[tuple[dict[str, Any], bytes]]:
        self._buffer.add(samples)
        spans = self._finder.feed(self._stream.feed(samples).tolist())
        padded = [*self._padder.feed(spans), *self._padder.advance(self._finder.needed_from)]
        held = self._padder.needed_from
        coming = max(0, self._finder.needed_from - self._pad) if held is None else held
        # Hours of silence after a word would otherwise keep it, and themselves, in memory.
        for window in (*self._builder.feed(padded), *self._builder.advance(coming)):
            yield self._frame(window)
        open_from = self._builder.needed_from
        self._buffer.forget(coming if open_from is None else min(coming, open_from))

    def finish(self) -> list[tuple[dict[str, Any], bytes]]:
        samples = self._buffer.end
        spans = self._finder.feed(self._stream.finish().tolist()) + self._finder.finish(samples)
        padded = [*self._padder.feed(spans), *self._padder.finish(samples)]
        windows = [*self._builder.feed(padded), *self._builder.finish()]
        return [self._frame(window) for window in windows]

    def _frame(self, window: Any) -> tuple[dict[str, Any], bytes]:
        header: dict[str, Any] = {
            "kind": "window",
            "index": window.index,
            "spans": [[span.start, span.end] for span in window.spans],
        }
        if self._done.get(window.index) == (window.start, window.end):
            return {**header, "done": True}, b""
        samples = np.concatenate([self._buffer.cut(s.start, s.end) for s in window.spans])
        features = self._tools.front_end(samples)
        payload = features.tobytes()
        if self._task.samples:
            payload += (samples * 32767.0).astype("<i2").tobytes()
        return {**header, "frames": features.shape[1]}, payload


@dataclass(slots=True)
class Tools:
    """What a child loads once: the speech detector, the front end, the rules."""

    silero: Any
    front_end: Any
    spans: Any
    windows: Any

    @classmethod
    def load(cls, config: PrepareConfig) -> Tools:
        """Loads what the configuration asks for."""
        from worker.speech.prepare.features import FrontEnd
        from worker.speech.prepare.vad import Silero
        from worker.speech.windows import SpanOptions, WindowOptions

        return cls(
            silero=Silero() if config.vad == "silero" else None,
            front_end=FrontEnd(config.mels),
            spans=SpanOptions(**config.spans),
            windows=WindowOptions(**config.windows),
        )

    def chain(self, task: PrepareTask) -> _SpeechChain:
        """The stages for one file."""
        return _SpeechChain(self, task)


class _StageClock:
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


def _limit_memory(config: PrepareConfig) -> None:
    if config.memory_bytes:
        limit = _allowed(resource.RLIMIT_AS, config.memory_bytes)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_cpu(config: PrepareConfig) -> None:
    """Allows the next file its CPU, on top of what the process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    budget = CPU_BASE_SECONDS + CPU_PER_AUDIO_SECOND * config.max_audio_seconds
    soft = _allowed(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + budget) + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _allowed(limit: int, value: int) -> int:
    """The value, or the host's own limit where that is lower: raising it is an error."""
    _, hard = resource.getrlimit(limit)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers requests until the parent closes the pipe. The first frame is the configuration."""
    first = read_frame(requests)
    if first is None:
        return
    config = PrepareConfig(**first[0])
    tools = Tools.load(config)
    _limit_memory(config)
    write_frame(replies, {"kind": "ready"})
    while (request := read_frame(requests)) is not None:
        header = request[0]
        task = PrepareTask(
            path=header["path"],
            done=tuple((index, start, end) for index, start, end in header["done"]),
            samples=header["samples"],
            windows=header["windows"],
        )
        _limit_cpu(config)
        # From here on a death is the file's doing.
        write_frame(replies, {"kind": "taken"})
        try:
            for frame in prepare(task, config, tools):
                write_frame(replies, *frame)
        except JobError as error:
            write_frame(replies, {"kind": "error", "code": error.code, "message": error.message})
        except MemoryError:
            write_frame(
                replies,
                {
                    "kind": "error",
                    "code": ErrorCode.DECODE_LIMIT,
                    "message": f"Decoding wants more than prepare_memory_bytes = "
                    f"{config.memory_bytes}; convert the file to 16 kHz mono.",
                },
            )


def _die_with_parent() -> None:
    """Asks the kernel to end this process with its parent, however that ends (Linux)."""
    import ctypes

    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """The child's entry point."""
    # An interrupt in a terminal reaches the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    requests = sys.stdin.buffer
    # Libraries print; the replies' descriptor is therefore not number 1.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import av

    av.logging.set_level(None)
    # A broken pipe: the parent is gone, and this process with it.
    with contextlib.suppress(BrokenPipeError):
        serve(requests, replies)


def request_header(task: PrepareTask) -> dict[str, Any]:
    """The frame that asks for a file."""
    return asdict(task)


if __name__ == "__main__":
    main()
