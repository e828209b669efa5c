"""A child tells what a file has: channels and tracks, and which of them are the same."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.containers import Track, write
from tests.fakes.media import encode, tone, wav_bytes, write_wav
from tests.fakes.speech import conversation
from worker.errors import ErrorCode, JobError
from worker.jobs.speakers import MAX_LABELS
from worker.speech.children.framing import Frame
from worker.speech.media import raw
from worker.speech.media.raw import RawAudio
from worker.speech.media.selection import MOST_SURVEYED, Selection
from worker.speech.prepare.frames import PrepareConfig, PrepareTask, read_survey
from worker.speech.prepare.surveying import survey

Parts = list[tuple[int | None, int | None, int | None]]

CONFIG = PrepareConfig(mels=80, max_audio_seconds=600.0)


def frames(path: Path, kind: Any = "channels", **task: Any) -> list[Frame]:
    return list(survey(PrepareTask(str(path), survey=kind, **task), CONFIG))


def surveyed(path: Path, kind: Any = "channels", **task: Any) -> tuple[Parts, tuple[str, ...]]:
    """(stream, channel, same_as) of each part, and the notes."""
    found = frames(path, kind, **task)
    kinds = [header["kind"] for header, _ in found]
    assert (kinds[0], kinds[-1]) == ("opened", "surveyed")
    assert set(kinds[1:-1]) <= {"progress"}
    read = read_survey(found[-1][0])
    assert set(read.seconds) == {"decode"}
    parts = [(part.selection.stream, part.selection.channel, part.same_as) for part in read.found]
    return parts, read.notes


def wav(path: Path, *channels: NDArray[np.float32]) -> Path:
    path.write_bytes(wav_bytes((np.stack(channels, 1) * 32_767).astype("<i2")))
    return path


def test_a_call_has_a_channel_for_each_side(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(2.0), tone(2.0, hertz=700.0))
    assert surveyed(path) == ([(0, 0, None), (0, 1, None)], ())
    assert frames(path)[0][0]["stated_seconds"] == pytest.approx(2.0)


def test_a_file_of_no_length_has_its_channels(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", *[np.zeros(0, np.float32)] * 2)
    assert surveyed(path) == ([(0, 0, None), (0, 1, None)], ())


@pytest.mark.parametrize(
    ("name", "codec", "rate", "how"),
    [
        ("a.wav", "pcm_s16le", 8_000, {}),
        ("a.flac", "flac", 16_000, {}),
        ("a.mp3", "libmp3lame", 44_100, {"options": {"joint_stereo": "1"}}),
        ("a.m4a", "aac", 44_100, {}),
        ("a.opus", "libopus", 48_000, {"bit_rate": 32_000}),
    ],
)
def test_one_voice_in_both_channels_is_the_same_and_in_one_is_not(
    tmp_path: Path, name: str, codec: str, rate: int, how: dict[str, Any]
) -> None:
    speech = conversation()[9 * 16_000 : 11 * 16_000]
    places = np.arange(2 * rate) * (16_000 / rate)
    sound = np.interp(places, np.arange(len(speech)), speech).astype(np.float32)
    for other, same_as in ((sound, 0), (-sound, None), (np.zeros_like(sound), None)):
        track = Track(np.stack([sound, other]), codec, rate, layout="stereo", **how)
        path = write(tmp_path / name, [track])
        assert surveyed(path)[0] == [(0, 0, None), (0, 1, same_as)]


def test_a_track_of_one_channel_has_one_part(tmp_path: Path) -> None:
    assert surveyed(write_wav(tmp_path / "a.wav", tone(1.0)))[0] == [(0, 0, None)]
    empty = write_wav(tmp_path / "b.wav", np.zeros(0, np.float32))
    assert surveyed(empty)[0] == [(0, 0, None)]


def test_surround_sound(tmp_path: Path) -> None:
    """Speech in the middle alone: the others are the same, and one of them stands for all."""
    sides = np.zeros((6, 48_000), np.float32)
    sides[2] = tone(1.0, 48_000)
    path = write(tmp_path / "a.flac", [Track(sides, "flac", 48_000, layout="5.1")])
    assert [same_as for _, _, same_as in surveyed(path)[0]] == [None, 0, None, 0, 0, 0]


def test_raw_audio_has_the_channels_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    sides = np.stack([tone(1.0, 8_000), tone(1.0, 8_000, 700.0)], 1)
    path.write_bytes((sides * 32_767).astype("<i2").tobytes())
    parts, _ = surveyed(path, raw=RawAudio("s16le", 8_000, channels=2))
    assert parts == [(0, 0, None), (0, 1, None)]


def test_the_channels_of_a_later_part_are_counted(tmp_path: Path) -> None:
    mono = encode(tmp_path / "1.opus", tone(2.0, 48_000), codec="libopus", rate=48_000)
    sides = np.stack([tone(2.0, 48_000), tone(2.0, 48_000, 700.0)])
    stereo = write(tmp_path / "2.opus", [Track(sides, "libopus", 48_000, layout="stereo")])
    path = tmp_path / "a.opus"
    path.write_bytes(mono.read_bytes() + stereo.read_bytes())
    # Each part may have its own track: none is named.
    assert surveyed(path)[0] == [(None, 0, None), (None, 1, None)]


def test_channels_that_differ_are_known_at_once_where_their_number_stays(tmp_path: Path) -> None:
    """A long call waits for its survey no longer than for a glance."""
    progress = []
    for name, codec, rate in (("a.flac", "flac", 8_000), ("b.wav", "adpcm_ima_wav", 8_000)):
        sides = np.stack([tone(65.0, rate), tone(65.0, rate, 700.0)])
        path = write(tmp_path / name, [Track(sides, codec, rate, layout="stereo")])
        assert surveyed(path)[0] == [(0, 0, None), (0, 1, None)]
        progress.append(sum(header["kind"] == "progress" for header, _ in frames(path)))
    assert progress == [0, 2]


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (30, 90):
        sound = tone(seconds, 8_000)
        path = tmp_path / f"{seconds}.wav"
        path.write_bytes(wav_bytes((np.stack([sound, sound], 1) * 32_767).astype("<i2"), 8_000))
        tracemalloc.start()
        try:
            assert surveyed(path)[0][1] == (0, 1, 0)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_more_channels_than_are_transcribed_each_on_its_own(tmp_path: Path) -> None:
    assert MOST_SURVEYED == MAX_LABELS < raw.MAX_CHANNELS
    path = wav(tmp_path / "a.wav", *[tone(0.5)] * 32)
    assert len(surveyed(path)[0]) == 32
    wav(path, *[tone(0.5)] * 33)
    with pytest.raises(
        JobError,
        match="channel_identification is true, but the file's audio has 33 channels, more than 32",
    ) as caught:
        surveyed(path)
    assert caught.value.code is ErrorCode.INVALID_JOB


def film(path: Path) -> Path:
    """Of three tracks the first is silent, and the last has two voices."""
    sides = np.stack([tone(2.0, 48_000, 500.0), tone(2.0, 48_000, 900.0)])
    tracks = [
        Track(np.zeros(96_000, np.float32), "aac", 48_000),
        Track(tone(2.0, 48_000), "aac", 48_000),
        Track(sides, "aac", 48_000, layout="stereo"),
    ]
    return write(path, tracks)


def test_the_channels_are_those_of_the_track_that_is_taken(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    parts, notes = surveyed(path)
    assert parts == [(1, 0, None)]
    # A reader that is told the track's number has no word on the others.
    (note,) = notes
    assert "track 1 was transcribed; left out: 0 (default) without sound, 2" in note
    assert surveyed(path, selection=Selection(stream=2)) == ([(2, 0, None), (2, 1, None)], ())
    with pytest.raises(JobError, match="audio_stream is 3") as caught:
        surveyed(path, selection=Selection(stream=3))
    assert caught.value.code is ErrorCode.NO_AUDIO_STREAM


def test_tracks(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    assert surveyed(path, "tracks") == ([(0, None, None), (1, None, None), (2, None, None)], ())


def test_tracks_of_one_sound(tmp_path: Path) -> None:
    one = Track(tone(2.0, 48_000), "aac", 48_000)
    path = write(tmp_path / "a.mkv", [one, one], container="matroska")
    assert surveyed(path, "tracks")[0] == [(0, None, None), (1, None, 0)]


@pytest.mark.parametrize("kind", ["channels", "tracks"])
@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", ErrorCode.EMPTY_FILE), (b"this is text, no media", ErrorCode.NOT_MEDIA)],
)
def test_what_is_no_media_is_refused_as_ever(
    tmp_path: Path, kind: str, data: bytes, code: ErrorCode
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(JobError) as caught:
        frames(path, kind)
    assert caught.value.code is code
