"""Decoding: any format gives the same sound at 16 kHz, and every bad file one clear error."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.containers import Track, write
from tests.fakes.media import encode, tone, wav_bytes, write_wav
from worker.errors import ErrorCode, JobError
from worker.speech.media import opening
from worker.speech.media.reader import AudioLimits, AudioReader


def read(path: Path, max_seconds: float = 60.0) -> NDArray[np.float32]:
    with AudioReader(path, AudioLimits(max_seconds)) as reader:
        pieces = list(reader)
        assert sum(len(piece) for piece in pieces) == reader.samples
    assert all(piece.dtype == np.float32 and piece.ndim == 1 for piece in pieces)
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)


def fails(path: Path, code: ErrorCode, match: str, max_seconds: float = 60.0) -> None:
    with pytest.raises(JobError, match=match) as caught:
        read(path, max_seconds)
    assert caught.value.code is code
    assert str(path) not in caught.value.message, "a local path is nobody's business"


def loudest_hertz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum)) * 16_000 / len(samples)


FORMATS = [
    ("a.wav", "pcm_s16le", None, 16_000, "mono"),
    ("a.wav", "pcm_s24le", None, 48_000, "stereo"),
    ("a.wav", "pcm_u8", None, 8_000, "mono"),
    ("a.wav", "pcm_mulaw", None, 8_000, "mono"),
    ("a.flac", "flac", None, 44_100, "stereo"),
    ("a.mp3", "mp3", None, 44_100, "stereo"),
    ("a.ogg", "libopus", "ogg", 48_000, "mono"),
    ("a.webm", "libopus", "webm", 48_000, "stereo"),
    ("a.m4a", "aac", "ipod", 44_100, "stereo"),
    ("a.aac", "aac", "adts", 22_050, "mono"),
    ("a.mkv", "flac", "matroska", 96_000, "mono"),
    ("a.ts", "aac", "mpegts", 48_000, "mono"),
    ("a.caf", "alac", "caf", 44_100, "mono"),
    # Named after what it is not: the content decides.
    ("a.txt", "flac", "flac", 16_000, "mono"),
]


@pytest.mark.parametrize(("name", "codec", "container", "rate", "layout"), FORMATS)
def test_every_format_gives_the_same_sound(
    tmp_path: Path, name: str, codec: str, container: str | None, rate: int, layout: str
) -> None:
    path = encode(
        tmp_path / name,
        tone(1.5, rate),
        codec=codec,
        container=container,
        rate=rate,
        layout=layout,
    )
    samples = read(path)
    # Lossy codecs add their own delay and padding.
    assert len(samples) / 16_000 == pytest.approx(1.5, abs=0.08)
    assert loudest_hertz(samples[2_000:20_000]) == pytest.approx(440.0, abs=5.0)
    level = float(np.sqrt(np.mean(samples[4_000:20_000] ** 2)))
    assert level == pytest.approx(0.3 / 2**0.5, rel=0.15)


def test_a_film_gives_its_sound_and_a_silent_film_an_error(tmp_path: Path) -> None:
    film = encode(tmp_path / "a.mp4", tone(1.0, 44_100), codec="aac", rate=44_100, video=True)
    assert loudest_hertz(read(film)[2_000:14_000]) == pytest.approx(440.0, abs=5.0)
    silent = encode(tmp_path / "b.mp4", tone(1.0), codec="aac", video=True, audio=False)
    fails(silent, ErrorCode.NO_AUDIO_STREAM, "no audio stream .it holds video.; send one")


def test_sixteen_bits_come_through_exactly(tmp_path: Path) -> None:
    samples = tone(2.0)
    decoded = read(write_wav(tmp_path / "a.wav", samples))
    assert len(decoded) == len(samples)
    np.testing.assert_allclose(decoded, samples, atol=2.0 / 32_767)


def test_channels_are_mixed(tmp_path: Path) -> None:
    left, right = tone(1.0, hertz=500.0), tone(1.0, hertz=1_500.0)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes((np.stack([left, right], 1) * 32_000).astype("<i2")))
    spectrum = np.abs(np.fft.rfft(read(path)))
    assert spectrum[500] > 100 * spectrum[800]
    assert spectrum[1_500] > 100 * spectrum[800]


def test_loud_channels_are_mixed_without_clipping(tmp_path: Path) -> None:
    loud = tone(1.0, loudness=0.95)
    for channels in (2, 6):
        path = tmp_path / f"{channels}.wav"
        path.write_bytes(wav_bytes((np.stack([loud] * channels, 1) * 32_000).astype("<i2")))
        np.testing.assert_allclose(read(path), loud * 32_000 / 32_768, atol=2e-3)


def test_nan_and_infinity_become_numbers_and_loud_floats_are_clipped(tmp_path: Path) -> None:
    samples = tone(1.0)
    samples[100:103] = [np.nan, np.inf, -np.inf]
    samples[5_000:6_000] *= 1e6
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(samples))
    decoded = read(path)
    assert len(decoded) == 16_000
    assert np.isfinite(decoded).all()
    assert np.abs(decoded).max() <= 1.0
    assert decoded[100] == 0.0
    np.testing.assert_allclose(decoded[200:4_000], samples[200:4_000], atol=1e-6)


def test_a_rate_that_changes_midway(tmp_path: Path) -> None:
    # MP3 frames stand alone: two files joined are one file.
    one = encode(tmp_path / "1.mp3", tone(1.0, 44_100), codec="mp3", rate=44_100, layout="stereo")
    two = encode(tmp_path / "2.mp3", tone(1.0, 16_000), codec="mp3", rate=16_000)
    path = tmp_path / "a.mp3"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    samples = read(path)
    assert len(samples) / 16_000 == pytest.approx(2.0, abs=0.2)
    assert loudest_hertz(samples[2_000:14_000]) == pytest.approx(440.0, abs=5.0)
    assert loudest_hertz(samples[-12_000:]) == pytest.approx(440.0, abs=5.0)


@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0xFFFFFFF0, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_has_no_true_size_in_its_header(tmp_path: Path, stated: int) -> None:
    path = tmp_path / "a.wav"
    data = (tone(2.0, 8_000) * 32_767).astype("<i2")
    path.write_bytes(wav_bytes(data, 8_000, stated_bytes=stated))
    assert len(read(path, max_seconds=5.0)) == 32_000


def flac_claiming(path: Path, seconds: int) -> Path:
    """Two seconds of FLAC whose header claims another length."""
    encode(path, tone(2.0), codec="flac", container="flac")
    data = bytearray(path.read_bytes())
    assert data[:4] == b"fLaC"
    # 36 bits of STREAMINFO hold the samples in all.
    total = seconds * 16_000
    data[21] = (data[21] & 0xF0) | (total >> 32)
    data[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    path.write_bytes(data)
    return path


def test_a_header_that_claims_more_than_the_bytes_can_hold_is_not_believed(
    tmp_path: Path,
) -> None:
    path = flac_claiming(tmp_path / "a.flac", 4 * 3600)
    with AudioReader(path, AudioLimits(60.0)) as reader:
        assert reader.stated_seconds is None
        assert sum(len(piece) for piece in reader) == 32_000


def test_a_header_that_claims_less_does_not_shorten_the_audio(tmp_path: Path) -> None:
    assert len(read(flac_claiming(tmp_path / "a.flac", 1))) >= 16_000


def test_audio_over_the_limit_is_refused_by_its_header_or_on_the_way(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(8.0))
    fails(path, ErrorCode.AUDIO_TOO_LONG, "says it lasts 8 s.*max_audio_seconds = 5", 5.0)
    # Within half again as much, the header is not taken at its word.
    fails(path, ErrorCode.AUDIO_TOO_LONG, "longer than max_audio_seconds = 6", 6.0)
    assert len(read(path, 8.0)) == 128_000


def test_a_small_file_that_decodes_to_hours_is_stopped(tmp_path: Path) -> None:
    silence = np.zeros(16_000 * 1_200, dtype=np.float32)
    path = encode(tmp_path / "a.flac", silence, codec="flac", container="flac")
    data = bytearray(path.read_bytes())
    assert len(data) < 16_000 * 2 * 1_200 / 100
    data[21] &= 0xF0
    data[22:26] = struct.pack(">I", 16_000)
    path.write_bytes(data)
    fails(path, ErrorCode.AUDIO_TOO_LONG, "longer than max_audio_seconds = 30", 30.0)


@pytest.mark.parametrize(
    ("data", "code", "match"),
    [
        (b"", ErrorCode.EMPTY_FILE, "no bytes"),
        (b"this is text, no media", ErrorCode.NOT_MEDIA, "The file is text; send the audio"),
        (b"RIFF\x01\x02", ErrorCode.NOT_MEDIA, "No decoder recognises"),
        (random.Random(1).randbytes(65_536), ErrorCode.NOT_MEDIA, "No decoder recognises"),
        (wav_bytes(np.zeros(100, "<i2"), 0), ErrorCode.NOT_MEDIA, "No decoder recognises"),
        (wav_bytes(np.zeros(100, "<i2"), 999), ErrorCode.DECODE_FAILED, "sample rate is 999 Hz"),
        (
            wav_bytes(np.zeros(100, "<i2"), 1_092_676),
            ErrorCode.DECODE_FAILED,
            "1000 to 768000 Hz can be decoded",
        ),
        (
            wav_bytes(np.zeros((100, 65), "<i2")),
            ErrorCode.DECODE_FAILED,
            "65 channels, more than 64; mix it down",
        ),
    ],
)
def test_no_audio_at_all(tmp_path: Path, data: bytes, code: ErrorCode, match: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    fails(path, code, match)


def test_a_valid_header_with_no_samples_is_empty_not_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.zeros(0, "<i2")))
    assert read(path).shape == (0,)


def test_playlists_lead_nowhere(tmp_path: Path) -> None:
    """Another job's file lies beside this one's: no file may lead to it."""
    write_wav(tmp_path / "other.wav", tone(1.0))
    encode(tmp_path / "other.ts", tone(1.0), codec="aac", container="mpegts")
    playlists = {
        "concat.wav": "ffconcat version 1.0\nfile other.wav\n",
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n",
        "remote.m3u8": "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/other.ts\n#EXT-X-ENDLIST\n",
        "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=audio 5004 RTP/AVP 0\n",
    }
    for name, text in playlists.items():
        path = tmp_path / name
        path.write_text(text)
        fails(path, ErrorCode.NOT_MEDIA, "The file is (text|a playlist)")


def test_a_number_in_a_name_leads_nowhere_and_a_picture_has_no_audio(tmp_path: Path) -> None:
    picture = tmp_path / "p1.jpg"
    with av.open(str(picture), "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuvj420p"
        black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        out.mux(stream.encode(black))
        out.mux(stream.encode(None))
    fails(picture, ErrorCode.NOT_MEDIA, "The file is a picture; send the audio itself")
    sequence = tmp_path / "p%d.jpg"
    sequence.write_text("this is text, no picture")
    fails(sequence, ErrorCode.NOT_MEDIA, "The file is text")


def test_damage_in_the_middle_costs_only_what_is_damaged(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.aac", tone(8.0), codec="aac", container="adts")
    data = bytearray(path.read_bytes())
    rng = random.Random(3)
    for _ in range(30):
        data[rng.randrange(2_000, len(data))] ^= rng.randrange(1, 256)
    path.write_bytes(data)
    with AudioReader(path, AudioLimits(60.0)) as reader:
        samples = np.concatenate(list(reader))
        assert reader.damaged > 0
    assert 5.0 < len(samples) / 16_000 < 8.1


def test_a_file_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", tone(8.0), codec="flac")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 2.0 < len(read(path)) / 16_000 < 6.0


def test_audio_of_which_nothing_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", tone(4.0), codec="aac", container="ipod")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = random.Random(5).randbytes(end - start)
    path.write_bytes(data)
    fails(path, ErrorCode.DECODE_FAILED, r"None of the file's audio can be decoded \(\d+ damaged")


def with_a_hole(path: Path, start: float, share: float) -> Path:
    """An AAC file whose bytes are zeros from a share of it on, as a disk with a hole has them."""
    encode(path, tone(8.0), codec="aac", container="ipod")
    data = bytearray(path.read_bytes())
    first, last = data.index(b"mdat") + 4, data.index(b"moov") - 4
    at = first + int(start * (last - first))
    size = int(share * (last - first))
    data[at : at + size] = bytes(size)
    path.write_bytes(data)
    return path


def test_damage_refuses_a_file_by_its_share_however_many_packets_it_is(tmp_path: Path) -> None:
    with AudioReader(with_a_hole(tmp_path / "a.m4a", 0.3, 0.4), AudioLimits(60.0)) as reader:
        samples = np.concatenate(list(reader))
        assert f"{reader.damaged} damaged packets were skipped" in reader.notes
    assert len(samples) / 16_000 == pytest.approx(8.0, abs=0.1)
    path = with_a_hole(tmp_path / "b.m4a", 0.2, 0.7)
    fails(
        path, ErrorCode.DECODE_FAILED, r"\d+ of the file's 12\d packets are damaged, more than half"
    )


def test_a_packet_that_claims_gigabytes_is_damage_and_not_a_lack_of_memory(tmp_path: Path) -> None:
    fragments = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}
    path = write(tmp_path / "a.mp4", [Track(tone(8.0), "aac")], options=fragments)
    data = bytearray(path.read_bytes())
    # In a fragment's table, behind two words on the whole, the sizes of its packets follow.
    at = data.index(b"trun", len(data) // 2) + 20
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)
    with AudioReader(path, AudioLimits(60.0)) as reader:
        samples = np.concatenate(list(reader))
        assert reader.notes == ["1 damaged packets were skipped"]
    assert len(samples) / 16_000 > 3.0


def test_a_file_that_gives_errors_alone_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg may fail at the same place for ever; a fake, because no file is known that does it."""
    path = write_wav(tmp_path / "a.wav", tone(1.0))
    with AudioReader(path, AudioLimits(60.0)) as reader:

        class Container:
            def demux(self, *_: object) -> NoReturn:
                raise av.error.InvalidDataError(1, "it is broken")

        monkeypatch.setattr(reader._decoder, "_container", Container())
        with pytest.raises(JobError, match=r"None of .* can be decoded .1 damaged packets.;"):
            list(reader)


def test_a_file_of_too_many_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", tone(1.0), codec="aac", video=True)
    assert len(read(path)) > 15_000
    monkeypatch.setattr(opening, "MAX_STREAMS", 0)
    fails(path, ErrorCode.DECODE_FAILED, "1 audio tracks, more than 0")


def test_memory_that_runs_out_is_no_fault_of_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(av, "open", refuse)
    path = write_wav(tmp_path / "a.wav", tone(1.0))
    with pytest.raises(MemoryError):
        AudioReader(path, AudioLimits(60.0))


SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_headers_give_sound_or_one_error(tmp_path: Path, seed: int) -> None:
    """What is left of the file after a few bytes of its head are others: never anything else."""
    rng = random.Random(seed)
    name, codec, container, rate, layout = FORMATS[seed % len(FORMATS)]
    path = encode(tmp_path / name, tone(0.5, rate), codec=codec, container=container, rate=rate,
                  layout=layout)  # fmt: skip
    data = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 9)):
        data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
    path.write_bytes(data)
    outcome: NDArray[np.float32] | ErrorCode
    try:
        outcome = read(path, 120.0)
    except JobError as error:
        outcome = error.code
    if isinstance(outcome, ErrorCode):
        assert outcome in {
            ErrorCode.NOT_MEDIA,
            ErrorCode.NO_AUDIO_STREAM,
            ErrorCode.DECODE_FAILED,
            ErrorCode.AUDIO_TOO_LONG,
        }
    else:
        assert np.isfinite(outcome).all()
        assert len(outcome) <= 120 * 16_000
