"""Encoder lengths: enough for the speech and its margin, from few buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.context import (
    BUCKET_SECONDS,
    LEAST_SECONDS,
    MARGIN_SECONDS,
    adaptive_ladder,
    positions,
)
from worker.speech.engine.quality import TEMPERATURES
from worker.speech.engine.window import full_ladder
from worker.speech.windows import FULL_POSITIONS, POSITIONS_PER_SECOND

LENGTHS = {round(bucket * POSITIONS_PER_SECOND) for bucket in BUCKET_SECONDS}


@given(st.floats(0.01, 30.0))
def test_a_window_fits_with_its_margin_and_the_lengths_are_few(seconds: float) -> None:
    chosen = positions(seconds)
    assert chosen in LENGTHS
    assert chosen == FULL_POSITIONS or chosen >= (seconds + MARGIN_SECONDS) * POSITIONS_PER_SECOND


@given(st.floats(LEAST_SECONDS, 30.0), st.floats(LEAST_SECONDS, 30.0))
def test_longer_speech_never_gets_a_shorter_encoder(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert positions(low) <= positions(high)


@given(st.floats(0.01, LEAST_SECONDS, exclude_max=True))
def test_a_word_or_two_get_the_whole_encoder(seconds: float) -> None:
    assert positions(seconds) == FULL_POSITIONS > positions(LEAST_SECONDS)


@given(st.floats(0.01, 30.0))
def test_a_failed_short_window_is_decoded_in_full_before_any_temperature(seconds: float) -> None:
    rungs = adaptive_ladder(seconds)
    full = list(full_ladder(seconds))
    if positions(seconds) == FULL_POSITIONS:
        assert list(rungs) == full
    else:
        assert rungs[0].positions == positions(seconds)
        assert rungs[0].temperature == 0.0
        assert list(rungs[1:]) == full
    assert [rung.temperature for rung in full] == list(TEMPERATURES)
    assert {rung.positions for rung in full} == {FULL_POSITIONS}
