"""How long a file says it lasts, where its header does say so (pure)."""

from __future__ import annotations

import re
from collections.abc import Set

from worker.speech.media.parts import INFO, SEGMENT, leads_on
from worker.speech.media.raw import HEADERLESS

__all__ = ["seconds_of_tag", "stated"]

_SAID = HEADERLESS | {
    "aiff", "ape", "au", "caf", "dsf", "flac", "mov", "mpc", "mpc8",
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

_MOST_OF_IT = 0.9
"""Share of an MP3's bytes that its first frame must count; tags at its end are not among them."""

_DURATION = 0x4489
"""Matroska's id of the whole file's length."""


def stated(
    names: Set[str], head: bytes, size: int, *, container: float | None, track: float | None
) -> float | None:
    """Seconds that a player shows at the end of the audio; None if no header says so.

    Args:
        names: FFmpeg's names of the format.
        head: the file's first 64 kB.
        size: bytes of the file.
        container: seconds that FFmpeg gives the whole file.
        track: where the audio track ends, if its header says so.
    """
    if not container or container < 0 or not _is_said(names, head, size):
        return None
    seconds = min(container, track) if track and track > 0 else container
    return seconds if seconds <= size / MIN_BYTES_PER_SECOND else None


def _is_said(names: Set[str], head: bytes, size: int) -> bool:
    if "mp3" in names:
        return _counts_frames(head, size)
    if "matroska" in names:
        # Recordings of browsers and live streams have no duration.
        return leads_on(head, 0, len(head), (SEGMENT, INFO, _DURATION))
    return bool(names & _SAID)


def seconds_of_tag(text: str) -> float | None:
    """Seconds of the DURATION that Matroska's writers note for a track: `00:00:58.001000000`."""
    match = _TAG.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)


def _counts_frames(head: bytes, size: int) -> bool:
    """Whether an MP3 begins with a frame (Xing, Info or VBRI) that counts the others.

    If several were joined, it counts those of the first.
    """
    if head[:3] == b"ID3" and len(head) >= _ID3_BYTES:
        tag = 0
        for byte in head[6:_ID3_BYTES]:  # 28 bits, seven in a byte
            tag = tag << 7 | byte & 0x7F
        head, size = head[_ID3_BYTES + tag :], size - _ID3_BYTES - tag
    for mark, place in ((b"Xing", 12), (b"Info", 12), (b"VBRI", 10)):
        at = head[:_MP3_HEAD].find(mark)
        if at < 0:
            continue
        flags = int.from_bytes(head[at + 4 : at + 8], "big")
        if mark != b"VBRI" and flags & 3 != 3:
            return bool(flags & 1)  # it counts frames, and no bytes
        return int.from_bytes(head[at + place : at + place + 4], "big") >= _MOST_OF_IT * size
    return False
