"""A job's vocabulary and its filter: what they may be, and that no sentence tells what they say."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pytest

from worker.errors import JobError
from worker.jobs.request import JobRequest, parse_request
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


@pytest.mark.parametrize("nothing", [[], {}, None])
def test_none_and_empty_are_the_same(nothing: Any) -> None:
    assert asked(vocabulary=nothing) == asked()
    if not isinstance(nothing, dict):
        assert asked(vocabulary_filter=nothing) == asked()


_TOO_LONG = f"{SECRET} " * 40

WRONG: list[tuple[str, object, str]] = [
    ("vocabulary", SECRET, "is text: it must be a list of phrases, or an object"),
    ("vocabulary", 5, "is a number: it must be a list"),
    ("vocabulary", [SECRET, 5], ": item 2 must be a phrase, or an object of Phrase and DisplayAs"),
    ("vocabulary", [[SECRET]], ": item 1 must be a phrase"),
    ("vocabulary", [{"Phrase": "a", SECRET: "b"}], ": item 1 must be a phrase, or an object of"),
    ("vocabulary", [{"DisplayAs": SECRET}], ": item 1 must be a phrase, or an object of Phrase"),
    ("vocabulary", [{"Phrase": {SECRET: 1}}], "item 1 'Phrase' is an object: it must be text"),
    ("vocabulary", {SECRET: 5}, "item 1 'DisplayAs' is a number: it must be text"),
    ("vocabulary", {SECRET: {SECRET: SECRET}}, "item 1 'DisplayAs' is an object: it must be text"),
    ("vocabulary", {SECRET: ""}, "item 1 'DisplayAs' is text: it must not be empty"),
    ("vocabulary", {SECRET: " "}, "item 1 'DisplayAs' is text: it must not be empty"),
    ("vocabulary", [SECRET, "..."], "item 2 'Phrase' is text: it has neither letters nor digits"),
    ("vocabulary", [f"{SECRET}\ud800"], "item 1 'Phrase' is text: it must be valid Unicode"),
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
    ("vocabulary_filter", {SECRET: 1}, "is an object: it must be a list"),
    ("vocabulary_filter", [{SECRET: 1}], "item 1 is an object: it must be text"),
    ("vocabulary_filter", [SECRET, None], "item 2 is null: it must be text"),
    ("vocabulary_filter", ["a", "!?"], "item 2 is text: it has neither letters nor digits"),
    ("vocabulary_filter", ["\x00"], "item 1 is text: it must not be empty"),
    ("vocabulary_filter", [f"{SECRET}\udfff"], "item 1 is text: it must be valid Unicode"),
    ("vocabulary_filter", [_TOO_LONG], f"and may have {MAX_PHRASE_CHARACTERS}: shorten it"),
    ("vocabulary_filter", [SECRET] * 100_000, ": it has 100000 phrases and may have 2000: shorten"),
    ("vocabulary_filter_method", "hide", "is 'hide': it must be 'mask', 'remove' or 'tag'"),
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
    with pytest.raises(JobError, match="'vocabulary_filter_method' is 'tag': tags stand in words"):
        asked(words=False, vocabulary_filter_method="tag")


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
