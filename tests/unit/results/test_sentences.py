"""Windows cut into sentences: nothing is lost, times stay in order, edges of windows don't show."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.windows import spoken, window, words_of
from worker.results.sentences import by_sentences
from worker.results.spelling import spans
from worker.results.transcript import Segment, Word


def texts(*windows: Segment) -> list[str]:
    return [segment.text for segment in by_sentences(windows, "transcribe")]


def test_a_window_becomes_its_sentences_with_the_times_of_their_words() -> None:
    found = by_sentences([window("Good day. How are you, Mr. Smith?", 10.0, 7.0)], "transcribe")
    assert [(s.id, s.start, s.end, s.text) for s in found] == [
        (0, 10.0, 12.0, "Good day."),
        (1, 12.0, 17.0, "How are you, Mr. Smith?"),
    ]
    assert [[word.word for word in s.words] for s in found] == [
        ["Good", "day."],
        ["How", "are", "you,", "Mr.", "Smith?"],
    ]


def test_without_words_times_go_by_the_share_of_the_text() -> None:
    first, second = by_sentences([window("Yes. No.", 0.0, 8.0, words=())], "transcribe")
    assert (first.start, second.end) == (0.0, 8.0)
    assert first.end == pytest.approx(4.0, abs=0.1)
    assert second.start == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize(
    ("pause", "expected"),
    [
        (0.0, ["He left.", "And then we met Mr. Smith again.", "It rained."]),
        (1.0, ["He left.", "And then we met Mr. Smith again.", "It rained."]),
        (1.01, ["He left.", "And then we met Mr.", "Smith again.", "It rained."]),
    ],
)
def test_a_sentence_goes_over_the_edge_of_windows_where_the_pause_is_short(
    pause: float, expected: list[str]
) -> None:
    windows = [
        window("He left. And then we met Mr.", 0.0),
        window("Smith again. It rained.", 10.0 + pause),
    ]
    assert texts(*windows) == expected
    bare = [each.model_copy(update={"words": ()}) for each in windows]
    assert texts(*bare) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("We went", "home.", ["We went home."]),
        ("We went", "Home is near.", ["We went Home is near."]),
        ("We went.", "home again.", ["We went. home again."]),
        ("We went.", "Home again.", ["We went.", "Home again."]),
        ('"We went."', '"Home again."', ['"We went."', '"Home again."']),
    ],
)
def test_what_stands_at_an_edge_decides(first: str, second: str, expected: list[str]) -> None:
    assert texts(window(first), window(second, 10.2)) == expected


def test_a_sentence_is_in_one_language() -> None:
    spoken = [window("We went", 0.0), window("nach Hause. Ja.", 10.0, language="de")]
    assert texts(*spoken) == ["We went", "nach Hause.", "Ja."]
    assert [s.language for s in by_sentences(spoken, "transcribe")] == ["en", "de", "de"]


def test_a_translation_is_joined_whatever_was_spoken() -> None:
    spoken = [
        window("We went to the big", language="es"),
        window("house on the hill.", 10.0, language="de"),
    ]
    (found,) = by_sentences(spoken, "translate")
    assert found.text == "We went to the big house on the hill."
    assert found.language == "es"
    assert len(by_sentences(spoken, "transcribe")) == 2


def test_a_translation_is_cut_as_the_english_that_it_is() -> None:
    spoken = [window("Mr. Sato came. He", language="ja"), window("sat.", 10.0, language="ja")]
    found = by_sentences(spoken, "translate")
    assert [s.text for s in found] == ["Mr. Sato came.", "He sat."]
    assert {s.language for s in found} == {"ja"}


def test_text_without_spaces_is_joined_without_any() -> None:
    spoken = [window("今日は。明", language="ja"), window("日も。", 10.0, language="ja")]
    assert texts(*spoken) == ["今日は。", "明日も。"]


def test_where_only_a_space_parts_clauses_one_parts_windows() -> None:
    spoken = [
        window("ผมไปตลาด", 0.0, 5.0, language="th"),
        window("แล้วกลับบ้าน", 5.0, 5.0, language="th"),
    ]
    assert texts(*spoken) == ["ผมไปตลาด แล้วกลับบ้าน"]


@pytest.mark.parametrize("said", ['"I', "¿You", "(And", "...So", "'Tis", "«Oui"])
def test_a_sentence_begins_with_the_first_word_that_is_said_in_it(said: str) -> None:
    words = [
        Word(word="Yes.", start=0.0, end=1.0),
        Word(word=said, start=2.0, end=2.4),
        Word(word="know.", start=2.4, end=3.0),
    ]
    text = " ".join(word.word for word in words)
    first, second = by_sentences([window(text, 0.0, 3.0, words=words)], "transcribe")
    assert (first.start, first.end) == (0.0, 1.0)
    assert (second.start, second.end) == (2.0, 3.0)
    assert second.words == tuple(words[1:])


def test_signs_without_a_word_take_no_time_where_a_sentence_begins() -> None:
    words = [Word(word="Yes", start=0.0, end=1.0), Word(word="No", start=2.0, end=2.4)]
    _, second = by_sentences([window("Yes. - No.", 0.0, 3.0, words=words)], "transcribe")
    assert (second.text, second.start) == ("- No.", 2.0)


def test_a_word_is_never_cut() -> None:
    said = [
        Word(word="好", start=0, end=1),
        Word(word="吗?我", start=1, end=2),
        Word(word="好", start=2, end=3),
    ]
    assert texts(window("好吗?我好", language="zh", words=said)) == ["好吗?我好"]


def test_a_long_pause_within_a_window_ends_a_sentence() -> None:
    def paused(seconds: float) -> list[str]:
        said = [*words_of("so we", 0, 1, "en"), *words_of("left it", 1 + seconds, 1, "en")]
        return texts(window("so we left it", words=said))

    assert paused(2.0) == ["so we left it"]
    assert paused(2.1) == ["so we", "left it"]


def test_text_without_full_stops_is_cut_at_its_longest_pauses() -> None:
    run_on = [window("and so on " * 25 + "we go", 28.0 * i, 27.9) for i in range(20)]
    found = by_sentences(run_on, "transcribe")
    assert all(s.end - s.start <= 15.0 for s in found)
    assert all(s.end - s.start > 4.0 for s in found)
    ended = {s.end for s in found}
    assert len([each for each in run_on if each.end in ended]) == 20  # the only pauses


def test_a_sentence_may_be_as_long_as_a_window_but_no_longer() -> None:
    said = "one two, three " * 20
    assert texts(window(said + "end.", 0.0, 29.0)) == [said + "end."]
    long = [window(said.strip(), 0.0, 29.0), window(said + "end.", 29.5, 29.0)]
    assert texts(*long) == [said.strip(), said + "end."]


def test_a_sentence_of_two_windows_is_as_sure_as_both_by_their_share_of_it() -> None:
    spoken = [
        window("Yes. We are", 0.0, figures=(-0.1, 0.2, 0.0, 1.0)),
        window("here.", 10.0, figures=(-0.5, 0.4, 0.8, 2.0)),
    ]
    whole, both = by_sentences(spoken, "transcribe")
    assert (whole.avg_logprob, whole.no_speech_prob) == (-0.1, 0.2)
    assert (whole.temperature, whole.compression_ratio) == (0.0, 1.0)
    assert both.text == "We are here."
    assert both.avg_logprob == pytest.approx((-0.1 * 6 - 0.5 * 5) / 11, abs=1e-4)
    assert both.no_speech_prob == pytest.approx((0.2 * 6 + 0.4 * 5) / 11, abs=1e-4)
    assert both.compression_ratio == pytest.approx((1.0 * 6 + 2.0 * 5) / 11, abs=1e-4)
    assert both.temperature == 0.8


class Marked(Segment):
    """A window of which more is known."""

    mark: str = ""


def test_a_sentence_has_all_that_is_known_of_its_window() -> None:
    known = Marked(**window("We are. Here.").model_dump(), mark="yes")
    assert [getattr(s, "mark", None) for s in by_sentences([known], "transcribe")] == ["yes", "yes"]


def test_what_is_not_known_of_one_window_is_not_known_of_its_sentence() -> None:
    known = window("We are", figures=(-0.1, 0.2, 0.0, 1.0))
    (found,) = by_sentences([known, window("here.", 10.0)], "transcribe")
    assert (found.no_speech_prob, found.temperature, found.compression_ratio) == (None, None, None)


@given(spoken(), st.sampled_from(["transcribe", "translate"]))
@settings(max_examples=80, deadline=None)
def test_nothing_is_lost_and_nothing_overlaps(windows: list[Segment], task: str) -> None:
    found = by_sentences(windows, "translate" if task == "translate" else "transcribe")
    assert [s.id for s in found] == list(range(len(found)))
    assert "".join("".join(s.text for s in found).split()) == "".join(
        "".join(s.text for s in windows).split()
    )
    assert all(s.text == s.text.strip() != "" for s in found)
    assert [word.word for s in found for word in s.words] == [
        word.word for s in windows for word in s.words
    ]
    for sentence in found:
        assert sentence.start <= sentence.end
        assert all(sentence.start <= w.start <= w.end <= sentence.end for w in sentence.words)
        assert all(left.end <= right.start for left, right in pairwise(sentence.words))
        assert sentence.avg_logprob == -0.5
        assert all(sentence.start <= a < b <= sentence.end for a, b in sentence.speech)
        assert all(left[1] <= right[0] for left, right in pairwise(sentence.speech))
    assert all(left.end <= right.start for left, right in pairwise(found))
    if windows and found:
        assert windows[0].start <= found[0].start
        assert found[-1].end <= windows[-1].end


@given(spoken(kinds=["spelled"]))
@settings(max_examples=80, deadline=None)
def test_words_that_spell_the_text_are_the_same_in_sentences(windows: list[Segment]) -> None:
    found = by_sentences(windows, "transcribe")
    assert [word for s in found for word in s.words] == [word for s in windows for word in s.words]
    for sentence in found:
        assert spans(sentence.text, [word.word for word in sentence.words]) is not None
        assert sentence.start == sentence.words[0].start
        assert sentence.end - sentence.start <= 30.0 or len(sentence.words) == 1


def test_without_words_a_sentence_begins_ends_and_pauses_with_its_speech() -> None:
    first = window("It was late. He came in and", 0.0, 4.0, words=()).model_copy(
        update={"speech": ((0.4, 1.3), (2.3, 3.6))}
    )
    second = window("said no.", 4.0, 1.0)
    late, came = by_sentences([first, second], "transcribe")
    assert (late.text, late.start, late.end) == ("It was late.", 0.4, 1.3)
    assert late.speech == ((0.4, 1.3),)
    assert (came.text, came.start, came.end) == ("He came in and said no.", 2.3, 5.0)
    # Of the words of a part alone no renderer can make times of the whole.
    assert [word.word for word in came.words] == ["said", "no."]
    assert came.speech == ((2.3, 3.6), (4.0, 5.0))


def test_without_words_a_long_pause_ends_a_sentence() -> None:
    paused = window("They came and then they went", 0.0, 12.0, words=()).model_copy(
        update={"speech": ((0.0, 3.0), (8.0, 12.0))}
    )
    assert [(one.start, one.end) for one in by_sentences([paused], "transcribe")] == [
        (0.0, 3.0),
        (8.0, 12.0),
    ]
