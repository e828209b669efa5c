"""Tracks, channels and joined files, each kind as people have them, from path to samples."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.containers import Track, write
from tests.fakes.media import encode, tone, wav_bytes, write_wav
from worker.errors import ErrorCode, JobError
from worker.speech.media.reader import AudioLimits, AudioReader

Samples = NDArray[np.float32]

RATE = 16_000
LOW, HIGH, OTHER = 440.0, 1_000.0, 1_600.0


def read(path: Path) -> tuple[Samples, list[str]]:
    with AudioReader(path, AudioLimits(600.0)) as reader:
        pieces = list(reader)
    return np.concatenate(pieces), reader.notes


def hertz(samples: Samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * RATE / len(samples)


def sounds(path: Path, hertz_in_turn: list[float], seconds: float = 2.0) -> list[str]:
    """The notes of a file in which these tones come one after the other."""
    found, notes = read(path)
    assert len(found) / RATE == pytest.approx(seconds * len(hertz_in_turn), abs=0.2)
    for number, expected in enumerate(hertz_in_turn):
        middle = int((number + 0.5) * len(found) / len(hertz_in_turn))
        assert hertz(found[middle - 8_000 : middle + 8_000]) == pytest.approx(expected, abs=8.0)
    return notes


def track(pitch: float, *, loudness: float = 0.3, **how: object) -> Track:
    samples = tone(2.0, 48_000, pitch, loudness)
    return Track(samples, "aac", 48_000, **how)  # type: ignore[arg-type]


# Tracks.


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_the_track_that_is_marked_is_taken(tmp_path: Path, ending: str) -> None:
    tracks = [track(LOW, default=False), track(HIGH, default=True)]
    path = write(tmp_path / f"a.{ending}", tracks, container={"mkv": "matroska"}.get(ending))
    (note,) = sounds(path, [HIGH])
    assert note == (
        "Of 2 audio tracks, counted from 0, track 1 (default) was transcribed; left out: 0"
    )


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_a_track_without_sound_is_passed_over(tmp_path: Path, ending: str) -> None:
    tracks = [track(LOW, loudness=1e-5, default=True), track(HIGH, default=False)]
    containers = {"mkv": "matroska", "ts": "mpegts"}
    path = write(tmp_path / f"a.{ending}", tracks, container=containers.get(ending))
    (note,) = sounds(path, [HIGH])
    assert note.endswith(" without sound")


def test_a_track_that_is_silent_for_long_and_then_not_has_sound(tmp_path: Path) -> None:
    late = np.concatenate([np.zeros(20 * 48_000, np.float32), tone(2.0, 48_000, LOW)])
    path = write(
        tmp_path / "a.mka",
        [Track(late, "aac", 48_000, default=True), track(HIGH, default=False)],
        container="matroska",
    )
    found, _ = read(path)
    assert len(found) / RATE == pytest.approx(22.0, abs=0.1)


def test_where_no_track_has_sound_the_note_says_so(tmp_path: Path) -> None:
    tracks = [track(LOW, loudness=0.0), track(HIGH, loudness=0.0)]
    _, notes = read(write(tmp_path / "a.mka", tracks, container="matroska"))
    assert "was transcribed (no track has sound)" in notes[0]


def test_a_track_without_a_decoder_is_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mka",
        [track(LOW, default=True), Track(tone(2.0, 48_000, HIGH), "libopus", 48_000)],
        container="matroska",
    )
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ", 1))
    (note,) = sounds(path, [HIGH])
    assert "left out: 0 (default) without a decoder" in note


# Channels.


@pytest.mark.parametrize("count", [3, 6, 9, 11, 13, 15, 24])
def test_whichever_channel_of_a_field_recorder_speaks(tmp_path: Path, count: int) -> None:
    channels = np.zeros((32_000, count), "<i2")
    channels[:, count - 1] = tone(2.0, hertz=LOW) * 32_000
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(channels))
    assert sounds(path, [LOW]) == []


@pytest.mark.parametrize(
    ("ending", "codec", "rate"),
    [("m4a", "aac", 48_000), ("opus", "libopus", 48_000), ("flac", "flac", 16_000)],
)
def test_surround_of_eight_channels(tmp_path: Path, ending: str, codec: str, rate: int) -> None:
    containers = {"m4a": "ipod", "opus": "ogg", "flac": "flac"}
    sound = np.repeat(tone(2.0, rate, LOW)[None], 8, 0)
    path = write(
        tmp_path / f"a.{ending}",
        [Track(sound, codec, rate, layout="7.1")],
        container=containers[ending],
    )
    assert sounds(path, [LOW]) == []


def test_channels_in_an_order_of_the_file_s_own(tmp_path: Path) -> None:
    """A QuickTime file that says right, left; a child process died of its second reading."""
    path = write(
        tmp_path / "a.mov",
        [
            Track(
                np.repeat(tone(2.0, 48_000, LOW)[None], 2, 0), "pcm_s16le", 48_000, layout="stereo"
            )
        ],
        container="mov",
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"chan")
    # Tag 0: a list follows, of two channels: right (2), left (1).
    entries = b"".join(number.to_bytes(4, "big") + bytes(16) for number in (2, 1))
    body = bytes(4) + bytes(8) + (2).to_bytes(4, "big") + entries
    grown = len(body) + 8 - int.from_bytes(data[at - 4 : at], "big")
    data[at - 4 : at + len(body) + 4 - grown] = (len(body) + 8).to_bytes(4, "big") + b"chan" + body
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"sowt"):
        place = data.index(box)
        if place > at:
            continue
        size = int.from_bytes(data[place - 4 : place], "big") + grown
        data[place - 4 : place] = size.to_bytes(4, "big")
    path.write_bytes(bytes(data))
    for _ in range(3):
        assert sounds(path, [LOW]) == []


def test_stereo_that_cancels(tmp_path: Path) -> None:
    left = (tone(2.0, hertz=LOW) * 32_000).astype("<i2")
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.stack([left, -left], 1)))
    (note,) = sounds(path, [LOW])
    assert note.startswith("Channels that cancel each other were turned over")


# Joined files.


def join(path: Path, *files: Path) -> Path:
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    return path


@pytest.mark.parametrize(
    ("ending", "container", "codecs", "rates", "layouts"),
    [
        ("ogg", "ogg", ("libopus", "libopus"), (48_000, 48_000), ("stereo", "mono")),
        ("ogg", "ogg", ("libopus", "flac"), (48_000, 16_000), ("mono", "mono")),
        ("wav", "wav", ("pcm_s16le", "pcm_mulaw"), (16_000, 8_000), ("mono", "mono")),
        ("m4a", "ipod", ("aac", "aac"), (44_100, 22_050), ("mono", "stereo")),
        ("webm", "webm", ("libopus", "libopus"), (48_000, 48_000), ("mono", "stereo")),
        ("ts", "mpegts", ("aac", "mp2"), (48_000, 24_000), ("mono", "mono")),
        ("ts", "mpegts", ("mp2", "aac"), (24_000, 48_000), ("mono", "mono")),
    ],
)
def test_both_of_two_joined_recordings_are_read(
    tmp_path: Path,
    ending: str,
    container: str,
    codecs: tuple[str, str],
    rates: tuple[int, int],
    layouts: tuple[str, str],
) -> None:
    files = [
        encode(
            tmp_path / f"{number}.{ending}", tone(2.0, rate, pitch), codec=codec, rate=rate,
            container=container, layout=layout,
        )
        for number, (codec, rate, layout, pitch) in enumerate(
            zip(codecs, rates, layouts, (LOW, HIGH), strict=True)
        )
    ]  # fmt: skip
    notes = sounds(join(tmp_path / f"a.{ending}", *files), [LOW, HIGH])
    assert "The file holds 2 recordings one after the other: times count through" in notes


def test_three_transport_streams_under_other_numbers(tmp_path: Path) -> None:
    files = [
        write(
            tmp_path / f"{number}.ts",
            [Track(tone(2.0, 24_000, pitch), "mp2", 24_000)],
            container="mpegts",
            options={"mpegts_start_pid": str(300 + 100 * number)},
        )
        for number, pitch in enumerate((LOW, HIGH, OTHER))
    ]
    notes = sounds(join(tmp_path / "a.ts", *files), [LOW, HIGH, OTHER])
    assert not any("audio tracks" in note for note in notes), "none of them is left out"


def test_pictures_of_the_first_recording_are_no_witness_of_the_second_s_clock(
    tmp_path: Path,
) -> None:
    files = [
        write(
            tmp_path / f"{number}.ts",
            [Track(tone(2.0, 24_000, pitch), "mp2", 24_000, start=600.0 * number)],
            container="mpegts",
            options={"mpegts_start_pid": str(300 + 100 * number)},
            video=not number,
        )
        for number, pitch in enumerate((LOW, HIGH))
    ]
    sounds(join(tmp_path / "a.ts", *files), [LOW, HIGH])


def test_a_programme_that_changes_its_number_on_the_way(tmp_path: Path) -> None:
    """Both were announced at the beginning; the second begins when the first has ended."""
    path = write(
        tmp_path / "a.ts",
        [
            Track(tone(2.0, 24_000, LOW), "mp2", 24_000),
            Track(tone(2.0, 24_000, HIGH), "mp2", 24_000, start=2.0),
        ],
        container="mpegts",
    )
    notes = sounds(path, [LOW, HIGH])
    assert not any("left out" in note for note in notes)


def test_a_stream_s_head_before_each_of_its_pieces_is_no_new_recording(tmp_path: Path) -> None:
    whole = write(
        tmp_path / "a.mp4",
        [Track(tone(6.0, 48_000, LOW), "aac", 48_000)],
        container="mp4",
        options={
            "movflags": "frag_keyframe+empty_moov+default_base_moof",
            "frag_duration": "1000000",
        },
    ).read_bytes()
    pieces = whole.split(b"moof")
    sizes = [piece[-4:] for piece in pieces[:-1]]
    head = pieces[0][:-4]
    fragments = [size + b"moof" + piece[:-4] for size, piece in zip(sizes, pieces[1:], strict=True)]
    fragments[-1] += pieces[-1][-4:]
    del fragments[2]
    path = tmp_path / "b.mp4"
    path.write_bytes(b"".join(head + fragment for fragment in fragments))
    found, notes = read(path)
    assert len(found) / RATE == pytest.approx(6.0, abs=0.1)
    assert [note for note in notes if "recordings" in note] == []
    assert any("s of silence stand in 1 place" in note for note in notes)


def test_a_part_that_can_t_be_read_leaves_the_others(tmp_path: Path) -> None:
    sound = encode(tmp_path / "0.mka", tone(2.0, 48_000, LOW), codec="aac", rate=48_000,
                   container="matroska")  # fmt: skip
    odd = tmp_path / "1.mka"
    odd.write_bytes(sound.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    for files in ((sound, odd), (odd, sound)):
        notes = sounds(join(tmp_path / "a.mka", *files), [LOW])
        assert "1 of the recordings in the file could not be read" in notes
    with pytest.raises(JobError, match="No decoder is at hand"):
        read(join(tmp_path / "a.mka", odd, odd))


def test_pieces_of_a_stream_whose_clock_goes_on_follow_on(tmp_path: Path) -> None:
    pieces = [
        write(
            tmp_path / f"{number}.mka",
            [Track(tone(2.0, 48_000, pitch), "libopus", 48_000, start=5.0 * number)],
            container="matroska",
        )
        for number, pitch in enumerate((LOW, HIGH))
    ]
    notes = sounds(join(tmp_path / "a.mka", *pieces), [LOW, HIGH])
    assert not any("silence" in note for note in notes)


# What is no audio file.


def test_an_archive_with_a_recording_in_it_is_named(tmp_path: Path) -> None:
    """Stored, not packed: FFmpeg takes it for an MP3 by its name, and finds a little."""
    path = tmp_path / "b.mp3"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("text.txt", "words " * 5_000)
        archive.write(write_wav(tmp_path / "a.wav", tone(2.0)), "a.wav")
    with pytest.raises(JobError, match="The file is a ZIP archive; send the audio in it") as caught:
        read(path)
    assert caught.value.code is ErrorCode.NOT_MEDIA


def test_a_colon_in_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "12:30.wav", tone(2.0, hertz=LOW))
    monkeypatch.chdir(tmp_path)
    assert sounds(Path("12:30.wav"), [LOW]) == []
