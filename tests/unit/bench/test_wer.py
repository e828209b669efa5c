from __future__ import annotations

import math

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.bench.wer import (
    errors_by_clip,
    normalize,
    paired_interval,
    repeats,
    stretches,
    word_error_rate,
)

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Printing, in the only sense.", ["printing", "in", "the", "only", "sense"]),
        (
            "wood-cutters and\u2014so \u201cto speak\u201d",
            ["wood", "cutters", "and", "so", "to", "speak"],
        ),
        ("It's 1455!", ["its", "1455"]),
        ("  \n ", []),
        ("\uff21\u00c9", ["a\u00e9"]),
        ("\u5ba2\u89b3\u306e\u3001 base\u3002", ["\u5ba2", "\u89b3", "\u306e", "base"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
    ],
)
def test_normalize(text: str, words: list[str]) -> None:
    assert normalize(text) == words


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS)
def test_errors_add_up_to_the_least_number_of_edits(
    references: list[list[str]], hypothesis: list[str]
) -> None:
    errors = errors_by_clip(references, hypothesis)
    assert len(errors) == len(references)
    joined = [word for reference in references for word in reference]
    if joined:
        by_jiwer = jiwer.process_words(" ".join(joined), " ".join(hypothesis))
        expected = by_jiwer.substitutions + by_jiwer.deletions + by_jiwer.insertions
    else:
        expected = len(hypothesis)
    assert sum(errors) == expected


def test_errors_are_counted_where_they_are() -> None:
    references = [["one", "two", "three"], ["four", "five"], ["six"]]
    heard = ["one", "two", "tree", "four", "five", "or", "six"]
    assert errors_by_clip(references, heard) == [1, 1, 0]
    assert errors_by_clip(references, []) == [3, 2, 1]
    assert errors_by_clip([[], ["one"]], ["one"]) == [0, 0]


def test_a_long_text_is_aligned_in_seconds() -> None:
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in random.integers(0, 500, size=3000)]
    heard = [word for word in words if random.random() > 0.1]
    assert sum(errors_by_clip([words], heard)) == len(words) - len(heard)


def test_errors_of_a_long_recording_go_to_the_pieces_that_they_are_in() -> None:
    pieces = [[f"w{20 * piece + word}" for word in range(20)] for piece in range(100)]
    heard = [word for piece in pieces for word in piece]
    heard[41:43] = ["never", "said", "here"]  # two wrong and one too many, in the third piece
    del heard[1206:1306]  # a window that was lost
    errors = errors_by_clip(pieces, heard)
    assert {piece: wrong for piece, wrong in enumerate(errors) if wrong} == {
        2: 3,
        60: 15,
        61: 20,
        62: 20,
        63: 20,
        64: 20,
        65: 5,
    }


def test_rate() -> None:
    assert word_error_rate([10, 30], [1, 3]) == pytest.approx(10.0)
    assert math.isnan(word_error_rate([0], [0]))


def test_interval_of_equal_texts_is_nothing() -> None:
    found = paired_interval([10, 20, 5], [1, 2, 0], [1, 2, 0])
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_interval_pairs_clips() -> None:
    """Clips differ wildly, the contestants hardly: unpaired, the interval would be wide."""
    random = np.random.default_rng(1)
    words = [20] * 80
    hard = random.integers(0, 15, size=80)
    better, worse = hard.tolist(), (hard + (random.random(80) < 0.2)).tolist()
    found = paired_interval(words, worse, better)
    assert found.difference == pytest.approx(100 * (sum(worse) - sum(better)) / 1600)
    assert 0 < found.low < found.difference < found.high < 2.0
    assert found == paired_interval(words, worse, better)
    assert paired_interval(words, better, worse).difference == -found.difference


def test_interval_matches_a_plain_bootstrap() -> None:
    random = np.random.default_rng(2)
    words = random.integers(5, 30, size=40)
    one, two = random.integers(0, 5, size=40), random.integers(0, 5, size=40)
    draws = random.integers(0, 40, size=(4000, 40))
    rates = 100 * (one[draws].sum(1) - two[draws].sum(1)) / words[draws].sum(1)
    found = paired_interval(words.tolist(), one.tolist(), two.tolist())
    assert found.low == pytest.approx(np.percentile(rates, 2.5), abs=0.4)
    assert found.high == pytest.approx(np.percentile(rates, 97.5), abs=0.4)


@pytest.mark.parametrize("words", [[10], [0, 0]])
def test_no_interval_without_clips_or_words(words: list[int]) -> None:
    with pytest.raises(ValueError, match="at least two clips"):
        paired_interval(words, [0] * len(words), [0] * len(words))


@given(st.lists(st.integers(0, 40), max_size=60))
def test_stretches_are_all_pieces_in_order_and_of_about_equal_size(words: list[int]) -> None:
    found = stretches(words)
    assert [index for stretch in found for index in stretch] == list(range(len(words)))
    assert all(found)
    said = [sum(words[index] for index in stretch) for stretch in found]
    # A stretch's ends each lie within half a piece of where they would be best.
    assert all(count <= 75 * 1.5 + max(words) for count in said)
    assert len(found) <= max(1, round(sum(words) / 75))


def test_a_clip_is_one_stretch_and_a_recording_many() -> None:
    assert stretches([12]) == [[0]]
    assert stretches([300]) == [[0]]
    assert [len(stretch) for stretch in stretches([15] * 100)] == [5] * 20


@pytest.mark.parametrize(
    "text",
    [
        "one two three one two three",
        "so one two three one two three and on",
        "no no no no no",
        "we went and so and so and so and so and so",
        "once more once more",
    ],
)
def test_what_is_said_twice_over(text: str) -> None:
    assert repeats(text.split())


@pytest.mark.parametrize(
    "text", ["", "no", "the one and the other", "a very very good day", "one two three one two"]
)
def test_what_is_said_once(text: str) -> None:
    assert not repeats(text.split())
