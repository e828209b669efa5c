"""Cues keep their limits whatever the transcript, and are what a reader wants where they can be."""

import itertools
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given

from tests.spoken import (
    OPTIONS,
    examples,
    milliseconds,
    segment,
    segments,
    squeezed,
    transcript,
    words_of,
)
from worker.results.languages import segment_language
from worker.results.subtitles.cues import Cue, CueWord, cues
from worker.results.subtitles.line_breaks import text_width
from worker.results.transcript import Segment, SubtitleOptions, Word


def shown(*spoken: Segment, options: SubtitleOptions | None = None) -> list[Cue]:
    return cues(transcript(*spoken, options=options))


def texts(*spoken: Segment, options: SubtitleOptions | None = None) -> list[str]:
    return [cue.text for cue in shown(*spoken, options=options)]


def paced(text: str, start: float = 0.0, *, seconds: float = 0.35, pause: float = 0.0) -> Segment:
    """A segment whose words, at spaces, follow each other; `|` stands for a pause."""
    words = []
    clock = start
    for token in text.split():
        if token == "|":
            clock += pause
        else:
            words.append(Word(word=token, start=clock, end=clock + seconds))
            clock += seconds
    spoken = " ".join(word.word for word in words)
    return segment(start, clock, spoken, words)


def edges(parts: Sequence[str]) -> Iterator[int]:
    """Where each part ends among all characters that aren't white space."""
    return itertools.accumulate(len(squeezed(part)) for part in parts)


# --- whatever the transcript ----------------------------------------------------------------


@examples
@given(segments(), OPTIONS)
def test_cues_hold_all_text_in_order(spoken: list[Segment], options: SubtitleOptions) -> None:
    found = "".join(map(squeezed, texts(*spoken, options=options)))
    assert found == "".join(squeezed(one.text) for one in spoken)


@examples
@given(segments(), OPTIONS)
def test_cues_fit_their_lines(spoken: list[Segment], options: SubtitleOptions) -> None:
    for text in texts(*spoken, options=options):
        lines = text.split("\n")
        assert len(lines) <= options.max_line_count
        for line in lines:
            assert line
            assert line == line.strip()
            assert text_width(line) <= options.max_line_width


@examples
@given(segments(), OPTIONS)
def test_cues_never_overlap_nor_stay_too_long(
    spoken: list[Segment], options: SubtitleOptions
) -> None:
    whole = transcript(*spoken, options=options)
    found = cues(whole)
    clock = 0
    for cue in found:
        assert clock <= cue.start_ms < cue.end_ms
        assert cue.end_ms <= cue.start_ms + milliseconds(options.max_cue_seconds)
        clock = cue.end_ms
    # Less than a millisecond for each cue: only then is more time taken than there is.
    assert clock <= max(milliseconds(whole.input.audio_seconds), len(found))


@examples
@given(segments(with_words=True), OPTIONS)
def test_no_cue_goes_over_a_pause_of_more_than_a_second(
    spoken: list[Segment], options: SubtitleOptions
) -> None:
    words = [word for one in spoken for word in one.words]
    ends = {*edges(texts(*spoken, options=options))}
    for end, (word, following) in zip(
        edges([word.word for word in words]), itertools.pairwise(words), strict=False
    ):
        if following.start - word.end > 1.0005:
            assert end in ends


@examples
@given(segments(), OPTIONS)
def test_no_cue_has_two_languages(spoken: list[Segment], options: SubtitleOptions) -> None:
    whole = transcript(*spoken, options=options)
    said = [one for one in spoken if squeezed(one.text)]
    ends = {*edges([cue.text for cue in cues(whole)])}
    for end, (one, following) in zip(
        edges([one.text for one in said]), itertools.pairwise(said), strict=False
    ):
        same = segment_language(whole, one) == segment_language(whole, following)
        assert same or end in ends


def test_a_cue_of_a_translation_may_be_of_what_was_said_in_two_languages() -> None:
    first, second = paced("Then they asked us"), paced("to come in.", 1.4)
    whole = transcript(
        first.model_copy(update={"language": "ja"}), second.model_copy(update={"language": "de"})
    )
    assert len(cues(whole)) == 2
    assert len(cues(whole.model_copy(update={"task": "translate"}))) == 1


@examples
@given(segments(with_words=True))
def test_lines_and_cues_break_at_words(spoken: list[Segment]) -> None:
    breaks = {*edges([line for text in texts(*spoken) for line in text.split("\n")])}
    done = 0
    for word in (word for one in spoken for word in one.words):
        length = len(squeezed(word.word))
        if text_width(word.word.strip()) <= 42 and " " not in word.word.strip():
            assert not breaks & set(range(done + 1, done + length))
        done += length


@examples
@given(segments(with_words=True), OPTIONS)
def test_words_know_where_they_stand_and_when_they_are_said(
    spoken: list[Segment], options: SubtitleOptions
) -> None:
    marked = [
        (cue.text[word.first : word.end], word)
        for cue in shown(*spoken, options=options)
        for word in cue.words
    ]
    said = [word for one in spoken for word in one.words if squeezed(word.word)]
    assert "".join(squeezed(text) for text, _ in marked) == "".join(
        squeezed(word.word) for word in said
    )
    clock = 0
    for _, word in marked:
        assert clock <= word.start_ms <= word.end_ms
        clock = word.end_ms
    assert {milliseconds(word.start) for word in said} <= {word.start_ms for _, word in marked}


def test_a_segment_shorter_than_its_cues_loses_no_text() -> None:
    for length in range(4):
        spoken = [
            segment(1.0, 1.0 + length / 1000, "crowded " * 60),
            segment(1.0 + length / 1000, 3.0, "then"),
        ]
        found = shown(*spoken)
        assert squeezed("".join(cue.text for cue in found)) == "crowded" * 60 + "then"
        for earlier, later in itertools.pairwise(found):
            assert earlier.start_ms < earlier.end_ms <= later.start_ms


def test_words_crowded_at_the_end_of_the_audio_stay_inside_it() -> None:
    words = words_of(("one", 50.0, 51.0), *[("crowded", 60.0, 60.0)] * 60)
    found = shown(segment(50.0, 60.0, "one" + " crowded" * 60, words))
    assert len(found) > 4
    assert found[-1].end_ms == 60_000
    for earlier, later in itertools.pairwise(found):
        assert 50_000 <= earlier.start_ms < earlier.end_ms <= later.start_ms < later.end_ms


def test_word_times_outside_the_segment_or_backwards_do_no_harm() -> None:
    words = words_of(("one", 0.0, 3.0), ("two", 1.0, 2.0), ("three", 90.0, 80.0), ("four", 4, 5))
    (cue,) = shown(segment(2.0, 3.5, "one two three four", words))
    assert (cue.start_ms, cue.end_ms) == (2000, 3500)
    assert [word.start_ms for word in cue.words] == [2000, 3000, 3500, 3500]


# --- when a cue is shown --------------------------------------------------------------------


def test_a_cue_starts_and_ends_with_its_words() -> None:
    spoken = segment(
        0.5, 20.0, " Hello there.", words_of((" Hello", 2.0, 2.5), (" there.", 2.6, 4.25))
    )
    assert shown(spoken) == [
        Cue(2000, 4250, "Hello there.", (CueWord(0, 5, 2000, 2500), CueWord(6, 12, 2600, 4250)))
    ]


def test_signs_before_the_first_word_come_with_it() -> None:
    (cue,) = shown(segment(0.0, 9.0, "… — so", words_of(("so", 5.0, 6.5))))
    assert (cue.start_ms, cue.text) == (5000, "… — so")


def test_a_short_cue_stays_a_second_where_there_is_room() -> None:
    yes = segment(1.0, 2.1, "Yes.", words_of(("Yes.", 2.0, 2.1)))
    assert shown(yes)[0].end_ms == 3000
    # Two frames before the next cue.
    assert shown(yes, paced("No, that is not true at all.", 2.99))[0].end_ms == 2910
    at_the_end = segment(59.0, 60.0, "Yes.", words_of(("Yes.", 59.1, 59.2)))
    assert shown(at_the_end)[0].end_ms == 60_000


def test_a_fast_cue_stays_until_it_can_be_read() -> None:
    text = "Whoever says all of this in a second is"
    (cue,) = shown(paced(text, seconds=0.1))
    assert cue.end_ms == pytest.approx(len(text) / 17 * 1000, abs=2)
    first, _ = shown(paced(text, seconds=0.1), paced("This is what he says then.", 2.0))
    # As much as can be read at 20 characters a second, rather than a gap.
    assert first.end_ms == 1950
    first, _ = shown(paced(text, seconds=0.1), paced("This is what he says then.", 1.9))
    assert first.end_ms == 1900


def test_a_cue_begins_up_to_half_a_second_early_where_there_is_no_room_after_it() -> None:
    yes = segment(3.0, 3.4, "Yes.", words_of(("Yes.", 3.0, 3.4)))
    no = paced("It was never said by any of us here and you know this.", 3.4)
    assert shown(yes, no)[0] == Cue(2566, 3400, "Yes.", (CueWord(0, 4, 3000, 3400),))


def test_a_word_that_takes_longer_than_a_cue_may_is_shown_for_seven_seconds() -> None:
    spoken = segment(0.0, 25.0, "Ooooh yes", words_of(("Ooooh", 1.0, 20.0), ("yes", 20.0, 21.0)))
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in shown(spoken)] == [
        (1000, 8000, "Ooooh"),
        (20_000, 21_000, "yes"),
    ]


def test_without_words_time_is_shared_in_proportion_to_characters() -> None:
    text = " ".join(["abcd"] * 40)  # 199 characters; 16 words on two lines
    found = shown(segment(0.0, 19.9, text))
    assert [cue.text.count("abcd") for cue in found] == [13, 13, 14]
    # Each character has 100 ms; a cue of 13 words starts with its first and ends with its last.
    times = [(cue.start_ms, cue.end_ms) for cue in found]
    assert times == [(0, 6400), (6500, 12_900), (13_000, 19_900)]
    assert all(cue.words == () for cue in found)


@pytest.mark.parametrize("wrong", ["Completely different", "What here", "What was said", "said"])
def test_words_that_do_not_spell_the_text_are_not_used(wrong: str) -> None:
    words = words_of(*((word, 1.0, 1.5) for word in wrong.split()))
    with_words = shown(segment(0.0, 6.0, "What was said here", words))
    assert with_words == shown(segment(0.0, 6.0, "What was said here"))


def test_punctuation_that_no_word_has_stays_in_the_text() -> None:
    spoken = segment(
        0.0,
        5.0,
        "“Well” — he said: (no)!",
        words_of(("Well", 1.0, 1.5), ("he said", 2.0, 3.0), ("no", 3.5, 4.0)),
    )
    (cue,) = shown(spoken)
    assert (cue.start_ms, cue.end_ms, cue.text) == (1000, 4000, "“Well” — he said: (no)!")


# --- what a cue holds -----------------------------------------------------------------------


def test_a_cue_ends_with_its_sentence() -> None:
    text = (
        "The first sentence says something of quite some length. Then it goes on and on for"
        " longer than a cue has room for."
    )
    assert texts(paced(text)) == [
        "The first sentence says\nsomething of quite some length.",
        "Then it goes on and on for\nlonger than a cue has room for.",
    ]


@pytest.mark.parametrize("end", ['."', ".)", ".”", "?", "!”", "。", "؟", "।"])
def test_a_sentence_may_end_within_quotation_marks_or_brackets(end: str) -> None:
    first = f"He said to us that he was going{end}"
    assert texts(paced(f"{first} Then we all went home again together."))[0] == first


def test_a_long_sentence_is_parted_after_its_clauses() -> None:
    text = (
        "When the rain had stopped after three long days, they all went out into the garden,"
        " where nobody had been for as long as anyone of them could remember."
    )
    assert [cue.split()[-1] for cue in texts(paced(text))] == ["garden,", "remember."]


def test_thai_is_parted_at_its_spaces() -> None:
    said = "คุณยายของฉันอบขนมปังทุกเช้าวันเสาร์", "เรายังไม่ได้ตัดสินใจว่าจะไปเที่ยวที่ไหนในฤดูร้อน"
    found = texts(segment(0.0, 9.0, " ".join([*said, said[0]])))
    assert len(found) == 2
    assert {*edges([line for text in found for line in text.split("\n")])} == {
        *edges([*said, said[0]])
    }


def test_a_sentence_goes_on_from_one_window_into_the_next() -> None:
    found = texts(paced("When the rain had stopped they"), paced("all went out again.", 2.1))
    assert found == ["When the rain had stopped\nthey all went out again."]
    assert texts(segment(0, 2, "今日は天気が"), segment(2, 3, "いいです。")) == [
        "今日は天気がいいです。"
    ]


def test_segments_that_are_sentences_are_not_joined_without_need() -> None:
    said = [paced("so they came by here"), paced("and we went with them", 1.75)]
    whole = transcript(*said)
    assert len(cues(whole)) == 1
    assert len(cues(whole.model_copy(update={"segment_resolution": "sentence"}))) == 2


def test_a_sentence_begins_in_a_cue_of_its_own_though_it_is_said_fast() -> None:
    """At 22 columns a second, with a slow sentence before it whose cue had room."""
    words = []
    clock = 0.0
    asked = (
        "Do you know that his eminence has been making fresh complaints against your musketeers?"
    )
    for text, speed in (
        ("They were against your musketeers.", 14),
        (asked, 22),
        ("It was a long day for all of us.", 14),
    ):
        for word in text.split():
            end = clock + (len(word) + 1) / speed
            words.append(Word(word=word, start=clock, end=end))
            clock = end
    found = texts(segment(0.0, clock, " ".join(word.word for word in words), words))
    assert found[0] == "They were against your musketeers."
    assert found[1].startswith("Do you")


def test_a_word_between_the_end_of_a_sentence_and_a_pause_has_a_cue_of_its_own() -> None:
    spoken = paced("All of us went home. And | then it began to rain.", pause=1.5)
    assert texts(spoken) == ["All of us went home.", "And", "then it began to rain."]


def test_short_sentences_share_a_cue_where_each_would_be_gone_too_soon() -> None:
    assert texts(paced("Yes. No. I do. You don't. We did.", seconds=0.3)) == [
        "Yes. No. I do.",
        "You don't. We did.",
    ]
    slow = "Yes. | No. | You did."
    assert texts(paced(slow, seconds=0.5, pause=0.9)) == ["Yes.", "No.", "You did."]


def test_no_cue_and_no_line_has_a_single_word_of_a_longer_sentence() -> None:
    for count in range(2, 60):
        text = " ".join(["sentence"] * (count - 1)) + " ends."
        for cue in texts(paced(text, seconds=0.4)):
            assert all(" " in line for line in cue.split("\n"))


def test_a_cue_ends_before_a_longer_pause_whatever_it_costs() -> None:
    found = texts(paced("So he went | and | never came back.", pause=1.1))
    assert found == ["So he went", "and", "never came back."]


def test_without_words_the_pause_between_segments_is_a_pause() -> None:
    said = segment(0.0, 2.0, "When the rain had stopped"), segment(3.5, 5.0, "they all went out.")
    assert len(texts(*said)) == 2


@pytest.mark.parametrize(
    "text", ["When the rain had stopped they all went out.", "雨が止んだあと、みんなで出かけました"]
)
def test_without_words_no_cue_goes_over_a_pause_in_its_segment(text: str) -> None:
    speech = ((1.0, 2.3), (4.2, 5.2))
    spoken = segment(1.0, 5.2, text).model_copy(update={"speech": speech})
    before, after = shown(spoken)
    assert (before.start_ms, after.start_ms) == (1000, 4200)
    assert before.end_ms <= 4200
    assert after.end_ms >= 5200


def test_two_lines_are_of_like_length() -> None:
    text = "It was the best of times, it was the worst of times"
    assert texts(segment(0.0, 5.0, text)) == [
        "It was the best of times,\nit was the worst of times"
    ]


def test_a_line_ends_after_punctuation_where_it_is_near() -> None:
    text = "He would have come with us, had he not been ill all day"
    assert texts(segment(0.0, 5.0, text)) == [
        "He would have come with us,\nhad he not been ill all day"
    ]


def test_text_stays_on_one_line_if_it_fits() -> None:
    assert texts(segment(0.0, 5.0, "Not so long, and yet of two clauses here.")) == [
        "Not so long, and yet of two clauses here."
    ]


def test_wide_characters_count_two() -> None:
    (text,) = texts(segment(0.0, 6.0, "あ" * 40))
    assert text == "あ" * 20 + "\n" + "あ" * 20


def test_options_bound_lines_and_seconds() -> None:
    spoken = paced("and so it went on " * 12, seconds=0.2)
    for options in (
        SubtitleOptions(max_line_width=20),
        SubtitleOptions(max_line_count=1),
        SubtitleOptions(max_line_count=3),
        SubtitleOptions(max_cue_seconds=2.0),
    ):
        found = shown(spoken, options=options)
        assert max(cue.text.count("\n") for cue in found) < options.max_line_count
        widest = max(len(line) for cue in found for line in cue.text.split("\n"))
        assert widest <= options.max_line_width
        assert max(cue.end_ms - cue.start_ms for cue in found) <= options.max_cue_seconds * 1000
    assert len(shown(spoken, options=SubtitleOptions(max_line_count=3))[0].text.split("\n")) == 3


@pytest.mark.parametrize("word", ["안녕하세요", "2024년", "AI는", "서울A"])
def test_korean_breaks_at_its_spaces(word: str) -> None:
    for lead in range(1, 12):
        for text in texts(segment(0.0, 10.0, "x" * lead + f" {word}" * 20)):
            assert set(text.split()) <= {word, "x" * lead}


def test_chinese_breaks_between_its_words() -> None:
    said = ["今天", "天气", "非常好", "我们", "一起", "出去", "散步吧"] * 6
    words = [Word(word=text, start=i / 2, end=i / 2 + 0.5) for i, text in enumerate(said)]
    found = shown(segment(0.0, len(said) / 2, "".join(said), words))
    lines = [line for cue in found for line in cue.text.split("\n")]
    assert {*edges(lines)} <= {*edges(said)}


def test_as_much_as_can_be_read_in_a_minute_fits_the_longest_cue() -> None:
    options = SubtitleOptions(max_line_width=200, max_line_count=10, max_cue_seconds=60.0)
    said = paced("and so it went on " * 36 + "and then it ended.", seconds=0.32)
    (cue,) = shown(said, options=options)
    assert len(cue.words) == 184


# --- what it costs --------------------------------------------------------------------------


def test_two_hours_take_seconds() -> None:
    spoken = [paced("and so it went on " * 16, 30.0 * i) for i in range(240)]
    started = time.process_time()
    assert len(shown(*spoken)) > 240
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        pytest.param("あ" * 33_000, marks=pytest.mark.long),
        pytest.param("a " * 10_000, marks=pytest.mark.long),
        "\u0301" * 50_000,
    ],
)
def test_one_huge_segment_takes_seconds(text: str) -> None:
    started = time.process_time()
    shown(segment(0.0, 30.0, text))
    assert time.process_time() - started < 5
