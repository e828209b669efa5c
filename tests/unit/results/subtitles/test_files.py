"""Other parsers read from srt and vtt what was meant."""

import html
import itertools
import re

import pysubs2
import pytest
from hypothesis import given

from tests.spoken import (
    OPTIONS,
    examples,
    segment,
    segments,
    transcript,
    words_of,
)
from worker.results.formats import render
from worker.results.subtitles.cues import Cue, cues
from worker.results.subtitles.highlighting import highlighted
from worker.results.transcript import Segment, SubtitleOptions, Transcript

WIDE_BRACES = "\N{FULLWIDTH LEFT CURLY BRACKET}\N{FULLWIDTH RIGHT CURLY BRACKET}"
WORD_TIMES = SubtitleOptions(vtt_word_times=True)
HIGHLIGHTED = SubtitleOptions(highlight_words=True)


def asking(whole: Transcript, options: SubtitleOptions) -> Transcript:
    return whole.model_copy(update={"subtitles": options})


def read_back(text: str, format_: str) -> list[tuple[int, int, str]]:
    """What pysubs2 reads: (start, end, text) of each cue.

    It takes a last line of digits for the next cue's number: so one more cue is put at the end.
    """
    point = "," if format_ == "srt" else "."
    text += f"\n9999\n99:00:00{point}000 --> 99:00:01{point}000\nend\n"
    *events, end = pysubs2.SSAFile.from_string(text, format_=format_)
    assert end.text == "end"
    return [(event.start, event.end, event.text) for event in events]


def unguarded(text: str) -> str:
    """What srt is to show, without what keeps it from reading as markup."""
    return text.replace("\N{ZERO WIDTH SPACE}", "").translate(str.maketrans(WIDE_BRACES, "{}"))


def as_read(found: list[Cue]) -> list[tuple[int, int, str]]:
    """What a reader that writes line breaks as pysubs2 does should find."""
    return [(cue.start_ms, cue.end_ms, cue.text.replace("\n", "\\N")) for cue in found]


@examples
@given(segments(), OPTIONS)
def test_srt_is_read_back_by_pysubs2(spoken: list[Segment], options: SubtitleOptions) -> None:
    whole = transcript(*spoken, options=options)
    read = [
        (start, end, unguarded(text)) for start, end, text in read_back(render(whole, "srt"), "srt")
    ]
    assert read == as_read(cues(whole))


@examples
@given(segments(), OPTIONS)
def test_vtt_is_read_back_by_pysubs2(spoken: list[Segment], options: SubtitleOptions) -> None:
    whole = transcript(*spoken, options=options)
    read = [
        (start, end, html.unescape(text))
        for start, end, text in read_back(render(whole, "vtt"), "vtt")
    ]
    assert read == as_read(cues(whole))


def as_highlighted(found: list[Cue]) -> list[tuple[int, int, str]]:
    """What pysubs2 should find where words are underlined: it has tags of its own for that."""
    expected = []
    for cue in found:
        for start_ms, end_ms, first, end in highlighted(cue):
            text = cue.text
            if first < end:
                text = f"{text[:first]}{{\\u1}}{text[first:end]}{{\\u0}}{text[end:]}"
            expected.append((start_ms, end_ms, text.replace("\n", "\\N")))
    return expected


@examples
@given(segments(with_words=True))
def test_underlined_words_are_read_back_by_pysubs2(spoken: list[Segment]) -> None:
    whole = transcript(*spoken, options=HIGHLIGHTED)
    expected = as_highlighted(cues(whole))
    read = read_back(render(whole, "srt"), "srt")
    assert [(*times, unguarded(text)) for *times, text in read] == expected
    read = read_back(render(whole, "vtt"), "vtt")
    assert [(*times, html.unescape(text)) for *times, text in read] == expected


@examples
@given(segments())
def test_a_highlighted_cue_is_shown_all_the_time(spoken: list[Segment]) -> None:
    for cue in cues(transcript(*spoken)):
        parts = list(highlighted(cue))
        assert parts[0].start_ms == cue.start_ms
        assert parts[-1].end_ms == cue.end_ms
        for part, following in itertools.pairwise(parts):
            assert part.start_ms < part.end_ms == following.start_ms
        assert len(parts) == 1 or cue.words


@examples
@given(segments())
def test_vtt_word_times_keep_the_rules_of_webvtt(spoken: list[Segment]) -> None:
    whole = transcript(*spoken)
    text = render(asking(whole, WORD_TIMES), "vtt")
    blocks = text.split("\n\n")[1:]
    found = cues(whole)
    assert len(blocks) == len(found)
    for block, cue in zip(blocks, found, strict=True):
        payload = block.rstrip("\n").split("\n", 2)[2]
        times = [
            ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(part)
            for hours, minutes, seconds, part in re.findall(
                r"<(\d\d):(\d\d):(\d\d)\.(\d{3})>", payload
            )
        ]
        inside = [cue.start_ms, *times, cue.end_ms]
        assert inside == sorted(set(inside))
        plain = re.sub(r"<\d\d:\d\d:\d\d\.\d{3}>", "", payload)
        assert html.unescape(plain) == cue.text
        assert "<" not in plain
        assert "-->" not in plain


def test_srt_example() -> None:
    whole = transcript(
        segment(0.03, 2.5, " Printing, in the only sense"), segment(3661.5, 3662.75, "the end")
    )
    assert render(whole, "srt") == (
        "1\n00:00:00,030 --> 00:00:02,500\nPrinting, in the only sense\n\n"
        "2\n01:01:01,500 --> 01:01:02,750\nthe end\n"
    )


def test_vtt_example() -> None:
    spoken = segment(
        0.0,
        5.0,
        " R&D <3 you",
        words_of((" R&D", 1.0, 1.5), (" <3", 1.5, 2.0), (" you", 2.25, 3.0)),
    )
    whole = transcript(spoken)
    assert render(whole, "vtt") == (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.000\nR&amp;D &lt;3 you\n"
    )
    assert render(asking(whole, WORD_TIMES), "vtt") == (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.000\n"
        "R&amp;D <00:00:01.500>&lt;3 <00:00:02.250>you\n"
    )


def test_words_are_underlined_one_after_the_other() -> None:
    spoken = segment(
        0.0,
        5.0,
        " R&D <3 you",
        words_of((" R&D", 1.0, 1.5), (" <3", 1.5, 2.0), (" you", 2.25, 3.0)),
    )
    whole = transcript(spoken, options=HIGHLIGHTED)
    assert render(whole, "srt") == (
        "1\n00:00:01,000 --> 00:00:01,500\n<u>R&D</u> <3 you\n\n"
        "2\n00:00:01,500 --> 00:00:02,000\nR&D <u><3</u> you\n\n"
        "3\n00:00:02,000 --> 00:00:02,250\nR&D <3 you\n\n"
        "4\n00:00:02,250 --> 00:00:03,000\nR&D <3 <u>you</u>\n"
    )
    both = HIGHLIGHTED.model_copy(update={"vtt_word_times": True, "output_start_index": 7})
    assert render(transcript(spoken, options=both), "vtt").startswith(
        "WEBVTT\n\n7\n00:00:01.000 --> 00:00:01.500\n<u>R&amp;D</u> &lt;3 you\n\n8\n"
    )


@pytest.mark.parametrize(
    ("before", "word"), [("<", "b>"), ("{", "\\an8}"), ("{", "b}"), ("</", "u>")]
)
def test_a_tag_of_ours_makes_no_markup_of_text_around_it(before: str, word: str) -> None:
    spoken = segment(0.0, 5.0, before + word, words_of((before, 1.0, 2.0), (word, 2.0, 3.0)))
    whole = transcript(spoken, options=HIGHLIGHTED)
    for _, _, text in read_back(render(whole, "srt"), "srt"):
        shown = text.replace("{\\u1}", "").replace("{\\u0}", "")
        assert unguarded(shown) == before + word
        assert text.count("{\\u1}") == 1


def test_without_times_of_words_none_is_underlined() -> None:
    whole = transcript(segment(0.0, 5.0, "so it was"))
    assert render(asking(whole, HIGHLIGHTED), "srt") == render(whole, "srt")


@pytest.mark.parametrize("first", [0, 1, 1000])
def test_cues_are_numbered_from_where_the_job_says(first: int) -> None:
    options = SubtitleOptions(output_start_index=first)
    whole = transcript(segment(0.0, 2.0, "One."), segment(5.0, 7.0, "Two."), options=options)
    for format_ in ("srt", "vtt"):
        blocks = render(whole, format_).removeprefix("WEBVTT\n\n").split("\n\n")
        assert [block.split("\n")[0] for block in blocks] == [str(first), str(first + 1)]


def test_vtt_shows_a_time_that_was_text() -> None:
    spoken = segment(0.0, 5.0, "<00:00:01.000>", words_of(("<00:00:01.000>", 1.0, 3.0)))
    for options in (SubtitleOptions(), WORD_TIMES):
        text = render(transcript(spoken, options=options), "vtt")
        assert text.endswith("\n&lt;00:00:01.000&gt;\n")


@pytest.mark.parametrize(
    "text", ["so {b} it", "{Y:i}so", "{\\an8} so", "{so}", "} so {", "{0}{25}"]
)
def test_srt_shows_what_stands_in_braces(text: str) -> None:
    """pysubs2 hides it as SubStation Alpha does, into which FFmpeg makes every srt."""
    (read,) = pysubs2.SSAFile.from_string(
        render(transcript(segment(0.0, 5.0, text)), "srt"), format_="srt"
    )
    assert unguarded(read.plaintext) == text


def test_srt_shows_markup_instead_of_obeying_it() -> None:
    text = render(transcript(segment(0.0, 5.0, "a <b>bold</b> {\\an8} --> 3 < 4")), "srt")
    (read,) = pysubs2.SSAFile.from_string(text, format_="srt")
    assert unguarded(read.text) == "a <b>bold</b> {\\an8} --> 3 < 4"
    assert "3 < 4" in text
    assert text.count("-->") == 1
