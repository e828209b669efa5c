"""Joined files fall into their parts, each of which decodes alone; ordinary files are one part."""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.damage import mutated_heads
from tests.fakes.media import encode, tone, wav_bytes
from worker.speech.media.parts import MAX_PARTS, Part, Patch, find_parts

Make = Callable[[float], bytes]
"""A file that lasts so many seconds."""


def decoded(data: bytes, **options: str) -> float:
    """Seconds of audio that FFmpeg finds in a file; no packet may be damaged."""
    with av.open(io.BytesIO(data), "r", options=options) as container:
        frames = container.decode(audio=0)
        return sum((frame.samples / frame.sample_rate for frame in frames), 0.0)


def cut(data: bytes, parts: Sequence[Part]) -> list[bytes]:
    return [data[part.start : part.end] for part in parts]


def pcm(seconds: float, rate: int = 16_000) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return (tone(seconds, rate) * 32_767).astype(np.int16)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A chunk of a WAV, padded."""
    size = len(body) if size is None else size
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)


def wav_of(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def fmt(rate: int = 16_000) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16))


def streamed_mp4(path: Path, seconds: float, rate: int = 16_000) -> bytes:
    """An MP4 in fragments, as browsers and packagers write it."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        sound = out.add_stream("aac", rate=rate, layout="mono")
        whole = av.AudioFrame.from_ndarray(tone(seconds, rate)[None], "fltp", "mono")
        whole.sample_rate = rate
        fifo = av.AudioFifo()
        fifo.write(whole)
        while (piece := fifo.read(1024) or fifo.read(1024, partial=True)) is not None:
            out.mux(sound.encode(piece))
        out.mux(sound.encode(None))
    return path.read_bytes()


ENCODED = {
    "opus": ("libopus", "ogg", 48_000),
    "flac in ogg": ("flac", "ogg", 44_100),
    "flac": ("flac", "flac", 44_100),
    "amr": ("libopencore_amrnb", "amr", 8_000),
    "mp4": ("aac", "mp4", 16_000),
    "mov": ("pcm_s16le", "mov", 16_000),
    "webm": ("libopus", "webm", 48_000),
    "mkv": ("flac", "matroska", 16_000),
    "caf": ("pcm_s16be", "caf", 16_000),
    "aiff": ("pcm_s16be", "aiff", 16_000),
    "flv": ("aac", "flv", 44_100),
    "wma": ("libmp3lame", "asf", 44_100),
    "wav": ("pcm_s16le", "wav", 16_000),
    "mp3": ("libmp3lame", "mp3", 16_000),
    "ts": ("aac", "mpegts", 16_000),
    "aac": ("aac", "adts", 16_000),
    "avi": ("mp2", "avi", 16_000),
    "w64": ("pcm_s16le", "w64", 16_000),
    "au": ("pcm_s16be", "au", 16_000),
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, float], bytes]:
    """A file of a kind, of so many seconds."""

    def made(kind: str, seconds: float) -> bytes:
        if kind == "streamed mp4":
            return streamed_mp4(tmp_path / "a", seconds)
        codec, container, rate = ENCODED[kind]
        path = tmp_path / f"{kind}.{seconds}"
        encode(path, tone(seconds, rate), codec=codec, container=container, rate=rate)
        return path.read_bytes()

    return made


@pytest.mark.parametrize("kind", [*ENCODED, "streamed mp4"])
def test_an_ordinary_file_is_one_part(make: Callable[[str, float], bytes], kind: str) -> None:
    data = make(kind, 2.0)
    assert find_parts(data) == (Part(0, len(data)),)


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
@pytest.mark.parametrize("audio", [True, False])
def test_a_film_is_one_part(tmp_path: Path, container: str, audio: bool) -> None:
    path = tmp_path / "film"
    encode(path, tone(2.0), codec="aac", container=container, video=True, audio=audio)
    data = path.read_bytes()
    assert find_parts(data) == (Part(0, len(data)),)


@pytest.mark.parametrize(
    "kinds",
    [
        ("opus", "opus"),
        ("opus", "flac in ogg", "opus"),
        ("flac", "flac"),
        ("amr", "amr", "amr"),
        ("mp4", "mp4"),
        ("mov", "mp4", "streamed mp4"),
        ("streamed mp4", "mp4", "streamed mp4"),
        ("webm", "webm"),
        ("webm", "mkv", "webm"),
        ("caf", "caf"),
        ("aiff", "aiff"),
        ("flv", "flv"),
        ("wma", "wma"),
        ("wav", "wav", "wav"),
    ],
)
def test_each_of_joined_files_is_a_part(
    make: Callable[[str, float], bytes], kinds: Sequence[str]
) -> None:
    files = [make(kind, 1.5 + index / 4) for index, kind in enumerate(kinds)]
    parts = find_parts(b"".join(files))
    assert cut(b"".join(files), parts) == files
    for file, seconds in zip(files, (1.5, 1.75, 2.0), strict=False):
        assert decoded(file) == pytest.approx(seconds, abs=0.12)
    assert all((part.ignore_length, part.patch) == (False, None) for part in parts)


# Ogg.


def page(serial: int, number: int, *, flags: int = 0, body: bytes = b"x" * 300) -> bytes:
    """A page of Ogg, but for its checksum."""
    table = bytes([255] * (len(body) // 255) + [len(body) % 255])
    time = 0 if flags & 2 else number * 1000
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, time, serial, number, 0, len(table))
    return head + table + body


def streams(*serials: int) -> bytes:
    """Streams beside one another: their first pages come first."""
    first = b"".join(page(serial, 0, flags=2) for serial in serials)
    return first + b"".join(page(s, number) for number in range(1, 5) for s in serials)


def test_streams_beside_one_another_are_one_part() -> None:
    data = streams(1, 2, 3)
    assert find_parts(data) == (Part(0, len(data)),)
    assert cut(data + streams(4) + data, find_parts(data + streams(4) + data)) == [
        data,
        streams(4),
        data,
    ]


def test_a_page_that_was_cut_short_does_not_hide_the_next_file() -> None:
    """The length that it states leads past the first page of the file behind it."""
    broken = streams(1)[:-250]
    assert cut(broken + streams(2), find_parts(broken + streams(2))) == [broken, streams(2)]


def test_the_letters_of_a_page_within_a_page_are_nothing() -> None:
    data = streams(1) + page(1, 6, body=page(9, 0, flags=2)) + page(1, 7)
    assert len(find_parts(data)) == 1


def test_lost_bytes_between_pages_are_passed_over() -> None:
    data = streams(1) + bytes(1000) + page(1, 9)
    joined = data + b"?" * 77 + streams(2)
    assert cut(joined, find_parts(joined)) == [data + b"?" * 77, streams(2)]


def test_there_are_not_more_than_so_many_parts() -> None:
    data = streams(1) * (MAX_PARTS + 5)
    parts = find_parts(data)
    assert len(parts) == MAX_PARTS
    assert parts[-1].end == len(data)


# WAV.

LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"Lavf\0\0")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LIST, b""),
        (b"", LIST),
        (b"", chunk(b"id3 ", b"x" * 40_001)),
        (chunk(b"bext", b"\0" * 602), chunk(b"iXML", b"<x/>" * 9_000)),
        (chunk(b"JUNK", b"\0" * 27), chunk(b"cue ", b"\0" * 28) + LIST),
        (b"", chunk(b"Minf", b"x" * 20_000) + chunk(b"zzzz", b"x" * 20_000)),
        (b"", b"\0"),
        (b"", b"\0\0"),
        (b"", b"\x01\x02" * 3_000),
        (b"", bytes(100_000)),
        (b"", b"ID3\x04" + b"x" * 50_000),
        (b"", b"TAG" + b"x" * 125),
        (b"", chunk(b"LIST", b"INFO", size=900_000) + b"x" * 50_000),
    ],
)
@pytest.mark.parametrize("odd", [False, True])
def test_what_may_follow_a_wav_s_audio_is_no_audio(before: bytes, after: bytes, odd: bool) -> None:
    sound = pcm(1.0).tobytes() + b"\0" * odd
    data = wav_of(fmt() + before + chunk(b"data", sound) + after)
    assert find_parts(data) == (Part(0, len(data)),)
    if odd:  # many writers forget the padding
        data = wav_of(fmt() + before + chunk(b"data", sound)[:-1] + after)
        assert find_parts(data) == (Part(0, len(data)),)


@pytest.mark.parametrize("stated", [2, 1_001, 8_000, 56_000])
def test_a_size_that_is_older_than_the_audio_is_ignored(stated: int) -> None:
    data = wav_bytes(pcm(3.0), stated_bytes=stated)
    parts = find_parts(data)
    assert parts == (Part(0, len(data), ignore_length=True),)
    assert decoded(data) < 2.0
    assert decoded(data, ignore_length="1") == pytest.approx(3.0)


@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF, 96_001])
def test_a_size_that_was_never_written_is_ffmpeg_s_matter(stated: int) -> None:
    data = wav_bytes(pcm(3.0), stated_bytes=stated)
    assert find_parts(data) == (Part(0, len(data)),)
    assert decoded(data) == pytest.approx(3.0)


@pytest.mark.parametrize("stated", [None, 0, 8_000, 0xFFFFFFFF])
def test_joined_wavs_part_whatever_their_sizes_say(stated: int | None) -> None:
    """Speech from a service comes with a size that was never written, and gets joined like that."""
    first = wav_bytes(pcm(3.0), stated_bytes=stated)
    second = wav_of(fmt(8_000) + LIST + chunk(b"data", pcm(2.0, 8_000).tobytes()))
    parts = find_parts(first + second)
    assert cut(first + second, parts) == [first, second]
    assert parts[0].ignore_length == (stated == 8_000)


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_wav_that_was_cut_off_does_not_hide_the_next(seconds: float) -> None:
    """The size that it states leads into the second, or beyond it."""
    first = wav_bytes(pcm(3.0))[:50_000]
    second = wav_bytes(pcm(seconds))
    assert cut(first + second, find_parts(first + second)) == [first, second]


def test_a_wav_of_eight_bytes_of_size_is_left_alone() -> None:
    data = b"RF64" + wav_bytes(pcm(2.0), stated_bytes=4_000)[4:]
    assert find_parts(data) == (Part(0, len(data)),)


# MP4, Matroska, CAF.


def box(kind: bytes, size: int, *, wide: bool = False) -> bytes:
    head = struct.pack(">I4sQ", 1, kind, size + 16) if wide else struct.pack(">I4s", size + 8, kind)
    return head + bytes(size)


def test_an_mp4_ends_where_its_boxes_do() -> None:
    first = box(b"ftyp", 16) + box(b"mdat", 5_000, wide=True) + box(b"moov", 300)
    second = box(b"ftyp", 16) + box(b"moov", 300) + b"\0\0\0\0mdat" + bytes(999)
    assert cut(first + second, find_parts(first + second)) == [first, second]
    incomplete = box(b"ftyp", 16) + box(b"free", 50)
    data = incomplete + first
    assert find_parts(data) == (Part(0, len(data)),), "nothing to open before the second"


def streamed_webm(data: bytes, *, clusters: bool) -> bytes:
    """A WebM of which no size is known, as browsers record it; with `clusters` theirs neither."""
    ids = [b"\x18\x53\x80\x67"] + [b"\x1f\x43\xb6\x75"] * clusters
    for identifier in ids:
        at = data.find(identifier)
        while at >= 0:
            length = 9 - data[at + 4].bit_length()
            unknown = bytes([0xFF >> (length - 1)]) + b"\xff" * (length - 1)
            data = data[: at + 4] + unknown + data[at + 4 + length :]
            at = data.find(identifier, at + 4)
    return data


@pytest.mark.parametrize("clusters", [False, True])
def test_recordings_of_a_browser_part_though_they_know_no_size(
    make: Callable[[str, float], bytes], clusters: bool
) -> None:
    first = streamed_webm(make("webm", 3.0), clusters=clusters)
    second = streamed_webm(make("webm", 2.0), clusters=clusters)
    assert find_parts(first) == (Part(0, len(first)),)
    parts = find_parts(first + second)
    assert cut(first + second, parts) == [first, second]
    assert decoded(second) == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("seconds", [0.2, 3.0])
def test_a_matroska_that_was_cut_off_does_not_hide_the_next(
    make: Callable[[str, float], bytes], seconds: float
) -> None:
    first, second = make("mkv", 2.0)[:-6_000], make("mkv", seconds)
    assert cut(first + second, find_parts(first + second)) == [first, second]


def ima4(packets: int) -> bytes:
    """A CAF of Apple's IMA4, with a table of packets that lists none."""
    body = b"".join(b"\x00\x20" + b"\x11\x99" * 16 for _ in range(packets))

    def caf(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">q", len(content)) + content

    return (
        b"caff\0\1\0\0"
        + caf(b"desc", struct.pack(">d4sIIIII", 22_050.0, b"ima4", 0, 34, 64, 1, 0))
        + caf(b"pakt", struct.pack(">qqii", 0, packets * 64 - 30, 0, 30))
        + caf(b"free", bytes(100))
        + caf(b"data", bytes(4) + body)
    )


def test_an_empty_table_of_packets_is_hidden_from_ffmpeg() -> None:
    data = ima4(173)
    with pytest.raises(av.error.InvalidDataError):
        decoded(data)
    patch = find_parts(data)[0].patch
    assert patch == Patch(data.index(b"pakt"), b"free")
    seen = data[: patch.at] + patch.bytes + data[patch.at + len(patch.bytes) :]
    assert decoded(seen) == pytest.approx(173 * 64 / 22_050)


def test_a_table_of_packets_that_is_needed_stays(make: Callable[[str, float], bytes]) -> None:
    assert find_parts(make("caf", 1.0))[0].patch is None


# Any bytes.

HEADS = (
    streams(1, 2) + streams(3),
    wav_bytes(pcm(0.02)) * 2,
    wav_bytes(pcm(0.5), stated_bytes=10),
    box(b"ftyp", 16) + box(b"mdat", 50, wide=True) + box(b"moov", 30) + box(b"ftyp", 9),
    bytes.fromhex("1A45DFA3 87 4282 84 7765626D 18538067 FF 1F43B675 82 0000 1A45DFA3 80")
    + b"webm",
    b"fLaC\0\0\0\x22" * 3,
    b"#!AMR\n" + b"\x3c" * 40 + b"#!AMR-WB\n",
    ima4(3) * 2,
    (b"FORM\0\0\0\x09AIFF" + b"x" * 6) * 3,
    (b"FLV\1\5\0\0\0\x09\0\0\0\0" + b"\x08\0\0\x05" + bytes(16)) * 3,
)


@given(st.one_of(st.binary(), mutated_heads(HEADS)))
def test_parts_are_the_whole_file_in_order(data: bytes) -> None:
    found = find_parts(data)
    assert all(part.start < part.end for part in found)
    assert all(a.end == b.start for a, b in pairwise(found))
    assert b"".join(cut(data, found)) == data
    for part in found:
        if part.patch is not None:
            assert 0 <= part.patch.at <= part.end - part.start - len(part.patch.bytes)
    if data:
        with mmap.mmap(-1, len(data)) as mapped:
            mapped[:] = data
            assert find_parts(mapped) == found


@given(st.binary())
def test_bytes_of_no_kind_are_one_part(data: bytes) -> None:
    assert find_parts(b"?" + data) == (Part(0, 1 + len(data)),)


def test_a_file_without_bytes_has_no_parts() -> None:
    assert find_parts(b"") == ()


def behind_a_wav(tail: bytes) -> Part:
    return find_parts(wav_bytes(pcm(1.0)) + tail)[0]


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(np.random.default_rng(1).bytes(40_000), id="an archive or a picture"),
        pytest.param(
            b"<?xpacket begin='x'?><x:xmpmeta>" + b"<rdf:li>word</rdf:li>" * 2_000, id="XMP"
        ),
        pytest.param(bytes(2_000) + chunk(b"LIST", b"INFO" + b"text " * 8_000), id="padding"),
        # A data chunk whose size is two bytes short.
        pytest.param(
            b"\1\2" + chunk(b"LIST", b"INFO" + b"text " * 8_000), id="a chunk, not quite there"
        ),
    ],
)
def test_what_a_program_appends_to_a_wav_is_no_audio(tail: bytes) -> None:
    assert not behind_a_wav(tail).ignore_length


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_samples_behind_a_stale_size_are_audio(channels: int, rate: int) -> None:
    samples = np.repeat(pcm(4.0, rate)[:, None], channels, 1)
    data = wav_bytes(samples, rate, stated_bytes=rate * channels)
    assert find_parts(data)[0].ignore_length
    # Of three bytes each, only two are looked at.
    wide = np.zeros((len(samples), channels, 3), np.uint8)
    wide[..., 1:] = samples[..., None].view(np.uint8)
    body = wide.tobytes()
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 3, channels * 3, 24)
    parts = chunk(b"fmt ", head) + b"data" + struct.pack("<I", 3 * channels * 1_000) + body
    assert find_parts(b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts)[
        0
    ].ignore_length
