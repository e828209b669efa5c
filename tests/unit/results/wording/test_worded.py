"""Words that are shown otherwise, and words that must not show: in text, words and every format."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import transcripts
from worker.results.formats import FORMATS, render
from worker.results.presentation import FilterMethod, Presentation
from worker.results.spelling import spans
from worker.results.transcript import Segment
from worker.results.wording.closing import is_shown
from worker.results.wording.phrases import Phrases
from worker.results.wording.worded import MASK, notes_of_tags, worded

many = settings(max_examples=60, deadline=None, derandomize=True)
METHODS: tuple[FilterMethod, ...] = ("mask", "remove", "tag")


def shown(
    *spoken: str | Segment,
    hidden: Sequence[str] = (),
    method: FilterMethod = "mask",
    display: Mapping[str, str] | None = None,
) -> tuple[Segment, ...]:
    """What becomes of segments, each a text or ready; checked for what always holds."""
    segments = [
        (one if isinstance(one, Segment) else transcripts.segments(one)[0]).model_copy(
            update={"id": number}
        )
        for number, one in enumerate(spoken)
    ]
    asked = Presentation(
        display_as=display or {},
        vocabulary_filter=tuple(hidden),
        vocabulary_filter_method=method,
    )
    found = worded(segments, asked)
    assert [segment.id for segment in found] == list(range(len(found)))
    for segment in found:
        clock = segment.start
        assert not segment.words or spans(segment.text, texts_of(segment)) is not None
        if segment.words:
            assert meaningful("".join(texts_of(segment))) == meaningful(segment.text)
        for word in segment.words:
            assert word.word == word.word.strip() != ""
            assert clock <= word.start <= word.end <= segment.end
            clock = word.end
    return found


def meaningful(text: str) -> str:
    """Its letters, digits and signs."""
    return "".join(filter(is_shown, text))


def unspaced(text: str, *words: str) -> Segment:
    spoken = transcripts.segments(" ".join(words or text))[0]
    return spoken.model_copy(update={"text": text})


def texts_of(segment: Segment) -> list[str]:
    return [word.word for word in segment.words]


def tags_of(segment: Segment) -> list[str]:
    return [word.word for word in segment.words if word.vocabulary_filter_match]


# -- how a phrase is shown ----------------------------------------------------------------------


def test_words_of_a_match_become_the_words_of_what_is_shown() -> None:
    before = transcripts.segments("We use Ay double-u ess, mostly.", scores=[0.9, 0.4, 0.8])[0]
    (after,) = shown(before, display={"ay double u ess": "AWS"})
    assert after.text == "We use AWS, mostly."
    assert texts_of(after) == ["We", "use", "AWS,", "mostly."]
    aws = after.words[2]
    assert (aws.start, aws.end) == (before.words[2].start, before.words[4].end)
    assert aws.score == 0.4, "the least of theirs"
    assert after.words[3] == before.words[5]


def test_more_words_than_were_said_share_their_time_by_characters() -> None:
    before = unspaced("NYC!", "NYC!")
    (after,) = shown(before, display={"nyc": "New York City"})
    assert after.text == "New York City!"
    assert texts_of(after) == ["New", "York", "City!"]
    assert [word.start for word in after.words] == [0.5, 0.575, 0.675]
    assert after.words[-1].end == before.words[0].end


def test_as_many_words_keep_each_its_time() -> None:
    before = transcripts.segments("in new york.")[0]
    (after,) = shown(before, display={"new york": "New York"})
    assert [(word.start, word.end) for word in after.words] == [
        (word.start, word.end) for word in before.words
    ]


def test_what_is_shown_is_written_as_the_job_writes_it() -> None:
    (after,) = shown("IPHONE and Iphone's", display={"iphone": "iPhone"})
    assert after.text == "iPhone and iPhone's"
    assert texts_of(after) == ["iPhone", "and", "iPhone's"]


def test_in_a_script_without_spaces_what_is_shown_is_one_word() -> None:
    spoken = unspaced("これはアマゾンです", "これ", "は", "アマ", "ゾンで", "す")
    (after,) = shown(spoken, display={"アマゾン": "Amazon"})
    assert after.text == "これはAmazonです"
    assert texts_of(after) == ["これ", "は", "Amazonで", "す"]


def test_a_score_that_is_not_known_stays_so() -> None:
    before = transcripts.segments("ay double u", scores=[None])[0]
    assert shown(before, display={"ay double u": "AW"})[0].words[0].score is None


def test_words_that_do_not_spell_the_text_fall_out_of_one_that_changes() -> None:
    spoken = unspaced("five dollars and a half", "5", "$", "x")
    (after,) = shown(spoken, display={"dollars": "$"})
    assert (after.text, after.words) == ("five $ and a half", ())
    assert worded([spoken], Presentation(display_as={"euros": "€"})) == (spoken,)


def test_without_words_the_text_changes() -> None:
    spoken = transcripts.segments("ay double u ess", with_words=False)[0]
    assert shown(spoken, display={"ay double u ess": "AWS"})[0].text == "AWS"


def test_a_phrase_over_an_edge_is_shown_where_it_begins() -> None:
    first, second = shown("I met john", "smith today.", display={"john smith": "J. Smith"})
    assert (first.text, second.text) == ("I met J. Smith", "today.")
    (only,) = shown("I met john", "smith.", display={"john smith": "J. Smith"})
    assert only.text == "I met J. Smith"


@pytest.mark.parametrize("mark", ["\u2014", "...", "\N{PILE OF POO}", "$"])
def test_a_phrase_may_be_shown_as_a_mark(mark: str) -> None:
    segments = shown("Hi.", "dash", "Oh, hi", display={"dash": mark, "hi": mark})
    assert [one.text for one in segments] == [f"{mark}.", mark, f"Oh, {mark}"]
    assert [word.word for word in segments[1].words] == [mark]
    for name in FORMATS:
        assert render(transcripts.transcript(*segments), name)


def test_a_segment_shown_as_a_mark_goes_where_the_filter_took_the_rest() -> None:
    display = {"dash": "\u2014"}
    assert shown("damn dash", display=display, hidden=["damn"], method="remove") == ()
    (after,) = shown("damn dash", display=display, hidden=["damn"])
    assert after.text == "*** \u2014"


# -- what must not show ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Well, Damn, I did.", "Well, ***, I did."),
        ("Damn's car (DAMN) \u201cdamn!\u201d", "***'s car (***) \u201c***!\u201d"),
        ("goddamn damned", "goddamn damned"),
        ("New York damn new-york", "*** *** *** ***"),
    ],
)
def test_mask_leaves_the_number_of_words_and_their_times(text: str, masked: str) -> None:
    (before,) = shown(text)
    (after,) = shown(text, hidden=["damn", "new york"])
    assert after.text == masked
    assert texts_of(after) == masked.split()
    assert [(word.start, word.end) for word in after.words] == [
        (word.start, word.end) for word in before.words
    ]


def test_remove_leaves_words_and_text_in_agreement() -> None:
    (after,) = shown('Oh, (damn) I said "damn!" today.', hidden=["damn"], method="remove")
    assert after.text == "Oh, I said! today."
    assert texts_of(after) == ["Oh,", "I", "said!", "today."]


@pytest.mark.parametrize(
    ("text", "hidden", "left"),
    [
        ("l'idiot et d'idiots, L\u2019idiot !", "idiot", "et d'idiots!"),
        ("It was $5 and 5%, no 5 €.", "5", "It was and no €."),
        ("@damn #damn damn@x.com", "damn", "@x.com"),
    ],
)
def test_remove_leaves_no_marks_behind(text: str, hidden: str, left: str) -> None:
    (after,) = shown(text, hidden=[hidden], method="remove")
    assert after.text == left
    assert texts_of(after) == left.split()


@pytest.mark.parametrize("text", ["$5", "Damn !", "« damn ! »", "#damn"])
def test_nothing_is_left_of_a_segment_that_was_removed(text: str) -> None:
    assert shown(text, hidden=["5", "damn"], method="remove") == ()


def test_a_segment_of_which_nothing_is_left_is_left_out() -> None:
    found = shown("One.", '"Damn..."', "Two.", hidden=["damn"], method="remove")
    assert [segment.text for segment in found] == ["One.", "Two."]


def test_what_closes_over_removed_words_must_not_show_either() -> None:
    (after,) = shown("a x b c a a b b d", hidden=["a b", "x"], method="remove")
    assert after.text == "c d"


def test_what_closes_over_removed_segments_must_not_show_either() -> None:
    spoken = ("so a", "b", "x", "damn", "c", "d", "and x")
    found = shown(*spoken, hidden=["damn", "x c", "a b d"], method="remove")
    assert [one.text for one in found] == ["so", "and x"]


def test_phrases_within_phrases_of_a_long_transcript_take_no_time() -> None:
    loop = " ".join(["oh", *["a"] * 60, *["b"] * 60])
    segments = transcripts.segments(loop, *["damn it all, he said to me"] * 4000, with_words=False)
    asked = Presentation(vocabulary_filter=("a b",), vocabulary_filter_method="remove")
    began = time.process_time()
    found = worded(segments, asked)
    assert time.process_time() - began < 2
    assert found[0].text == "oh"
    assert len(found) == 4001


def test_tag_marks_words_and_changes_nothing() -> None:
    before = transcripts.segments("Well, damn New York, I did.")[0]
    (after,) = shown(before, hidden=["damn", "new york"], method="tag")
    assert after.text == before.text
    assert tags_of(after) == ["damn", "New", "York,"]
    untagged = [word.model_copy(update={"vocabulary_filter_match": None}) for word in after.words]
    assert tuple(untagged) == before.words


def test_a_phrase_over_an_edge_does_not_show() -> None:
    spoken = ("I met John", "Smith today.")
    assert [one.text for one in shown(*spoken, hidden=["john smith"])] == [
        "I met ***",
        "*** today.",
    ]
    assert [one.text for one in shown(*spoken, hidden=["john smith"], method="remove")] == [
        "I met",
        "today.",
    ]
    assert [tags_of(one) for one in shown(*spoken, hidden=["john smith"], method="tag")] == [
        ["John"],
        ["Smith"],
    ]


@pytest.mark.parametrize(
    ("hidden", "text"),
    [
        ("aws", "say ***, ok"),  # as it is shown
        ("ay double u ess", "say *** *** *** ***, ok"),  # as it is said
        ("double", "say AWS, ok"),  # part of what is said, and not shown
        ("say ay", "*** *** double u ess, ok"),  # more than what is shown otherwise
        ("double u ess ok", "say AWS, ok"),  # not what is said: a comma parts it
    ],
)
def test_the_filter_sees_what_is_shown_and_what_was_said(hidden: str, text: str) -> None:
    (after,) = shown("say ay double u ess, ok", hidden=[hidden], display={"ay double u ess": "AWS"})
    assert after.text == text


def test_in_a_script_without_spaces_part_of_a_word_is_filtered() -> None:
    spoken = unspaced("私は東京都へ行く。", "私", "は", "東京都", "へ", "行く")
    (after,) = shown(spoken, hidden=["東京"])
    assert (after.text, texts_of(after)[2]) == ("私は***都へ行く。", "***都")
    (after,) = shown(spoken, hidden=["東京", "へ"], method="remove")
    assert (after.text, texts_of(after)) == ("私は都行く。", ["私", "は", "都", "行く"])
    (after,) = shown(spoken, hidden=["東京"], method="tag")
    assert tags_of(after) == ["東京都"]


def test_no_half_of_a_syllable_is_left() -> None:
    spoken = unspaced("คนบ้าอยู่บ้าน", "คน", "บ้า", "อยู่", "บ้าน")
    (after,) = shown(spoken, hidden=["บ้า"])
    assert (after.text, texts_of(after)) == ("คน***อยู่บ้าน", ["คน", "***", "อยู่", "บ้าน"])


def test_words_that_do_not_spell_the_text_are_searched_as_well() -> None:
    spoken = unspaced("hundred and two", "102", "damn")
    for method in ("mask", "remove"):
        (after,) = shown(spoken, hidden=["damn"], method=method)
        assert (after.text, after.words) == (spoken.text, ())
    (after,) = worded(
        [spoken], Presentation(vocabulary_filter=("damn",), vocabulary_filter_method="tag")
    )
    assert tags_of(after) == ["damn"]


def test_without_words_a_note_says_that_tags_have_no_place() -> None:
    asked = Presentation(vocabulary_filter=("damn",), vocabulary_filter_method="tag")
    wordless = transcripts.segments("damn", with_words=False)
    (note,) = notes_of_tags(wordless, asked)
    assert "damn" not in note
    assert notes_of_tags(transcripts.segments("damn"), asked) == ()
    assert notes_of_tags((), asked) == ()
    assert notes_of_tags(wordless, Presentation(vocabulary_filter=("damn",))) == ()


# -- whatever is said ------------------------------------------------------------------------------

_WORDS = ("a", "b", "cé", "N", "東", "京", "it's", "x-y", "3.5", "#a", "$", "b%")
_said = st.lists(
    st.tuples(
        st.sampled_from(_WORDS), st.sampled_from(("", ",", ".", "!", " !", ' "', ")", " —"))
    ).map("".join),
    min_size=1,
    max_size=8,
).map(" ".join)
_spoken = st.lists(_said, min_size=1, max_size=4)
_phrases = st.lists(
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3).map(" ".join), max_size=4
)


@many
@given(_spoken, _phrases, st.booleans())
def test_removed_phrases_are_gone(spoken: list[str], hidden: list[str], with_words: bool) -> None:
    segments = [transcripts.segments(text, with_words=with_words)[0] for text in spoken]
    found = shown(*segments, hidden=hidden, method="remove")
    search = Phrases(dict.fromkeys(hidden, ""))
    assert search.find([segment.text for segment in found]) == []
    assert not any(search.find([word.word]) for segment in found for word in segment.words)
    if not search.find([segment.text for segment in segments]):
        assert found == tuple(
            one.model_copy(update={"id": number}) for number, one in enumerate(segments)
        )


@many
@given(_spoken, _phrases)
def test_masked_words_are_as_many_as_before(spoken: list[str], hidden: list[str]) -> None:
    found = shown(*spoken, hidden=hidden)
    search = Phrases(dict.fromkeys(hidden, ""))
    assert search.find([segment.text for segment in found]) == []
    assert [len(segment.words) for segment in found] == [len(text.split()) for text in spoken]
    masked = any(MASK in segment.text for segment in found)
    assert masked == bool(search.find(spoken))


@many
@given(_spoken, _phrases)
def test_tagging_changes_no_text(spoken: list[str], hidden: list[str]) -> None:
    found = shown(*spoken, hidden=hidden, method="tag")
    assert [segment.text for segment in found] == spoken
    assert [texts_of(segment) for segment in found] == [text.split() for text in spoken]
    tagged = any(tags_of(segment) for segment in found)
    assert tagged == bool(Phrases(dict.fromkeys(hidden, "")).find(spoken))


@many
@given(
    _spoken,
    st.dictionaries(
        _phrases.map(" ".join).filter(bool), st.sampled_from(("X", "Y Z", "Ω")), max_size=4
    ),
    _phrases,
    st.sampled_from(METHODS),
)
def test_text_and_words_agree_whatever_is_asked(
    spoken: list[str], display: dict[str, str], hidden: list[str], method: FilterMethod
) -> None:
    shown(*spoken, display=display, hidden=hidden, method=method)


@many
@given(_spoken)
def test_with_nothing_asked_nothing_changes(spoken: list[str]) -> None:
    segments = transcripts.segments(*spoken)
    assert worded(segments, Presentation()) == segments


# -- every format ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_words", [True, False])
def test_no_format_has_what_must_not_show(method: FilterMethod, with_words: bool) -> None:
    spoken = transcripts.segments(
        "Swordfish, he said, and SWORDFISH again.",
        "The sword\u00adfish's purple",
        "monkey is ay double u.",
        with_words=with_words,
    )
    asked = Presentation(
        display_as={"ay double u": "Swordfish"},
        vocabulary_filter=("swordfish", "purple monkey"),
        vocabulary_filter_method=method,
    )
    made = transcripts.transcript(*worded(spoken, asked))
    for name in FORMATS:
        # Without the markup between the words of a page or a subtitle, and what nobody sees.
        plain = re.sub(r"<[^>]*>|\u00ad", "", render(made, name)).casefold()
        if method == "tag":
            assert "swordfish" in plain, name
        else:
            assert "swordfish" not in plain, name
            assert not re.search("purple|monkey", plain), name
        assert ("***" in plain) == (method == "mask"), name


def test_a_tag_changes_no_format_but_those_that_show_it() -> None:
    plain = transcripts.transcript(*transcripts.segments("Well, damn it.", scores=[None]))
    asked = Presentation(vocabulary_filter=("damn",), vocabulary_filter_method="tag")
    tagged = plain.model_copy(update={"segments": worded(plain.segments, asked)})
    differ = {name for name in FORMATS if render(tagged, name) != render(plain, name)}
    assert differ == {"json", "html", "transcribe"}
    assert '"vocabulary_filter_match":true' in render(tagged, "json")
    assert "vocabulary_filter_match" not in render(plain, "json")
