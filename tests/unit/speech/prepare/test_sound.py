"""A window's sound: samples of 16 bits stay as they are, and count frames as features do."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.speech.prepare.features import FrontEnd, features_of
from worker.speech.prepare.sound import HOP, cut, frames, to_float, to_samples
from worker.speech.windows import WINDOW_SAMPLES

FRONT_END = FrontEnd(80)


def test_16_bits_pass_unchanged() -> None:
    every = np.arange(-(1 << 15), 1 << 15).astype(np.int16)
    np.testing.assert_array_equal(to_samples(to_float(every)), every)


def test_what_is_louder_is_cut() -> None:
    loud = np.array([-1.5, -1.0, 0.0, 1.0, 2.0], dtype=np.float32)
    assert to_samples(loud).tolist() == [-32_768, -32_768, 0, 32_767, 32_767]


@settings(max_examples=20)
@given(st.one_of(st.integers(1, 3_200), st.integers(1, WINDOW_SAMPLES)), st.integers(0, 99))
def test_samples_and_their_features_are_the_same_sound(count: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-9_000, 9_000, count).astype(np.int16)
    features = features_of(samples)
    np.testing.assert_array_equal(features, FRONT_END(to_float(samples)))
    assert features_of(features) is features
    assert frames(samples) == frames(features)


def test_both_are_cut_at_the_same_place() -> None:
    samples = np.arange(16_000, dtype=np.int16)
    features = features_of(samples)
    np.testing.assert_array_equal(cut(samples, 20, 50), samples[20 * HOP : 50 * HOP])
    np.testing.assert_array_equal(cut(features, 20, 50), features[:, 20:50])
    assert len(cut(samples, 20, None)) == 16_000 - 20 * HOP
    assert frames(cut(features, 20, None)) == frames(features) - 20
