"""Speech probabilities -> speech spans -> windows of at most 30 s (pure).

All positions are samples at 16 kHz. Everything here works on pieces as they come, so that a
long file's first windows exist before its last second is decoded, and holds no more than the
one window that is still open.

The rule that finds spans is Silero's (hysteresis between two thresholds, a minimum silence);
an over-long span is cut where speech was least likely in its second half, which is the
min-cut of WhisperX (https://arxiv.org/abs/2303.00747, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

SAMPLE_RATE = 16_000
"""Hz; what Whisper and Silero were trained on."""

FRAME = 512
"""Samples per speech probability; fixed by the Silero model."""

WINDOW_SECONDS = 30
"""The length Whisper's encoder was trained on."""

WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE

MEL_FRAMES_PER_SECOND = 100
"""Columns of Whisper's log-mel features: one for each 10 ms."""

POSITIONS_PER_SECOND = MEL_FRAMES_PER_SECOND // 2
"""Encoder positions: one for each two mel frames, because its second convolution has stride 2."""

FULL_POSITIONS = WINDOW_SECONDS * POSITIONS_PER_SECOND
"""1500: encoder positions of a window of 30 s."""


@dataclass(frozen=True, slots=True)
class SpanOptions:
    """How probabilities become spans. Durations in seconds.

    Attributes:
        threshold: a frame at or above it starts speech.
        release: a frame below it may end speech.
        min_silence: how long probabilities stay below `release` before speech has ended.
        min_speech: shorter spans are dropped as clicks.
        pad: audio kept on either side; half the gap where two spans are closer than two pads.
        max_span: longer spans are cut; with both pads it must fit a window.
    """

    threshold: float = 0.5
    release: float = 0.35
    min_silence: float = 0.16
    min_speech: float = 0.0
    pad: float = 0.4
    max_span: float = WINDOW_SECONDS - 2 * 0.4


@dataclass(frozen=True, slots=True)
class Span:
    """Samples [start, end) that hold speech.

    Attributes:
        pause: samples without speech before it, however much padding they went into.
        speech: the stretches of it, samples [start, end), in which speech was heard: all of it
            but the padding. Empty where nobody knows.
    """

    start: int
    end: int
    pause: int = field(default=0, compare=False)
    speech: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    @property
    def length(self) -> int:
        """Samples in it."""
        return self.end - self.start


class SpanFinder:
    """Turns a stream of per-frame speech probabilities into unpadded spans."""

    def __init__(self, options: SpanOptions) -> None:
        self._options = options
        self._frame = 0
        self._start: int | None = None
        self._quiet_since: int | None = None
        self._scores: list[float] = []
        self._min_silence = options.min_silence * SAMPLE_RATE
        self._max_frames = max(2, int(options.max_span * SAMPLE_RATE) // FRAME)

    def feed(self, probabilities: Iterable[float]) -> list[Span]:
        """Spans that ended within these frames (each frame is `FRAME` samples)."""
        found: list[Span] = []
        options = self._options
        for probability in probabilities:
            frame = self._frame
            self._frame += 1
            if self._start is None:
                if probability >= options.threshold:
                    self._open(frame)
                    self._scores.append(probability)
                continue
            self._scores.append(probability)
            if probability >= options.threshold:
                self._quiet_since = None
            elif probability < options.release and self._quiet_since is None:
                self._quiet_since = frame
            if (
                self._quiet_since is not None
                and (frame + 1 - self._quiet_since) * FRAME >= self._min_silence
            ):
                found += self._close(self._quiet_since)
            elif len(self._scores) > self._max_frames:
                found += self._cut()
        return found

    def finish(self, samples: int) -> list[Span]:
        """The span that the end of the audio (its total length in samples) closes, if any."""
        if self._start is None:
            return []
        end = self._frame if self._quiet_since is None else self._quiet_since
        return [
            Span(span.start, min(span.end, samples))
            for span in self._close(end)
            if span.start < samples
        ]

    @property
    def needed_from(self) -> int:
        """First sample that a span yet to come may start at (before padding)."""
        return (self._frame if self._start is None else self._start) * FRAME

    def _open(self, frame: int) -> None:
        self._start = frame
        self._quiet_since = None
        self._scores = []

    def _close(self, end: int) -> list[Span]:
        assert self._start is not None
        span = Span(self._start * FRAME, end * FRAME)
        self._start = None
        self._scores = []
        self._quiet_since = None
        # A span that was cut where silence began leaves nothing behind the cut.
        return [span] if span.length >= max(1, self._options.min_speech * SAMPLE_RATE) else []

    def _cut(self) -> list[Span]:
        """Ends the open span where speech is least likely and goes on from there."""
        assert self._start is not None
        half = len(self._scores) // 2
        lowest = min(range(half, len(self._scores)), key=self._scores.__getitem__)
        lowest = max(lowest, 1)
        cut = self._start + lowest
        rest = self._scores[lowest:]
        span = Span(self._start * FRAME, cut * FRAME)
        quiet = self._quiet_since
        self._open(cut)
        self._scores = rest
        self._quiet_since = None if quiet is None else max(quiet, cut)
        return [span]


class Padder:
    """Adds silence around spans; holds one span back until its right neighbour is known."""

    def __init__(self, options: SpanOptions) -> None:
        self._pad = int(options.pad * SAMPLE_RATE)
        self._held: Span | None = None
        self._raw_end = 0

    def feed(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Padded spans whose right neighbour is now known."""
        for span in spans:
            start = max(0, span.start - self._pad)
            pause = span.start - self._raw_end
            if self._held is not None:
                if pause < 2 * self._pad:
                    start = self._raw_end + pause // 2
                    yield replace(self._held, end=start)
                else:
                    yield replace(self._held, end=self._raw_end + self._pad)
            self._held = Span(start, span.end, pause, ((span.start, span.end),))
            self._raw_end = span.end

    def advance(self, position: int) -> Iterator[Span]:
        """The span that is held back, if none to come (from `position` on) can be near it."""
        if self._held is not None and position - self._raw_end >= 2 * self._pad:
            yield replace(self._held, end=self._raw_end + self._pad)
            self._held = None

    def finish(self, samples: int) -> Iterator[Span]:
        """The last span, its padding cut at the end of the audio."""
        if self._held is not None:
            end = max(self._held.end, min(samples, self._raw_end + self._pad))
            yield replace(self._held, end=end)
            self._held = None

    @property
    def needed_from(self) -> int | None:
        """First sample of the span that is held back, if one is."""
        return None if self._held is None else self._held.start


class Spanned:
    """What is made of spans, `spans`, with silence between them cut out."""

    __slots__ = ()
    spans: tuple[Span, ...]

    @property
    def start(self) -> float:
        """Seconds of the file at which it starts."""
        return self.spans[0].start / SAMPLE_RATE

    @property
    def end(self) -> float:
        """Seconds of the file at which it ends."""
        return self.spans[-1].end / SAMPLE_RATE

    @property
    def seconds(self) -> float:
        """Seconds of speech in it, which are decoded."""
        return sum(span.length for span in self.spans) / SAMPLE_RATE

    @property
    def speech(self) -> tuple[tuple[float, float], ...]:
        """Seconds of the file, [start, end], of each stretch in which speech was heard."""
        return tuple(
            (start / SAMPLE_RATE, end / SAMPLE_RATE)
            for span in self.spans
            for start, end in span.speech or ((span.start, span.end),)
        )


@dataclass(frozen=True, slots=True)
class Window(Spanned):
    """Spans decoded together; what lies between them is cut out.

    Attributes:
        index: position among the file's windows, from 0.
        spans: in order, not overlapping, at most `WINDOW_SAMPLES` in all.
        parts: the spans as they were found and padded, before silence between some was kept;
            empty where nobody knows them.
    """

    index: int
    spans: tuple[Span, ...]
    parts: tuple[Span, ...] = field(default=(), compare=False)

    @property
    def samples(self) -> int:
        """Samples that are decoded."""
        return sum(span.length for span in self.spans)


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How spans become windows. Durations in seconds.

    Attributes:
        max_window: spans are packed up to this much audio; a longer span is a window by itself.
        max_gap: a longer silence between two spans starts a new window.
        join_gap: a silence up to this long is kept between two spans; a longer one is cut out.
        cut_from: share of `max_window` from which on a full window may end: it does at its
            longest pause after that, where a sentence is likelier to end than where it is full.
            1 ends it where the next span doesn't fit.
    """

    max_window: float = WINDOW_SECONDS
    max_gap: float = float("inf")
    join_gap: float = 0.0
    cut_from: float = 1.0


class WindowBuilder:
    """Packs spans into windows: in order, as many as fit, parted at long pauses."""

    def __init__(self, options: WindowOptions) -> None:
        self._limit = int(options.max_window * SAMPLE_RATE)
        self._max_gap = options.max_gap * SAMPLE_RATE
        self._join_gap = options.join_gap * SAMPLE_RATE
        self._cut_from = options.cut_from * self._limit
        self._open: list[Span] = []
        self._index = 0

    def feed(self, spans: Iterable[Span]) -> Iterator[Window]:
        """Windows that these spans completed."""
        for span in spans:
            if self._open and span.start - self._open[-1].end > self._max_gap:
                yield self._emit(len(self._open))
            while self._open and self._length([*self._open, span]) > self._limit:
                yield self._emit(self._longest_pause(span))
            self._open.append(span)

    def advance(self, position: int) -> Iterator[Window]:
        """The open window, if no span to come (from `position` on) can still join it."""
        if self._open and position - self._open[-1].end > self._max_gap:
            yield self._emit(len(self._open))

    def finish(self) -> Iterator[Window]:
        """The last window, if one is open."""
        if self._open:
            yield self._emit(len(self._open))

    @property
    def needed_from(self) -> int | None:
        """First sample of the open window, if one is open."""
        return self._open[0].start if self._open else None

    def _longest_pause(self, following: Span) -> int:
        """How many of the open spans go, when the one that follows doesn't fit any more."""
        pauses = [span.pause for span in (*self._open[1:], following)]
        counts = [
            count
            for count in range(1, len(self._open) + 1)
            if count == len(self._open) or self._length(self._open[:count]) >= self._cut_from
        ]
        return max(counts, key=lambda count: (pauses[count - 1], count))

    def _length(self, spans: Sequence[Span]) -> int:
        """Samples that some spans take, as a window."""
        return sum(span.length for span in self._join(spans))

    def _join(self, spans: Sequence[Span]) -> list[Span]:
        """The spans as they are decoded: one where the silence between two is kept."""
        joined: list[Span] = []
        for span in spans:
            if joined and span.start - joined[-1].end <= self._join_gap:
                before = joined[-1]
                joined[-1] = replace(before, end=span.end, speech=before.speech + span.speech)
            else:
                joined.append(span)
        return joined

    def _emit(self, count: int) -> Window:
        parts = tuple(self._open[:count])
        window = Window(self._index, tuple(self._join(parts)), parts)
        self._index += 1
        self._open = self._open[count:]
        return window


class TimeMap:
    """Seconds within a window -> seconds of the file, piecewise linear and never falling."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = tuple(spans)
        edges = [0]
        for span in self._spans:
            edges.append(edges[-1] + span.length)
        self._edges = edges

    def __call__(self, seconds: float, *, end: bool = False) -> float:
        """The file's time of a window's time, clamped to the window.

        At the seam between two spans, a time is the start of the later one, or with `end`
        the end of the earlier one.
        """
        position = min(max(seconds, 0.0) * SAMPLE_RATE, float(self._edges[-1]))
        for span, (low, high) in zip(self._spans, pairwise(self._edges), strict=True):
            if position < high or (end and position <= high):
                return (span.start + (position - low)) / SAMPLE_RATE
        return self._spans[-1].end / SAMPLE_RATE
