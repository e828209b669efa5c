from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.bench import kinds

RATE = 16_000

Samples = NDArray[np.float32]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bursts(*seconds: float, level: float = 0.1, background: float = 1e-4, seed: int = 0) -> Samples:
    """Noise that stands for speech, and background, by turns, beginning with noise."""
    rng = generator(seed)
    parts = [
        rng.standard_normal(round(one * RATE)) * (background if number % 2 else level)
        for number, one in enumerate(seconds)
    ]
    return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def power_between(samples: Samples, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(spectrum[(frequencies >= low) & (frequencies < high)].sum())


def tone(frequency: float, seconds: float = 1.0) -> Samples:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


# --- gaps and pauses


@given(st.lists(st.integers(13, 60), min_size=1, max_size=4), st.integers(0, 3))
def test_gaps_are_found_where_they_are(lengths: list[int], seed: int) -> None:
    turns = [0.5]
    for length in lengths:  # hundredths of a second
        turns += [length / 100, 0.3]
    found = kinds.find_gaps(bursts(*turns, seed=seed))
    assert len(found) == len(lengths)
    start = 0.5
    for gap, length in zip(found, lengths, strict=True):
        assert gap.start / RATE == pytest.approx(start, abs=0.02)
        assert gap.end / RATE == pytest.approx(start + length / 100, abs=0.02)
        start += length / 100 + 0.3


def test_short_gaps_and_the_ends_are_none() -> None:
    edges = np.zeros(RATE, dtype=np.float32)
    assert kinds.find_gaps(np.concatenate([edges, bursts(0.5, 0.08, 0.5), edges])) == []
    assert kinds.find_gaps(edges) == []
    assert kinds.find_gaps(edges[:10]) == []


def test_a_fricative_is_no_gap() -> None:
    """It is 36 dB below the vowels, and far above the background where they have nothing."""
    vowel, hiss, quiet = tone(300.0, 0.5), bursts(0.3, level=0.0033), bursts(0.3, level=0.0001)
    assert kinds.find_gaps(np.concatenate([quiet, vowel, hiss, vowel, quiet])) == []
    assert len(kinds.find_gaps(np.concatenate([quiet, vowel, quiet, vowel, quiet]))) == 1


@given(
    st.lists(st.integers(0, RATE), max_size=4).map(sorted),
    st.floats(0.01, 2.0),
    st.booleans(),
)
def test_pauses_add_their_length_and_nothing_is_lost(
    places: list[int], seconds: float, filled: bool
) -> None:
    samples = np.full(RATE, 0.5, dtype=np.float32)
    pause = round(seconds * RATE)
    fill = np.full(pause * len(places), -0.25, dtype=np.float32) if filled else None
    paused = kinds.insert_pauses(samples, places, [seconds] * len(places), fill)
    assert len(paused) == len(samples) + pause * len(places)
    assert np.count_nonzero(paused == (-0.25 if filled else 0.0)) >= pause * len(places)
    # What was there is there in its order, but for fades of 5 ms at each cut.
    assert np.count_nonzero(paused == 0.5) >= len(samples) - 2 * 80 * len(places)
    for number, place in enumerate(places):
        start = place + pause * number
        assert np.all(paused[start : start + pause] == (-0.25 if filled else 0.0))


def test_room_tone_is_the_recordings_background() -> None:
    recording = bursts(1.0, 0.5, 1.0, 0.5, 1.0, background=0.003)
    tones = [kinds.room_tone(recording, 2 * RATE, generator(seed)) for seed in (0, 0, 1)]
    assert len(tones[0]) == 2 * RATE
    assert decibels(rms(tones[0]) / 0.003) == pytest.approx(0.0, abs=1.0)
    assert np.array_equal(tones[0], tones[1])
    assert not np.array_equal(tones[0], tones[2])
    silent = bursts(1.0, 0.5, 1.0, background=0.0)
    assert not kinds.room_tone(silent, RATE, generator()).any()
    assert len(kinds.room_tone(recording, 0, generator())) == 0


def test_room_tone_has_the_spectrum_of_the_background() -> None:
    hum = tone(400.0, 3.0) * 0.01
    recording = np.concatenate([hum, bursts(0.5), hum, bursts(0.5), hum])
    found = kinds.room_tone(recording, 4 * RATE, generator())
    assert power_between(found, 200, 600) > 0.9 * power_between(found, 0, 8001)


def test_parts_are_joined_in_order() -> None:
    one, two, three = (np.full(size, size, dtype=np.float32) for size in (3, 4, 5))
    joined = kinds.join([one, two, three], [0.001, 0.0])
    expected = np.concatenate([one, np.zeros(16, dtype=np.float32), two, three])
    assert np.array_equal(joined, expected)


# --- levels and noise


@given(st.floats(-70.0, 0.0), st.floats(0.001, 1.0))
def test_the_peak_is_where_it_was_asked_for(peak: float, level: float) -> None:
    scaled = kinds.at_peak(bursts(0.2, level=level), peak)
    assert decibels(float(np.abs(scaled).max())) == pytest.approx(peak, abs=0.01)


@given(st.floats(0.0, 50.0), st.floats(0.01, 0.2))
def test_a_voice_is_so_much_quieter_than_another(lower: float, level: float) -> None:
    loud, other = bursts(0.5, 0.3, 0.5), bursts(0.4, 0.2, 0.3, level=level, seed=1)
    found = kinds.quieter(other, lower, loud)
    ratio = kinds.speech_level(found) / kinds.speech_level(loud)
    assert decibels(ratio) == pytest.approx(-lower, abs=0.1)


def test_the_speech_level_leaves_pauses_out() -> None:
    talk = bursts(1.0, 9.0, 1.0)
    assert decibels(kinds.speech_level(talk) / 0.1) == pytest.approx(0.0, abs=0.2)
    assert kinds.speech_level(np.zeros(RATE, dtype=np.float32)) == 0.0
    assert kinds.speech_level(talk[:10]) == 0.0


@given(st.floats(0.0, 30.0), st.sampled_from(["white", "pink"]))
def test_noise_lies_so_far_below_the_speech(snr: float, colour: kinds.Colour) -> None:
    talk = bursts(0.5, 0.5, 0.5, level=0.05)
    noise = kinds.add_noise(talk, snr, colour, generator()) - talk
    assert decibels(0.05 / rms(noise)) == pytest.approx(snr, abs=0.3)


def test_noise_that_would_clip_makes_all_of_it_quieter() -> None:
    loud = kinds.at_peak(bursts(0.5), 0.0)
    noisy = kinds.add_noise(loud, 0.0, "white", generator(9))
    assert np.abs(noisy).max() <= 1.0
    assert np.corrcoef(noisy, loud)[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.05)


def test_colours_have_their_spectra() -> None:
    for colour, factor in (("white", 2.0), ("pink", 1.0)):
        noise = kinds.colour_noise(4 * RATE, colour, generator())  # type: ignore[arg-type]
        assert rms(noise) == pytest.approx(1.0, rel=0.01)
        octaves = [power_between(noise, low, 2 * low) for low in (250, 500, 1000, 2000)]
        for lower, upper in pairwise(octaves):
            assert upper / lower == pytest.approx(factor, rel=0.2)


# --- lines and rooms


@given(st.integers(1, RATE))
def test_a_telephone_line_keeps_the_length(length: int) -> None:
    assert len(kinds.telephone(bursts(1.0)[:length])) == length


@pytest.mark.parametrize(("frequency", "heard"), [(100, False), (1000, True), (6000, False)])
def test_a_telephone_line_has_its_band(frequency: int, heard: bool) -> None:
    sent = tone(1000.0) + tone(frequency)
    received = kinds.telephone(sent)
    reference = power_between(received, 900, 1100)
    beside = power_between(received, frequency - 50, frequency + 50)
    assert (beside > 0.1 * reference) is heard
    assert power_between(received, 4100, 8001) < 1e-6 * reference


def test_a_telephone_line_codes_in_few_levels() -> None:
    """The error of mu-law in 8 bits is some 38 dB below the speech, whatever its level."""
    talk = tone(1037.0)
    received = kinds.telephone(talk)
    scale = float(np.dot(talk, received) / np.dot(talk, talk))
    error = received - talk * np.float32(scale)
    assert 30 < decibels(rms(talk) * scale / rms(error)) < 45


@given(st.floats(0.2, 1.0), st.floats(-6.0, 6.0))
def test_a_room_decays_by_sixty_decibels_in_its_time(decay: float, direct: float) -> None:
    talk = bursts(0.5)
    far = kinds.reverberate(talk, decay, direct, generator())
    assert len(far) == len(talk) + round(decay * RATE)
    assert np.abs(far).max() <= 1.0
    tail = far[len(talk) :]
    tenth = len(tail) // 10
    # Nine tenths of the way from the first tenth to the last: 0.9 x 60 dB, and the end fades.
    assert decibels(rms(tail[:tenth]) / rms(tail[-tenth:])) == pytest.approx(60, abs=12)


def test_the_direct_sound_stands_over_the_echo() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[0] = 1.0
    for direct in (-6.0, 0.0, 6.0):
        far = kinds.reverberate(click, 0.5, direct, generator())
        echo = float(np.sqrt(np.sum(far[1:].astype(np.float64) ** 2)))
        assert decibels(abs(float(far[0])) / echo) == pytest.approx(direct, abs=1.0)


@pytest.mark.parametrize(
    "transform",
    [
        lambda talk: kinds.insert_pauses(talk, [8000], [0.5]),
        lambda talk: kinds.at_peak(talk, -40.0),
        lambda talk: kinds.quieter(talk, 20.0, talk),
        lambda talk: kinds.add_noise(talk, 5.0, "pink", generator()),
        kinds.telephone,
        lambda talk: kinds.reverberate(talk, 0.3, 0.0, generator()),
        lambda talk: kinds.join([talk, talk], [0.5]),
    ],
)
def test_what_is_given_is_not_changed(transform: Callable[[Samples], Samples]) -> None:
    talk = bursts(0.5, 0.2, 0.5)
    before = talk.copy()
    made = transform(talk)
    assert made.dtype == np.float32
    assert np.array_equal(talk, before)
