"""Small files of every kind that is read in its own way, and the same ones damaged, by number."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tests.fakes.containers import Track, write
from tests.fakes.media import Samples, encode, tone, wav_bytes
from worker.speech.media.raw import RawAudio

SECONDS = 0.4

PAGES = {"page_duration": "100000"}

LEAST = 128
"""Bytes that are left of a file."""

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "200000"}


@dataclass(frozen=True, slots=True)
class Original:
    """A whole file.

    Attributes:
        name: what is special about it.
        data: its bytes.
        raw: what it holds, if it has no header.
    """

    name: str
    data: bytes
    raw: RawAudio | None = None


def originals(folder: Path) -> list[Original]:
    """One file of each kind, made in this folder; always in this order."""
    return [_original(folder, name, make) for name, make in _KINDS.items()] + [
        Original("mu-law", _pcm(tone(SECONDS, 8_000))[1::2], RawAudio("mulaw", 8_000)),
        Original("raw PCM", _pcm(tone(SECONDS)), RawAudio("s16le", 16_000, 3)),
    ]


def _original(folder: Path, name: str, make: Callable[[Path], bytes]) -> Original:
    return Original(name, make(folder / name))


def damaged(original: bytes, seed: int) -> bytes:
    """A file with a few bytes, or whole stretches, changed; the same for the same seed.

    Bytes are changed where decoders believe them most, at the beginning and in the heads of
    packets, or anywhere. Half of the files keep their size: in some formats nothing is found behind
    a byte too many. Ogg's checksums are mended in half, or no damage would get to a decoder.
    """
    rng = random.Random(seed)
    data = bytearray(original)
    place = rng.choice((_at_the_beginning, _at_a_head, _anywhere))
    keeps_size = rng.random() < 0.5
    for _ in range(rng.choice((0, 1, 2, 4, 16, 64))):
        _change(data, min(place(data, rng), len(data) - 1), rng, keeps_size=keeps_size)
    for _ in range(rng.choice((0, 1, 2))):
        _move(data, rng, keeps_size=keeps_size)
    if not keeps_size and rng.random() < 0.3:
        del data[rng.randrange(1, len(data)) :]
    if rng.random() < 0.5:
        _mend_checksums(data)
    return bytes(data)


_MARKS = (
    b"OggS", b"RIFF", b"data", b"fmt ", b"fLaC", b"#!AMR", b"caff", b"chan", b"FLV", b"idx1",
    b"\0\0\1\xba", b"\0\0\1\xbd", b"\0\0\1\xc0", b"G\x40", b"G\x41", b"\x08\0",
    b"ftyp", b"elst", b"mdhd", b"stts", b"stsc", b"stsz", b"stco", b"stsd", b"tfdt", b"trun",
    b"\x1A\x45\xDF\xA3", b"\x1F\x43\xB6\x75", b"\xE7", b"\xA3", b"\xAE", b"OpusHead",
)  # fmt: skip
"""What stands at the heads of packets, and of tables of times, sizes and tracks."""


@st.composite
def mutated_heads(draw: st.DrawFn, heads: Sequence[bytes]) -> bytes:
    """The head of something real, cut off, changed in places, and something behind it."""
    data = bytearray(draw(st.sampled_from(heads)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        put = draw(st.one_of(st.binary(max_size=9), st.just(b"\xff" * 8), st.just(bytes(8))))
        data[at : at + len(put)] = put
    start = draw(st.integers(0, 12)) if draw(st.booleans()) else 0
    end = draw(st.integers(0, len(data)))
    return bytes(data[start : max(start, end)]) + draw(st.binary(max_size=40))


def _at_the_beginning(data: bytearray, rng: random.Random) -> int:
    del data
    return int(rng.expovariate(1 / 200))


def _at_a_head(data: bytearray, rng: random.Random) -> int:
    """Right behind one of the marks; where the file has it nowhere, anywhere."""
    found = data.find(rng.choice(_MARKS), rng.randrange(len(data)))
    return _anywhere(data, rng) if found < 0 else found + rng.randrange(32)


def _anywhere(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(data))


def _change(data: bytearray, at: int, rng: random.Random, *, keeps_size: bool) -> None:
    kind = rng.random() * (0.7 if keeps_size else 1.0)
    if kind < 0.5:
        data[at] = rng.randrange(256)
    elif kind < 0.7:
        word = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        data[at : at + 4] = word[: len(data) - at]
    elif kind < 0.85 and len(data) > LEAST:
        del data[at : at + rng.randrange(1, 64)]
    else:
        data[at:at] = rng.randbytes(rng.randrange(1, 64))


def _move(data: bytearray, rng: random.Random, *, keeps_size: bool) -> None:
    """A hole, or a stretch that changes places with another, comes twice, or is lost."""
    size = rng.randrange(1, max(2, int(rng.expovariate(20 / len(data)))))
    one, other = sorted(rng.randrange(len(data)) for _ in range(2))
    stretch = bytes(data[one : one + size])
    kind = rng.randrange(2 if keeps_size else 4)
    if kind == 0:
        data[one : one + size] = bytes(len(stretch))
    elif kind == 1 and one + size <= other <= len(data) - size:
        data[one : one + size], data[other : other + size] = data[other : other + size], stretch
    elif kind == 2:
        data[other:other] = stretch
    elif kind == 3 and len(data) - size > LEAST:
        del data[one : one + size]


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _mend_checksums(data: bytearray) -> None:
    """Gives each page of an Ogg file the checksum of what stands in it now."""
    at = data.find(b"OggS")
    while 0 <= at <= len(data) - 27:
        size = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        data[at + 22 : at + 26] = bytes(4)
        # Ogg's CRC is zlib's with the bits the other way round, and begins with 0.
        checksum = zlib.crc32(data[at : at + size].translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        data[at + 22 : at + 26] = checksum.to_bytes(4, "little").translate(_MIRRORED)[::-1]
        at = data.find(b"OggS", at + 1)


# The kinds.


def _pcm(samples: Samples) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def _wav(path: Path) -> bytes:
    del path
    return wav_bytes((tone(SECONDS) * 32_767).astype("<i2"))


def _stale_wav(path: Path) -> bytes:
    """The header has the size of an earlier, shorter recording."""
    del path
    return wav_bytes((tone(SECONDS) * 32_767).astype("<i2"), stated_bytes=3_000)


def _wav_of_eight(path: Path) -> bytes:
    """Eight channels that have no places."""
    del path
    one = (tone(SECONDS) * 32_767).astype("<i2")
    return wav_bytes(np.stack([one] * 8, 1))


def _one(path: Path, *, codec: str, container: str, rate: int, video: bool = False) -> bytes:
    sound = tone(SECONDS, rate)
    encode(path, sound, codec=codec, container=container, rate=rate, video=video)
    return path.read_bytes()


def _tracks(
    path: Path,
    *,
    tracks: Sequence[Track],
    container: str,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    write(path, tracks, container=container, video=video, options=options)
    return path.read_bytes()


def _track(codec: str, rate: int, **more: object) -> Track:
    return Track(tone(SECONDS, rate), codec, rate, **more)  # type: ignore[arg-type]


def _twice(path: Path, *, make: Callable[[Path], bytes]) -> bytes:
    return make(path) * 2


def _other_numbers(path: Path) -> bytes:
    """Two transport streams, one behind the other, the second's sound under another number."""
    first, second = (
        _tracks(
            path,
            tracks=[_track("mp2", 24_000)],
            container="mpegts",
            options={"mpegts_start_pid": pid},
        )
        for pid in ("256", "512")
    )
    return first + second


def _chained(path: Path) -> bytes:
    """Two Ogg streams, one behind the other, of one channel and of two."""
    return b"".join(
        _tracks(
            path, tracks=[_track("libopus", 48_000, layout=layout)], container="ogg", options=PAGES
        )
        for layout in ("mono", "stereo")
    )


def _phone(path: Path, *, container: str) -> bytes:
    """AMR with a pause in which the phone sends that there is silence (DTX)."""
    sound = np.concatenate(
        [tone(SECONDS, 8_000), np.zeros(6_400, np.float32), tone(SECONDS, 8_000)]
    )
    track = Track(sound, "libopencore_amrnb", 8_000, options={"dtx": "1"})
    return _tracks(path, tracks=[track], container=container)


def _own_order(path: Path) -> bytes:
    """A CAF that names its channels one by one, the right one first."""
    data = _tracks(path, tracks=[_track("pcm_s16be", 16_000, layout="stereo")], container="caf")
    places = b"".join(struct.pack(">IIfff", place, 0, 0.0, 0.0, 0.0) for place in (2, 1))
    body = struct.pack(">III", 0, 0, 2) + places
    at = data.index(b"chan")
    end = at + 12 + int.from_bytes(data[at + 4 : at + 12], "big")
    return data[:at] + b"chan" + struct.pack(">q", len(body)) + body + data[end:]


_KINDS: dict[str, Callable[[Path], bytes]] = {
    "wav": _wav,
    "flac": partial(_one, codec="flac", container="flac", rate=16_000),
    "mp3": partial(_one, codec="libmp3lame", container="mp3", rate=16_000),
    "opus": partial(_tracks, tracks=[_track("libopus", 48_000)], container="ogg", options=PAGES),
    "m4a": partial(_one, codec="aac", container="ipod", rate=16_000),
    "mp4 film": partial(_one, codec="aac", container="mp4", rate=16_000, video=True),
    "mkv film": partial(_one, codec="flac", container="matroska", rate=16_000, video=True),
    "ts film": partial(_tracks, tracks=[_track("aac", 48_000)], container="mpegts", video=True),
    "ts late": partial(
        _tracks, tracks=[_track("mp2", 24_000, start=3.0)], container="mpegts", video=True
    ),
    "ts other numbers": _other_numbers,
    "program stream": partial(
        _tracks, tracks=[_track("mp2", 44_100)], container="mpeg", video=True
    ),
    "vob": partial(_tracks, tracks=[_track("ac3", 48_000)], container="vob", video=True),
    "chained ogg": _chained,
    "joined wav": partial(_twice, make=_wav),
    "joined mp4": partial(_twice, make=partial(_one, codec="alac", container="mp4", rate=16_000)),
    "joined mkv": partial(
        _twice, make=partial(_one, codec="flac", container="matroska", rate=16_000)
    ),
    "joined flac": partial(_twice, make=partial(_one, codec="flac", container="flac", rate=16_000)),
    "joined flv": partial(
        _twice, make=partial(_one, codec="libmp3lame", container="flv", rate=44_100)
    ),
    "fragmented mp4": partial(
        _tracks, tracks=[_track("aac", 16_000)], container="mp4", options=FRAGMENTED
    ),
    "mp4 with a hole": partial(
        _tracks,
        tracks=[_track("mp2", 24_000, start=2.0, lost=(0.1, 0.2))],
        container="mp4",
        video=True,
    ),
    "webm paused": partial(
        _tracks, tracks=[_track("libopus", 48_000, paused=(0.2, 4.0))], container="webm"
    ),
    "mkv of three tracks": partial(
        _tracks,
        tracks=[
            Track(np.zeros(6_400, np.float32), "flac", default=True),
            _track("libopus", 48_000, default=False, metadata={"language": "eng"}),
            _track("ac3", 48_000, default=False, layout="stereo", metadata={"title": "b"}),
        ],
        container="matroska",
    ),
    "mp4 of two tracks": partial(
        _tracks,
        tracks=[_track("ac3", 48_000, default=False), _track("mp2", 24_000, default=True)],
        container="mp4",
    ),
    "7.1": partial(
        _tracks, tracks=[_track("libopus", 48_000, layout="7.1")], container="ogg", options=PAGES
    ),
    "eight channels": _wav_of_eight,
    "amr": partial(_phone, container="amr"),
    "3gp": partial(_phone, container="3gp"),
    "mov": partial(_tracks, tracks=[_track("pcm_s16le", 44_100, layout="stereo")], container="mov"),
    "caf": partial(_one, codec="alac", container="caf", rate=44_100),
    "caf with an order": _own_order,
    "aiff": partial(_one, codec="pcm_s16be", container="aiff", rate=16_000),
    "flv": partial(_tracks, tracks=[_track("libmp3lame", 44_100)], container="flv", video=True),
    "avi": partial(_tracks, tracks=[_track("pcm_s16le", 44_100)], container="avi", video=True),
    "asf": partial(
        _tracks, tracks=[_track("wmav2", 44_100, bit_rate=64_000)], container="asf", video=True
    ),
    "stale wav": _stale_wav,
}
