"""What may be speech and isn't decoded is added up, in any pieces, and told if it is much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.config import SPANS
from worker.speech.prepare.passed_over import MAYBE, NOTED_SECONDS, PassedOver, note
from worker.speech.windows import FRAME, SAMPLE_RATE, Padder, Span, SpanFinder, SpanOptions

# Runs of frames at one probability: nothing, maybe speech, speech.
probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.07, 0.2, 0.9]), st.integers(1, 60)), max_size=15
).map(lambda runs: [p for p, count in runs for _ in range(count)])


def passed_over(values: list[float], piece: int) -> float:
    """Seconds passed over, the way `stages` asks for them."""
    samples = len(values) * FRAME
    tracker, finder, padder = PassedOver(), SpanFinder(SPANS), Padder(SPANS)
    for at in range(0, len(values), piece):
        now = values[at : at + piece]
        padded = [*padder.feed(finder.feed(now)), *padder.advance(finder.needed_from)]
        coming = max(0, finder.needed_from - int(SPANS.pad * SAMPLE_RATE))
        held = padder.needed_from
        tracker.feed(now, padded, coming if held is None else held)
    padded = [*padder.feed(finder.finish(samples)), *padder.finish(samples)]
    return tracker.finish([], padded, samples)


def frames_of(spans: list[Span]) -> set[int]:
    return {frame for span in spans for frame in range(span.start // FRAME, span.end // FRAME)}


@given(probabilities, st.integers(1, 200))
def test_it_does_not_depend_on_the_pieces(values: list[float], piece: int) -> None:
    assert passed_over(values, piece) == passed_over(values, max(1, len(values)))


@given(probabilities)
def test_it_is_what_may_be_speech_and_touches_nothing_decoded(values: list[float]) -> None:
    samples = len(values) * FRAME

    def found(options: SpanOptions) -> list[Span]:
        finder = SpanFinder(options)
        return [*finder.feed(values), *finder.finish(samples)]

    padder = Padder(SPANS)
    decoded = [*padder.feed(found(SPANS)), *padder.finish(samples)]
    lost = [
        span
        for span in found(MAYBE)
        if all(span.end <= one.start or one.end <= span.start for one in decoded)
    ]
    assert passed_over(values, 50) == pytest.approx(len(frames_of(lost)) * FRAME / SAMPLE_RATE)


def test_speech_and_silence_are_not_passed_over() -> None:
    values = np.repeat([0.9, 0.0, 0.2, 0.9], 60).tolist()
    assert passed_over(values, 25) == 0.0


def test_a_syllable_in_doubt_is() -> None:
    values = np.repeat([0.0, 0.2, 0.0], [100, 10, 100]).tolist()
    assert passed_over(values, 25) == pytest.approx(10 * FRAME / SAMPLE_RATE)


def test_only_a_second_and_more_is_worth_a_note() -> None:
    assert note(NOTED_SECONDS - 0.01) == []
    assert note(12.34) == ["12.3 s of sound that may be speech were passed over"]
