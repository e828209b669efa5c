"""json, tsv and txt, and what holds for all formats; subtitles have tests of their own."""

import json
import re

from hypothesis import given

from tests.spoken import examples, milliseconds, segment, segments, squeezed, transcript
from worker.results.formats import FORMATS, render
from worker.results.names import FORMAT_NAMES
from worker.results.transcript import Segment, Transcript


def test_tsv_has_a_segment_a_row() -> None:
    whole = transcript(
        segment(0.03, 2.5, " with\ta tab\nand a line"), segment(2.5, 3.0, "  "), segment(3, 4, "x")
    )
    assert render(whole, "tsv") == (
        "start\tend\ttext\n30\t2500\twith a tab and a line\n3000\t4000\tx\n"
    )


def test_txt_has_a_segment_a_line() -> None:
    whole = transcript(segment(0, 1, " One.\nTwo."), segment(1, 2, ""), segment(2, 3, " 三 "))
    assert render(whole, "txt") == "One. Two.\n三\n"


def test_txt_says_who_speaks_where_that_is_known_and_tsv_does_not() -> None:
    first, second, third = segment(0, 1, "One."), segment(1, 2, "Two."), segment(2, 3, "Three.")
    whole = transcript(
        first.model_copy(update={"speaker": "SPEAKER_00"}),
        second.model_copy(update={"speaker": None}),
        third.model_copy(update={"channel": " the left\none "}),
    )
    assert render(whole, "txt") == "[SPEAKER_00]: One.\nTwo.\n[the left one]: Three.\n"
    assert render(whole, "tsv").splitlines()[1:] == [
        "0\t1000\tOne.",
        "1000\t2000\tTwo.",
        "2000\t3000\tThree.",
    ]


@examples
@given(segments())
def test_tsv_and_txt_are_one_line_a_segment(spoken: list[Segment]) -> None:
    whole = transcript(*spoken)
    said = [one for one in spoken if squeezed(one.text)]
    lines = render(whole, "txt").splitlines()
    assert [squeezed(line) for line in lines] == [squeezed(one.text) for one in said]
    rows = [row.split("\t") for row in render(whole, "tsv").splitlines()[1:]]
    assert [(int(start), int(end)) for start, end, _ in rows] == [
        (milliseconds(one.start), milliseconds(one.end)) for one in said
    ]


@examples
@given(segments())
def test_json_is_the_whole_transcript(spoken: list[Segment]) -> None:
    whole = transcript(*spoken)
    text = render(whole, "json")
    assert Transcript.model_validate_json(text) == whole
    assert text.count("\n") == 1


def test_json_writes_characters_as_they_are() -> None:
    text = render(transcript(segment(0, 1, "録音")), "json")
    assert "録音" in text
    assert list(json.loads(text))[:4] == ["schema_version", "job_id", "status", "input"]


def test_a_transcript_without_speech_gives_valid_empty_files() -> None:
    silent = transcript()
    assert render(silent, "srt") == ""
    assert render(silent, "vtt") == "WEBVTT\n"
    assert render(silent, "tsv") == "start\tend\ttext\n"
    assert render(silent, "txt") == ""
    assert Transcript.model_validate_json(render(silent, "json")).segments == ()


def test_every_format_has_a_renderer_and_a_content_type() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES
    whole = transcript(segment(0, 1, "x"))
    for name, (renderer, content_type) in FORMATS.items():
        assert renderer(whole) == render(whole, name)
        assert re.fullmatch(r"[a-z]+/[a-z-]+(; charset=utf-8)?", content_type)
