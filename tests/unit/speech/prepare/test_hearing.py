"""Hearing twice: the same in any pieces, and a second time only what was passed over."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.prepare.hearing import BLOCK, Hearing
from worker.speech.windows import FRAME, SAMPLE_RATE


class PitchDetector:
    """Stands for Silero: hears where high frequencies outweigh low ones; has a state.

    Attributes:
        tally: frames heard by this stream and all its forks, one entry a call.
    """

    def __init__(self, tally: list[int], place: int = 0) -> None:
        self.tally = tally
        self._place = place

    def fork(self) -> PitchDetector:
        return PitchDetector(self.tally, self._place)

    def hear(
        self, samples: NDArray[np.float32], before: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        assert before.shape == (FRAME,)
        frames = samples.reshape(-1, FRAME).astype(np.float64)
        steps = np.diff(np.concatenate([before[-1:], samples]).astype(np.float64))
        high = (steps.reshape(-1, FRAME) ** 2).mean(axis=1)
        heard = 1 - np.exp(-high / ((frames**2).mean(axis=1) + 1e-12))
        # As in a recurrent model, what is heard depends on what came before.
        places = self._place + np.arange(len(frames))
        self._place += len(frames)
        self.tally.append(len(frames))
        return np.asarray(heard * (1 - 1e-3 * np.sin(places)), dtype=np.float32)


def tone(hertz: float, seconds: float, at: float) -> NDArray[np.float32]:
    """A tone at a level in dB below full scale."""
    places = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (10 ** (at / 20) * np.sin(2 * np.pi * hertz * places)).astype(np.float32)


def hear(samples: NDArray[np.float32], *cuts: int) -> tuple[NDArray[np.float32], list[int]]:
    """The probabilities, and the frames of each call of the detector."""
    tally: list[int] = []
    hearing = Hearing(PitchDetector(tally))
    edges = [0, *sorted(cuts), len(samples)]
    found = [hearing.feed(samples[low:high]) for low, high in pairwise(edges)]
    return np.concatenate([*found, hearing.finish()]), tally


def under_rumble(seconds: float) -> NDArray[np.float32]:
    """A hiss of half a second in each two, weak against rumble."""
    hiss = tone(3_000, seconds, -35.0)
    hiss[np.arange(len(hiss)) // 8_000 % 4 > 0] = 0.0
    return hiss + tone(60, seconds, -20.0)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([100.0, 3_000.0, 6_000.0]),
            st.floats(0.05, 5.0),
            st.sampled_from([-150.0, -60.0, -20.0]),
        ),
        max_size=5,
    ),
    st.lists(st.integers(0, 400_000), max_size=8),
)
def test_what_is_heard_does_not_depend_on_the_pieces(
    parts: list[tuple[float, float, float]], cuts: list[int]
) -> None:
    tones = [tone(*part) for part in parts]
    samples = np.concatenate([np.zeros(0, dtype=np.float32), *tones])
    whole, calls = hear(samples)
    assert len(whole) == -(-len(samples) // FRAME)
    pieces, other_calls = hear(samples, *(min(cut, len(samples)) for cut in cuts))
    np.testing.assert_array_equal(pieces, whole)
    assert other_calls == calls


@pytest.mark.parametrize("at", [-200.0, -80.0, -20.0])
@pytest.mark.parametrize("hertz", [60.0, 6_000.0])
def test_steady_sound_and_what_was_heard_are_heard_once(hertz: float, at: float) -> None:
    samples = tone(hertz, 21.0, at)
    probabilities, calls = hear(samples)
    assert sum(calls) == len(probabilities)


def test_what_was_passed_over_is_heard_again() -> None:
    samples = under_rumble(20.0)
    once = PitchDetector([]).hear(
        samples[: len(samples) // FRAME * FRAME], np.zeros(FRAME, dtype=np.float32)
    )
    assert once.max() < 0.5
    probabilities, calls = hear(samples)
    assert sum(calls) == 2 * len(probabilities)
    for start in np.arange(0.0, 20.0, 2.0):
        first = round(start * SAMPLE_RATE / FRAME)
        assert probabilities[first + 2 : first + 13].min() > 0.5
        assert probabilities[first + 18 : first + 60].max() < 0.5


def test_the_second_hearing_is_of_the_block_with_the_sound_alone() -> None:
    block = BLOCK * FRAME / SAMPLE_RATE
    rumble = tone(60, 3 * block, -20.0)
    samples = np.concatenate([rumble, under_rumble(block), rumble])
    probabilities, calls = hear(samples)
    assert sum(calls) == len(probabilities) + BLOCK


def test_probabilities_come_while_the_file_is_read() -> None:
    hearing = Hearing(PitchDetector([]))
    piece = tone(100, 4.0, -20.0)
    late = [round(i * 4.0 * SAMPLE_RATE) // FRAME for i in range(1, 11)]
    told = 0
    for frames in late:
        told += len(hearing.feed(piece))
        # A block, and what its levels need to know of the next.
        assert frames - told < 2 * BLOCK
    assert told + len(hearing.finish()) == 10 * 4 * SAMPLE_RATE // FRAME
