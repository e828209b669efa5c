"""How a file falls into parts that must each be opened by themselves (pure).

`cat a.opus b.opus` is a file, and so is what a recorder leaves that was switched off and on. FFmpeg
reads the first of such joined files, or the others with the first one's codec. A part ends where
the next one's header stands. To find it, sizes are followed from one piece to the next, so that a
file of gigabytes costs little; only where a size leads nowhere are bytes searched.

Two other things that FFmpeg must be told are found on the way: that a WAV's size is not to be
believed, and that a chunk of a CAF is to be passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from worker.speech.media.view import Bytes

__all__ = [
    "ASF_HEADER",
    "EBML",
    "INFO",
    "MAX_PARTS",
    "SEGMENT",
    "TRACKS",
    "Box",
    "Element",
    "Part",
    "Patch",
    "boxes",
    "element",
    "elements",
    "find_parts",
    "leads_on",
]

MAX_PARTS = 1_000
"""A radio stream's recording has a part for each song; more than this stay with the last part."""

_HEAD_BYTES = 1 << 20
"""Bytes of a movie's index by which two are compared; that of a stream's head has a thousand."""

MAX_STEPS = 4_000_000
"""Pieces looked at: Ogg with a page for each 20 ms has as many in 22 hours."""

MAX_CHUNKS = 10_000
"""Chunks of a WAV or a CAF, which have a dozen."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What a reader should see at a place of a part, instead of what stands there."""

    at: int
    bytes: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file that are to be opened by themselves.

    Attributes:
        start: the first.
        end: the one behind the last.
        ignore_length: whether FFmpeg's WAV reader must be told to read to the end (its option
            `ignore_length`), because the header's size is older than the audio.
        patch: what to change for the reader.
    """

    start: int
    end: int
    ignore_length: bool = False
    patch: Patch | None = None


def find_parts(data: Bytes) -> tuple[Part, ...]:
    """How to open a file; for most: as one part, as it is. Never raises.

    Returns:
        The parts in order, together the whole file; none if it is empty.
    """
    head = data[:16]
    kind = next((kind for kind in _KINDS if re.match(kind.head, head, re.DOTALL)), None)
    if kind is None:
        return (Part(0, len(data)),) if head else ()
    starts = islice(kind.later_starts(data), MAX_PARTS - 1)
    return tuple(
        Part(start, end, _is_stale(data, start, end), _empty_packet_table(data, start, end))
        for start, end in pairwise([0, *starts, len(data)])
    )


# MP4 and QuickTime: boxes.


class Box(NamedTuple):
    """A box of an MP4: its letters, where it starts, where its content does, where it ends.

    The end may lie beyond the file's: then the file was cut off.
    """

    kind: bytes
    start: int
    body: int
    end: int


def boxes(data: Bytes, start: int, end: int) -> Iterator[Box]:
    """Boxes one after another, up to `end`, to one that leads beyond it, or to what is no box."""
    for _ in range(MAX_STEPS):
        head = data[start : start + 16]
        if start + 8 > end or len(head) < 8 or not _is_name(head[4:8]):
            return
        size, body = int.from_bytes(head[:4], "big"), start + 8
        if size == 1:
            size, body = int.from_bytes(head[8:16], "big"), start + 16
        stop = start + size if size else end
        if stop < body:
            return
        yield Box(head[4:8], start, body, stop)
        if stop > end:
            return
        start = stop


def _later_mp4(data: Bytes) -> Iterator[int]:
    """Where another `ftyp` stands behind a whole movie.

    A stream's head may be repeated before each of its pieces: then it is the same, and so is the
    clock.
    """
    seen: set[bytes] = set()
    movie, start = b"", 0
    for box in boxes(data, 0, len(data)):
        if box.kind == b"ftyp" and b"moov" in seen and not seen.isdisjoint((b"mdat", b"moof")):
            start = box.start
            seen.clear()
        seen.add(box.kind)
        if box.kind == b"moov":
            head = data[box.start : min(box.end, box.start + _HEAD_BYTES)]
            if start and not (head == movie and b"mvex" in head):
                yield start
            movie, start = head, 0


# Matroska and WebM: elements of EBML.

EBML, SEGMENT, INFO, TRACKS = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B
_EBML = EBML.to_bytes(4, "big")


class Element(NamedTuple):
    """An element of a Matroska file; `end` is None where its size isn't known."""

    id: int
    body: int
    end: int | None


def element(data: Bytes, at: int) -> Element | None:
    """The element at a place, or None if there can't be one."""
    head = data[at : at + 12]
    if not head or not head[0] & 0xF0:
        return None
    id_bytes = 9 - head[0].bit_length()
    rest = head[id_bytes:]
    if not rest or not rest[0]:
        return None
    size_bytes = 9 - rest[0].bit_length()
    if len(rest) < size_bytes:
        return None
    marker = 1 << (7 * size_bytes)
    size = int.from_bytes(rest[:size_bytes], "big") - marker
    body = at + id_bytes + size_bytes
    # All ones is how an unknown size is written.
    end = None if size == marker - 1 else body + size
    return Element(int.from_bytes(head[:id_bytes], "big"), body, end)


def elements(data: Bytes, start: int, end: int) -> Iterator[Element]:
    """Elements one after another, up to `end`, or to one whose size leads no further."""
    for _ in range(MAX_STEPS):
        found = element(data, start) if start < end else None
        if found is None:
            return
        yield found
        if found.end is None:
            return
        start = found.end


def leads_on(data: Bytes, start: int, end: int, path: tuple[int, ...]) -> bool:
    """Whether there are elements, each in the one before it, from a start up to an end."""
    return not path or any(
        leads_on(data, found.body, end if found.end is None else min(found.end, end), path[1:])
        for found in elements(data, start, end)
        if found.id == path[0]
    )


_TOP_ELEMENTS = {
    EBML,
    SEGMENT,
    0x1F43B675,  # a cluster
    0x114D9B74,  # where what stands
    INFO,
    TRACKS,
    0x1C53BB6B,  # the index
    0x1254C367,  # tags
    0x1043A770,  # chapters
    0x1941A469,  # attachments
    0xEC,  # filling
    0xBF,  # a checksum
}
"""What stands in a file, or in a segment."""


def _later_matroska(data: Bytes) -> Iterator[int]:
    at = last = 0
    for _ in range(MAX_STEPS):
        if at and _is_ebml(data, at):
            yield at
        found = element(data, at)
        if at >= len(data):
            return
        if found is None or found.id not in _TOP_ELEMENTS:
            # No element leads here: the last one was cut short, and another file may follow it.
            at = _search(data, _EBML, last + 1, _is_ebml)
        elif found.id == SEGMENT and found.end is None:
            at, last = found.body, at  # a browser's recording: what stands in it is walked
        elif found.end is None or found.end > len(data):
            at = _search(data, _EBML, at + 1, _is_ebml)
        else:
            at, last = found.end, at
        if at < 0:
            return


def _is_ebml(data: Bytes, at: int) -> bool:
    head = data[at : at + 64]
    return head.startswith(_EBML) and (b"webm" in head or b"matroska" in head)


# Ogg: pages.


def _later_ogg(data: Bytes) -> Iterator[int]:
    at = last = 0
    beginning = True  # of the streams that run beside one another, no page but the first came
    for _ in range(MAX_STEPS):
        page = data[at : at + 27]
        if page[:5] != b"OggS\0":
            # The last page was cut short, or bytes were lost: the next one may begin inside it.
            at = data.find(b"OggS\0", last + 1)
            if at < 0:
                return
            page = data[at : at + 27]
        if len(page) < 27:
            return
        # The first page of a stream is no continuation, and no time has passed before it.
        first = page[5] & 0x03 == 0x02 and page[6:14] == bytes(8)
        if first and not beginning:
            yield at
        beginning = first
        last = at
        at += 27 + page[26] + sum(data[at + 27 : at + 27 + page[26]])


# WAV and AIFF: chunks.

_KNOWN_CHUNKS = frozenset(
    name.ljust(4)
    for name in (
        b"LIST list INFO id3 ID3 bext cue iXML axml aXML _PMX PEAK fact smpl inst plst note labl "
        b"ltxt file JUNK junk PAD pad FLLR FAKE afsp DISP chna levl data acid umid cart link SMED "
        b"strc minf elm1 regn ovwf mext qlty r64m slnt wavl dbmd SAUR CSET ResU"
    ).split()
)
"""Chunks that may follow the audio of a WAV, whatever their size says."""

_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""What taggers append that know nothing of chunks."""

_SAMPLED_BYTES = 16_384
"""Bytes looked at in each of the places that stand for what follows a WAV's audio."""

_ALIKE = 0.5
"""Correlation of neighbouring samples from which on they are sound: that of speech at 8 kHz is over
0.8, that of a compressed file is 0."""

_STALE_SECONDS = 0.25
"""Less audio than this behind a WAV's declared end is not worth a change."""


def _later_wav(data: Bytes) -> Iterator[int]:
    at = last = 12
    for _ in range(MAX_STEPS):
        if _is_wav(data, at):
            yield at
            at += 12
            last = at
            continue
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size
        if len(data) - at < 8:
            return
        if not _is_name(name):
            # No chunk leads here: the last one was cut short, and another file may follow it.
            at = _search(data, b"RIFF", last, _is_wav)
        elif end > len(data) or (size == 0 and name == b"data"):
            at = _search(data, b"RIFF", at + 8, _is_wav)
        else:
            at, last = end + (size % 2 and not _is_wav(data, end)), at
        if at < 0:
            return


def _is_wav(data: Bytes, at: int) -> bool:
    return data[at : at + 4] == b"RIFF" and data[at + 8 : at + 12] == b"WAVE"


def _is_stale(data: Bytes, first: int, last: int) -> bool:
    """Whether audio goes on where the header says that it ends."""
    if not _is_wav(data, first):
        return False
    at, layout = first + 12, b""
    for _ in range(MAX_CHUNKS):
        if at + 8 > last:
            return False
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size
        if name == b"data":
            bytes_per_second = int.from_bytes(layout[8:12], "little")
            return (
                size > 0  # FFmpeg reads to the end then
                and bytes_per_second > 0
                and last - end > _STALE_SECONDS * bytes_per_second
                and not _is_no_audio(data, end, last)
                and not (size % 2 and _is_no_audio(data, end + 1, last))
                and _sounds(data, at + 8, end, last, layout)
            )
        if name == b"fmt ":
            layout = data[at + 8 : at + 24]
        at = end + size % 2
    return False


def _is_no_audio(data: Bytes, start: int, end: int) -> bool:
    """Whether what follows a WAV's audio is chunks, a tag or filling."""
    head = data[start : start + 16]
    if head[:4] in _KNOWN_CHUNKS or head.startswith(_TAGS):
        return True
    step = max(64, (end - start) // 64)
    if not any(data[at : at + 64].strip(b"\0") for at in range(start, end, step)):
        return True
    for _ in range(MAX_CHUNKS):
        if start + 8 > end:
            return start <= end + 1  # the last chunk's padding may be missing
        if not _is_name(data[start : start + 4]):
            return False
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8 + size + size % 2
    return False


def _sounds(data: Bytes, first: int, start: int, end: int, layout: bytes) -> bool:
    """Whether bytes behind a WAV's audio are samples of the same kind: neighbours are alike.

    Those of pictures, archives and texts aren't; a program may append what it likes to a WAV.

    Args:
        data: the whole file.
        first: where its audio begins.
        start: where the bytes begin.
        end: where they end.
        layout: of its samples: the body of the chunk `fmt `.
    """
    channels = int.from_bytes(layout[2:4], "little")
    frame = int.from_bytes(layout[12:14], "little")
    if not channels or frame % channels or frame // channels not in (2, 3, 4):
        return True  # no plain samples: nothing is known of them
    start += -(start - first) % frame
    width, size = frame // channels, min(_SAMPLED_BYTES, end - start) // frame * frame
    step = max(frame, (end - start) // 4 // frame * frame)
    for at in range(start, end - size + 1, step):
        frames = np.frombuffer(data[at : at + size], np.uint8).reshape(-1, frame)
        # The upper two bytes of the first channel; of floats too they are alike in neighbours.
        upper = frames[:, width - 2 : width].copy().view("<i2")[:, 0].astype(np.float64)
        upper -= upper.mean()
        if upper[1:] @ upper[:-1] > _ALIKE * (upper @ upper):
            return True
    return False


def _later_aiff(data: Bytes) -> Iterator[int]:
    at = 0
    for _ in range(MAX_STEPS):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        at += 8 + size
        if size % 2 and data[at : at + 4] != b"FORM":
            at += 1
        if data[at : at + 4] != b"FORM" or data[at + 8 : at + 11] != b"AIF":
            return
        yield at


# CAF: chunks with sizes of eight bytes.


def _caf_chunks(data: Bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk; data whose size isn't known ends with the file."""
    for _ in range(MAX_CHUNKS):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 12], "big", signed=True)
        end = len(data) if size < 0 else at + 12 + size
        if at + 12 > len(data) or end > len(data) or not _is_name(name):
            return
        yield name, at, end
        at = end


def _later_caf(data: Bytes) -> Iterator[int]:
    at = 0
    while True:
        at = max((end for _, _, end in _caf_chunks(data, at + 8)), default=at + 8)
        if data[at : at + 6] != b"caff\0\1":
            return
        yield at


def _empty_packet_table(data: Bytes, first: int, last: int) -> Patch | None:
    """A table of no packets before the data, as Apple writes it where all are of one size.

    FFmpeg refuses the file if such a table says, besides, how much of the last packet is filling.
    """
    if data[first : first + 4] != b"caff":
        return None
    for name, start, _ in _caf_chunks(data, first + 8):
        if name == b"data" or start >= last:
            return None
        if name == b"pakt" and not any(data[start + 12 : start + 20]):
            return Patch(start - first, b"free")
    return None


# The rest.


def _later_flv(data: Bytes) -> Iterator[int]:
    at = 13
    for _ in range(MAX_STEPS):
        head = data[at : at + 4]
        if head == b"FLV\1":
            yield at
            at += 13
        elif len(head) == 4 and head[0] & 0x1F in (8, 9, 18):
            at += 15 + int.from_bytes(head[1:], "big")
        else:
            return


ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def _later_asf(data: Bytes) -> Iterator[int]:
    """Windows Media: objects with 16 bytes that name them, and 8 of their size."""
    at = 0
    for _ in range(MAX_STEPS):
        size = int.from_bytes(data[at + 16 : at + 24], "little")
        if size < 24 or at + size >= len(data):
            return
        at += size
        if data[at : at + 16] == ASF_HEADER:
            yield at


def _later_flac(data: Bytes) -> Iterator[int]:
    at = 0
    while (at := _search(data, b"fLaC", at + 4, _is_flac)) > 0:
        yield at


def _is_flac(data: Bytes, at: int) -> bool:
    # 34 bytes that describe the stream; more such blocks follow, or none.
    return data[at + 4 : at + 8] in (b"\0\0\0\x22", b"\x80\0\0\x22")


def _later_amr(data: Bytes) -> Iterator[int]:
    at = 0
    while (at := _search(data, b"#!AMR", at + 5, _is_amr)) > 0:
        yield at


def _is_amr(data: Bytes, at: int) -> bool:
    return data[at : at + 9].startswith((b"#!AMR\n", b"#!AMR-WB\n"))


def _is_name(letters: bytes) -> bool:
    """Whether this may be the name of a chunk or a box (some of Apple's begin with ©)."""
    return len(letters) == 4 and all(0x20 <= c < 0x7F or c == 0xA9 for c in letters)


def _search(data: Bytes, magic: bytes, start: int, check: Callable[[Bytes, int], bool]) -> int:
    """The next place of these bytes at which the check holds, or -1."""
    for _ in range(MAX_STEPS):
        start = data.find(magic, start)
        if start < 0 or check(data, start):
            return start
        start += 1
    return -1


class _Kind(NamedTuple):
    """How a kind of file begins, and where its later parts do."""

    head: bytes
    later_starts: Callable[[Bytes], Iterator[int]]


_KINDS = (
    _Kind(rb"OggS", _later_ogg),
    _Kind(rb"RIFF....WAVE", _later_wav),
    _Kind(rb"....(ftyp|wide|free|skip|mdat|moov)", _later_mp4),
    _Kind(rb"\x1A\x45\xDF\xA3", _later_matroska),
    _Kind(rb"fLaC", _later_flac),
    _Kind(rb"#!AMR", _later_amr),
    _Kind(rb"caff", _later_caf),
    _Kind(rb"FORM....AIF[FC]", _later_aiff),
    _Kind(rb"FLV\x01", _later_flv),
    _Kind(re.escape(ASF_HEADER), _later_asf),
)
