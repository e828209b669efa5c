"""Channels into one: nothing that anybody says is lost, whatever the channels are called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.media.mixing import CANCELS, STRETCH, Mixer, weights


def voice(seed: int, loudness: float = 0.1, samples: int = 4_000) -> NDArray[np.float32]:
    return (loudness * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def mixed(*channels: NDArray[np.float32]) -> tuple[NDArray[np.float32], Mixer]:
    mixer = Mixer(weights(["NONE"] * len(channels)))
    return mixer.mix(np.stack(channels, 1)), mixer


def level(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["NONE"] * 3, [1, 1, 1]),
        (["FC"], [1]),
        (["FL", "FR"], [1, 1]),
        (["FL", "FR", "LFE"], [1, 1, 0]),
        (["FL", "FR", "FC", "LFE", "BL", "BR"], [2**-0.5, 2**-0.5, 1, 0, 0.5, 0.5]),
        # Nobody's layout: a left channel and rumble are two microphones.
        (["FL", "LFE"], [1, 1]),
        (["LFE"], [1]),
        (["BL", "BR"], [1, 1]),
    ],
)
def test_weights(names: list[str], expected: list[float]) -> None:
    found = weights(names)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(expected) / sum(expected), rtol=1e-6)


def test_a_sound_field_is_heard_by_its_first_component() -> None:
    field = [f"AMBI{number}" for number in range(4)]
    assert weights(field, ambisonic=True).tolist() == [1, 0, 0, 0]
    # A narrator beside it, who stays where the listener's head is.
    beside = weights([*field, "FL", "FR"], ambisonic=True)
    np.testing.assert_allclose(beside, np.array([1, 0, 0, 0, 1, 1]) / 3, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 9, 11, 13, 15, 64])
def test_whichever_channel_speaks_is_heard(count: int) -> None:
    for speaking in {0, count // 2, count - 1}:
        channels = [np.zeros(4_000, np.float32)] * count
        channels[speaking] = voice(1)
        heard, mixer = mixed(*channels)
        np.testing.assert_allclose(heard, channels[speaking] / count, atol=1e-7)
        assert not mixer.cancelled


def test_channels_that_cancel_each_other_are_turned_over() -> None:
    speech = voice(1)
    heard, mixer = mixed(speech, -speech)
    np.testing.assert_allclose(np.abs(heard), np.abs(speech), atol=1e-6)
    assert mixer.cancelled
    heard, _ = mixed(speech, np.float32(-0.95) * speech)
    assert level(heard) > 0.9 * level(speech)


def test_speakers_of_a_call_are_heard_both_after_their_channels_cancelled() -> None:
    both, left, right = voice(1), voice(2), voice(3)
    silent = np.zeros_like(left)
    mixer = Mixer(weights(["FL", "FR"]))
    mixer.mix(np.stack([both, -both], 1))
    assert mixer.cancelled
    for channels in ([left, silent], [silent, right]):
        heard = mixer.mix(np.stack(channels, 1))
        assert level(heard) == pytest.approx(0.5 * level(channels[0] + channels[1]), rel=1e-3)


@pytest.mark.parametrize("louder", [0.5, 1.0, 2.0])
def test_a_voice_in_the_middle_is_heard_behind_a_pause_in_which_the_sides_cancel(
    louder: float,
) -> None:
    """Surround and pseudo-stereo: what is around is in both channels with opposed signs."""
    samples = 40 * STRETCH
    around = voice(2, samples=samples) * np.float32(louder)
    speech = voice(1, samples=samples)
    mixer = Mixer(weights(["FL", "FR"]))
    mixer.mix(np.stack([around, -around], 1))
    heard = mixer.mix(np.stack([speech + around, speech - around], 1))
    np.testing.assert_allclose(heard, speech, atol=1e-5)
    assert mixer.cancelled


@pytest.mark.parametrize("noise", [0.001, 0.01, 0.014, 0.02])
def test_channels_that_cancel_are_known_under_noise_of_their_own(noise: float) -> None:
    speech = voice(1, samples=20 * STRETCH)
    left, right = (voice(seed, noise, samples=len(speech)) for seed in (2, 3))
    heard, mixer = mixed(speech + left, -speech + right)
    assert mixer.cancelled
    likeness = float(heard @ speech) / float(np.linalg.norm(heard) * np.linalg.norm(speech))
    assert abs(likeness) > 1.0 - 2.0 * (noise / 0.1) ** 2


def test_speech_in_a_channel_that_is_called_lfe_is_heard() -> None:
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    speech = voice(1)
    channels = [speech if name == "LFE" else np.zeros_like(speech) for name in names]
    heard = Mixer(weights(names)).mix(np.stack(channels, 1))
    np.testing.assert_allclose(heard, speech / 6, atol=1e-7)
    # Where others are heard, it is rumble.
    channels[0] = channels[1] = voice(2)
    heard = Mixer(weights(names)).mix(np.stack(channels, 1))
    assert abs(float(heard @ speech)) < 0.1 * float(np.linalg.norm(heard) * np.linalg.norm(speech))


def test_silence_cancels_nothing() -> None:
    _, mixer = mixed(np.zeros(100, np.float32), np.zeros(100, np.float32))
    assert not mixer.cancelled


@given(st.integers(0, 2**32), st.integers(2, 8))
def test_unrelated_channels_are_summed_as_they_are(seed: int, count: int) -> None:
    channels = [voice(seed + number) for number in range(count)]
    heard, mixer = mixed(*channels)
    np.testing.assert_allclose(heard, np.mean(channels, 0), atol=1e-6)
    assert not mixer.cancelled


@given(st.integers(0, 2**32), st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=8))
def test_one_voice_is_never_lost_in_the_mix(seed: int, gains: list[float]) -> None:
    """However loud it is in each channel, and with which sign."""
    speech = voice(seed)
    heard, _ = mixed(*(np.float32(gain) * speech for gain in gains))
    apart = float(np.sqrt(np.mean(np.square(gains)) / len(gains))) * level(speech)
    assert level(heard) >= 0.99 * np.sqrt(CANCELS) * apart - 1e-4


def test_what_is_no_number_is_silence_and_what_is_too_loud_is_cut() -> None:
    for count in (1, 2):
        channels = np.tile(voice(1)[:, None], (1, count))
        channels[10], channels[11, 0], channels[12] = np.nan, np.inf, 50.0
        heard = Mixer(weights(["FL", "FR"][:count])).mix(channels)
        assert np.isfinite(heard).all()
        assert np.abs(heard).max() <= 1.0
        assert heard[10] == 0.0
        assert heard[12] == 1.0
        np.testing.assert_allclose(heard[20:], channels[20:, 0], atol=1e-6)
