"""Spans and windows: in order, inside the audio, at most 30 s, and the same in any pieces."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.config import SPANS, WINDOWS
from worker.speech.windows import (
    FRAME,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Padder,
    Span,
    SpanFinder,
    SpanOptions,
    TimeMap,
    Window,
    WindowBuilder,
    WindowOptions,
)

# Runs of frames at one probability: speech, silence, and what lies between the two thresholds.
# Long runs reach the 30 s at which spans are cut.
_runs = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.3, 0.4, 0.5, 0.7, 0.99]),
        st.one_of(st.integers(1, 12), st.integers(1, 1200)),
    ),
    max_size=12,
)
probabilities = _runs.map(lambda runs: [p for p, count in runs for _ in range(count)])

# Spans as a finder gives them: whole frames, in order, touching where one was cut.
raw_spans = st.lists(
    st.tuples(st.one_of(st.just(0), st.integers(0, 400)), st.integers(1, 912)), max_size=30
).map(
    lambda pairs: [
        Span(start * FRAME, (start + length) * FRAME)
        for start, length in zip(
            [
                sum(gap + size for gap, size in pairs[:index]) + gap
                for index, (gap, _) in enumerate(pairs)
            ],
            [size for _, size in pairs],
            strict=True,
        )
    ]
)

options = st.sampled_from(
    [SPANS, SpanOptions(min_speech=0.25), SpanOptions(max_span=5.0), SpanOptions(pad=0.0)]
)
window_options = st.sampled_from(
    [WINDOWS, WindowOptions(max_window=16.0, max_gap=1.0, join_gap=1.0), WindowOptions()]
)


def find(values: list[float], chosen: SpanOptions, pieces: int | None = None) -> list[Span]:
    finder = SpanFinder(chosen)
    size = pieces or max(1, len(values))
    found = [
        span for at in range(0, len(values), size) for span in finder.feed(values[at : at + size])
    ]
    return found + finder.finish(len(values) * FRAME)


def pad_all(spans: list[Span], samples: int, chosen: SpanOptions = SPANS) -> list[Span]:
    padder = Padder(chosen)
    return [*padder.feed(spans), *padder.finish(samples)]


def ordered(spans: list[Span] | tuple[Span, ...]) -> bool:
    return all(left.end <= right.start for left, right in pairwise(spans))


@given(probabilities, options, st.integers(1, 400))
def test_spans_do_not_depend_on_the_pieces(
    values: list[float], chosen: SpanOptions, piece: int
) -> None:
    assert find(values, chosen, piece) == find(values, chosen)


@given(probabilities, options)
def test_spans_are_in_order_not_empty_and_short_enough(
    values: list[float], chosen: SpanOptions
) -> None:
    spans = find(values, chosen)
    assert ordered(spans)
    for span in spans:
        assert 0 <= span.start < span.end <= len(values) * FRAME
        assert span.length <= chosen.max_span * SAMPLE_RATE
        assert span.length >= chosen.min_speech * SAMPLE_RATE


@given(probabilities)
def test_every_frame_of_speech_is_in_a_span_and_long_silence_in_none(
    values: list[float],
) -> None:
    spans = find(values, replace(SPANS, min_speech=0.0))
    inside = {frame for span in spans for frame in range(span.start // FRAME, span.end // FRAME)}
    for frame, value in enumerate(values):
        if value >= SPANS.threshold:
            assert frame in inside
    quiet = 0
    for frame, value in enumerate(values):
        quiet = quiet + 1 if value < SPANS.release else 0
        # Five frames of 32 ms reach the minimum silence; a span ends where it began. A span cut
        # for its length between may take up to four frames of it along.
        if quiet > 10:
            assert frame not in inside


def test_speech_that_falls_silent_where_it_is_cut_leaves_no_empty_span() -> None:
    frames = int(SPANS.max_span * SAMPLE_RATE) // FRAME
    spans = find([0.9] * (frames - 1) + [0.0] * 50, SPANS)
    assert spans == [Span(0, (frames - 1) * FRAME)]
    # The cut falls on the first quiet frame, then on a later one.
    for quiet in range(2, 5):
        spans = find([0.9] * (frames + 1 - quiet) + [0.01] * (quiet - 1) + [0.0] * 50, SPANS)
        assert sum(span.length for span in spans) <= frames * FRAME
        assert all(span.length > 0 for span in spans)


def test_a_long_span_is_cut_where_speech_is_least_likely() -> None:
    values = [0.9] * 1800
    values[700] = 0.6
    first, second, *_ = find(values, SPANS)
    assert first == Span(0, 700 * FRAME)
    assert second.start == first.end


@given(raw_spans, options)
def test_padding_keeps_every_span_and_never_overlaps(
    spans: list[Span], chosen: SpanOptions
) -> None:
    samples = (spans[-1].end if spans else 0) + 5000
    padded = pad_all(spans, samples, chosen)
    assert len(padded) == len(spans)
    assert ordered(padded)
    pad = int(chosen.pad * SAMPLE_RATE)
    for raw, span in zip(spans, padded, strict=True):
        assert max(0, raw.start - pad) <= span.start <= raw.start
        assert raw.end <= span.end <= min(samples, raw.end + pad)


@given(raw_spans, st.lists(st.integers(1, 4000), min_size=1, max_size=20))
def test_padding_does_not_depend_on_the_pieces(spans: list[Span], steps: list[int]) -> None:
    samples = (spans[-1].end if spans else 0) + 5000
    padder = Padder(SPANS)
    found: list[Span] = []
    position = 0
    waiting = list(spans)
    for step in steps * 40:
        position += step * FRAME // 8
        ready = [span for span in waiting if span.end <= position]
        waiting = waiting[len(ready) :]
        found += padder.feed(ready)
        # A span still open may have begun before this position.
        found += padder.advance(min(position, *(span.start for span in waiting), samples))
    found += [*padder.feed(waiting), *padder.finish(samples)]
    assert found == pad_all(spans, samples)


def test_a_span_before_a_long_silence_is_not_held_back() -> None:
    padder = Padder(SPANS)
    assert list(padder.feed([Span(16_000, 32_000)])) == []
    assert list(padder.advance(32_000 + 12_799)) == []
    assert list(padder.advance(32_000 + 12_800)) == [Span(9_600, 38_400)]
    assert padder.needed_from is None
    assert list(padder.finish(1_000_000)) == []


def build(spans: list[Span], chosen: WindowOptions) -> list[Window]:
    builder = WindowBuilder(chosen)
    return [*builder.feed(spans), *builder.finish()]


@given(raw_spans, window_options)
def test_windows_keep_all_speech_in_order_within_thirty_seconds(
    spans: list[Span], chosen: WindowOptions
) -> None:
    padded = pad_all(spans, (spans[-1].end if spans else 0) + 5000)
    windows = build(padded, chosen)
    assert [window.index for window in windows] == list(range(len(windows)))
    assert ordered([span for window in windows for span in window.spans])
    for window in windows:
        assert 0 < window.samples <= WINDOW_SAMPLES
        assert window.start < window.end
        for left, right in pairwise(window.spans):
            assert right.start - left.end <= chosen.max_gap * SAMPLE_RATE
    for span in padded:
        assert any(
            inner.start <= span.start and span.end <= inner.end
            for window in windows
            for inner in window.spans
        )


@given(raw_spans, window_options)
def test_windows_know_where_their_speech_is_without_the_padding(
    spans: list[Span], chosen: WindowOptions
) -> None:
    windows = build(pad_all(spans, (spans[-1].end if spans else 0) + 5000), chosen)
    found = [span for window in windows for span in window.spans]
    assert [one for span in found for one in span.speech] == [(one.start, one.end) for one in spans]
    assert all(span.start <= span.speech[0][0] < span.speech[-1][1] <= span.end for span in found)
    said = [(one.start / SAMPLE_RATE, one.end / SAMPLE_RATE) for one in spans]
    assert [one for window in windows for one in window.speech] == said


def test_where_nobody_knows_the_speech_of_a_window_is_all_of_it() -> None:
    window = Window(0, (Span(0, 16_000), Span(48_000, 64_000)))
    assert window.speech == ((0.0, 1.0), (3.0, 4.0))


@given(raw_spans, window_options)
def test_windows_do_not_depend_on_when_they_are_asked_for(
    spans: list[Span], chosen: WindowOptions
) -> None:
    padded = pad_all(spans, (spans[-1].end if spans else 0) + 5000)
    builder = WindowBuilder(chosen)
    found: list[Window] = []
    for index, span in enumerate(padded):
        found += builder.feed([span])
        found += [
            window
            for after in padded[index + 1 : index + 2]
            for window in builder.advance(after.start)
        ]
    found += builder.finish()
    assert found == build(padded, chosen)


def test_an_open_window_ends_once_nothing_can_join_it() -> None:
    builder = WindowBuilder(WindowOptions(max_gap=4.0))
    assert list(builder.feed([Span(0, 16_000)])) == []
    assert list(builder.advance(16_000 + 64_000)) == []
    assert list(builder.advance(16_000 + 64_001)) == [Window(0, (Span(0, 16_000),))]
    assert builder.needed_from is None


def test_a_gap_is_kept_cut_out_or_ends_the_window() -> None:
    second = SAMPLE_RATE
    spans = [
        Span(0, second),
        Span(second + second // 2, 2 * second),  # 0.5 s: kept
        Span(4 * second, 5 * second),  # 2 s: cut out
        Span(10 * second, 11 * second),  # 5 s: a new window
    ]
    windows = build(spans, WindowOptions(max_gap=4.0, join_gap=0.5))
    assert [window.spans for window in windows] == [
        (Span(0, 2 * second), Span(4 * second, 5 * second)),
        (Span(10 * second, 11 * second),),
    ]
    assert windows[0].seconds == 3.0


def test_padding_leaves_word_of_the_pause() -> None:
    second = SAMPLE_RATE
    spans = [
        Span(second, 2 * second),
        Span(2 * second + 3200, 3 * second),
        Span(5 * second, 90_000),
    ]
    assert [span.pause for span in pad_all(spans, 200_000)] == [second, 3200, 2 * second]


@pytest.mark.parametrize(("cut_from", "lengths"), [(1.0, [9, 3]), (0.5, [6, 6]), (0.7, [9, 3])])
def test_a_full_window_ends_at_its_longest_pause(cut_from: float, lengths: list[int]) -> None:
    seconds = [(0, 3, 2.0), (3, 6, 0.2), (6, 9, 0.6), (9, 12, 0.4)]
    spans = [
        Span(start * SAMPLE_RATE, end * SAMPLE_RATE, int(pause * SAMPLE_RATE))
        for start, end, pause in seconds
    ]
    windows = build(spans, WindowOptions(max_window=10.0, cut_from=cut_from))
    assert [window.seconds for window in windows] == lengths


@given(raw_spans)
def test_only_what_follows_a_full_half_starts_a_new_window(spans: list[Span]) -> None:
    chosen = WindowOptions(max_window=20.0, cut_from=0.5)
    windows = build(pad_all(spans, (spans[-1].end if spans else 0) + 5000), chosen)
    for left, right in pairwise(windows):
        fits = left.samples + right.spans[0].length <= 20 * SAMPLE_RATE
        assert not fits or left.samples >= 10 * SAMPLE_RATE


some_spans = raw_spans.filter(bool).map(lambda spans: spans[:6])


@given(some_spans, st.lists(st.floats(-1.0, 200.0), min_size=2, max_size=8))
def test_the_time_map_never_falls_and_stays_in_the_spans(
    spans: list[Span], times: list[float]
) -> None:
    at = TimeMap(spans)
    for end in (False, True):
        mapped = [at(time, end=end) for time in sorted(times)]
        assert mapped == sorted(mapped)
        assert all(
            any(span.start / SAMPLE_RATE <= time <= span.end / SAMPLE_RATE for span in spans)
            for time in mapped
        )


@given(some_spans, st.data())
def test_the_time_map_is_the_inverse_of_cutting_out(spans: list[Span], data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(spans) - 1))
    span = spans[chosen]
    offset = data.draw(st.integers(0, span.length - 1))
    before = sum(earlier.length for earlier in spans[:chosen])
    mapped = TimeMap(spans)((before + offset) / SAMPLE_RATE)
    assert mapped == pytest.approx((span.start + offset) / SAMPLE_RATE, abs=1e-6)


def test_at_a_seam_a_start_belongs_to_what_follows_and_an_end_to_what_was() -> None:
    at = TimeMap([Span(0, 16_000), Span(48_000, 64_000)])
    assert at(1.0) == 3.0
    assert at(1.0, end=True) == 1.0
    assert at(-5.0) == 0.0
    assert at(99.0) == at(99.0, end=True) == 4.0
