"""What a person names leads to a transcript and its recording, or to one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.transcripts import segments, transcript
from worker.errors import SettingsError
from worker.results.formats import render
from worker.results.names import SHAPE_NAMES, Format, ending
from worker.results.transcript import Transcript
from worker.viewer.finding import (
    find_recording,
    find_transcript,
    is_file,
    name_for_edits,
    read_transcript,
)

MADE = transcript(*segments("Good morning."))


def put(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(b"x")
    return paths


def named(uri: str) -> Transcript:
    return transcript(*segments("Good."), name=uri)


def test_a_transcript_is_itself_and_a_recording_leads_to_the_one_beside_it(tmp_path: Path) -> None:
    document, recording = put(tmp_path, "talk.json", "talk.flac")
    assert find_transcript(document) == (document, None)
    assert find_transcript(recording) == (document, recording)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no.json", "is not there: name a transcript"),
        ("", "is a directory: name a transcript"),
        ("talk.srt", "name the transcript, talk.json, instead"),
        ("alone.mp3", r"no alone.json beside .*alone.mp3: transcribe it first, or name"),
    ],
)
def test_what_leads_nowhere_is_said(tmp_path: Path, name: str, why: str) -> None:
    put(tmp_path, "talk.srt", "alone.mp3")
    with pytest.raises(SettingsError, match=why):
        find_transcript(tmp_path / name)


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_a_shape_of_others_is_not_shown_and_the_transcript_is_named(
    tmp_path: Path, shape: Format
) -> None:
    file = tmp_path / f"talk{ending(shape)}"
    file.write_text(render(MADE, shape))
    path, _ = find_transcript(file)
    with pytest.raises(
        SettingsError, match=rf"talk\.{shape}\.json .*'{shape}'.*: name .*/talk\.json$"
    ):
        read_transcript(path, path)


def test_a_transcript_whose_name_ends_like_a_shape_is_read(tmp_path: Path) -> None:
    """That of `talk.openai.mp3`."""
    file = tmp_path / "talk.openai.json"
    file.write_text(render(MADE, "json"))
    assert read_transcript(file, file) == MADE
    file.write_text(render(MADE, "json").replace('"segments":', '"parts":'))
    with pytest.raises(SettingsError, match="is no transcript of this release"):
        read_transcript(file, file)


@pytest.mark.parametrize("ending", [".json", ".flac", ".srt", ""])
def test_a_name_that_no_file_can_have_is_said(tmp_path: Path, ending: str) -> None:
    with pytest.raises(SettingsError, match="can't be read: File name too long"):
        find_transcript(tmp_path / ("x" * 300 + ending))
    assert not is_file(tmp_path / ("x" * 300 + ending))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "talk.json")
    with pytest.raises(SettingsError, match="is no regular file: name a transcript"):
        find_transcript(tmp_path / "talk.json")
    put(tmp_path, "talk.flac")
    with pytest.raises(SettingsError, match=r"there is no talk\.json"):
        find_transcript(tmp_path / "talk.flac")


@pytest.mark.parametrize(
    ("uri", "beside", "found"),
    [
        ("talk.flac", ["talk.flac", "talk.srt"], "talk.flac"),
        ("s3://bucket/in/call-17.flac", ["call-17.flac", "talk.mp3"], "call-17.flac"),
        ("s3://bucket/in/call-17.flac", ["talk.mp3", "talk.srt", "talk.html"], "talk.mp3"),
        ("gone.flac", ["talk.srt", "talk.vtt", "talk.txt", "talk.tsv", "talk.html"], None),
        ("gone.flac", ["talk.whisperx.json", "talk.openai.json", "talk.transcribe.json"], None),
        ("gone.flac", ["other.flac"], None),
        ("talk.json", [], None),
        ("../../secret", [], None),
        ("x" * 5000, ["talk.mp3"], "talk.mp3"),
        ("nul\x00.flac", ["talk.mp3"], "talk.mp3"),
        ("s3://bucket/..", [], None),
        ("", [], None),
    ],
)
def test_the_recording_is_looked_for_beside_the_transcript(
    tmp_path: Path, uri: str, beside: list[str], found: str | None
) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (document, *_) = put(folder, "talk.json", *beside)
    assert find_recording(document, named(uri)) == (folder / found if found else None)


def test_a_corrected_transcript_has_the_same_recording(tmp_path: Path) -> None:
    document, recording = put(tmp_path, "talk.edited-2.json", "talk.mp3")
    assert find_recording(document, named("gone.wav")) == recording


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file: Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[1]", "is no transcript"),
        (b'{"job_id": "x"}', "input: Field required"),
        (render(MADE, "json").replace('"speed"', '"speedy"').encode(), "speed: Field required"),
        (
            render(MADE, "json").replace('"start":0.5', '"start":NaN').encode(),
            r"segments\.0\.start: Input should be a valid number",
        ),
        (render(MADE, "json").replace("-0.1", "Infinity").encode(), "avg_logprob: .* valid number"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'{"a":' * 100_000, "Invalid JSON"),
        (
            b'{"status": "failed", "code": "not_media", "message": "No decoder."}',
            r"this job failed \(not_media\): .*No decoder",
        ),
    ],
)
def test_what_is_no_transcript_is_said(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=why):
        read_transcript(file, file)


def test_a_transcript_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(render(MADE, "json"), encoding="utf-8")
    assert read_transcript(file, file) == MADE


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-Infinity"])
def test_a_score_that_is_no_number_is_not_known(tmp_path: Path, score: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(render(MADE, "json").replace('"score":0.9', f'"score":{score}'))
    found = read_transcript(file, file)
    assert [word.score for word in found.segments[0].words] == [None, None]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("talk", "talk"),
        ("talk.edited", "talk"),
        ("talk.edited-12", "talk"),
        ("v1.2", "v1.2"),
        ("録音", "録音"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("...", "transcript"),
        ("", "transcript"),
        ("a" * 300, "a" * 200),
        ("長" * 81, "長" * 66),
    ],
)
def test_corrections_have_a_name_that_is_safe(name: str, found: str) -> None:
    assert name_for_edits(name) == found
