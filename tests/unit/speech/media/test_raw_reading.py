"""Audio without a header is read as it was said to be, and by nobody's guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.media import encode, tone, wav_bytes
from worker.errors import ErrorCode, JobError
from worker.speech.media.raw import HINT, Encoding, RawAudio
from worker.speech.media.reader import AudioLimits, AudioReader

LIMITS = AudioLimits(60.0)

ENDINGS: dict[Encoding, str] = {"mulaw": "ul", "alaw": "al", "s16le": "sw"}
"""By which FFmpeg would take a file for 44.1 kHz."""

CODECS: dict[Encoding, str] = {
    "mulaw": "pcm_mulaw",
    "alaw": "pcm_alaw",
    "s16le": "pcm_s16le",
}


def read(path: Path, raw: RawAudio | None = None) -> NDArray[np.float32]:
    with AudioReader(path, LIMITS, raw) as reader:
        return np.concatenate(list(reader))


def headerless(path: Path, encoding: Encoding, seconds: float = 2.0, rate: int = 8_000) -> Path:
    """A tone of 440 Hz."""
    samples = tone(seconds, rate)
    return encode(path, samples, codec=CODECS[encoding], container=encoding, rate=rate)


def loudest_hertz(samples: NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * 16_000 / len(samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
@pytest.mark.parametrize("encoding", ENDINGS)
def test_a_file_has_the_length_and_the_tone_that_the_rate_gives_it(
    tmp_path: Path, encoding: Encoding, rate: int
) -> None:
    path = headerless(tmp_path / f"call.{ENDINGS[encoding]}", encoding, rate=rate)
    raw = RawAudio(encoding, rate)
    samples = read(path, raw)
    assert len(samples) == pytest.approx(2 * 16_000, abs=2)
    assert loudest_hertz(samples) == pytest.approx(440.0, abs=1.0)
    level = float(np.sqrt(np.mean(samples**2)))
    assert level == pytest.approx(0.3 / 2**0.5, rel=0.02)
    with AudioReader(path, LIMITS, raw) as reader:
        assert reader.stated_seconds == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 16])
def test_the_samples_of_the_channels_take_turns(tmp_path: Path, channels: int) -> None:
    mono = (tone(1.0, 8_000) * 32_767).astype("<i2")
    path = tmp_path / "a.bin"
    path.write_bytes(np.repeat(mono[:, None], channels, axis=1).tobytes())
    samples = read(path, RawAudio("s16le", 8_000, channels))
    assert len(samples) == pytest.approx(16_000, abs=2)
    assert loudest_hertz(samples) == pytest.approx(440.0, abs=1.0)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_it_sounds_as_the_same_samples_in_a_wav_file_do(tmp_path: Path, channels: int) -> None:
    tones = [tone(0.5, 8_000, hertz=300.0 + 200.0 * n) for n in range(channels)]
    data = (np.stack(tones, 1) * 32_767).astype("<i2")
    raw, wav = tmp_path / "a.raw", tmp_path / "a.wav"
    raw.write_bytes(data.tobytes())
    wav.write_bytes(wav_bytes(data, 8_000))
    np.testing.assert_array_equal(read(raw, RawAudio("s16le", 8_000, channels)), read(wav))


def test_the_content_is_not_asked_where_a_person_has_said_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes((tone(1.0) * 32_767).astype("<i2")))
    assert len(read(path, RawAudio("mulaw", 16_000))) == path.stat().st_size


def test_a_sample_that_breaks_off_costs_only_itself(tmp_path: Path) -> None:
    path = headerless(tmp_path / "a.raw", "s16le")
    path.write_bytes(path.read_bytes() + b"\x01")
    assert len(read(path, RawAudio("s16le", 8_000))) == pytest.approx(32_000, abs=2)


def test_the_limit_on_seconds_holds_at_the_rate_that_was_given(tmp_path: Path) -> None:
    path = headerless(tmp_path / "a.ul", "mulaw", seconds=8.0)
    with pytest.raises(JobError, match="says it lasts 8 s") as caught:
        AudioReader(path, AudioLimits(5.0), RawAudio("mulaw", 8_000))
    assert caught.value.code is ErrorCode.AUDIO_TOO_LONG


def test_an_empty_file_is_empty_whatever_it_was_said_to_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.ul"
    path.write_bytes(b"")
    with pytest.raises(JobError) as caught:
        AudioReader(path, LIMITS, RawAudio("mulaw", 8_000))
    assert caught.value.code is ErrorCode.EMPTY_FILE


@pytest.mark.parametrize("ending", ["ul", "al", "sw", "sb", "ub", "uw", "raw", "pcm", "wav"])
@pytest.mark.parametrize("encoding", ENDINGS)
def test_nobody_guesses_a_rate_from_the_name(
    tmp_path: Path, encoding: Encoding, ending: str
) -> None:
    path = headerless(tmp_path / f"call.{ending}", encoding)
    with pytest.raises(JobError, match="No decoder recognises") as caught:
        read(path)
    assert caught.value.code is ErrorCode.NOT_MEDIA
    assert caught.value.message.endswith(HINT)


@pytest.mark.parametrize(
    ("name", "codec", "container", "rate"),
    [
        ("a.g722", "g722", "g722", 16_000),
        ("a.sln", "pcm_s16le", "s16le", 8_000),  # Asterisk's name for 8 kHz
        ("a.au", "pcm_mulaw", "au", 8_000),
        ("a.wav", "pcm_alaw", "wav", 8_000),
        ("a.ul", "pcm_mulaw", "wav", 8_000),  # a header goes over the name
    ],
)
def test_a_rate_that_the_format_or_the_header_gives_is_no_guess(
    tmp_path: Path, name: str, codec: str, container: str, rate: int
) -> None:
    path = encode(tmp_path / name, tone(2.0, rate), codec=codec, container=container, rate=rate)
    samples = read(path)
    assert len(samples) == pytest.approx(32_000, abs=50)
    assert loudest_hertz(samples) == pytest.approx(440.0, abs=1.0)
