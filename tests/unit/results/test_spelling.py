"""Which characters of a text are which word's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.results.spelling import one_line, respelled, spans

PARTS = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5), max_size=6)
GAPS = st.sampled_from([" ", ", ", " - ", "。", "", "...", ' "'])


@pytest.mark.parametrize(
    ("text", "parts", "found"),
    [
        ("Well, stop.", ["Well,", "stop."], [(0, 5), (6, 11)]),
        ("Well, stop.", ["Well", "stop"], [(0, 4), (6, 10)]),
        ("録音です。", ["録音", "です"], [(0, 2), (2, 4)]),
        ("a b", ["a", "", "b"], [(0, 1), (1, 1), (2, 3)]),
        ("a lost b", ["a", "b"], None),
        ("a b and more", ["a", "b"], None),
        ("a b", ["a", "c"], None),
        ("b a", ["a", "b"], None),
        ("", [], []),
        ("a", [], None),
    ],
)
def test_parts_stand_where_they_are_or_nowhere(
    text: str, parts: list[str], found: list[tuple[int, int]] | None
) -> None:
    assert spans(text, parts) == found


@given(PARTS, st.data())
@settings(max_examples=50)
def test_what_is_joined_is_found_and_is_put_back_alike(
    parts: list[str], data: st.DataObject
) -> None:
    text = "".join(data.draw(GAPS) + part for part in parts) + data.draw(GAPS)
    places = spans(text, parts)
    assert places is not None
    assert [text[first:end] for first, end in places] == parts
    assert respelled(text, places, parts) == one_line(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_one_line_has_no_controls_and_is_its_own_line(text: str) -> None:
    line = one_line(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]|  |^ | $", line)
    assert one_line(line) == line


def test_a_part_may_become_longer_or_nothing() -> None:
    text = 'He said "knew work", um, twice.'
    parts = ["He", "said", "knew", "work", "um,", "twice."]
    places = spans(text, parts)
    assert places is not None
    changed = ["He", "said", "New York", "", "", "twice."]
    assert respelled(text, places, changed) == 'He said "New York ", twice.'
