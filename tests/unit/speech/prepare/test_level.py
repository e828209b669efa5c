"""Levels: quiet speech is brought up, loud speech is left, and only what is near matters."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.prepare.level import (
    BEHIND,
    CONTEXT,
    HEADROOM,
    MOST_GAIN,
    REACH,
    SLOPE,
    TARGET,
    emphasize,
    even_out,
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


def test_a_quiet_voice_is_brought_up_from_its_start_to_its_end() -> None:
    levelled = frame_levels(level(noise([(100, -20.0), (100, -60.0), (100, -20.0)])))
    assert levelled[100 + 2 * SLOPE + 1 : 200 - 2 * SLOPE - 1].min() > TARGET - 3.0
    assert levelled.max() < TARGET + 1.0


def test_a_pause_in_loud_speech_stays_quiet() -> None:
    samples = noise([(100, -20.0), (REACH, -60.0), (100, -20.0)])
    assert frame_levels(level(samples))[100 : 100 + REACH].max() < -58.0


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


def test_a_window_of_one_level_is_left_alone() -> None:
    window = noise([(12, -70.0), (60, -30.0), (5, -60.0), (40, -37.0), (12, -70.0)])
    parts = [(0, 77 * FRAME), (77 * FRAME, len(window))]
    np.testing.assert_array_equal(even_out(window, parts), window)


@pytest.mark.parametrize("cuts", [[0, 220], [0, 90, 130, 220]])
def test_a_quiet_voice_in_a_window_is_brought_near_the_loudest(cuts: list[int]) -> None:
    """Whether it is a part of its own, or comes and goes within one."""
    window = noise([(20, -80.0), (70, -20.0), (40, -55.0), (70, -20.0), (20, -80.0)])
    parts = [(first * FRAME, last * FRAME) for first, last in pairwise(cuts)]
    evened = even_out(window, parts)
    quiet = frame_levels(evened)[90 + 2 * SLOPE + 1 : 130 - 2 * SLOPE - 1]
    assert quiet.min() > -20.0 - BEHIND - 2.0
    assert quiet.max() < -20.0
    np.testing.assert_array_equal(crop(evened, 0, 89), crop(window, 0, 89))
    np.testing.assert_array_equal(crop(evened, 131, 220), crop(window, 131, 220))


def test_noise_that_was_taken_for_speech_is_not_amplified() -> None:
    window = noise([(30, -60.0), (70, -20.0), (12, -60.0)])
    parts = [(0, 24 * FRAME), (24 * FRAME, len(window))]
    np.testing.assert_array_equal(even_out(window, parts), window)


@given(st.integers(1, 3), st.integers(20, 90))
def test_padding_beside_loud_speech_stays_quiet(count: int, frames: int) -> None:
    part = [(12, -70.0), (frames, -20.0), (12, -70.0)]
    window = noise(part * count)
    size = (frames + 24) * FRAME
    evened = even_out(window, [(at * size, (at + 1) * size) for at in range(count)])
    np.testing.assert_array_equal(evened, window)


@settings(max_examples=50)
@given(stretches, st.integers(1, FRAME), st.data())
def test_evening_out_turns_nothing_down(
    parts: list[tuple[int, float]], short: int, data: st.DataObject
) -> None:
    window = np.clip(noise(parts), -1.0, 1.0)[:-short]
    cut = data.draw(st.integers(0, len(window)))
    pair = [(0, cut), (cut, len(window))]
    evened = even_out(window, [(start, end) for start, end in pair if start < end])
    assert evened.shape == window.shape
    assert (np.abs(evened) >= np.abs(window) * (1 - 1e-6)).all()
    assert np.abs(evened).max(initial=0.0) <= 1.0


def test_emphasis_takes_out_rumble() -> None:
    seconds = np.arange(16_000) / 16_000
    rumble, speech = (
        np.sin(2 * np.pi * hertz * seconds).astype(np.float32) for hertz in (50, 2_000)
    )
    lost = [20 * np.log10(np.std(emphasize(tone)) / np.std(tone)) for tone in (rumble, speech)]
    assert lost[0] < -28.0
    assert -3.0 < lost[1] < 3.0
