"""One channel of a track, alone: what is in it at full level, where it lies in the mix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.fakes.containers import Track, write
from tests.fakes.media import tone, wav_bytes, write_wav
from worker.errors import ErrorCode, JobError
from worker.speech.media.mixing import OneChannel
from worker.speech.media.raw import RawAudio
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.media.selection import Selection

Samples = NDArray[np.float32]

RATE = 16_000
LOW, HIGH = 440.0, 1_000.0
LIMITS = AudioLimits(60.0)


def read(path: Path, channel: int | None = None, raw: RawAudio | None = None) -> Samples:
    return read_with_notes(path, channel, raw)[0]


def read_with_notes(
    path: Path, channel: int | None = None, raw: RawAudio | None = None
) -> tuple[Samples, list[str]]:
    with AudioReader(path, LIMITS, raw, Selection(channel=channel)) as reader:
        pieces = list(reader)
    return np.concatenate(pieces), reader.notes


def amplitude(samples: Samples, pitch: float) -> float:
    """Of a sine of some pitch in the middle of the samples."""
    middle = samples[len(samples) // 4 : len(samples) // 4 * 3]
    turning = np.exp(-2j * np.pi * pitch * np.arange(len(middle)) / RATE)
    return float(2 * np.abs(np.mean(middle * turning)))


def call(path: Path, codec: str, rate: int, **how: Any) -> Path:
    """A tone on each side."""
    sides = np.stack([tone(2.0, rate, LOW), tone(2.0, rate, HIGH)])
    return write(path, [Track(sides, codec, rate, layout="stereo", **how)])


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        # Integers and floats, packed and planar, at the rates that telephones and films have.
        ("a.wav", "pcm_s16le", 8_000),
        ("a.wav", "pcm_u8", 8_000),
        ("a.wav", "pcm_s24le", 48_000),
        ("a.wav", "pcm_f32le", 16_000),
        ("a.wav", "pcm_f64le", 48_000),
        ("a.wav", "pcm_mulaw", 8_000),
        ("a.flac", "flac", 44_100),
        ("a.m4a", "alac", 48_000),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 44_100),
        ("a.opus", "libopus", 48_000),
    ],
)
def test_each_side_of_a_call_is_read_alone_at_full_level(
    tmp_path: Path, name: str, codec: str, rate: int
) -> None:
    how = {"bit_rate": 192_000} if codec in {"aac", "libmp3lame", "libopus", "mp2"} else {}
    path = call(tmp_path / name, codec, rate, **how)
    sides = [read(path, 0), read(path, 1)]
    mix = read(path)
    for side, own, other in zip(sides, (LOW, HIGH), (HIGH, LOW), strict=True):
        assert len(side) == len(mix)
        assert amplitude(side, own) == pytest.approx(0.3, rel=0.03)
        assert amplitude(side, other) < 0.003
    # Both on the clock of the mix, sample for sample.
    np.testing.assert_allclose(np.mean(sides, axis=0), mix, atol=2e-6)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    samples=st.integers(100, 70_000),
    dtype=st.sampled_from(["<i2", "<f4"]),
)
def test_channels_that_are_read_apart_add_up_to_the_mix(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rate: int, samples: int, dtype: str
) -> None:
    random = np.random.default_rng(seed)
    data = random.uniform(-0.4, 0.4, (samples, 2))
    path = tmp_path_factory.mktemp("call") / "a.wav"
    whole = (data * 32_767).astype(dtype) if dtype == "<i2" else data.astype(np.float32)
    path.write_bytes(wav_bytes(whole, rate))
    left, right, mix = read(path, 0), read(path, 1), read(path)
    assert len(left) == len(right) == len(mix)
    np.testing.assert_allclose((left + right) / 2, mix, atol=2e-6)


def test_a_hole_in_the_file_is_silence_at_the_same_place_in_each_channel(tmp_path: Path) -> None:
    path = call(tmp_path / "a.mka", "libopus", 48_000, start=0.5, lost=(0.8, 1.4))
    left, right, mix = read(path, 0), read(path, 1), read(path)
    np.testing.assert_allclose((left + right) / 2, mix, atol=2e-6)
    for side in (left, right):
        assert len(side) == len(mix)
        quiet = np.abs(side[int(1.4 * RATE) : int(1.8 * RATE)]).max()
        assert quiet < 1e-3
        assert np.abs(side[int(2.0 * RATE) : int(2.2 * RATE)]).max() > 0.2


def test_channels_of_surround_sound_are_not_weighted(tmp_path: Path) -> None:
    pitches = [300.0 * (number + 1) for number in range(6)]
    sides = np.stack([tone(1.0, 48_000, pitch) for pitch in pitches])
    path = write(tmp_path / "a.flac", [Track(sides, "flac", 48_000, layout="5.1")])
    for number, pitch in enumerate(pitches):
        side = read(path, number)
        assert amplitude(side, pitch) == pytest.approx(0.3, rel=0.02)
        assert amplitude(side, pitches[number - 1]) < 0.003


def test_opposed_channels_are_not_turned_over(tmp_path: Path) -> None:
    left = tone(2.0)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes((np.stack([left, -left], 1) * 32_767).astype("<i2")))
    found, notes = read_with_notes(path, 1)
    np.testing.assert_allclose(found, -left, atol=1e-4)
    assert notes == []


def test_a_silent_channel_stays_silent(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes((np.stack([np.zeros(32_000), tone(2.0)], 1) * 32_767).astype("<i2")))
    assert not read(path, 0).any()
    assert amplitude(read(path, 1), 440.0) == pytest.approx(0.3, rel=0.02)


def test_raw_audio_has_channels_too(tmp_path: Path) -> None:
    sides = np.stack([tone(2.0, 8_000, LOW), tone(2.0, 8_000, HIGH)], 1)
    path = tmp_path / "call.raw"
    path.write_bytes((sides * 32_767).astype("<i2").tobytes())
    raw = RawAudio("s16le", 8_000, channels=2)
    for channel, pitch in enumerate((LOW, HIGH)):
        assert amplitude(read(path, channel, raw), pitch) == pytest.approx(0.3, rel=0.02)


def test_damage_is_found_in_each_channel(tmp_path: Path) -> None:
    path = call(tmp_path / "a.m4a", "aac", 44_100, bit_rate=192_000)
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4 + 20_000
    data[at : at + 8_000] = bytes(8_000)
    path.write_bytes(data)
    (_, first), (_, second) = read_with_notes(path, 0), read_with_notes(path, 1)
    assert first == second
    assert first[0].endswith("damaged packets were skipped")


# Parts of a file that have fewer channels.


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_a_part_of_one_channel_counts_for_each(tmp_path: Path) -> None:
    stereo = call(tmp_path / "1.opus", "libopus", 48_000, bit_rate=192_000)
    mono = write(tmp_path / "2.opus", [Track(tone(2.0, 48_000, 700.0), "libopus", 48_000)])
    path = joined(tmp_path / "a.opus", stereo, mono)
    lengths = set()
    for channel, pitch in enumerate((LOW, HIGH)):
        found, notes = read_with_notes(path, channel)
        lengths.add(len(found))
        half = len(found) // 2
        assert amplitude(found[:half], pitch) == pytest.approx(0.3, rel=0.03)
        assert amplitude(found[half:], 700.0) == pytest.approx(0.3, rel=0.03)
    assert len(lengths) == 1
    assert "2.0 s of the audio have one channel alone, which counts for each" in notes


def test_a_channel_that_a_part_of_several_lacks_is_silent_there(tmp_path: Path) -> None:
    three = tmp_path / "1.wav"
    sides = np.stack([tone(2.0, hertz=300.0 * (number + 1)) for number in range(3)], 1)
    three.write_bytes(wav_bytes((sides * 32_767).astype("<i2")))
    two = tmp_path / "2.wav"
    two.write_bytes(wav_bytes((sides[:, :2] * 32_767).astype("<i2")))
    path = joined(tmp_path / "a.wav", three, two)
    found, notes = read_with_notes(path, 2)
    assert len(found) == len(read(path)) == 64_000
    assert amplitude(found[:32_000], 900.0) == pytest.approx(0.3, rel=0.02)
    assert not found[32_100:].any()
    assert "2.0 s of the audio have fewer channels; those that it lacks are silent there" in notes
    assert not any("channels" in note for note in read_with_notes(path, 1)[1])


def test_a_stream_that_changes_its_channels_on_the_way(tmp_path: Path) -> None:
    stereo = call(tmp_path / "1.mp3", "libmp3lame", 44_100, bit_rate=192_000)
    mono = write(tmp_path / "2.mp3", [Track(tone(2.0, 44_100, 700.0), "libmp3lame", 44_100)])
    path = joined(tmp_path / "a.mp3", stereo, mono)
    left, right, mix = read(path, 0), read(path, 1), read(path)
    assert len(left) == len(right) == len(mix)
    np.testing.assert_allclose((left + right) / 2, mix, atol=1e-5)
    # LAME takes 5 % off.
    assert amplitude(right[: len(right) // 2], HIGH) == pytest.approx(0.3, rel=0.06)
    assert amplitude(right[len(right) // 2 :], 700.0) == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize(("layout", "count"), [("mono", "1 channel"), ("stereo", "2 channels")])
def test_a_channel_that_nothing_in_the_file_has(tmp_path: Path, layout: str, count: str) -> None:
    channels = 1 if layout == "mono" else 2
    path = write_wav(tmp_path / "a.wav", np.repeat(tone(1.0)[:, None], channels, 1))
    with pytest.raises(JobError, match=f"Channel {channels} was asked for.* has {count}") as caught:
        read(path, channels)
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_an_empty_track_is_empty_in_every_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.zeros((0, 2), "<i2")))
    with AudioReader(path, LIMITS, selection=Selection(channel=1)) as reader:
        assert list(reader) == []


def test_what_is_no_number_is_silence_and_what_is_too_loud_is_cut() -> None:
    block = np.array([[0.1, np.nan], [0.1, np.inf], [0.1, -3.0]], np.float32)
    assert OneChannel(1).mix(block).tolist() == [0.0, 1.0, -1.0]
