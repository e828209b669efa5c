"""A track is read by its number, whatever is marked; and all that a file has are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.containers import Track, write
from tests.fakes.damage import originals
from tests.fakes.media import tone
from worker.errors import ErrorCode, JobError
from worker.speech.media import selection
from worker.speech.media.all_tracks import AllTracks
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.media.selection import Selection

Samples = NDArray[np.float32]

RATE = 16_000
PITCHES = (440.0, 700.0, 1_000.0)
CONTAINERS = {"mkv": "matroska", "mka": "matroska", "ts": "mpegts"}


def read(path: Path, stream: int | None) -> tuple[Samples, list[str]]:
    with AudioReader(path, AudioLimits(600.0), selection=Selection(stream)) as reader:
        pieces = list(reader)
    return np.concatenate(pieces), reader.notes


def hertz(samples: Samples) -> float:
    middle = samples[len(samples) // 4 : len(samples) // 4 * 3]
    return float(np.argmax(np.abs(np.fft.rfft(middle)))) * RATE / len(middle)


def track(pitch: float, codec: str = "aac", *, seconds: float = 2.0, **how: object) -> Track:
    return Track(tone(seconds, 48_000, pitch), codec, 48_000, **how)  # type: ignore[arg-type]


def film(path: Path, **how: object) -> Path:
    """Three tracks, of which the second is marked."""
    tracks = [track(pitch, default=number == 1) for number, pitch in enumerate(PITCHES)]
    return write(path, tracks, container=CONTAINERS.get(path.suffix[1:]), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_the_track_of_a_number_is_read_whatever_is_marked(tmp_path: Path, ending: str) -> None:
    path = film(tmp_path / f"a.{ending}", video=True)
    for number, pitch in enumerate(PITCHES):
        found, notes = read(path, number)
        assert hertz(found) == pytest.approx(pitch, abs=8.0)
        assert len(found) / RATE == pytest.approx(2.0, abs=0.1)
        assert notes == [], "who asks for a track knows that there are others"


def test_a_silent_track_is_read_if_it_is_asked_for(tmp_path: Path) -> None:
    silent = Track(np.zeros(96_000, np.float32), "aac", 48_000)
    path = write(tmp_path / "a.mp4", [track(440.0), silent])
    found, _ = read(path, 1)
    assert len(found) / RATE == pytest.approx(2.0, abs=0.1)
    assert np.abs(found).max() < 1e-4


def test_a_channel_of_a_track(tmp_path: Path) -> None:
    sides = np.stack([tone(2.0, 48_000, 500.0), tone(2.0, 48_000, 900.0)])
    tracks = [track(440.0), Track(sides, "aac", 48_000, layout="stereo", bit_rate=192_000)]
    path = write(tmp_path / "a.mp4", tracks)
    with AudioReader(path, AudioLimits(), selection=Selection(stream=1, channel=1)) as reader:
        assert hertz(np.concatenate(list(reader))) == pytest.approx(900.0, abs=8.0)


def refused(path: Path, stream: int) -> JobError:
    with pytest.raises(JobError) as caught:
        read(path, stream)
    return caught.value


def test_a_number_that_no_track_has(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        [track(440.0, default=True, metadata={"language": "ger"}),
         track(700.0, default=False, metadata={"title": "Notes"})],
        container="matroska",
    )  # fmt: skip
    error = refused(path, 7)
    assert error.code is ErrorCode.NO_AUDIO_STREAM
    assert error.message == (
        "audio_stream is 7, but the file has 2 audio tracks, counted from 0: 0 (ger, default), "
        "1 ('Notes'); send a number that is there, or leave the field out."
    )


def test_of_many_tracks_some_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mka", [track(440.0, seconds=0.2)] * 20, container=CONTAINERS["mka"])
    assert "11, and 8 more; send" in refused(path, 20).message


def test_a_track_without_a_decoder(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mka", [track(440.0), track(700.0, "libopus")], container=CONTAINERS["mka"]
    )
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ", 1))
    error = refused(path, 0)
    assert error.code is ErrorCode.DECODE_FAILED
    assert "No decoder is at hand for audio track 0" in error.message
    assert "audio_stream" in error.message
    assert hertz(read(path, 1)[0]) == pytest.approx(700.0, abs=8.0)


def test_a_joined_file_is_read_in_the_same_track_throughout(tmp_path: Path) -> None:
    first = film(tmp_path / "1.mkv")
    second = write(tmp_path / "2.mkv", [track(1_300.0), track(1_600.0)], container="matroska")
    path = tmp_path / "a.mkv"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    # The third track of the first film; the second has no third, so its own choice is read.
    for stream, then in ((0, 1_300.0), (1, 1_600.0), (2, 1_300.0)):
        found, _ = read(path, stream)
        assert len(found) / RATE == pytest.approx(4.0, abs=0.2)
        assert hertz(found[: len(found) // 2]) == pytest.approx(PITCHES[stream], abs=8.0)
        assert hertz(found[len(found) // 2 :]) == pytest.approx(then, abs=8.0)
    assert refused(path, 3).code is ErrorCode.NO_AUDIO_STREAM
    backwards = tmp_path / "b.mkv"
    backwards.write_bytes(second.read_bytes() + first.read_bytes())
    # The file's tracks are those of its first part.
    assert "the file has 2 audio tracks" in refused(backwards, 2).message


def joined_streams(path: Path, *recordings: tuple[float, ...]) -> Path:
    """Transport streams of tracks of these pitches, each recording under numbers of its own."""
    files = [
        write(
            path.with_name(f"{number}.ts"),
            [Track(tone(2.0, 24_000, pitch), "mp2", 24_000) for pitch in pitches],
            container="mpegts",
            options={"mpegts_start_pid": str(300 + 100 * number)},
        )
        for number, pitches in enumerate(recordings)
    ]
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    return path


def test_a_track_of_a_transport_stream_goes_on_in_the_same_place(tmp_path: Path) -> None:
    path = joined_streams(tmp_path / "a.ts", (440.0, 700.0), (1_000.0, 1_300.0))
    for stream, pitches in enumerate(((440.0, 1_000.0), (700.0, 1_300.0))):
        found, _ = read(path, stream)
        assert len(found) / RATE == pytest.approx(4.0, abs=0.2)
        assert hertz(found[: len(found) // 2]) == pytest.approx(pitches[0], abs=8.0)
        assert hertz(found[len(found) // 2 :]) == pytest.approx(pitches[1], abs=8.0)


# All tracks.


def search(path: Path) -> tuple[list[tuple[int | None, int | None]], list[str]]:
    with AllTracks(path, sign_seconds=30.0) as tracks:
        list(tracks.search())
    assert all(part.selection.channel is None for part in tracks.found)
    return [(part.selection.stream, part.same_as) for part in tracks.found], tracks.notes


def test_all_tracks_are_found_those_without_sound_too(tmp_path: Path) -> None:
    silent = Track(np.zeros(96_000, np.float32), "aac", 48_000)
    path = write(tmp_path / "a.mp4", [track(440.0), silent, track(700.0)])
    assert search(path) == ([(0, None), (1, None), (2, None)], [])


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "aac"), ("mkv", "libopus")])
def test_tracks_of_one_sound_are_the_same(tmp_path: Path, ending: str, codec: str) -> None:
    """As programs that record screens write them, where all sources go into all tracks."""
    one, two = track(440.0, codec, metadata={"title": "Mix"}), track(700.0, codec)
    path = write(tmp_path / f"a.{ending}", [one, two, one], container=CONTAINERS.get(ending))
    assert search(path)[0] == [(0, None), (1, None), (2, 0)]


def test_tracks_that_differ_at_their_end_or_in_their_times_are_not_the_same(tmp_path: Path) -> None:
    sound = tone(4.0, 48_000)
    other = sound.copy()
    other[-20_000:] = tone(20_000 / 48_000, 48_000, 700.0)
    tracks = [
        Track(sound, "aac", 48_000),
        Track(other, "aac", 48_000),
        Track(sound[:-20_000], "aac", 48_000),
        Track(sound, "aac", 48_000, start=0.5),
        Track(sound, "libopus", 48_000),
    ]
    path = write(tmp_path / "a.mkv", tracks, container="matroska")
    assert [first for _, first in search(path)[0]] == [None] * 5


def test_tracks_whose_further_parts_may_differ_are_not_compared(tmp_path: Path) -> None:
    one = write(tmp_path / "1.mkv", [track(440.0)] * 2, container="matroska")
    two = write(tmp_path / "2.mkv", [track(440.0), track(700.0)], container="matroska")
    path = tmp_path / "a.mkv"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    assert search(path)[0] == [(0, None), (1, None)]
    path = write(tmp_path / "a.ts", [track(440.0)] * 2, container="mpegts")
    assert search(path)[0] == [(0, None), (1, None)]


def test_what_only_begins_where_others_end_is_read_behind_them(tmp_path: Path) -> None:
    path = joined_streams(tmp_path / "a.ts", (440.0, 700.0), (1_000.0, 1_300.0))
    assert search(path)[0] == [(0, None), (1, None)]
    # The third of the second recording has nothing before it.
    path = joined_streams(tmp_path / "b.ts", (440.0, 700.0), (1_000.0, 1_300.0, 1_600.0))
    assert search(path)[0] == [(0, None), (1, None), (4, None)]
    found, _ = read(path, 4)
    assert hertz(found[-32_000:]) == pytest.approx(1_600.0, abs=8.0)


SEARCH = """
import sys
from pathlib import Path
from worker.speech.media.all_tracks import AllTracks
for _ in range(3):
    with AllTracks(Path(sys.argv[1]), sign_seconds=30.0) as tracks:
        list(tracks.search())
print(len(tracks.found))
"""


def test_an_order_of_channels_of_the_file_s_own_is_read_once(tmp_path: Path) -> None:
    """A second reading ends the process: so it has one of its own here."""
    path = tmp_path / "a.caf"
    whole = {original.name: original.data for original in originals(tmp_path)}
    path.write_bytes(whole["caf with an order"])
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_tracks_that_can_t_be_decoded_are_left_out_and_named(tmp_path: Path) -> None:
    tracks = [track(440.0), track(700.0, "libopus"), track(1_000.0, "libopus")]
    path = write(tmp_path / "a.mka", tracks, container=CONTAINERS["mka"])
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"A_AAC", b"A_XYZ", 1))
    assert search(path) == (
        [(1, None), (2, None)],
        ["Of 3 audio tracks, counted from 0, those that can't be decoded were left out: 0"],
    )
    path.write_bytes(whole.replace(b"A_AAC", b"A_XYZ").replace(b"A_OPUS", b"A_XYZ2"))
    with pytest.raises(JobError, match="None of the file's 3 audio tracks") as caught:
        search(path)
    assert caught.value.code is ErrorCode.DECODE_FAILED


def test_more_tracks_than_are_transcribed_each_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MOST_SURVEYED", 3)
    few = [track(440.0, seconds=0.1)] * 3
    path = write(tmp_path / "a.mka", few, container=CONTAINERS["mka"])
    assert len(search(path)[0]) == 3
    write(path, [*few, few[0]], container=CONTAINERS["mka"])
    with pytest.raises(
        JobError, match="audio_stream is 'all', but the file's audio has 4 tracks, more than 3"
    ) as caught:
        search(path)
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_life_is_shown_while_tracks_are_compared(tmp_path: Path) -> None:
    one = Track(np.zeros(70 * 8_000, np.float32), "aac", 8_000)
    path = write(tmp_path / "a.mka", [one, one], container=CONTAINERS["mka"])
    with AllTracks(path, sign_seconds=30.0) as tracks:
        said = list(tracks.search())
    assert [round(seconds) for seconds in said] == [0, 0, 30, 60]
