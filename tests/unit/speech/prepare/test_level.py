"""Levels: quiet speech is brought up, loud speech is left, and only what is near matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.prepare.level import (
    CONTEXT,
    HEADROOM,
    MOST_GAIN,
    TARGET,
    emphasize,
    frame_levels,
    level,
)
from worker.speech.windows import FRAME

# Stretches of noise, each of some frames and at some level in dB; -200 is digital silence.
stretches = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from([-200.0, -90.0, -70.0, -45.0, -30.0, -12.0])),
    min_size=1,
    max_size=6,
)


def noise(parts: list[tuple[int, float]]) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.concatenate(
        [rng.normal(size=frames * FRAME) * 10 ** (at / 20) for frames, at in parts]
    ).astype(np.float32)


def crop(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    return samples[first * FRAME : last * FRAME]


@pytest.mark.parametrize("at", [-30.0, -50.0, -75.0])
def test_quiet_sound_is_brought_to_the_target(at: float) -> None:
    levelled = level(noise([(200, at)]))
    assert frame_levels(levelled).max() == pytest.approx(TARGET, abs=1.0)


def test_loud_sound_is_left_alone() -> None:
    loud = noise([(100, -12.0)])
    np.testing.assert_array_equal(level(loud), loud)


def test_a_quiet_voice_after_a_loud_one_is_brought_up_as_well() -> None:
    levelled = level(noise([(100, -20.0), (100, -60.0)]))
    # All but the second next to the loud one.
    assert frame_levels(levelled)[130:].min() > TARGET - 3.0


def test_peaks_keep_below_full_scale() -> None:
    clicks = noise([(100, -60.0)])
    clicks[::8_000] = 0.5
    assert np.abs(level(clicks)).max() <= 10 ** (-HEADROOM / 20) + 1e-6


@settings(max_examples=50)
@given(stretches)
def test_nothing_is_turned_down_or_raised_beyond_bounds(parts: list[tuple[int, float]]) -> None:
    samples = np.clip(noise(parts), -1.0, 1.0)
    before, after = np.abs(samples), np.abs(level(samples))
    assert (after >= before * (1 - 1e-6)).all()
    assert (after <= before * 10 ** (MOST_GAIN / 20) * (1 + 1e-6)).all()
    assert after.max() <= 1.0


@settings(max_examples=50)
@given(stretches, st.data())
def test_a_stretch_with_its_context_is_levelled_as_within_the_whole(
    parts: list[tuple[int, float]], data: st.DataObject
) -> None:
    samples = noise(parts)
    frames = len(samples) // FRAME
    first = data.draw(st.integers(0, frames - 1))
    last = data.draw(st.integers(first + 1, frames))
    low, high = max(0, first - CONTEXT), min(frames, last + CONTEXT)
    found = crop(level(crop(samples, low, high)), first - low, last - low)
    np.testing.assert_allclose(found, crop(level(samples), first, last), rtol=1e-5)


def test_emphasis_takes_out_rumble() -> None:
    seconds = np.arange(16_000) / 16_000
    rumble, speech = (
        np.sin(2 * np.pi * hertz * seconds).astype(np.float32) for hertz in (50, 2_000)
    )
    lost = [20 * np.log10(np.std(emphasize(tone)) / np.std(tone)) for tone in (rumble, speech)]
    assert lost[0] < -28.0
    assert -3.0 < lost[1] < 3.0
