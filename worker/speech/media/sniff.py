"""What a file is that no decoder could read, in a sentence for the one who sent it (pure).

It is asked only after FFmpeg failed: so a few bytes that a kind of file begins with are proof
enough. Beginnings, structures and samples are looked at, never the whole file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from worker.speech.media.parts import (
    ASF_HEADER,
    EBML,
    SEGMENT,
    TRACKS,
    Box,
    boxes,
    element,
    leads_on,
)
from worker.speech.media.raw import HINT
from worker.speech.media.view import Bytes

__all__ = ["why_not"]

HEAD = 1024
"""Bytes in which what a mark wants besides its first letters must stand."""

SAMPLE = 4096
"""Bytes looked at in each of the places that stand for the whole file."""


def why_not(data: Bytes, name: str = "") -> str | None:
    """What the bytes are that no decoder could read, and what to do about it. Never raises.

    Args:
        data: the whole file.
        name: how its sender called it; only the ending counts, and only if the bytes say nothing.

    Returns:
        One sentence, or None where nothing is sure.
    """
    if len(data) == 0:
        return "The file has no bytes; upload it again."
    return (
        _marked(data, _MARKS)
        or _why_not_mp4(data)
        or _why_not_matroska(data)
        or _why_not_asf(data)
        or _why_not_broadcast(data)
        or _zeros(data)
        or _text(data)
        or _named(name)
    )


class Mark(NamedTuple):
    """What a kind of file is known by.

    Attributes:
        sentence: what its sender reads.
        start: what stands at `at`.
        at: where.
        also: what stands somewhere in the first `HEAD` bytes, besides.
    """

    sentence: str
    start: bytes
    at: int = 0
    also: bytes = b""


def _marked(data: Bytes, marks: tuple[Mark, ...]) -> str | None:
    head = data[:HEAD]
    for mark in marks:
        if data[mark.at : mark.at + len(mark.start)] == mark.start and mark.also in head:
            return mark.sentence
    return None


def _is(what: str, fix: str = "send the audio itself") -> str:
    return f"The file is {what}; {fix}."


def _archive(what: str) -> str:
    return _is(what, "send the audio in it")


def _encrypted(how: str) -> str:
    return f"The audio is encrypted ({how}); send it without protection."


def _unread(what: str) -> str:
    return _is(f"{what}, which FFmpeg doesn't read", "convert it to WAV, FLAC or MP3")


_PICTURE = _is("a picture")
_DISK_IMAGE = _archive("the image of a disk")
_MIDI = _is("MIDI: notes, no sound", "render it to audio first")
_BASE64 = _is("audio as base64 text", "decode it and send the bytes")
_APPLE_DOUBLE = _is(
    "what macOS keeps beside a file (._name)", "send the file without ._ before its name"
)
_SILK = _unread("a voice message in SILK, as WeChat and QQ keep them")

_MARKS = (
    # Archives.
    Mark(_archive("a ZIP archive"), b"PK\x03\x04"),
    Mark(_archive("an empty ZIP archive"), b"PK\x05\x06"),
    Mark(_archive("a part of a ZIP archive"), b"PK\x07\x08"),
    Mark(_archive("a gzip archive"), b"\x1f\x8b\x08"),
    Mark(_archive("a 7z archive"), b"7z\xbc\xaf\x27\x1c"),
    Mark(_archive("a RAR archive"), b"Rar!\x1a\x07"),
    Mark(_archive("a tar archive"), b"ustar", at=257),
    Mark(_archive("an xz archive"), b"\xfd7zXZ\x00"),
    Mark(_archive("a Zstandard archive"), b"\x28\xb5\x2f\xfd"),
    Mark(_archive("an LZ4 archive"), b"\x04\x22\x4d\x18"),
    Mark(_archive("a bzip2 archive"), b"BZh", also=b"1AY&SY"),
    Mark(_archive("a CAB archive"), b"MSCF\0\0\0\0"),
    Mark(_DISK_IMAGE, b"CD001", at=32_769),
    # Locked.
    Mark(_encrypted("OpenSSL"), b"Salted__"),
    Mark(_encrypted("age"), b"age-encryption.org/"),
    Mark(_encrypted("PGP"), b"-----BEGIN PGP MESSAGE"),
    Mark(_encrypted("NetEase Cloud Music"), b"CTENFDAM"),
    # Audio, but not for FFmpeg.
    Mark(_SILK, b"#!SILK_V"),
    Mark(_SILK, b"\x02#!SILK_V"),
    Mark(_unread("a dictation in DS2 (DSS Pro)"), b"\x03ds2"),
    Mark(_unread("a recording of Sony's (DVF or MSV)"), b"MS_VOICE"),
    Mark(
        _is("a SPHERE file compressed with Shorten", "unpack it to WAV, with sph2pipe for example"),
        b"NIST_1A",
        also=b"embedded-shorten",
    ),
    Mark(_MIDI, b"MThd"),
    Mark(_MIDI, b"RMID", at=8),
    # What only stands for a file.
    Mark(_is("a track's entry on an audio CD", "copy the track itself to WAV"), b"CDDA", at=8),
    Mark(_is("a Windows shortcut", "send what it leads to"), b"L\0\0\0\x01\x14\x02\0"),
    Mark(_is("a macOS alias", "send what it leads to"), b"book\0\0\0\0mark"),
    Mark(_is("a torrent", "send what it stands for"), b"d8:announce"),
    Mark(
        _is(
            "a property list of macOS or iOS, as stands for a file that is still in iCloud",
            "download that and send it",
        ),
        b"bplist0",
    ),
    Mark(_APPLE_DOUBLE, b"\0\x05\x16\x07"),
    Mark(_APPLE_DOUBLE, b"\0\x05\x16\0"),
    # Documents, pictures, programs.
    Mark(_is("a PDF document"), b"%PDF-"),
    Mark(_is("a PostScript document"), b"%!PS"),
    Mark(_is("an RTF document"), b"{\\rtf"),
    Mark(_is("a document of Office or Outlook"), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    Mark(
        _is(
            "an SQLite database, as a project of Audacity is (.aup3)",
            "export the audio and send that",
        ),
        b"SQLite format 3\0",
    ),
    Mark(_PICTURE, b"\x89PNG\r\n\x1a\n"),
    Mark(_PICTURE, b"\xff\xd8\xff"),
    Mark(_PICTURE, b"GIF8"),
    Mark(_PICTURE, b"WEBP", at=8),
    Mark(_PICTURE, b"II*\0"),
    Mark(_PICTURE, b"MM\0*"),
    Mark(_PICTURE, b"8BPS\0\x01"),
    *(Mark(_PICTURE, b"ftyp" + b, at=4) for b in (b"heic", b"heix", b"mif1", b"msf1", b"avif")),
    Mark(_is("a program"), b"\x7fELF"),
    Mark(_is("a program"), b"MZ", also=b"PE\0\0"),
    # What went wrong on the way here.
    Mark(
        _is("a web form, with the audio inside", "upload the audio's bytes alone"),
        b"--",
        also=b"ontent-Disposition: form-data",
    ),
    Mark(
        _is("in pieces with their signatures (aws-chunked)", "upload the audio's bytes alone"),
        b"",
        also=b";chunk-signature=",
    ),
    Mark(_is("a server's answer with its headers", "send what follows them"), b"HTTP/1."),
    Mark(_BASE64, b"data:", also=b";base64,"),
    # RIFF, OggS, fLaC, ID3, Matroska and MP4, in base64.
    *(Mark(_BASE64, start) for start in (b"UklGR", b"T2dnUw", b"ZkxhQw", b"SUQz", b"GkXfo")),
    Mark(_BASE64, b"GZ0eX", at=5),
    Mark(_is("bytes written as text by Python", "send the bytes"), b"b'", also=b"\\x"),
)
"""Of bytes, from the likely to the rare; the first that fits counts."""

_PLAYLIST = _is("a playlist", "send the audio that it names")
_SUBTITLES = "The file holds subtitles; send the audio that they belong to."
_ANSWER = "perhaps an error that a server sent in place of the audio"
_HTML = _is(f"an HTML page, {_ANSWER}", "fetch the audio again")
_JSON = _is(f"JSON, {_ANSWER}", "fetch the audio again")

_TEXT_MARKS = (
    Mark(
        _is("a pointer of Git LFS", "send the audio that it stands for (git lfs pull)"),
        b"version https://git-lfs",
    ),
    Mark(_HTML, b"<!doctype html"),
    Mark(_HTML, b"<", also=b"<html"),
    Mark(_HTML, b"<", also=b"<body"),
    Mark(
        _is("a project of Audacity", "export the audio and send that"), b"<", also=b"<audacityproj"
    ),
    Mark(_is("a picture"), b"<", also=b"<svg"),
    Mark(_PLAYLIST, b"<", also=b"<playlist"),
    Mark(_PLAYLIST, b"<", also=b"<mpd"),
    Mark(_PLAYLIST, b"<asx"),
    Mark(_PLAYLIST, b"<?wpl"),
    Mark(_PLAYLIST, b"#extm3u"),
    Mark(_PLAYLIST, b"[playlist]"),
    Mark(
        _is(
            "an error that S3 or another server sent in place of the audio", "fetch the audio again"
        ),
        b"<",
        also=b"<error>",
    ),
    Mark(_is(f"XML, {_ANSWER}", "fetch the audio again"), b"<?xml"),
    Mark(_is("a link", "send what it leads to"), b"[internetshortcut]"),
    Mark(_SUBTITLES, b"webvtt"),
    Mark(_SUBTITLES, b"[script info]"),
)
"""Of text in lower case; markup counts even where the rest is no clean text."""

_CLEAN_TEXT_MARKS = (
    Mark(_SUBTITLES, b"", also=b" --> "),
    Mark(_is("an object written as text by JavaScript", "send its bytes"), b"[object "),
    Mark(_is("an object written as text by Python", "send its bytes"), b"<_io."),
    *(Mark(_JSON, start) for start in (b"{", b"[{", b'["')),
    Mark(_is("text"), b""),
)
"""Of what is text from its beginning to its end."""


# MP4 and QuickTime.

_MP4_TOPS = frozenset(b"ftyp styp wide free skip mdat moov moof sidx pnot".split())
_INDEX_SEARCHED = 4 << 20
_CENC = "CENC, as of streaming services"
_LOCKED_ENTRIES = {b"enca": _CENC, b"drms": "Apple's FairPlay", b"aavd": "Audible"}
"""Kinds of tracks whose sound is locked; of a locked picture alone, the sound could be read."""


def _why_not_mp4(data: Bytes) -> str | None:
    if data[4:8] not in _MP4_TOPS:
        return None
    tops = list(islice(boxes(data, 0, len(data)), 10_000))
    kinds = {box.kind for box in tops}
    moov = next((box for box in tops if box.kind == b"moov"), None)
    if moov is not None:
        return _why_not_movie(data, moov, kinds)
    if b"moof" in kinds:
        return _is(
            "a piece of a stream without its head (moof without moov)",
            "send the whole recording, or put the first piece (ftyp, moov) before it",
        )
    if kinds.isdisjoint((b"ftyp", b"mdat", b"wide")):
        return None
    cut_off = tops[-1].end > len(data) and tops[-1].kind in _MP4_TOPS
    if not cut_off and data.find(b"moov", max(0, len(data) - _INDEX_SEARCHED)) >= 0:
        return None  # there is an index, but the sizes of the boxes don't lead to it
    return (
        "The file was cut off before its index (moov), as by an upload or a recording that did "
        "not finish; upload it again."
    )


def _why_not_movie(data: Bytes, moov: Box, kinds: set[bytes]) -> str | None:
    locked = _locked_track(data, moov)
    if locked is not None:
        return _encrypted(locked)
    if moov.end > len(data):
        return "The file was cut off within its index (moov); upload it again."
    if kinds.isdisjoint((b"mdat", b"moof")) and any(_sound_tracks(data, moov)):
        return (
            "The file ends before its audio (it has an index, moov, and no mdat); send the whole "
            "recording."
        )
    return None


def _locked_track(data: Bytes, moov: Box) -> str | None:
    """Who locked a sound track, if one is."""
    has_sound = False
    for entry in _sound_tracks(data, moov):
        if entry.kind in _LOCKED_ENTRIES:
            return _LOCKED_ENTRIES[entry.kind]
        if b"sinf" in data[entry.body : min(entry.end, entry.body + SAMPLE)]:
            return _CENC
        has_sound = True
    if has_sound and any(box.kind == b"pssh" for box in _inside(data, moov)):
        return _CENC
    return None


def _sound_tracks(data: Bytes, moov: Box) -> Iterator[Box]:
    """The descriptions of the movie's sound tracks."""
    for media in _below(data, moov, (b"trak", b"mdia")):
        handlers = _below(data, media, (b"hdlr",))
        if not any(data[box.body + 8 : box.body + 12] == b"soun" for box in handlers):
            continue
        for table in _below(data, media, (b"minf", b"stbl", b"stsd")):
            # Its version and the count of entries stand before them.
            yield from islice(boxes(data, table.body + 8, min(table.end, len(data))), 100)


def _below(data: Bytes, box: Box, path: tuple[bytes, ...]) -> Iterator[Box]:
    """The boxes that a path of kinds leads to."""
    if not path:
        yield box
        return
    for inner in _inside(data, box):
        if inner.kind == path[0]:
            yield from _below(data, inner, path[1:])


def _inside(data: Bytes, box: Box) -> Iterator[Box]:
    return islice(boxes(data, box.body, min(box.end, len(data))), 100)


# Other containers.

_TRACK, _ENCODINGS, _ENCODING, _ENCRYPTION = 0xAE, 0x6D80, 0x6240, 0x5035


_TRACKS_SEARCHED = 1 << 20


def _why_not_matroska(data: Bytes) -> str | None:
    head = element(data, 0)
    if head is None or head.id != EBML or head.end is None:
        return None
    path = (SEGMENT, TRACKS, _TRACK, _ENCODINGS, _ENCODING, _ENCRYPTION)
    if leads_on(data, head.end, min(len(data), _TRACKS_SEARCHED), path):
        return _encrypted("ContentEncryption of Matroska")
    return None


_ASF_LOCKS = (
    bytes.fromhex("FBB3112223BDD211B4B700A0C955FC6E"),  # content encryption
    bytes.fromhex("14E68A292226174CB935DAE07EE9289C"),  # extended content encryption
    bytes.fromhex("338505438169E6499B74AD12CB86D58C"),  # advanced content encryption
)
_ASF_SEARCHED = 1 << 20


def _why_not_asf(data: Bytes) -> str | None:
    if data[:16] != ASF_HEADER:
        return None
    header = data[: min(int.from_bytes(data[16:24], "little"), _ASF_SEARCHED)]
    if any(lock in header for lock in _ASF_LOCKS):
        return _encrypted("Windows Media DRM")
    return None


_PACKETS = 2_000
"""Of a broadcast: about 400 kB."""


def _why_not_broadcast(data: Bytes) -> str | None:
    """MPEG-TS in which most packets are scrambled. Tables and filling never are."""
    for packet, skip in ((188, 0), (192, 4)):
        sent = locked = 0
        for at in range(skip, min(len(data), packet * _PACKETS), packet):
            head = data[at : at + 4]
            if len(head) < 4 or head[0] != 0x47:
                break
            if 0x20 <= int.from_bytes(head[1:3], "big") & 0x1FFF < 0x1FFF:
                sent += 1
                locked += head[3] & 0xC0 in (0x80, 0xC0)
        if locked >= 10 and locked > sent / 2:
            return _encrypted("a scrambled broadcast")
    return None


# Zeros and text.


def _zeros(data: Bytes) -> str | None:
    size = 16 * SAMPLE
    if data[:size].strip(b"\0"):
        return None
    places = range(0, len(data), max(size, len(data) // 64))
    # The tail, besides: 64 places stop short of it.
    samples = [*places, max(0, len(data) - size)]
    if not any(data[at : at + size].strip(b"\0") for at in samples):
        return (
            "The file holds only zeros, as an upload or a copy leaves them that did not finish; "
            "upload it again."
        )
    return (
        "The file begins with zeros where its header should be, as after an upload or a copy that "
        f"did not finish; upload it again. {HINT}"
    )


_BOM_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
"""Characters that no text has."""


def _text(data: Bytes) -> str | None:
    head = data[:HEAD]
    if head.startswith(_BOM_16):
        text = _decoded(data[:SAMPLE], "utf-16", cut=False)
        if not text:
            return None
        head, clean = text.encode("utf-8", "replace"), True
    else:
        middle = len(data) // 2
        places = (0, middle, max(0, len(data) - SAMPLE))
        clean = all(_decoded(data[at : at + SAMPLE], "utf-8", cut=at > 0) for at in places)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return _marked(start, _TEXT_MARKS) or (_marked(start, _CLEAN_TEXT_MARKS) if clean else None)


def _decoded(sample: bytes, encoding: str, *, cut: bool) -> str | None:
    """A sample as text, if it is such; its last character may be cut, with `cut` its first too."""
    if cut:
        sample = re.sub(rb"^[\x80-\xBF]{1,3}", b"", sample)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeError:
        return None
    return None if _CONTROLS.search(text) else text


# Names.

_ENDINGS = (
    (
        (".crdownload", ".part", ".partial", ".download", ".opdownload"),
        "The file's name ends in {}, as that of an unfinished download; finish it and upload "
        "the file again.",
    ),
    ((".gpg", ".pgp", ".age", ".enc", ".aes"), _encrypted("{}")),
)


def _named(name: str) -> str | None:
    for endings, sentence in _ENDINGS:
        for ending in endings:
            if name.lower().endswith(ending):
                return sentence.format(ending)
    return None
