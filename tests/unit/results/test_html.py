"""The page holds the whole text and nothing else, whatever the text is."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.transcripts import segments, transcript
from worker.results.formats import render
from worker.results.html import Viewing, page
from worker.results.presentation import Presentation
from worker.results.spelling import one_line
from worker.results.transcript import NOT_ASKED, Channel, Segment, Speaker, Transcript, Word
from worker.results.wording.worded import worded

VOID = {"meta", "input", "source", "path", "br"}
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)' x=\"",
    "<!-- --> <![CDATA[ ]]>",
    "</title></style></p></div><base href='//evil'>",
    "$name ${policy} $$",
    "&lt;b&gt; &amp; &#x202e; &notit;",
    "nul\x00 bell\x07 del\x7f next\x85 lines\u2028\u2029 joined\u200d",
    "turned \u202etxt.exe\u202c \u2067isolated",
    "javascript:alert(1)",
    "\ufeff\ufffe👍🏽 e\u0301 مرحبا 録音",
)


class Parsed(HTMLParser):
    """What a browser makes of the page, near enough: elements, their text, what isn't closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.words: list[str] = []
        self.code: dict[str, list[str]] = {"style": [], "script": []}
        self.title = ""
        self.dangling: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.dangling.append(tag)
        if tag == "p" and "dir" in dict(attrs):
            self.texts.append("")
        if tag == "span" and "data-w" in dict(attrs):
            self.words.append("")
        if tag in self.code:
            self.code[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.dangling.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.dangling[-1] if self.dangling else ""
        if inside in self.code:
            self.code[inside][-1] += data
        elif inside == "title":
            self.title += data
        elif "p" in self.dangling and "main" in self.dangling:
            if self.texts:
                self.texts[-1] += data
            if inside == "span" and self.words:
                self.words[-1] += data

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.text("<>&\"'`/=- \t\nab\u2028\u2029\u202e", min_size=1, max_size=20),
)


def channel(label: str, **also: str) -> Channel:
    return Channel(
        label=label, audio_stream=None, channel=0, language=None, seconds=61.0, text="", **also
    )


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    spoken = []
    by_channel = draw(st.booleans())
    labels = st.just(NOT_ASKED) if by_channel else st.one_of(st.none(), TEXTS)
    for number in range(draw(st.integers(0, 3))):
        parts = draw(st.lists(TEXTS, min_size=1, max_size=4))
        text = draw(st.sampled_from(["", " ", ", "])).join(parts)
        timed = [
            Word(word=part, start=number, end=number + 1, score=draw(st.sampled_from([None, 0.1])))
            for part in parts
        ]
        spoken.append(
            Segment(
                id=number,
                start=number,
                end=number + 1,
                text=text,
                avg_logprob=-0.1,
                words=tuple(timed) if draw(st.booleans()) else (),
                language=draw(st.one_of(st.none(), TEXTS)),
                speaker=draw(labels),
                channel=draw(st.one_of(st.none(), TEXTS)) if by_channel else None,
            )
        )
    made = transcript(*spoken, name=draw(TEXTS))
    return made.model_copy(
        update={
            "job_id": draw(TEXTS),
            "speakers": None
            if by_channel
            else tuple(
                Speaker(label=label, seconds=1.0, turns=1, words=2)
                for label in draw(st.lists(TEXTS, max_size=2, unique=True))
            ),
            "channels": tuple(
                channel(label, same_as=draw(TEXTS)) if draw(st.booleans()) else channel(label)
                for label in draw(st.lists(TEXTS, max_size=2, unique=True))
            )
            if by_channel
            else None,
            "notes": tuple(draw(st.lists(TEXTS, max_size=2))),
            "metadata": draw(st.dictionaries(TEXTS, TEXTS, max_size=2)),
        }
    )


@given(transcripts(), st.booleans())
@settings(max_examples=40)
def test_no_text_becomes_markup_and_none_is_lost(made: Transcript, served: bool) -> None:
    viewing = Viewing((("recording", "audio/wav"),)) if served else None
    parsed = Parsed(page(made, viewing))
    assert parsed.dangling == []
    assert parsed.texts == [one_line(segment.text) for segment in made.segments]
    plain = Parsed(page(transcript(*segments("a b", scores=[0.1])), viewing))
    known = {(tag, tuple(sorted(attrs))) for tag, attrs in plain.elements}
    optional = {
        ("p", ("dir",)),
        ("p", ("class",)),
        ("dd", ("dir",)),
        ("span", ("data-w",)),
        ("span", ("class", "data-w")),
        ("span", ("class",)),
        ("bdi", ()),
        ("ul", ("aria-label", "class")),
        ("li", ("class",)),
        ("div", ("class", "data-channel", "data-t", "id")),
    }
    found = {(tag, tuple(sorted(attrs))) for tag, attrs in parsed.elements}
    assert found <= known | optional
    assert parsed.code["script"] == plain.code["script"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_are_shown_and_turn_nothing(hostile: str) -> None:
    parsed = Parsed(page(transcript(*segments("Good."), name=hostile)))
    name = hostile.rpartition("/")[2] or "call-17"
    visible = one_line(re.sub("[\u202a-\u202e\u2066-\u2069]", "\ufffd", name))
    assert parsed.title == visible
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", parsed.title)


@pytest.mark.parametrize("viewing", [None, Viewing(), Viewing((("recording", "audio/wav"),))])
def test_only_what_the_policy_allows_by_its_hash_is_in_the_page(viewing: Viewing | None) -> None:
    parsed = Parsed(page(transcript(*segments("Good.")), viewing))
    (policy,) = [
        attrs["content"] or ""
        for tag, attrs in parsed.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert ("connect-src" in policy) is (viewing is not None)
    assert "unsafe" not in policy
    for kind, texts in parsed.code.items():
        allowed = re.findall(r"'(sha256-[^']+)'", policy.split(f"{kind}-src")[1].split(";")[0])
        digests = [
            "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            for text in texts
        ]
        assert allowed == digests
        assert digests


def test_a_page_to_keep_names_no_address() -> None:
    text = page(transcript(*segments("Good morning."), name="talk.wav"))
    assert not re.search(r"https?:|//[\w.]+/|@import|url\(", text)
    parsed = Parsed(text)
    assert not parsed.attributes("src")
    assert {link[:1] for link in parsed.attributes("href")} == {"#"}


def test_nothing_is_styled_or_run_by_attributes() -> None:
    """The policy would forbid it."""
    parsed = Parsed(page(transcript(*segments("Good.")), Viewing((("a", "audio/wav"),))))
    names = {name for _, attrs in parsed.elements for name in attrs}
    assert not {name for name in names if name.startswith("on") or name == "style"}


def test_words_have_their_times_and_how_sure_the_model_was() -> None:
    spoken = segments("one two three four", scores=[0.9, 0.6, 0.4, 0.1])
    parsed = Parsed(page(transcript(*spoken)))
    marked = [
        (attrs["data-w"], attrs.get("class")) for _, attrs in parsed.elements if "data-w" in attrs
    ]
    assert marked == [
        ("0.5 0.8 90", None),
        ("0.9 1.2 60", "d1"),
        ("1.3 1.6 40", "d2"),
        ("1.7 2 10", "d3"),
    ]
    assert parsed.words == ["one", "two", "three", "four"]


def test_where_words_do_not_spell_the_text_the_text_stands_alone() -> None:
    (spoken,) = segments("one two")
    other = spoken.model_copy(update={"text": "something else"})
    parsed = Parsed(page(transcript(other)))
    assert parsed.texts == ["something else"]
    assert parsed.words == []


def test_without_scores_there_is_nothing_to_explain() -> None:
    assert 'id="shading"' not in page(transcript(*segments("one", scores=[None])))
    assert 'id="shading"' in page(transcript(*segments("one", scores=[0.2])))


def test_languages_and_directions_are_the_segments_own() -> None:
    first, second = segments("Guten Tag.", "مرحبا بكم")
    spoken = (
        first.model_copy(update={"language": "de"}),
        second.model_copy(update={"language": "ar"}),
    )
    parsed = Parsed(page(transcript(*spoken)))
    found = [
        (attrs["lang"], attrs["dir"])
        for tag, attrs in parsed.elements
        if "lang" in attrs and tag == "p"
    ]
    assert found == [("de", "auto"), ("ar", "auto")]
    translated = transcript(*spoken).model_copy(update={"task": "translate"})
    assert Parsed(page(translated)).attributes("lang")[1:] == ["en", "en"]


def spoken_by(*pairs: tuple[str | None, str], channels: bool = False) -> list[Segment]:
    field = "channel" if channels else "speaker"
    return [
        segment.model_copy(update={field: label})
        for (label, _), segment in zip(pairs, segments(*(text for _, text in pairs)), strict=True)
    ]


def named_in(text: str) -> list[tuple[str, str]]:
    """Of each segment that says who speaks: its classes, and what is said of that."""
    found = re.findall(
        r'<div class="segment ?([^"]*)"[^>]*><div class="margin"><a[^>]*>[^<]*</a></div>'
        r'<span class="speaker[^"]*">(?:<bdi>)?([^<]*)',
        text,
    )
    return [(classes, html.unescape(name)) for classes, name in found]


def test_a_speaker_is_named_where_another_one_begins() -> None:
    spoken = spoken_by(
        ("SPEAKER_00", "Yes."),
        ("SPEAKER_00", "I do."),
        (None, "Hm."),
        ("<SPEAKER_01>", "Good."),
        ("SPEAKER_00", "So."),
    )
    text = page(transcript(*spoken))
    assert named_in(text) == [
        ("bar b0", "SPEAKER_00"),
        ("", "unknown"),
        ("bar b1", "<SPEAKER_01>"),
        ("bar b0", "SPEAKER_00"),
    ]
    assert "&lt;SPEAKER_01&gt;" in text
    assert named_in(page(transcript(*spoken_by((None, "Hm."), ("A", "Yes."))))) == [
        ("", "unknown"),
        ("bar b0", "A"),
    ]


def test_where_nobody_asked_nothing_is_said_of_speakers() -> None:
    text = page(transcript(*segments("Yes.", "No.")))
    assert named_in(text) == []
    assert 'class="speakers"' not in text
    assert "data-channel" not in text.partition("<script>")[0]


def listed_in(text: str) -> list[tuple[str, str]]:
    """Classes and text of each speaker or channel in the page's list."""
    return [
        (classes, html.unescape(re.sub("<[^>]*>", "", content)))
        for classes, content in re.findall(r'<li class="([^"]*)">(.*?)</li>', text)
    ]


def test_the_speakers_are_listed_with_their_time_and_their_words() -> None:
    speakers = (
        Speaker(label="SPEAKER_00", seconds=83.2, turns=2, words=1210),
        Speaker(label="SPEAKER_01", seconds=0.4, turns=1, words=1),
    )
    made = transcript(*spoken_by(("SPEAKER_01", "Yes."))).model_copy(update={"speakers": speakers})
    text = page(made)
    assert listed_in(text) == [
        ("bar b0", "SPEAKER_00 1:23 · 1,210 words"),
        ("bar b1", "SPEAKER_01 0:00 · 1 word"),
    ]
    assert "&middot; 2 speakers</p>" in text
    assert named_in(text) == [("bar b1", "SPEAKER_01")]
    nobody = page(made.model_copy(update={"speakers": ()}))
    assert "&middot; 0 speakers</p>" in nobody


def test_the_channels_are_listed_too_and_twins_say_so() -> None:
    made = transcript(*spoken_by(("<left>", "Yes. I do."), channels=True)).model_copy(
        update={"channels": (channel("<left>"), channel("right", same_as="<left>"))}
    )
    text = page(made)
    assert listed_in(text) == [
        ("bar b0", "<left> 1:01 · 3 words"),
        ("bar b1", "right the same as <left>"),
    ]
    assert "&middot; 2 channels</p>" in text
    assert 'data-channel="0"' in text
    without = transcript(*[one.model_copy(update={"words": ()}) for one in made.segments])
    text = page(without.model_copy(update={"channels": made.channels}))
    assert listed_in(text)[0] == ("bar b0", "<left> 1:01")


def test_there_are_marks_for_any_number_of_speakers() -> None:
    spoken = spoken_by(*((f"SPEAKER_{number:02d}", "Yes.") for number in range(20)))
    text = page(transcript(*spoken))
    style = Parsed(text).code["style"][0]
    for classes, _ in named_in(text):
        mark = classes.removeprefix("bar ")
        assert re.search(rf"\.{mark} {{ --bar: \w+ var\(--bar-\d\); }}", style)


def test_the_first_four_marks_differ_without_colour() -> None:
    style = Parsed(page(transcript())).code["style"][0]
    assert len(set(re.findall(r"\.b[0-3] { --bar: (\w+) ", style))) == 4


def test_a_transcript_without_speech_says_so() -> None:
    text = render(transcript(), "html")
    assert "No speech was found" in text
    assert Parsed(text).dangling == []


def test_no_words_of_a_page_are_tab_stops() -> None:
    assert not Parsed(page(transcript(*segments("one two")), Viewing())).attributes("tabindex")[1:]


def test_what_can_be_pressed_has_a_name() -> None:
    parsed = Parsed(page(transcript(*segments("one")), Viewing((("a", "audio/wav"),))))
    for tag, attrs in parsed.elements:
        if tag in ("input", "select"):
            assert attrs.get("aria-label"), attrs
        if tag == "button" and "icon" in (attrs.get("class") or ""):
            assert attrs.get("aria-label"), attrs


def luminance(colour: str) -> float:
    digits = colour * 2 if len(colour) == 3 else colour
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(colour: str, other: str) -> float:
    low, high = sorted(map(luminance, (colour, other)))
    return (high + 0.05) / (low + 0.05)


def test_a_tagged_word_is_framed_and_the_legend_says_why() -> None:
    asked = Presentation(vocabulary_filter=("darn",), vocabulary_filter_method="tag")
    doubted, unknown = (segments("Darn fog.", scores=[score]) for score in (0.2, None))
    text = page(transcript(*worded(doubted, asked)))
    assert 'class="tagged d3">Darn</span>' in text
    assert text.count('class="tagged') == 2, "the word and the legend"
    assert 'id="shading"' in text
    alone = page(transcript(*worded(unknown, asked)))
    assert 'class="tagged">Darn</span>' in alone
    assert 'class="legend"' in alone
    assert 'id="shading"' not in alone
    assert 'class="tagged"' not in page(transcript(*doubted))
    assert 'class="legend"' not in page(transcript(*unknown))


def test_text_has_the_contrast_that_accessibility_asks_for() -> None:
    """4.5 to 1 (WCAG 2.2, 1.4.3), in the light and in the dark."""
    style = Parsed(page(transcript(*segments("one")), Viewing())).code["style"][0]
    light, dark = [
        dict(re.findall(r"--([\w-]+): #(\w{3,6});", one)) for one in style.split("@media")[:2]
    ]
    pairs = [("ink", ground) for ground in ("paper", "raised", "doubt-1", "doubt-2", "doubt-3")]
    pairs += [("soft", "paper"), ("soft", "raised"), ("on-accent", "accent"), ("accent", "raised")]
    pairs += [("on-found", "found")]
    for colours in (light, light | dark):
        for text, ground in pairs:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def test_the_marks_of_speakers_have_the_contrast_that_accessibility_asks_for() -> None:
    """3 to 1 (WCAG 2.2, 1.4.11), in the light and in the dark."""
    style = Parsed(page(transcript(*segments("one")), Viewing())).code["style"][0]
    for one in style.split("@media")[:2]:
        colours = dict(re.findall(r"--([\w-]+): #(\w{3,6});", one))
        marks = [colour for name, colour in colours.items() if name.startswith("bar-")]
        assert len(set(marks)) == 8
        for mark in marks:
            assert contrast(mark, colours["paper"]) >= 3


def test_an_hour_makes_a_light_page() -> None:
    lines = [" ".join(f"word{n % 97}" for n in range(20)) for _ in range(500)]
    text = page(transcript(*segments(*lines, scores=[0.9, 0.3])))
    assert len(text) < 700_000
    ids = re.findall(r'id="s(\d+)"', text)
    assert len(ids) == 500
    assert all(int(b) == int(a) + 1 for a, b in pairwise(ids))


@pytest.mark.parametrize(
    ("score", "shown"), [(math.nan, ""), (-math.inf, ""), (1e308, " 100"), (-7.0, " 0")]
)
def test_a_score_out_of_bounds_is_shown_within_them_or_not_at_all(score: float, shown: str) -> None:
    assert f'data-w="0.5 0.8{shown}"' in page(transcript(*segments("Good.", scores=[score])))
