"""Only what a header says is a length; a guess is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.media.length import has_frame_count, seconds_of_tag, stated

MEGABYTE = 1 << 20


@pytest.mark.parametrize("name", ["wav", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mulaw"])
def test_headers_that_say_it_are_believed(name: str) -> None:
    assert stated(name, container=60.0, track=None, size=MEGABYTE) == 60.0
    assert stated(name, container=60.0, track=48.0, size=MEGABYTE) == 48.0


@pytest.mark.parametrize("name", ["aac", "mp3", "mpegts", "mpeg", "amr", "ac3", "dts"])
def test_guesses_are_not(name: str) -> None:
    assert stated(name, container=60.0, track=60.0, size=MEGABYTE) is None


def test_an_mp3_that_counts_its_frames_says_it() -> None:
    assert stated("mp3", container=60.0, track=None, size=MEGABYTE, counted=True) == 60.0
    assert stated("aac", container=60.0, track=None, size=MEGABYTE, counted=True) is None


def test_more_than_the_bytes_can_hold_is_not_believed() -> None:
    assert stated("flac", container=4 * 3_600.0, track=None, size=50_000) is None
    assert stated("flac", container=None, track=None, size=50_000) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:58.001000000", 58.001),
        ("11:22:33", 40_953.0),
        ("", None),
        ("58.001", None),
        ("00:00:58.001 x", None),
    ],
)
def test_the_duration_that_matroska_notes(text: str, seconds: float | None) -> None:
    assert seconds_of_tag(text) == seconds


@pytest.mark.parametrize("mark", [b"Xing", b"Info", b"VBRI"])
def test_the_count_of_frames_is_found_behind_a_tag(mark: bytes) -> None:
    frame = b"\xff\xfb\x90\x64" + bytes(32) + mark + bytes(100)
    assert has_frame_count(frame)
    # 28 bits of size, seven in a byte: 300 is 2 * 128 + 44.
    assert has_frame_count(b"ID3\x04\0\0\0\0\x02\x2c" + bytes(300) + frame)
    # A picture in the tag may hold the letters.
    assert not has_frame_count(b"ID3\x04\0\0\0\0\x02\x2c" + mark + bytes(600))
    assert not has_frame_count(b"\xff\xfb\x90\x64" + bytes(500))


@given(st.binary(max_size=200), st.text())
def test_any_bytes_and_any_text_have_an_answer(head: bytes, text: str) -> None:
    assert has_frame_count(b"ID3" + head) in {True, False}
    assert (seconds_of_tag(text) or 0.0) >= 0.0
