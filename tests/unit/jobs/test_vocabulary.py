"""A job's vocabulary and its filter: what they may be, and that no sentence tells what they say."""

from __future__ import annotations

import time
import unicodedata

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from worker.errors import JobError
from worker.jobs.request import JobRequest, job_schema, parse_request
from worker.jobs.vocabulary import MAX_PHRASE_CHARACTERS, MAX_PHRASES

SECRET = "swordfish"


def asked(**fields: object) -> JobRequest:
    return parse_request({"input": "s3://bucket/key", **fields})


def entries(vocabulary: object) -> list[tuple[str, str | None]]:
    return [(entry.phrase, entry.display_as) for entry in asked(vocabulary=vocabulary).vocabulary]


def test_phrases_are_in_nfc_and_on_one_line() -> None:
    phrase = unicodedata.normalize("NFD", " the\n  Löwe\t")
    assert entries({phrase: phrase}) == [("the Löwe", "the Löwe")]
    assert asked(vocabulary_filter=[phrase]).vocabulary_filter == ("the Löwe",)


def test_a_phrase_that_is_there_twice_is_taken_once() -> None:
    assert entries(["New York", "b", "new-york", "NEW  YORK"]) == [("New York", None), ("b", None)]
    assert entries(["a", {"Phrase": "A", "DisplayAs": "X"}, {"Phrase": "a"}]) == [("a", "X")]
    assert entries({"a": "X", "A": "X"}) == [("a", "X")]
    found = asked(vocabulary_filter=["Damn", "no", "damn", "DAMN!"]).vocabulary_filter
    assert found == ("Damn", "no")


def test_empty_is_the_same_as_left_out() -> None:
    assert asked(vocabulary=[]) == asked(vocabulary={}) == asked(vocabulary_filter=[]) == asked()


_TOO_LONG = f"{SECRET} " * 40

WRONG: list[tuple[str, object, str]] = [
    ("vocabulary", SECRET, "is text: it must be a list of phrases, or an object"),
    ("vocabulary", 5, "is a number: it must be a list"),
    ("vocabulary", None, "is null: it must be a list"),
    (
        "vocabulary",
        {"Phrase": SECRET, "DisplayAs": "AWS"},
        ": an object with Phrase is one entry of a list: put it into a list",
    ),
    ("vocabulary", {"Phrase": SECRET, "SoundsLike": "a", "IPA": ""}, "entry of a list: put it"),
    ("vocabulary", [SECRET, 5], ": item 2 must be a phrase, or an object of Phrase and DisplayAs"),
    ("vocabulary", [[SECRET]], ": item 1 must be a phrase"),
    ("vocabulary", [{"Phrase": "a", SECRET: "b"}], ": item 1 must be a phrase, or an object of"),
    ("vocabulary", [{"DisplayAs": SECRET}], ": item 1 must be a phrase, or an object of Phrase"),
    ("vocabulary", [{"Phrase": {SECRET: 1}}], "item 1 'Phrase' is an object: it must be text"),
    ("vocabulary", {SECRET: 5}, "item 1 'DisplayAs' is a number: it must be text"),
    ("vocabulary", {SECRET: {SECRET: SECRET}}, "item 1 'DisplayAs' is an object: it must be text"),
    ("vocabulary", {SECRET: ""}, "item 1 'DisplayAs' is text: it must not be empty"),
    ("vocabulary", {SECRET: " "}, "item 1 'DisplayAs' is text: it must not be empty"),
    ("vocabulary", [SECRET, "..."], "' item 2 is text: it has neither letters nor digits, so that"),
    ("vocabulary", [SECRET, "..."], "no words are found by it: leave it out"),
    ("vocabulary", {"...": SECRET}, "'vocabulary' item 1 is text: it has neither letters nor"),
    ("vocabulary", {SECRET: None, "": SECRET}, "'vocabulary' item 2 is text: it must not be empty"),
    ("vocabulary", [{"Phrase": "!"}], "item 1 'Phrase' is text: it has neither letters nor"),
    ("vocabulary", [f"{SECRET}\ud800"], "item 1 is text: it must be valid Unicode"),
    (
        "vocabulary",
        {"a": f"{SECRET}\ud800"},
        "item 1 'DisplayAs' is text: it must be valid Unicode",
    ),
    ("vocabulary", [_TOO_LONG], f"has {len(_TOO_LONG)} characters and may have"),
    ("vocabulary", [SECRET] * (MAX_PHRASES + 1), ": it has 2001 phrases and may have 2000: short"),
    (
        "vocabulary",
        [
            "a",
            {"Phrase": f"{SECRET}-b", "DisplayAs": "B"},
            {"Phrase": f"{SECRET} B", "DisplayAs": "b"},
        ],
        ": items 2 and 3 are one phrase, shown in two ways: keep one of them",
    ),
    ("vocabulary_filter", SECRET, "is text: it must be a list"),
    ("vocabulary_filter", None, "is null: it must be a list"),
    ("vocabulary_filter", [SECRET, 1], "item 2 is a number: it must be text"),
    ("vocabulary_filter", {SECRET: 1}, "is an object: it must be a list"),
    ("vocabulary_filter", [{SECRET: 1}], "item 1 is an object: it must be text"),
    ("vocabulary_filter", [SECRET, None], "item 2 is null: it must be text"),
    ("vocabulary_filter", ["a", "!?"], "item 2 is text: it has neither letters nor digits"),
    ("vocabulary_filter", ["\x00"], "item 1 is text: it must not be empty"),
    ("vocabulary_filter", [f"{SECRET}\udfff"], "item 1 is text: it must be valid Unicode"),
    ("vocabulary_filter", [_TOO_LONG], f"and may have {MAX_PHRASE_CHARACTERS}: shorten it"),
    ("vocabulary_filter", [SECRET] * 100_000, ": it has 100000 phrases and may have 2000: shorten"),
    ("vocabulary_filter_method", "hide", "is 'hide': it must be 'mask', 'remove' or 'tag'"),
    ("vocabulary_filter_method", 5, "is 5: it must be 'mask', 'remove' or 'tag'"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), WRONG)
def test_what_is_wrong_is_said_without_the_words(field: str, value: object, sentence: str) -> None:
    with pytest.raises(JobError) as caught:
        asked(**{field: value})
    said = str(caught.value)
    assert f"field '{field}'" in said
    assert sentence in said
    shown: BaseException | None = caught.value
    while shown is not None:
        assert SECRET not in str(shown)
        assert SECRET not in repr(shown)
        shown = shown.__cause__ or shown.__context__


def test_tags_need_words_to_stand_in() -> None:
    with pytest.raises(JobError) as caught:
        asked(words=False, vocabulary_filter_method="tag")
    assert str(caught.value) == (
        "field 'vocabulary_filter_method' is 'tag': tags stand in words, and the job's 'words' is"
        " false: send 'mask' or 'remove', or leave 'words' out"
    )


_GOOD_AND_BAD: list[tuple[str, object, bool]] = [
    ("vocabulary", [], True),
    ("vocabulary", {}, True),
    ("vocabulary", ["a", {"Phrase": "b"}, {"Phrase": "c", "DisplayAs": None}], True),
    ("vocabulary", {"a": "A", "b": None}, True),
    ("vocabulary", {"Phrase": "a", "b": "B"}, True),
    ("vocabulary", {"DisplayAs": "a"}, True),
    ("vocabulary", {"Phrase": "a", "DisplayAs": "A"}, False),
    ("vocabulary", {"Phrase": "a"}, False),
    ("vocabulary", None, False),
    ("vocabulary", [None], False),
    ("vocabulary", [{"Phrase": "a", "IPA": "b"}], False),
    ("vocabulary_filter", [], True),
    ("vocabulary_filter", ["a"], True),
    ("vocabulary_filter", None, False),
    ("vocabulary_filter", {"a": "b"}, False),
]


@pytest.mark.parametrize(("field", "value", "is_good"), _GOOD_AND_BAD)
def test_the_schema_takes_what_the_parser_takes(field: str, value: object, is_good: bool) -> None:
    job = {"input": "s3://bucket/key", field: value}
    assert Draft202012Validator(job_schema()).is_valid(job) is is_good
    if is_good:
        parse_request(job)
    else:
        with pytest.raises(JobError):
            parse_request(job)


def test_no_repr_tells_what_a_list_says() -> None:
    job = asked(vocabulary={SECRET: SECRET}, vocabulary_filter=[SECRET])
    assert SECRET not in repr(job)
    assert SECRET not in repr(job.vocabulary)


def test_hostile_lists_take_no_time() -> None:
    began = time.process_time()
    hostile: list[object] = [
        [1] * 100_000,
        dict.fromkeys(map(str, range(100_000)), 1),
        [{}] * MAX_PHRASES,
    ]
    for value in hostile:
        for field in ("vocabulary", "vocabulary_filter"):
            with pytest.raises(JobError):
                asked(**{field: value})
    assert time.process_time() - began < 1
