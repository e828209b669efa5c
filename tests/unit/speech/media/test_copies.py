"""Which channels, and which tracks, hold the same: what is transcribed once is nowhere lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.media.copies import ChannelCopies, TrackCopies
from worker.speech.unheard import SILENT

Samples = NDArray[np.float32]

RATE = 16_000
WORD = 4_000
"""Samples of a short one."""


def voice(seed: int, loudness: float = 0.1, samples: int = 6_000) -> Samples:
    return (loudness * np.random.default_rng(seed).uniform(-1, 1, samples)).astype(np.float32)


def fresh() -> ChannelCopies:
    return ChannelCopies().at(RATE)


def same_as(*channels: Samples) -> list[int | None]:
    copies = fresh()
    copies.mix(np.stack(channels, 1))
    return copies.same_as()


def test_exact_copies_are_the_same_and_each_is_named_by_the_first() -> None:
    one, two = voice(1), voice(2)
    assert same_as(one, two, one, two, one) == [None, None, 0, 1, 0]


def test_nothing_seen_is_nothing_known() -> None:
    copies = fresh()
    assert copies.same_as() == []
    assert not copies.settled


def test_one_channel_is_settled() -> None:
    copies = fresh()
    assert copies.mix(np.full((3, 1), 0.5, np.float32)).tolist() == [0.5, 0.5, 0.5]
    assert copies.settled
    assert copies.same_as() == [None]


def test_a_channel_that_is_the_other_turned_over_is_another() -> None:
    assert same_as(voice(1), -voice(1)) == [None, None]


def test_two_silent_channels_are_the_same_and_one_that_speaks_is_not() -> None:
    silent = np.zeros(6_000, np.float32)
    assert same_as(silent, silent + np.float32(SILENT / 2), voice(1)) == [None, 0, None]


@pytest.mark.parametrize(("noise", "expected"), [(0.2, 0), (0.3, None)])
def test_what_a_codec_loses_is_no_voice(noise: float, expected: int | None) -> None:
    assert same_as(voice(1), voice(1) + voice(2, 0.1 * noise)) == [None, expected]


def test_noise_that_a_codec_puts_above_voices_is_none() -> None:
    at = np.arange(6_000) / RATE
    hiss, hum = (0.1 * np.sin(2 * np.pi * pitch * at).astype(np.float32) for pitch in (5_000, 50))
    assert same_as(voice(1), voice(1) + hiss) == [None, 0]
    assert same_as(voice(1), voice(1) + hum) == [None, 0]
    assert same_as(hiss, hiss + voice(1, 2e-3)) == [None, None]


@pytest.mark.parametrize("rate", [1_000, 8_000, 48_000, 768_000])
def test_a_voice_is_heard_at_any_rate(rate: int) -> None:
    at = np.arange(rate // 2) / rate
    one, two = (0.1 * np.sin(2 * np.pi * pitch * at).astype(np.float32) for pitch in (200, 300))
    copies = ChannelCopies().at(rate)
    copies.mix(np.stack([one, two, one], 1))
    assert copies.same_as() == [None, None, 0]


@pytest.mark.parametrize("at", [0, 7_000, 20_000 - WORD])
def test_a_quiet_voice_in_a_pause_of_a_loud_one_is_a_difference(at: int) -> None:
    shared = voice(1, 0.9, 20_000)
    shared[at : at + WORD] = 0.0
    other = shared.copy()
    other[at : at + WORD] += voice(2, 5e-4, WORD)
    assert same_as(shared, other) == [None, None]


def test_the_offset_of_a_sound_card_hides_no_voice() -> None:
    offset = np.full(6_000, 0.3, np.float32)
    assert same_as(offset, offset + voice(1, 2e-3)) == [None, None]


def test_a_difference_stays_one() -> None:
    copies = fresh()
    shared = voice(3)
    for left, right in ((shared, shared), (voice(1), voice(2)), (shared, shared)):
        copies.mix(np.stack([left, right], 1))
    assert copies.settled
    assert copies.same_as() == [None, None]


def test_a_block_of_one_channel_tells_nothing() -> None:
    copies = fresh()
    shared = voice(1)
    for channels in ([shared], [shared, shared], [shared]):
        copies.mix(np.stack(channels, 1))
    assert copies.same_as() == [None, 0]


def test_a_channel_that_a_block_lacks_is_silent_there() -> None:
    copies = fresh()
    shared = voice(1)
    copies.mix(np.stack([shared] * 3, 1))
    copies.mix(np.stack([shared] * 2, 1))
    assert copies.same_as() == [None, 0, None]


def test_channels_that_come_later_were_silent_before() -> None:
    copies = fresh()
    shared = voice(1)
    copies.mix(np.stack([shared] * 2, 1))
    copies.mix(np.stack([shared] * 4, 1))
    assert copies.channels == 4
    assert copies.same_as() == [None, 0, None, 2]


def test_what_is_no_number_is_silence_and_what_is_too_loud_is_cut() -> None:
    one = np.array([np.nan, np.inf, 2.0, 0.5], np.float32)
    two = np.array([0.0, 1.0, 1.5, 0.5], np.float32)
    copies = fresh()
    assert copies.mix(np.stack([one, two], 1)).tolist() == [0.0, 1.0, 1.0, 0.5]
    assert copies.same_as() == [None, 0]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(300, 5_000))
def test_channels_are_told_apart_however_they_are_cut_into_blocks(
    voices: list[int], size: int
) -> None:
    channels = np.stack([voice(number, samples=5_000) for number in voices], 1)
    copies = fresh()
    for start in range(0, len(channels), size):
        copies.mix(channels[start : start + size])
    firsts = [voices.index(number) for number in voices]
    expected = [first if first < place else None for place, first in enumerate(firsts)]
    assert copies.same_as() == expected
    assert copies.settled == (len(set(voices)) == len(voices))


# Tracks.


def compared(
    tracks: Sequence[Sequence[bytes]], heads: Sequence[bytes] | None = None
) -> TrackCopies:
    copies = TrackCopies(heads or [b"head"] * len(tracks))
    for number, track in enumerate(tracks):
        for packet in track:
            copies.add(number, packet)
    return copies


packet_lists = st.lists(st.binary(max_size=2), max_size=9)


@settings(max_examples=50)
@given(st.lists(packet_lists, min_size=1, max_size=5))
def test_tracks_of_the_same_packets_are_the_same(tracks: list[list[bytes]]) -> None:
    copies = compared(tracks)
    firsts = [tracks.index(track) for track in tracks]
    assert copies.same_as() == [
        first if first < place else None for place, first in enumerate(firsts)
    ]
    if copies.settled:
        assert not any(copies.same_as())


def test_tracks_whose_decoders_are_told_other_things_differ() -> None:
    copies = compared([[b"a"], [b"a"]], [b"one", b"other"])
    assert copies.settled
    assert copies.same_as() == [None, None]


def test_once_each_differs_nothing_more_need_be_seen() -> None:
    copies = TrackCopies([b""] * 3)
    assert not copies.add(0, b"a")
    assert not copies.add(1, b"b")
    assert copies.add(2, b"c")
    same = TrackCopies([b""] * 2)
    assert not any(same.add(number, b"a") for _ in range(9) for number in (0, 1))
