"""Subtitles say who speaks, and no cue has text of two speakers or of two channels."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Iterator

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spoken import (
    LABELS,
    OPTIONS,
    conversations,
    examples,
    milliseconds,
    segment,
    squeezed,
    transcript,
    words_of,
)
from worker.results.formats import render
from worker.results.said_by import introduction, said_by
from worker.results.subtitles.cues import cues
from worker.results.subtitles.line_breaks import text_width
from worker.results.transcript import NOT_ASKED, Segment, SubtitleOptions

HIGHLIGHTED = SubtitleOptions(highlight_words=True)
WIDE_BRACES = str.maketrans(
    "\N{FULLWIDTH LEFT CURLY BRACKET}\N{FULLWIDTH RIGHT CURLY BRACKET}", "{}"
)
few = settings(examples, max_examples=15)
ANY_OPTIONS = st.one_of(
    OPTIONS, OPTIONS.map(lambda one: one.model_copy(update={"vtt_word_times": True}))
)


def by(label: str | None, one: Segment) -> Segment:
    return one.model_copy(update={"speaker": label})


def on(channel: str, one: Segment) -> Segment:
    return one.model_copy(update={"channel": channel})


def said(pairs: Iterable[tuple[str | None, str]]) -> dict[str | None, str]:
    r"""All that each one says, in order, without white space and `\N` (to pysubs2 a line break)."""
    found: dict[str | None, str] = {}
    for label, text in pairs:
        if shown := squeezed(text.replace("\\N", "")):
            found[label] = found.get(label, "") + shown
    return found


def texts_read(text: str, format_: str) -> list[str]:
    """The text of each cue as pysubs2 reads it, tags that it doesn't know included.

    It takes a last line of digits for the next cue's number: so one more cue is put at the end.
    """
    point = "," if format_ == "srt" else "."
    text += f"\n9999\n99:00:00{point}000 --> 99:00:01{point}000\nend\n"
    *events, _ = pysubs2.SSAFile.from_string(text, format_=format_, keep_unknown_html_tags=True)
    return [event.text for event in events]


def unguarded(text: str) -> str:
    """What srt is to show, without what keeps it from reading as markup."""
    return text.replace("\N{ZERO WIDTH SPACE}", "").translate(WIDE_BRACES)


def said_in_srt(text: str) -> Iterator[tuple[str | None, str]]:
    for read in texts_read(text, "srt"):
        shown = squeezed(unguarded(read.replace("\\N", "")))
        names = {label: squeezed(introduction(label)) for label in LABELS}
        label = next((label for label, name in names.items() if shown.startswith(name)), None)
        yield label, shown.removeprefix(names.get(label or "", ""))


def said_in_vtt(text: str) -> Iterator[tuple[str | None, str]]:
    for read in texts_read(text, "vtt"):
        voice = re.match("<v ([^>]*)>", read)
        spoken = re.sub(r"<[\d:.]+>", "", read[voice.end() :] if voice else read)
        assert "<" not in spoken
        yield html.unescape(voice[1]) if voice else None, html.unescape(spoken)


@examples
@given(conversations(), ANY_OPTIONS)
def test_other_parsers_read_every_text_once_with_who_says_it(
    spoken: list[Segment], options: SubtitleOptions
) -> None:
    whole = transcript(*spoken, options=options)
    expected = said((said_by(one), one.text) for one in spoken)
    assert said(said_in_srt(render(whole, "srt"))) == expected
    if not options.vtt_word_times:  # pysubs2 loses lines with two times
        assert said(said_in_vtt(render(whole, "vtt"))) == expected
    assert said((cue.said_by, cue.text) for cue in cues(whole)) == expected


@few
@given(conversations(), OPTIONS)
def test_a_channel_has_the_cues_that_it_would_have_alone(
    spoken: list[Segment], options: SubtitleOptions
) -> None:
    whole = transcript(*spoken, options=options)
    found = cues(whole, named=True)
    assert [cue.start_ms for cue in found] == sorted(cue.start_ms for cue in found)
    for channel in {one.channel for one in spoken}:
        own = tuple(one for one in spoken if one.channel == channel)
        alone = cues(whole.model_copy(update={"segments": own}), named=True)
        assert [cue for cue in found if channel is None or cue.said_by == channel] == alone
        for earlier, later in itertools.pairwise(alone):
            assert earlier.end_ms <= later.start_ms
        assert all(
            0 < cue.end_ms - cue.start_ms <= milliseconds(options.max_cue_seconds) for cue in alone
        )


@examples
@given(conversations(), OPTIONS)
def test_names_take_room_on_the_lines(spoken: list[Segment], options: SubtitleOptions) -> None:
    for cue in cues(transcript(*spoken, options=options), named=True):
        name = introduction(cue.said_by) if cue.said_by else ""
        assert cue.text.startswith(name)
        first, *others = cue.text.split("\n")
        assert len(others) < options.max_line_count
        wide = options.max_line_width
        if first == name:
            assert others
        elif name and options.max_line_count == 1:
            wide = max(wide, text_width(name) + 11)
        assert text_width(first) <= wide or first == name
        assert all(text_width(line) <= options.max_line_width for line in others)
        for word in cue.words:
            assert word.first >= len(name)


@few
@given(conversations())
def test_an_underlined_word_is_never_the_name(spoken: list[Segment]) -> None:
    whole = transcript(*spoken, options=HIGHLIGHTED)
    for read in texts_read(render(whole, "srt"), "srt"):
        shown = unguarded(read)
        assert not re.match(r"\{\\u1\}\[|\[[^]]*\{\\u1\}", shown)
    starts = re.findall(r"^(\S+) -->", render(whole, "vtt"), re.MULTILINE)
    assert starts == sorted(starts)


def test_srt_names_the_speaker_in_each_cue_and_vtt_has_voices() -> None:
    whole = transcript(
        by("SPEAKER_00", segment(0.0, 2.0, "Good morning.")),
        by("SPEAKER_00", segment(4.0, 6.0, "Is anyone here?")),
        by(None, segment(8.0, 9.0, "(knocks)")),
        by("SPEAKER_01", segment(10.0, 11.0, "Come in.")),
    )
    assert render(whole, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,000\n[SPEAKER_00]: Good morning.\n\n"
        "2\n00:00:04,000 --> 00:00:06,000\n[SPEAKER_00]: Is anyone here?\n\n"
        "3\n00:00:08,000 --> 00:00:09,000\n(knocks)\n\n"
        "4\n00:00:10,000 --> 00:00:11,000\n[SPEAKER_01]: Come in.\n"
    )
    assert render(whole, "vtt") == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.000\n<v SPEAKER_00>Good morning.\n\n"
        "2\n00:00:04.000 --> 00:00:06.000\n<v SPEAKER_00>Is anyone here?\n\n"
        "3\n00:00:08.000 --> 00:00:09.000\n(knocks)\n\n"
        "4\n00:00:10.000 --> 00:00:11.000\n<v SPEAKER_01>Come in.\n"
    )
    nobody = transcript(*(by(NOT_ASKED, one) for one in whole.segments))
    assert "[" not in render(nobody, "srt")
    assert "<" not in render(nobody, "vtt")


def test_a_sentence_is_parted_where_the_speaker_changes() -> None:
    first, second = segment(0.0, 1.0, "so they came"), segment(1.0, 2.0, "and went")
    assert len(cues(transcript(first, second))) == 1
    for change in ((by("A", first), by("B", second)), (by("A", first), by(None, second))):
        assert [cue.text for cue in cues(transcript(*change))] == ["so they came", "and went"]


def test_channels_speak_at_the_same_time() -> None:
    whole = transcript(
        on("agent", segment(0.0, 4.0, "So what I wanted to ask")),
        on("customer", segment(1.0, 2.0, "Yes.")),
        on("agent", segment(4.0, 5.0, "is this.")),
    )
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in cues(whole, named=True)] == [
        (0, 5000, "[agent]: So what I wanted to ask is this."),
        (1000, 2000, "[customer]: Yes."),
    ]


def test_words_of_two_channels_are_underlined_in_order_of_time() -> None:
    first = segment(0.0, 4.0, "one two", words_of(("one", 0.0, 1.0), ("two", 2.0, 4.0)))
    second = segment(1.0, 3.0, "three", words_of(("three", 1.0, 3.0)))
    whole = transcript(on("a", first), on("b", second), options=HIGHLIGHTED)
    lines = [block.split("\n")[2] for block in render(whole, "vtt").split("\n\n")[1:]]
    assert lines == [
        "<v a><u>one</u> two",
        "<v a>one two",
        "<v b><u>three</u>",
        "<v a>one <u>two</u>",
    ]


def test_the_name_shares_its_line_where_text_fits_beside_it() -> None:
    said = by(
        "SPEAKER_00", segment(0.0, 6.0, "It was the best of times, it was the worst of times")
    )
    (cue,) = cues(transcript(said), named=True)
    assert cue.text == "[SPEAKER_00]: It was the best of times,\nit was the worst of times"
    link = by("SPEAKER_00", segment(0.0, 6.0, "Donaudampfschifffahrtsgesellschaft"))
    (cue,) = cues(transcript(link), named=True)
    assert cue.text == "[SPEAKER_00]:\nDonaudampfschifffahrtsgesellschaft"


def test_a_name_longer_than_a_line_leaves_room_for_text() -> None:
    long = by("X" * 64, segment(0.0, 6.0, "Good morning."))
    (cue,) = cues(transcript(long), named=True)
    assert cue.text == f"[{'X' * 64}]:\nGood morning."
    one_line = SubtitleOptions(max_line_count=1)
    assert [cue.text for cue in cues(transcript(long, options=one_line), named=True)] == [
        f"[{'X' * 64}]: Good",
        f"[{'X' * 64}]: morning.",
    ]


def test_a_name_takes_no_time_to_read() -> None:
    spoken = segment(0.0, 0.2, "Yes, I do, I think.")
    (plain,) = cues(transcript(spoken), named=True)
    (named,) = cues(transcript(by("SPEAKER_00", spoken)), named=True)
    assert named.end_ms == plain.end_ms


def test_vtt_word_times_stand_in_the_voice() -> None:
    spoken = segment(0.0, 4.0, "one two", words_of(("one", 0.0, 1.0), ("two", 2.0, 4.0)))
    whole = transcript(by("A", spoken), options=SubtitleOptions(vtt_word_times=True))
    assert render(whole, "vtt").endswith("\n<v A>one <00:00:02.000>two\n")


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("Anna & Co. <anna>", "<v Anna &amp; Co. &lt;anna&gt;>"),
        ("left --", "<v left -&#45;>"),
        ("-->", "<v --&gt;>"),
        (" two\n lines ", "<v two lines>"),
    ],
)
def test_a_voice_is_written_as_webvtt_wants_it(label: str, tag: str) -> None:
    text = render(transcript(on(label, segment(0.0, 1.0, "Yes."))), "vtt")
    assert text.endswith(f"\n{tag}Yes.\n")
    assert text.count("-->") == 1


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("<b>", "[<\N{ZERO WIDTH SPACE}b>]:"),
        ("{so}", "[\N{FULLWIDTH LEFT CURLY BRACKET}so\N{FULLWIDTH RIGHT CURLY BRACKET}]:"),
        ("-->", "[--\N{ZERO WIDTH SPACE}>]:"),
    ],
)
def test_srt_shows_a_name_that_looks_like_markup(label: str, name: str) -> None:
    text = render(transcript(on(label, segment(0.0, 1.0, "Yes."))), "srt")
    assert text.endswith(f"\n{name} Yes.\n")
    assert text.count("-->") == 1
