"""Features of a batch, computed in torch: those that children compute, of any windows together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.model.log_mel import GROUP, LogMel
from worker.speech.prepare.features import FrontEnd, pad
from worker.speech.prepare.sound import WINDOW_FRAMES, to_float
from worker.speech.windows import WINDOW_SAMPLES

FRONT_ENDS = {mels: FrontEnd(mels) for mels in (80, 128)}
LOG_MELS = {mels: LogMel(mels, "cpu") for mels in (80, 128)}


def check(windows: list[NDArray[np.int16]], frames: int, mels: int) -> None:
    found = LOG_MELS[mels](windows, frames)
    assert found.shape == (len(windows), mels, frames)
    for window, features in zip(windows, found.numpy(), strict=True):
        expected = pad(FRONT_ENDS[mels](to_float(window)), frames)
        np.testing.assert_allclose(features, expected, atol=1e-4)


def noise(samples: int, loudest: int, seed: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-loudest, loudest + 1, samples).astype(np.int16)


WINDOWS = st.builds(
    noise,
    st.one_of(st.integers(1, 3_200), st.integers(1, WINDOW_SAMPLES)),
    st.sampled_from([0, 1, 40, 2_000, 32_767]),
    st.integers(0, 999),
)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(WINDOWS, min_size=1, max_size=GROUP + 2),
    st.sampled_from([2, 100, 1_600, WINDOW_FRAMES]),
    st.sampled_from([80, 128]),
)
def test_each_window_has_the_features_that_a_child_would_compute(
    windows: list[NDArray[np.int16]], frames: int, mels: int
) -> None:
    check(windows, frames, mels)


@pytest.mark.parametrize("mels", [80, 128])
def test_tones_and_clicks(mels: int) -> None:
    time = np.arange(WINDOW_SAMPLES) / 16_000
    tone = (20_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    click = np.zeros(8_000, dtype=np.int16)
    click[-1] = 32_767
    check([tone, click, tone[:1_000]], WINDOW_FRAMES, mels)
