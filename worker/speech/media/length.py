"""How long a file says it lasts, where its header does say so (pure)."""

from __future__ import annotations

import re

from worker.speech.media.raw import HEADERLESS

__all__ = ["has_frame_count", "seconds_of_tag", "stated"]

_SAID = HEADERLESS | {
    "aiff", "ape", "au", "caf", "dsf", "flac", "matroska", "mov", "mpc", "mpc8",
    "mxf", "nut", "ogg", "tak", "tta", "w64", "wav", "wv",
}  # fmt: skip
"""Formats (FFmpeg's first name) with their length in the header, on the last page (Ogg) or in their
bytes. Of others FFmpeg guesses it, from the first packets' size or a clock that may jump."""

MIN_BYTES_PER_SECOND = 100
"""Fewer than any codec for speech writes: a header that claims more audio than this lies."""

_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")

_ID3_BYTES = 10
_MP3_HEAD = 4_096
"""Bytes of the first frames of an MP3, where encoders write how many there are."""


def stated(
    format_name: str,
    *,
    container: float | None,
    track: float | None,
    size: int,
    counted: bool = False,
) -> float | None:
    """Seconds that a player shows at the end of the audio; None if no header says so.

    Args:
        format_name: FFmpeg's names of the format, with commas between.
        container: seconds that FFmpeg gives the whole file.
        track: where the audio track ends, if its header says so.
        size: bytes of the file.
        counted: whether an MP3 says how many frames it has.
    """
    names = set(format_name.split(","))
    if not (names & _SAID or (counted and "mp3" in names)) or not container or container < 0:
        return None
    seconds = min(container, track) if track and track > 0 else container
    return seconds if seconds <= size / MIN_BYTES_PER_SECOND else None


def seconds_of_tag(text: str) -> float | None:
    """Seconds of the DURATION that Matroska's writers note for a track: `00:00:58.001000000`."""
    match = _TAG.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)


def has_frame_count(head: bytes) -> bool:
    """Whether an MP3 begins with a frame (Xing, Info or VBRI) that counts the others.

    Args:
        head: its first bytes; what an ID3 tag leaves of them is looked at.
    """
    if head[:3] == b"ID3" and len(head) >= _ID3_BYTES:
        size = 0
        for byte in head[6:_ID3_BYTES]:  # 28 bits, seven in a byte
            size = size << 7 | byte & 0x7F
        head = head[_ID3_BYTES + size :]
    return any(mark in head[:_MP3_HEAD] for mark in (b"Xing", b"Info", b"VBRI"))
