"""Sound lies where a player plays it, in every container that has a clock; in others it follows on.

Real speech goes into each; what is decoded is compared with it by correlation, before and behind
the place in question.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.containers import Track, write
from tests.fakes.media import encode
from tests.fakes.speech import conversation
from worker.speech.media.reader import AudioLimits, AudioReader

Samples = NDArray[np.float32]

RATE = 16_000
WITHIN = 0.05
"""Seconds that sound may be off: encoders begin with up to 0.04 s of nothing, which is played."""

SECONDS = 8.0
PIECE = 1.5
"""Seconds of speech that are looked for."""

WITH_FILM = [
    ("mp4", "aac", 44_100),
    ("mov", "pcm_s16le", 44_100),
    ("mkv", "aac", 48_000),
    ("mkv", "libopus", 48_000),
    ("mkv", "ac3", 48_000),
    ("webm", "libopus", 48_000),
    ("ts", "aac", 48_000),
    ("ts", "mp2", 24_000),
    ("ts", "libmp3lame", 44_100),
    ("ts", "libopus", 48_000),
    ("flv", "aac", 44_100),
    ("flv", "libmp3lame", 44_100),
    ("mpg", "mp2", 44_100),
    ("vob", "ac3", 48_000),
    ("nut", "aac", 44_100),
    ("wtv", "mp2", 44_100),
    ("3gp", "libopencore_amrnb", 8_000),
]

PACKETS = [one for one in WITH_FILM if one[0] != "mov"]
"""Raw samples in mov have a time at their beginning alone."""

ALONE = [("mka", "libopus", 48_000), ("ogg", "libopus", 48_000), ("ogg", "flac", 16_000),
         ("m4a", "aac", 44_100)]  # fmt: skip

CONTAINERS = {"mkv": "matroska", "mka": "matroska", "ts": "mpegts", "mpg": "mpeg", "m4a": "ipod"}


def talk(rate: int = RATE) -> Samples:
    """Real speech without long pauses."""
    sound = conversation()[9 * RATE : int((9 + SECONDS) * RATE)]
    places = np.arange(int(SECONDS * rate)) * (RATE / rate)
    return np.asarray(np.interp(places, np.arange(len(sound)), sound), dtype=np.float32)


def read(path: Path) -> tuple[Samples, list[str]]:
    with AudioReader(path, AudioLimits(120.0)) as reader:
        return np.concatenate(list(reader)), reader.notes


def lag(found: Samples, at: float, expected: float) -> float:
    """How much later than expected the speech of a place lies in what was decoded, in seconds."""
    piece = talk()[int(at * RATE) : int((at + PIECE) * RATE)]
    size = 1 << (len(found) + len(piece)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(piece, size)), size)
    return float(np.argmax(likeness[: len(found)])) / RATE - expected


def made(path: Path, codec: str, rate: int, *, video: bool, **places: object) -> Path:
    container = CONTAINERS.get(path.suffix[1:], path.suffix[1:])
    track = Track(talk(rate), codec, rate, **places)  # type: ignore[arg-type]
    return write(path, [track], container=container, video=video)


@pytest.mark.parametrize(("ending", "codec", "rate"), WITH_FILM)
def test_audio_that_begins_late_in_a_film(
    tmp_path: Path, ending: str, codec: str, rate: int
) -> None:
    path = made(tmp_path / f"a.{ending}", codec, rate, video=True, start=4.0)
    found, notes = read(path)
    for at in (0.5, 5.0):
        assert abs(lag(found, at, at + 4.0)) < WITHIN
    assert notes == [
        "4.0 s of silence stand in 1 place where the file has no audio, so that times are those "
        "of a player"
    ]
    assert not np.abs(found[: int(3.9 * RATE)]).any(), "silence, and nothing else"


@pytest.mark.parametrize(
    ("ending", "codec", "rate", "video"),
    [*((*one, True) for one in PACKETS), *((*one, False) for one in [*PACKETS, *ALONE])],
)
def test_lost_packets_leave_a_hole_and_move_nothing(
    tmp_path: Path, ending: str, codec: str, rate: int, *, video: bool
) -> None:
    path = made(tmp_path / f"a.{ending}", codec, rate, video=video, lost=(2.5, 4.5))
    found, notes = read(path)
    for at in (0.5, 5.0):
        assert abs(lag(found, at, at)) < WITHIN
    assert any(note.startswith("2.0 s of silence stand in 1 place") for note in notes)


@pytest.mark.parametrize(("ending", "codec", "rate"), [*PACKETS, *ALONE])
def test_a_paused_recording_goes_on_when_it_went_on(
    tmp_path: Path, ending: str, codec: str, rate: int
) -> None:
    path = made(tmp_path / f"a.{ending}", codec, rate, video=False, paused=(3.0, 7.0))
    found, _ = read(path)
    assert abs(lag(found, 0.5, 0.5)) < WITHIN
    assert abs(lag(found, 5.0, 12.0)) < WITHIN


def test_a_track_that_begins_late_in_a_file_of_sound_alone(tmp_path: Path) -> None:
    """An empty edit in an m4a is played as silence; a piece of a radio stream begins at once."""
    late, _ = read(made(tmp_path / "a.m4a", "aac", 44_100, video=False, start=4.0))
    assert abs(lag(late, 0.5, 4.5)) < WITHIN
    for ending, codec, start in (("ogg", "libopus", 4.0), ("m4a", "aac", 3_600.0)):
        piece, _ = read(made(tmp_path / f"b.{ending}", codec, 48_000, video=False, start=start))
        assert abs(lag(piece, 0.5, 0.5)) < WITHIN


FOLLOW_ON = [
    ("wav", "pcm_s16le", 16_000),
    ("mp3", "libmp3lame", 44_100),
    ("aac", "aac", 44_100),
    ("caf", "alac", 44_100),
    ("avi", "pcm_s16le", 44_100),
    ("amr", "libopencore_amrnb", 8_000),
    ("tta", "tta", 44_100),
    ("wv", "wavpack", 44_100),
    ("aiff", "pcm_s16be", 44_100),
    ("au", "pcm_s16be", 44_100),
    ("w64", "pcm_s16le", 44_100),
    ("voc", "pcm_s16le", 44_100),
    ("mp2", "mp2", 44_100),
    ("ac3", "ac3", 48_000),
    ("eac3", "eac3", 48_000),
    ("latm", "aac", 48_000),
    ("g722", "g722", 16_000),
    ("rm", "ac3", 48_000),
]


@pytest.mark.parametrize(("ending", "codec", "rate"), FOLLOW_ON)
def test_formats_without_a_clock_follow_on(
    tmp_path: Path, ending: str, codec: str, rate: int
) -> None:
    container = {"aac": "adts"}.get(ending, ending)
    path = encode(tmp_path / f"a.{ending}", talk(rate), codec=codec, container=container, rate=rate)
    found, notes = read(path)
    for at in (0.5, 5.0):
        assert abs(lag(found, at, at)) < WITHIN
    assert notes == []


def test_an_overlap_of_segments_is_left_out_once(tmp_path: Path) -> None:
    """As a stream's segments have it, joined: each begins a little before the last one ends."""
    sound, overlap = talk(48_000), 0.06
    cut, frame = 4 * 48_000, 1_152
    cut -= cut % frame
    first = Track(sound[:cut], "mp2", 48_000)
    behind = cut - round(overlap * 48_000)
    second = Track(sound[behind:], "mp2", 48_000, start=behind / 48_000)
    segments = [
        write(tmp_path / f"{number}.ts", [track], container="mpegts").read_bytes()
        for number, track in enumerate((first, second))
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(segments))
    found, notes = read(path)
    assert len(found) / RATE == pytest.approx(SECONDS, abs=0.03)
    assert abs(lag(found, 5.0, 5.0)) < 0.02
    assert notes == []


@pytest.mark.parametrize("ending", ["amr", "3gp"])
def test_amr_with_the_pauses_of_phones(tmp_path: Path, ending: str) -> None:
    """The phone sends that there is silence (DTX), which is no damage, and takes its time."""
    pause = np.zeros(8_000 * 4, np.float32)
    sound = np.concatenate([talk(8_000), pause, talk(8_000)])
    track = Track(sound, "libopencore_amrnb", 8_000, options={"dtx": "1"})
    path = write(tmp_path / f"a.{ending}", [track], container=CONTAINERS.get(ending, ending))
    found, notes = read(path)
    assert len(found) / RATE == pytest.approx(2 * SECONDS + 4.0, abs=0.1)
    assert abs(lag(found[: int(SECONDS * RATE)], 0.5, 0.5)) < WITHIN
    assert abs(lag(found[int((SECONDS + 4.0) * RATE) :], 0.5, 0.5)) < WITHIN
    assert notes == []


@pytest.mark.parametrize(("ending", "codec"), [("ts", "aac"), ("ts", "mp2"), ("mpg", "mp2")])
def test_audio_that_begins_behind_what_is_probed(tmp_path: Path, ending: str, codec: str) -> None:
    """FFmpeg doesn't know its rate then, or not even that it is there."""
    path = made(tmp_path / f"a.{ending}", codec, 48_000, video=True, start=25.0)
    found, _ = read(path)
    assert abs(lag(found, 0.5, 25.5)) < WITHIN


def test_sound_that_is_lost_while_the_pictures_go_on(tmp_path: Path) -> None:
    """Longer than a jump of the clock is believed: but the pictures' clock doesn't jump."""
    sound = np.concatenate([talk(24_000)] * 4)
    track = Track(sound, "mp2", 24_000, lost=(3.0, 20.0))
    found, _ = read(write(tmp_path / "a.ts", [track], container="mpegts", video=True))
    assert abs(lag(found[int(20.0 * RATE) : int(24.0 * RATE)], 5.0, 1.0)) < WITHIN
    found, notes = read(write(tmp_path / "b.ts", [track], container="mpegts"))
    assert len(found) / RATE == pytest.approx(4 * SECONDS - 17.0, abs=0.1)
    assert any("clock jumps once" in note for note in notes)


def test_an_mp3_behind_garbage_is_not_padded(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp3", talk(44_100), codec="libmp3lame", rate=44_100)
    garbage = np.random.default_rng(1).integers(0, 255, 30_000, np.uint8).tobytes()
    path.write_bytes(garbage + path.read_bytes())
    found, notes = read(path)
    assert len(found) / RATE == pytest.approx(SECONDS, abs=0.3)
    assert not any("silence" in note for note in notes)


def test_a_windows_media_file_is_not_padded(tmp_path: Path) -> None:
    """Its times are those of large packets, and rough."""
    path = made(tmp_path / "a.asf", "wmav2", 44_100, video=True, bit_rate=64_000)
    found, notes = read(path)
    for at in (0.5, 5.0):
        assert abs(lag(found, at, at)) < WITHIN
    assert not any("silence" in note for note in notes)


@pytest.mark.parametrize(("codec", "bit_rate"), [("wmav2", 64_000), ("libmp3lame", None)])
def test_audio_that_begins_late_in_a_windows_film(
    tmp_path: Path, codec: str, bit_rate: int | None
) -> None:
    path = made(tmp_path / "a.asf", codec, 44_100, video=True, start=4.0, bit_rate=bit_rate)
    found, _ = read(path)
    for at in (0.5, 5.0):
        assert abs(lag(found, at, at + 4.0)) < WITHIN


def test_the_clock_of_a_joined_transport_stream_goes_back(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ts", "mp2", 24_000, video=True)
    path.write_bytes(path.read_bytes() * 2)
    found, notes = read(path)
    assert abs(lag(found[: int(SECONDS * RATE)], 0.5, 0.5)) < WITHIN
    assert abs(lag(found[int(SECONDS * RATE) :], 0.5, 0.5)) < WITHIN
    assert any("clock jumps once" in note for note in notes)


def test_a_transport_stream_whose_clock_jumps_is_neither_too_long_nor_padded(
    tmp_path: Path,
) -> None:
    path = made(tmp_path / "a.ts", "mp2", 24_000, video=False, paused=(3.0, 50_000.0))
    with AudioReader(path, AudioLimits(60.0)) as reader:
        found = np.concatenate(list(reader))
        assert reader.stated_seconds is None
    assert len(found) / RATE == pytest.approx(SECONDS, abs=0.1)
    assert abs(lag(found, 5.0, 5.0)) < WITHIN
