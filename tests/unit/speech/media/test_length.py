"""Only what a header says is a length; a guess is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.media.length import seconds_of_tag, stated

MEGABYTE = 1 << 20

# EBML's header, a segment of unknown size, and in it what describes the file: title, then length.
MATROSKA = bytes.fromhex("1A45DFA3 80 18538067 FF 1549A966 88 7BA9 82 4142 4489 80")


def says(
    name: str,
    *,
    head: bytes = b"",
    size: int = MEGABYTE,
    container: float | None = 60.0,
    track: float | None = None,
) -> float | None:
    return stated(set(name.split(",")), head, size, container=container, track=track)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("wav", b"RIFF"),
        ("mov,mp4,m4a,3gp,3g2,mj2", b""),
        ("matroska,webm", MATROSKA),
        ("mulaw", b""),
    ],
)
def test_headers_that_say_it_are_believed(name: str, head: bytes) -> None:
    assert says(name, head=head) == 60.0
    assert says(name, head=head, track=48.0) == 48.0
    assert says(name, head=head, container=None) is None


@pytest.mark.parametrize(
    "name", ["aac", "mp3", "mpegts", "mpeg", "amr", "ac3", "dts", "asf", "avi"]
)
def test_guesses_are_not(name: str) -> None:
    assert says(name, track=60.0) is None


def test_a_recording_of_a_browser_does_not_say_it() -> None:
    assert says("matroska,webm", head=MATROSKA[:-2] + bytes(2)) is None


def test_more_than_the_bytes_can_hold_is_not_believed() -> None:
    assert says("flac", container=4 * 3_600.0, size=50_000) is None


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


def counting(mark: bytes, size: int) -> bytes:
    """The first frame of an MP3 that counts frames and bytes."""
    if mark == b"VBRI":
        body = mark + bytes(6) + size.to_bytes(4, "big") + (100).to_bytes(4, "big")
    else:
        body = mark + b"\0\0\0\x03" + (100).to_bytes(4, "big") + size.to_bytes(4, "big")
    return b"\xff\xfb\x90\x64" + bytes(32) + body + bytes(100)


@pytest.mark.parametrize("mark", [b"Xing", b"Info", b"VBRI"])
def test_an_mp3_that_counts_its_frames_says_it(mark: bytes) -> None:
    frame = counting(mark, MEGABYTE - 128)
    assert says("mp3", head=frame) == 60.0
    # 28 bits of size, seven in a byte: 300 is 2 * 128 + 44.
    assert says("mp3", head=b"ID3\x04\0\0\0\0\x02\x2c" + bytes(300) + frame) == 60.0
    # A picture in the tag may hold the letters.
    assert says("mp3", head=b"ID3\x04\0\0\0\0\x02\x2c" + mark + bytes(600)) is None
    # Cut off: that is what is to be told.
    assert says("mp3", head=counting(mark, 3 * MEGABYTE)) == 60.0
    # The first of two that were joined counts its own.
    assert says("mp3", head=counting(mark, MEGABYTE // 2)) is None


@given(st.binary(max_size=200), st.text())
def test_any_bytes_and_any_text_have_an_answer(head: bytes, text: str) -> None:
    for name in ("mp3", "matroska,webm"):
        assert says(name, head=b"ID3" + head) in {None, 60.0}
    assert (seconds_of_tag(text) or 0.0) >= 0.0
