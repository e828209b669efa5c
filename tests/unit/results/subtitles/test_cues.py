"""Subtitles keep their limits whatever the transcript, and other parsers read what was meant."""

import html
import itertools
import json
import random
import re
import time
from collections.abc import Sequence

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.transcripts import ENGINE
from worker.results.formats import FORMATS, render
from worker.results.names import FORMAT_NAMES
from worker.results.subtitles.cues import MAX_LINE_WIDTH, MAX_LINES, Cue, cues, text_width
from worker.results.transcript import (
    InputInfo,
    Language,
    Segment,
    SubtitleOptions,
    Timings,
    Transcript,
    Word,
)

ZERO_WIDTH_SPACE = "\N{ZERO WIDTH SPACE}"


def transcript(*segments: Segment) -> Transcript:
    return Transcript(
        job_id="call-17",
        input=InputInfo(uri="s3://bucket/call-17.flac", bytes=1, audio_seconds=60.0),
        language=Language(code="en", probability=0.99, detected=True),
        task="transcribe",
        text=" ".join(segment.text for segment in segments),
        segments=segments,
        engine=ENGINE,
        timings=Timings(),
        speed=1.0,
    )


def with_word_times(whole: Transcript) -> Transcript:
    return whole.model_copy(update={"subtitles": SubtitleOptions(vtt_word_times=True)})


def segment(start: float, end: float, text: str, words: Sequence[Word] = ()) -> Segment:
    return Segment(id=0, start=start, end=end, text=text, avg_logprob=-0.1, words=tuple(words))


def words_of(*timed: tuple[str, float, float]) -> list[Word]:
    return [Word(word=word, start=start, end=end) for word, start, end in timed]


def squeezed(text: str) -> str:
    """The text without white space and without the characters that no subtitle shows."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]", "", text)


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


# --- what transcripts hold ------------------------------------------------------------------

WORD_TEXTS = st.one_of(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzÄß", min_size=1, max_size=12),
    st.sampled_from(["Well,", "stop.", "why?", "«bon»", "(so)", "it's", "1999", "42", "—", "A&B"]),
    st.sampled_from(["<b>", "</i>", "< i >", "{\\an8}", "-->", "&amp;", "&lt;", "\\N"]),
    st.text(alphabet="録音今日は世界。、「」『』ー々ッ", min_size=1, max_size=40),
    st.text(alphabet="안녕하세요반갑습니다", min_size=1, max_size=30),
    st.text(alphabet="สวัสดีครับตัวนี้", min_size=1, max_size=60),
    st.text(alphabet="e\u0301a\u0308\u200d👍🏽", min_size=1, max_size=10),
    st.text(alphabet="x", min_size=43, max_size=130),
)
# What separates and what no subtitle may hold: every kind of white space, controls.
GAPS = [*" " * 8, "  ", "\n", "\r\n", "\t", "\u3000", "\u2028", " \x00"]

# The same examples on every run, and no clock: other work on the machine must not fail a test.
examples = settings(max_examples=100, derandomize=True, deadline=None)


@st.composite
def segments(draw: st.DrawFn, *, with_words: bool | None = None) -> list[Segment]:
    """Segments in order, from a blink to half a minute, with or without words."""
    found = []
    clock = 0
    for number in range(draw(st.integers(0, 3))):
        chance = random.Random(draw(st.integers(0, 2**32)))
        texts = draw(st.lists(WORD_TEXTS, max_size=12)) * chance.choice([1, 1, 2, 5])
        length = chance.choice([200, 3000, 30_000])
        clock += chance.choice([0, 0, 1, 37, 1500])
        words: list[Word] = []
        if chance.random() < 0.5 if with_words is None else with_words:
            edges = sorted(chance.randint(0, length) for _ in range(2 * len(texts)))
            words = [
                Word(
                    word=chance.choice(["", " "]) + text,
                    start=(clock + edges[2 * i]) / 1000,
                    end=(clock + edges[2 * i + 1]) / 1000,
                )
                for i, text in enumerate(texts)
            ]
        found.append(
            Segment(
                id=number,
                start=clock / 1000,
                end=(clock + length) / 1000,
                text="".join(text + chance.choice(GAPS) for text in texts),
                avg_logprob=-0.2,
                words=tuple(words),
            )
        )
        clock += length
    return found


def by_segment(found: list[Cue], spoken: list[Segment]) -> list[list[Cue]]:
    """The cues that hold each segment's text, in order; fails if they don't spell it."""
    rest = list(found)
    shares = []
    for one in spoken:
        wanted = squeezed(one.text)
        share: list[Cue] = []
        have = ""
        while len(have) < len(wanted):
            cue = rest.pop(0)
            share.append(cue)
            have += squeezed(cue.text)
        assert have == wanted
        shares.append(share)
    assert rest == []
    return shares


# --- the limits -----------------------------------------------------------------------------


@examples
@given(segments())
def test_cues_hold_all_text_in_order_inside_their_segments(spoken: list[Segment]) -> None:
    for one, share in zip(spoken, by_segment(cues(transcript(*spoken)), spoken), strict=True):
        for cue in share:
            assert milliseconds(cue.start) >= milliseconds(one.start)
            assert milliseconds(cue.end) <= milliseconds(one.end)


@examples
@given(segments())
def test_cues_are_short_enough_to_read(spoken: list[Segment]) -> None:
    for cue in cues(transcript(*spoken)):
        assert 1 <= milliseconds(cue.end) - milliseconds(cue.start) <= 7000
        lines = cue.text.split("\n")
        assert 1 <= len(lines) <= MAX_LINES
        for line in lines:
            assert line
            assert text_width(line) <= MAX_LINE_WIDTH
            assert line == line.strip()


@examples
@given(segments())
def test_cues_never_overlap(spoken: list[Segment]) -> None:
    found = cues(transcript(*spoken))
    for earlier, later in itertools.pairwise(found):
        assert earlier.end <= later.start


@examples
@given(segments(with_words=True))
def test_lines_and_cues_break_at_words(spoken: list[Segment]) -> None:
    found = by_segment(cues(transcript(*spoken)), spoken)
    for one, share in zip(spoken, found, strict=True):
        breaks = set()
        done = 0
        for line in (line for cue in share for line in cue.text.split("\n")):
            done += len(squeezed(line))
            breaks.add(done)
        done = 0
        for word in one.words:
            length = len(squeezed(word.word))
            if text_width(word.word.strip()) <= MAX_LINE_WIDTH and " " not in word.word.strip():
                assert not breaks & set(range(done + 1, done + length))
            done += length


@examples
@given(segments(with_words=True))
def test_words_know_where_they_start_in_their_cue(spoken: list[Segment]) -> None:
    for one, share in zip(spoken, by_segment(cues(transcript(*spoken)), spoken), strict=True):
        marked = [(cue, offset, at) for cue in share for offset, at in cue.word_starts]
        shown = [word for word in one.words if squeezed(word.word)]
        assert len(marked) == len(shown)
        for (cue, offset, at), word in zip(marked, shown, strict=True):
            head = squeezed(word.word)[: len(cue.text) - offset][:1]
            assert cue.text[offset:].startswith(head)
            assert at == pytest.approx(word.start, abs=1e-6)


@examples
@given(st.integers(0, 3), st.lists(WORD_TEXTS, min_size=1, max_size=30))
def test_a_segment_shorter_than_its_cues_loses_no_text(length: int, texts: list[str]) -> None:
    spoken = [
        segment(1.0, 1.0 + length / 1000, " ".join(texts)),
        segment(1.0 + length / 1000, 3.0, "then"),
    ]
    found = cues(transcript(*spoken))
    by_segment(found, spoken)
    assert found[0].start == 1.0
    for earlier, later in itertools.pairwise(found):
        assert earlier.start < earlier.end <= later.start


def test_words_crowded_at_the_end_of_a_segment_stay_inside_it() -> None:
    texts = ["one", *["crowded"] * 60]
    words = words_of(("one", 1.0, 2.0), *[("crowded", 10.0, 10.0)] * 60)
    found = cues(transcript(segment(0.0, 10.0, " ".join(texts), words)))
    assert len(found) > 4
    assert found[-1].end == 10.0
    for earlier, later in itertools.pairwise(found):
        assert 1.0 <= earlier.start < earlier.end <= later.start < later.end


def test_word_times_outside_the_segment_or_backwards_do_no_harm() -> None:
    words = words_of(("one", 0.0, 3.0), ("two", 1.0, 2.0), ("three", 90.0, 80.0), ("four", 4, 5))
    (cue,) = cues(transcript(segment(2.0, 7.0, "one two three four", words)))
    assert (cue.start, cue.end) == (2.0, 7.0)
    assert [at for _, at in cue.word_starts] == [2.0, 3.0, 7.0, 7.0]


# --- examples -------------------------------------------------------------------------------


def test_a_cue_starts_and_ends_with_its_words() -> None:
    spoken = segment(
        0.5, 20.0, " Hello there.", words_of((" Hello", 2.0, 2.5), (" there.", 2.6, 4.25))
    )
    assert cues(transcript(spoken)) == [
        Cue(2.0, 4.25, "Hello there.", ((0, 2.0), (6, 2.6))),
    ]


def test_a_short_cue_stays_a_second_where_there_is_room() -> None:
    quick = words_of(("Yes.", 2.0, 2.1))
    assert cues(transcript(segment(1.0, 9.0, "Yes.", quick)))[0].end == 3.0
    assert cues(transcript(segment(1.0, 2.4, "Yes.", quick)))[0].end == 2.4
    followed = transcript(segment(1.0, 2.4, "Yes.", quick), segment(2.4, 9.0, "No, not at all."))
    first, _ = cues(followed)
    assert (first.start, first.end) == (2.0, 2.4)


def test_without_words_time_is_shared_in_proportion_to_characters() -> None:
    text = " ".join(["abcd"] * 40)  # 199 characters; 16 words on two lines
    found = cues(transcript(segment(0.0, 19.9, text)))
    assert [cue.text.count("abcd") for cue in found] == [14, 14, 12]
    # Each character has 100 ms; a cue of 14 words starts with its first and ends with its last.
    assert [(cue.start, cue.end) for cue in found] == [(0.0, 6.9), (7.0, 13.9), (14.0, 19.9)]
    assert all(cue.word_starts == () for cue in found)


@pytest.mark.parametrize("wrong", ["Completely different", "What here", "What was said", "said"])
def test_words_that_do_not_spell_the_text_are_not_used(wrong: str) -> None:
    words = words_of(*((word, 1.0, 1.5) for word in wrong.split()))
    with_words = cues(transcript(segment(0.0, 6.0, "What was said here", words)))
    assert with_words == cues(transcript(segment(0.0, 6.0, "What was said here")))


def test_punctuation_that_no_word_has_stays_in_the_text() -> None:
    spoken = segment(
        0.0,
        5.0,
        "“Well” — he said: (no)!",
        words_of(("Well", 1.0, 1.5), ("he said", 2.0, 3.0), ("no", 3.5, 4.0)),
    )
    (cue,) = cues(transcript(spoken))
    assert (cue.start, cue.end, cue.text) == (1.0, 4.0, "“Well” — he said: (no)!")


def test_two_lines_are_of_like_length() -> None:
    text = "It was the best of times, it was the worst of times"
    (cue,) = cues(transcript(segment(0.0, 5.0, text)))
    assert cue.text == "It was the best of times,\nit was the worst of times"


def test_a_cue_ends_with_its_sentence_if_that_fills_half_of_it() -> None:
    text = (
        "The first sentence says something of quite some length. Then it goes on and on for"
        " longer than a cue has room for."
    )
    found = cues(transcript(segment(0.0, 10.0, text)))
    assert found[0].text.replace("\n", " ") == (
        "The first sentence says something of quite some length."
    )


def test_a_word_that_takes_longer_than_a_cue_may_is_shown_for_seven_seconds() -> None:
    spoken = segment(0.0, 25.0, "Ooooh yes", words_of(("Ooooh", 1.0, 20.0), ("yes", 20.0, 21.0)))
    assert [(cue.start, cue.end, cue.text) for cue in cues(transcript(spoken))] == [
        (1.0, 8.0, "Ooooh"),
        (20.0, 21.0, "yes"),
    ]


def test_wide_characters_count_two() -> None:
    assert text_width("録音 abc") == 8
    assert text_width("e\u0301") == 1
    assert text_width("\N{FULLWIDTH LATIN SMALL LETTER F}" * 4) == 8
    (cue,) = cues(transcript(segment(0.0, 5.0, "あ" * 42)))
    assert cue.text == "あ" * 21 + "\n" + "あ" * 21


def test_no_line_starts_with_closing_punctuation_or_ends_with_an_opening_bracket() -> None:
    for lead in range(1, 60):
        text = "あ" * lead + "、「い」、う" + "「え」ーお" * 4 + "う" * 40
        for cue in cues(transcript(segment(0.0, 6.0, text))):
            for line in cue.text.split("\n"):
                assert line[0] not in "、」ー"
                assert line[-1] != "「"


@pytest.mark.parametrize("word", ["안녕하세요", "2024년", "AI는", "서울A", "漢서울"])
def test_korean_breaks_at_its_spaces(word: str) -> None:
    for lead in range(1, 12):
        text = "x" * lead + f" {word}" * 20
        for cue in cues(transcript(segment(0.0, 10.0, text))):
            assert set(cue.text.split()) <= {word, "x" * lead}


@pytest.mark.parametrize("marked", ["e\u0301", "か\u3099"])
def test_a_combining_mark_stays_with_its_letter(marked: str) -> None:
    for lead in range(1, 48):
        text = "x" * lead + marked * 60
        for cue in cues(transcript(segment(0.0, 10.0, text))):
            assert all(line[0] != marked[1] for line in cue.text.split("\n"))


def test_chinese_breaks_between_its_words() -> None:
    texts = ["今天", "天气", "非常好", "我们", "一起", "出去", "散步吧"] * 6
    words = [Word(word=text, start=i / 2, end=i / 2 + 0.5) for i, text in enumerate(texts)]
    found = cues(transcript(segment(0.0, len(texts) / 2, "".join(texts), words)))
    edges = {0}
    for text in texts:
        edges.add(max(edges) + len(text))
    done = 0
    for line in (line for cue in found for line in cue.text.split("\n")):
        done += len(line)
        assert done in edges
    assert all(milliseconds(cue.end - cue.start) <= 7000 for cue in found)


# --- the files ------------------------------------------------------------------------------


def read_back(text: str, format_: str) -> list[tuple[int, int, str]]:
    """What pysubs2 reads: (start, end, text) of each cue.

    It takes a last line of digits for the next cue's number: so one more cue is put at the end.
    """
    point = "," if format_ == "srt" else "."
    text += f"\n9999\n99:00:00{point}000 --> 99:00:01{point}000\nend\n"
    *events, end = pysubs2.SSAFile.from_string(text, format_=format_)
    assert end.text == "end"
    return [(event.start, event.end, event.text) for event in events]


def as_read(found: list[Cue]) -> list[tuple[int, int, str]]:
    """What a reader that writes line breaks as pysubs2 does should find."""
    return [
        (milliseconds(cue.start), milliseconds(cue.end), cue.text.replace("\n", "\\N"))
        for cue in found
    ]


@examples
@given(segments())
def test_srt_is_read_back_by_pysubs2(spoken: list[Segment]) -> None:
    whole = transcript(*spoken)
    read = [
        (start, end, text.replace(ZERO_WIDTH_SPACE, ""))
        for start, end, text in read_back(render(whole, "srt"), "srt")
    ]
    assert read == as_read(cues(whole))


@examples
@given(segments())
def test_vtt_is_read_back_by_pysubs2(spoken: list[Segment]) -> None:
    whole = transcript(*spoken)
    read = [
        (start, end, html.unescape(text))
        for start, end, text in read_back(render(whole, "vtt"), "vtt")
    ]
    assert read == as_read(cues(whole))


@examples
@given(segments())
def test_vtt_word_times_keep_the_rules_of_webvtt(spoken: list[Segment]) -> None:
    whole = transcript(*spoken)
    text = render(with_word_times(whole), "vtt")
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
        inside = [milliseconds(cue.start), *times, milliseconds(cue.end)]
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
    assert render(with_word_times(whole), "vtt") == (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.000\n"
        "R&amp;D <00:00:01.500>&lt;3 <00:00:02.250>you\n"
    )


def test_vtt_shows_a_time_that_was_text() -> None:
    spoken = segment(0.0, 5.0, "<00:00:01.000>", words_of(("<00:00:01.000>", 1.0, 3.0)))
    for word_times in (False, True):
        whole = transcript(spoken)
        text = render(with_word_times(whole) if word_times else whole, "vtt")
        assert text.endswith("\n&lt;00:00:01.000&gt;\n")


def test_srt_shows_markup_instead_of_obeying_it() -> None:
    text = render(transcript(segment(0.0, 5.0, "a <b>bold</b> {\\an8} --> 3 < 4")), "srt")
    (read,) = pysubs2.SSAFile.from_string(text, format_="srt")
    assert read.text.replace(ZERO_WIDTH_SPACE, "") == "a <b>bold</b> {\\an8} --> 3 < 4"
    assert "{\N{ZERO WIDTH SPACE}\\an8}" in text
    assert "3 < 4" in text
    assert text.count("-->") == 1


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


def test_two_hours_take_seconds() -> None:
    text = " ".join(["and so it went on"] * 16)
    tokens = text.split()
    step = 28 / len(tokens)
    spoken = [
        segment(
            30 * i,
            30 * i + 28,
            text,
            [
                Word(word=token, start=30 * i + n * step, end=30 * i + (n + 1) * step)
                for n, token in enumerate(tokens)
            ],
        )
        for i in range(240)
    ]
    whole = transcript(*spoken)
    started = time.process_time()
    assert len(cues(whole)) > 240
    assert time.process_time() - started < 5


def test_one_huge_segment_takes_seconds() -> None:
    for text in ("x" * 50_000, "あ" * 50_000, "a " * 25_000, "\u0301" * 50_000):
        started = time.process_time()
        cues(transcript(segment(0.0, 30.0, text)))
        assert time.process_time() - started < 5
