"""Whatever no decoder reads gets its sentence, and what is media gets none."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import mmap
import plistlib
import re
import sqlite3
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.damage import mutated_heads
from tests.fakes.media import encode, tone, wav_bytes
from worker.speech.media.sniff import why_not

SENTENCE = re.compile(r"[A-Z][^\n]+; [^\n;]+\.")
"""What is wrong, and what to do about it."""

SOUND = wav_bytes(tone(0.5))


def says(data: bytes, words: str, name: str = "") -> None:
    sentence = why_not(data, name)
    assert sentence is not None
    assert words in sentence
    assert SENTENCE.fullmatch(sentence), sentence


# Archives.


def zipped() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("sound.wav", SOUND)
    return whole.getvalue()


def tarred() -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        entry = tarfile.TarInfo("sound.wav")
        entry.size = len(SOUND)
        archive.addfile(entry, io.BytesIO(SOUND))
    return whole.getvalue()


ARCHIVES = {
    "a ZIP archive": zipped(),
    "a gzip archive": gzip.compress(SOUND),
    "a tar archive": tarred(),
    "a bzip2 archive": bz2.compress(SOUND),
    "an xz archive": lzma.compress(SOUND),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),
    "a RAR archive": b"Rar!\x1a\x07\x01\0" + bytes(24),
    "a Zstandard archive": b"\x28\xb5\x2f\xfd\x04\x58" + bytes(24),
}


@pytest.mark.parametrize("words", ARCHIVES)
def test_an_archive(words: str) -> None:
    says(ARCHIVES[words], f"The file is {words}; send the audio in it.")


# Documents, pictures, pointers; and what went wrong on the way.


def database(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE project (id)")
    connection.commit()
    connection.close()
    return path.read_bytes()


def picture(codec: str, form: str) -> bytes:
    whole = io.BytesIO()
    with av.open(whole, "w", format=form) as out:
        stream = out.add_stream(codec, rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "rgb24")
        out.mux(stream.encode(av.VideoFrame(32, 32, stream.pix_fmt)))
        out.mux(stream.encode(None))
    return whole.getvalue()


def test_a_database(tmp_path: Path) -> None:
    says(database(tmp_path / "project.aup3"), "project of Audacity")


@pytest.mark.parametrize(
    ("codec", "form"),
    [("png", "image2pipe"), ("mjpeg", "image2pipe"), ("gif", "gif"), ("tiff", "image2pipe")],
)
def test_a_picture(codec: str, form: str) -> None:
    says(picture(codec, form), "The file is a picture")


def test_a_program() -> None:
    says(Path(sys.executable).read_bytes(), "a program")
    says(b"MZ" + bytes(120) + b"PE\0\0" + bytes(200), "a program")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document"),
        (b"{\\rtf1\\ansi hello}", "an RTF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "Office"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a picture"),
        (b"MThd\0\0\0\6\0\1\0\2\1\xe0MTrk", "MIDI"),
        (b"RIFF\x24\0\0\0RMIDdata", "MIDI"),
        (b"RIFF\x24\0\0\0CDDAfmt \x18\0\0\0", "audio CD"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "._name"),
        (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0", "shortcut"),
        (plistlib.dumps({"NSURLNameKey": "a.m4a"}, fmt=plistlib.FMT_BINARY), "iCloud"),
        (b"\x02#!SILK_V3\x0c\0", "SILK"),
        (b"\x03ds2" + bytes(60), "DS2"),
        (b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n", "sph2pipe"),
        (b"Salted__" + b"\x9a" * 40, "encrypted (OpenSSL)"),
        (b"-----BEGIN PGP MESSAGE-----\n\nhQEM\n", "encrypted (PGP)"),
        (b"d8:announce35:udp://tracker.example:80", "torrent"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (
            b'--3a\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF\0\xff\x80\xff',
            "a web form",
        ),
        (b"10000;chunk-signature=ad80\r\nID3\x04\0\xff\xfb\x90", "aws-chunked"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n\xff\xfb\x90\x64", "its headers"),
        (b"data:audio/wav;base64,UklGRiQAAABXQVZF", "base64"),
        (b"UklGRiQAAABXQVZFZm10IBAAAAABAAEA", "base64"),
        (b"AAAAIGZ0eXBNNEEgAAAAAE00QSBtcDQy", "base64"),
        (repr(SOUND[:100]).encode(), "written as text by Python"),
        (b"[object Blob]", "JavaScript"),
        (b"<_io.BufferedReader name='a.wav'>", "Python"),
        (b"<!DOCTYPE html>\n<title>Log in</title>", "an HTML page"),
        (b"\n<!-- saved --> \n<HTML><body>\xe9</body></HTML>", "an HTML page"),
        (
            b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
            "an error that S3 or another server sent",
        ),
        (b'\xef\xbb\xbf<?xml version="1.0"?><rss></rss>', "XML"),
        (b'<?xml version="1.0"?><audacityproject projname="a_data">', "Audacity"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "a picture"),
        (json.dumps({"message": "Forbidden"}).encode(), "JSON"),
        (b"#EXTM3U\n#EXTINF:123,Sample\nhttps://example.com/a.mp3\n", "a playlist"),
        (b"[playlist]\nFile1=https://example.com/a.mp3\n", "a playlist"),
        (b"WEBVTT\n\n00:01.000 --> 00:04.000\nHello\n", "subtitles"),
        ("1\r\n00:00:01,000 --> 00:00:02,000\r\nGrüße\r\n".encode(), "subtitles"),
        ("1\r\n00:00:01,000 --> 00:00:02,000\r\nGrüße\r\n".encode("utf-16"), "subtitles"),
        ("Wir hörten nichts.\n".encode(), "The file is text"),
        (("語" * 20_000).encode(), "The file is text"),
        (("x" + "語" * 20_000).encode(), "The file is text"),
        (b"null", "The file is text"),
        (b"", "no bytes"),
    ],
)
def test_what_is_no_media(data: bytes, words: str) -> None:
    says(data, words)


def test_text_is_text_to_its_end() -> None:
    text = b"a few words " * 3_000
    says(text, "The file is text")
    for at in (0, len(text) // 2, len(text) - 1):
        assert why_not(text[:at] + b"\x80\x81\0" + text[at:]) is None


# Zeros.


@pytest.mark.parametrize("size", [1, 4_095, 70_000, 9_000_000])
def test_only_zeros(size: int) -> None:
    says(bytes(size), "The file holds only zeros")


@pytest.mark.parametrize("at", [100_000, 4_500_000, 8_999_999])
def test_zeros_before_something(at: int) -> None:
    data = bytearray(9_000_000)
    data[at:] = b"\x55" * (len(data) - at)
    says(bytes(data), "The file begins with zeros")


# MP4.


@pytest.fixture
def mp4(tmp_path: Path) -> bytes:
    """Its index stands at its end."""
    path = encode(tmp_path / "a.mp4", tone(3.0), codec="aac")
    return path.read_bytes()


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def sound_movie(entry: bytes, *more: bytes, handler: bytes = b"soun") -> bytes:
    """An MP4 with one track, described by an entry of `stsd`."""
    media = box(
        b"mdia",
        box(b"mdhd", bytes(24)),
        box(b"hdlr", bytes(8) + handler + bytes(13)),
        box(b"minf", box(b"stbl", box(b"stsd", bytes(7) + b"\x01", entry))),
    )
    moov = box(b"moov", box(b"mvhd", bytes(100)), box(b"trak", box(b"tkhd", bytes(84)), media))
    moov = box(b"moov", moov[8:], *more)
    return box(b"ftyp", b"isom" + bytes(4)) + moov + box(b"mdat", bytes(range(256)) * 4)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_an_mp4_that_was_cut_off_before_its_index(mp4: bytes, share: float) -> None:
    says(mp4[: round(len(mp4) * share)], "cut off before its index (moov)")


def test_a_recording_that_crashed_has_no_index(mp4: bytes) -> None:
    """The size of its mdat was never written, or says that it goes on to the end."""
    at = mp4.index(b"mdat") - 4
    sound = mp4[at + 8 : mp4.index(b"moov") - 4]
    for size in (0, 8, 16):
        crashed = mp4[:at] + struct.pack(">I", size) + b"mdat" + sound
        says(crashed, "cut off before its index (moov)")
    says(box(b"wide") + struct.pack(">I4sQ", 1, b"mdat", 1 << 33) + sound, "before its index")


def test_an_index_that_no_size_leads_to_is_not_denied(mp4: bytes) -> None:
    at = mp4.index(b"mdat") - 4
    assert why_not(mp4[:at] + struct.pack(">I", 8) + mp4[at + 4 :]) is None


def test_an_mp4_that_was_cut_off_elsewhere(mp4: bytes) -> None:
    says(mp4[:-100], "cut off within its index (moov)")
    at = mp4.index(b"moov") - 4
    says(mp4[: mp4.index(b"mdat") - 4] + mp4[at:], "ends before its audio")


def test_a_piece_of_a_stream() -> None:
    says(box(b"styp", b"msdh") + box(b"moof", bytes(90)) + box(b"mdat", bytes(50)), "moof without")


ENTRY = bytes(6) + b"\0\1" + bytes(20)


@pytest.mark.parametrize(
    ("movie", "words"),
    [
        (sound_movie(box(b"enca", ENTRY, box(b"sinf", bytes(40)))), "CENC"),
        (sound_movie(box(b"mp4a", ENTRY, box(b"sinf", bytes(40)))), "CENC"),
        (sound_movie(box(b"mp4a", ENTRY), box(b"pssh", bytes(24))), "CENC"),
        (sound_movie(box(b"drms", ENTRY)), "Apple's FairPlay"),
        (sound_movie(box(b"aavd", ENTRY)), "Audible"),
    ],
)
def test_sound_that_is_locked(movie: bytes, words: str) -> None:
    says(movie, "The audio is encrypted")
    says(movie, words)


def test_a_locked_picture_is_not_why_there_is_no_sound() -> None:
    assert why_not(sound_movie(box(b"encv", ENTRY), handler=b"vide")) is None


def test_an_mp4_that_was_encrypted_by_ffmpeg(tmp_path: Path, mp4: bytes) -> None:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    path = tmp_path / "locked.mp4"
    with av.open(io.BytesIO(mp4), "r") as plain, av.open(str(path), "w", options=options) as out:
        stream = out.add_stream_from_template(plain.streams.audio[0])
        for packet in plain.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    says(path.read_bytes(), "The audio is encrypted (CENC")


# Other locked media.


def ebml(identifier: str, *parts: bytes, unknown: bool = False) -> bytes:
    body = b"".join(parts)
    size = b"\xff" if unknown else struct.pack(">Q", (1 << 56) + len(body))
    return bytes.fromhex(identifier) + size + body


@pytest.mark.parametrize("unknown", [False, True])
def test_a_locked_matroska(unknown: bool) -> None:
    def track(*inside: bytes) -> bytes:
        return ebml("AE", ebml("D7", b"\1"), ebml("6D80", ebml("6240", *inside)))

    def film(*tracks: bytes) -> bytes:
        body = ebml("EC", bytes(90)), ebml("1654AE6B", *tracks), ebml("1F43B675", bytes(500))
        head = ebml("1A45DFA3", ebml("4282", b"matroska"))
        return head + ebml("18538067", *body, unknown=unknown)

    packed, locked = track(ebml("5034", bytes(4))), track(ebml("5035", bytes(4)))
    says(film(packed, locked), "encrypted (ContentEncryption of Matroska)")
    assert why_not(film(packed)) is None


def test_a_locked_asf() -> None:
    lock = bytes.fromhex("FBB3112223BDD211B4B700A0C955FC6E") + struct.pack("<Q", 24)
    head = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C") + struct.pack("<QIH", 54, 1, 513)
    says(head + lock + bytes(900), "Windows Media DRM")
    assert why_not(head + bytes(24) + lock) is None, "not in the header"


@pytest.mark.parametrize("before", [b"", bytes(4)])
def test_a_scrambled_broadcast(before: bytes) -> None:
    def packet(pid: int, control: int) -> bytes:
        return before + struct.pack(">BHB", 0x47, pid, control) + b"\x9c" * 184

    tables = packet(0, 0x10) + packet(0x1FFF, 0x10)
    says((tables + packet(0x100, 0x90) + packet(0x101, 0xD0)) * 50, "a scrambled broadcast")
    assert why_not((tables + packet(0x100, 0x90) + packet(0x101, 0x10) * 2) * 50) is None


# Names.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("talk.mp3.crdownload", "ends in .crdownload"),
        ("TALK.PART", "ends in .part"),
        ("talk.wav.gpg", "encrypted (.gpg)"),
    ],
)
def test_where_the_bytes_say_nothing_the_name_may(name: str, words: str) -> None:
    noise = b"\x9c\x01\x80\xfe" * 100
    says(noise, words, name)
    assert why_not(noise, "talk.mp3") is None
    says(zipped(), "ZIP", name)


# Media, and any bytes.


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("pcm_s16le", "wav"),
        ("flac", "flac"),
        ("libmp3lame", "mp3"),
        ("libopus", "ogg"),
        ("libopus", "webm"),
        ("aac", "matroska"),
        ("aac", "mp4"),
        ("aac", "adts"),
        ("aac", "mpegts"),
        ("alac", "caf"),
        ("mp2", "avi"),
        ("pcm_s16be", "aiff"),
        ("wavpack", "wv"),
        ("ac3", "ac3"),
    ],
)
def test_media_are_what_they_are(tmp_path: Path, codec: str, container: str) -> None:
    path = encode(tmp_path / "a", tone(2.0, 48_000), codec=codec, container=container, rate=48_000)
    assert why_not(path.read_bytes(), f"a.{container}") is None


HEADS = (
    sound_movie(box(b"enca", ENTRY)),
    ebml("1A45DFA3", ebml("4282", b"webm"))
    + ebml("18538067", ebml("1654AE6B", ebml("AE", ebml("6D80", ebml("6240", b"PS")))))
    + bytes(9),
    bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C") + bytes(50),
    (b"\x47\1\0\x90" + bytes(184)) * 12,
    b"\xff\xfe<\0?\0x\0m\0l\0",
    b"<?xml version='1.0'?><Error/>",
    "語語語語".encode(),
    bytes(100),
    SOUND[:200],
)


@given(st.one_of(st.binary(), mutated_heads(HEADS)), st.text(max_size=9))
def test_any_bytes_get_one_sentence_or_none(data: bytes, name: str) -> None:
    sentence = why_not(data, name)
    assert sentence is None or SENTENCE.fullmatch(sentence)
    if data:
        with mmap.mmap(-1, len(data)) as mapped:
            mapped[:] = data
            assert why_not(mapped, name) == sentence
