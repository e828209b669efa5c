"""Features padded in a batch are those of samples padded before: Whisper sees no difference."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.prepare.features import FrontEnd, pad, padding_value
from worker.speech.prepare.sound import WINDOW_FRAMES
from worker.speech.windows import WINDOW_SAMPLES

FRONT_ENDS = {mels: FrontEnd(mels) for mels in (80, 128)}


def noise(samples: int, loudness: float, seed: int) -> NDArray[np.float32]:
    """Noise that ends abruptly: the last frame sees half of it."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(size=samples) * loudness, -1, 1).astype(np.float32)


def whisper_features(samples: NDArray[np.float32], mels: int) -> NDArray[np.float32]:
    """As Whisper was trained: samples padded with zeros to 30 s first."""
    whole = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
    whole[: len(samples)] = samples
    features = FeatureExtractor(feature_size=mels)(whole, padding=160)
    return np.asarray(features[:, :WINDOW_FRAMES], dtype=np.float32)


@settings(max_examples=12)
@given(
    st.one_of(st.integers(1, 3200), st.integers(1, WINDOW_SAMPLES)),
    st.sampled_from([1e-4, 0.05, 0.9]),
    st.sampled_from([80, 128]),
)
def test_padding_the_features_is_padding_the_samples(
    samples: int, loudness: float, mels: int
) -> None:
    sound = noise(samples, loudness, seed=samples)
    ours = pad(FRONT_ENDS[mels](sound), WINDOW_FRAMES)
    np.testing.assert_allclose(ours, whisper_features(sound, mels), atol=1e-4)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [1, 159, 160, 161, 1_600, 479_999, WINDOW_SAMPLES, 500_000])
def test_shape(mels: int, samples: int) -> None:
    features = FRONT_ENDS[mels](noise(samples, 0.1, seed=1))
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert features.shape[0] == mels
    # A frame for each 10 ms, and those after the end that still see the last samples.
    assert -(-samples // 160) <= features.shape[1] + max(0, samples - WINDOW_SAMPLES)
    assert features.shape[1] <= min(WINDOW_FRAMES, -(-samples // 160) + 2)


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 400, WINDOW_FRAMES])
def test_cut_or_padded_to_any_length(frames: int) -> None:
    features = FRONT_ENDS[80](noise(15_800, 0.1, seed=2))
    assert features.shape[1] == 100
    fitted = pad(features, frames)
    assert fitted.shape == (80, frames)
    common = min(frames, 100)
    np.testing.assert_array_equal(fitted[:, :common], features[:, :common])
    assert np.all(fitted[:, common:] == np.float32(padding_value(features)))


def test_silence_pads_with_silence() -> None:
    features = FRONT_ENDS[80](np.zeros(16_000, dtype=np.float32))
    assert features.max() == features.min() == pytest.approx(padding_value(features))
    assert padding_value(features[:, :0]) == pytest.approx(-1.5)
