"""Phrases are found however a text writes them, and nowhere else."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.results.wording.phrases import Phrases, searched

many = settings(max_examples=150, deadline=None, derandomize=True)


def found(text: str, *phrases: str) -> list[str]:
    """The parts of a text that are found."""
    matches = Phrases(dict.fromkeys(phrases, "")).find([text])
    return [text[place.first : place.end] for match in matches for place in match.places]


@pytest.mark.parametrize(
    ("phrase", "text", "parts"),
    [
        ("marine", "Marine, submarine, MARINES and 'marine'.", ["Marine", "marine"]),
        ("new york", "New York, new  york, NEW\u00a0YORK, New-York, new\nyork", None),
        ("Los-Angeles", "los angeles; Los\u2011Angeles", ["los angeles", "Los\u2011Angeles"]),
        ("rock 'n' roll", "Rock \u2019n\u2019 Roll", ["Rock \u2019n\u2019 Roll"]),
        ("Smith", "Smith's and Smith\u2019s, Smithson, Smith-Jones", ["Smith"] * 3),
        ("Alembert", "d'Alembert et d\u2019Alembert", ["Alembert", "Alembert"]),
        ("don", "don't, Don, DON\u2019T, don's", ["Don", "don"]),
        ("straße", "STRASSE Straße strasse strassen", ["STRASSE", "Straße", "strasse"]),
        ("café", "cafe\u0301 CAFÉ cafe", ["cafe\u0301", "CAFÉ"]),
        ("istanbul", "İstanbul ISTANBUL \u0131stanbul", ["İstanbul", "ISTANBUL", "\u0131stanbul"]),
        ("σοφος", "ΣΟΦΟΣ σοφος", ["ΣΟΦΟΣ", "σοφος"]),
        ("AWS", "\uff21\uff37\uff33 aws AWSes", ["\uff21\uff37\uff33", "aws"]),
        ("damn", "da\u00admn d\u200damn da\x00mn", ["da\u00admn", "d\u200damn", "da\x00mn"]),
        ("C++", "C++ and C and c++.", ["C++", "c++"]),
        ("C#", "C# and C", ["C#"]),
        ("AT&T", "AT&T, at&t, AT T", ["AT&T", "at&t"]),
        ("U.S.A.", "U.S.A. today, in the U.S.A", ["U.S.A.", "U.S.A"]),
        ("Mr.", "Mr. Smith, Mr Smith, a Mr.", ["Mr.", "Mr", "Mr"]),
        ("5", "3.5, 5, 10:5 and 5.", ["5", "5"]),
        ("3.5", "3.5 and 13.5", ["3.5"]),
        ("कि", "कि किताब कि।", ["कि", "कि"]),
        ("क", "कि क", ["क"]),
        ("كتاب", "كتاب كِتاب كتابي", ["كتاب"]),
        ("צה\u05f4ל", "צה\u05f4ל", ["צה\u05f4ל"]),
        ("東京", "私は東京へ行く。東京タワー", ["東京", "東京"]),
        ("か", "がか", ["か"]),
        ("が", "か\u3099", ["か\u3099"]),
        ("ガ", "ｶﾞｶ", ["ｶﾞ"]),
        ("AWS", "これはAWSです", ["AWS"]),
        ("ジョン・スミス", "ジョン・スミスとジョンスミス", ["ジョン・スミス", "ジョンスミス"]),
        ("กา", "กากี่กา", ["กา", "กา"]),
        ("ก", "กี่ก", ["ก"]),
        ("ລາວ", "ພາສາລາວ", ["ລາວ"]),
        ("ខ្មែរ", "ភាសាខ្មែរ", ["ខ្មែរ"]),
        ("မြန်မာ", "မြန်မာစာ", ["မြန်မာ"]),
        ("김철수", "김철수 김철수가", ["김철수"]),
    ],
)
def test_examples(phrase: str, text: str, parts: list[str] | None) -> None:
    expected = ["New York", "new  york", "NEW\u00a0YORK", "New-York", "new\nyork"]
    assert found(text, phrase) == (expected if parts is None else parts)
    assert found(unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", phrase)) == [
        unicodedata.normalize("NFC", part) for part in (expected if parts is None else parts)
    ]


def test_the_longest_goes_first_and_matches_do_not_overlap() -> None:
    phrases = ("new york", "new york city", "york", "city hall")
    assert found("New York City Hall in York", *phrases) == ["New York City", "York"]


def test_a_phrase_goes_over_the_edge_of_a_text_but_not_over_punctuation() -> None:
    phrases = Phrases({"john smith": "J. S.", "東京": "Tokyo"})
    ((match),) = phrases.find(["I met John", "Smith today."])
    assert match.places == ((0, 6, 10), (1, 0, 5))
    assert match.value == "J. S."
    ((match),) = phrases.find(["これは東", "京です"])
    assert match.places == ((0, 3, 4), (1, 0, 1))
    assert phrases.find(["I met John.", "Smith stayed."]) == []
    assert phrases.find(["I met John", "", "x Smith"]) == []


@pytest.mark.parametrize("phrase", ["", " ", "...", "***", "-", "'", "¿?", "\u0301", "👍"])
def test_what_has_neither_letters_nor_digits_is_searched_as_nothing(phrase: str) -> None:
    assert searched(phrase) == ()
    assert found(f"a {phrase} b", phrase) == []


def test_what_is_found_in_the_same_places_is_searched_as_the_same() -> None:
    for phrase in ("New-York", " new  york ", "«NEW YORK»", "new york!", "New\u00a0York."):
        assert searched(phrase) == searched("new york")
    assert searched("newyork") != searched("new york")


_LETTERS = st.text(alphabet="aAbéß\u0131İñ'-. ,が東กि\u0301\u00ad", min_size=1, max_size=12)


@many
@given(st.lists(_LETTERS, max_size=4), _LETTERS, _LETTERS)
def test_a_phrase_between_spaces_is_found(others: list[str], phrase: str, text: str) -> None:
    if not searched(phrase):
        return
    said = f"0 {phrase} 0"
    assert found(said, phrase), "by itself"
    covered = "".join(found(said, phrase, *others))
    assert covered, "and beside others, of which a longer one may take its place"
    for match in Phrases(dict.fromkeys([phrase, *others], "")).find([text, said, text]):
        for place in match.places:
            assert place.first < place.end <= len([text, said, text][place.text])


@many
@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=5))
def test_matches_are_in_order_whatever_the_text(text: str, phrases: list[str]) -> None:
    done = 0
    for match in Phrases(dict.fromkeys(phrases, "")).find([text]):
        ((number, first, end),) = match.places
        assert number == 0
        assert done <= first < end <= len(text)
        done = end


def test_thousands_of_phrases_in_a_long_text_take_no_time() -> None:
    phrases = Phrases({f"word{n} word{n + 1} of{n}": "" for n in range(4000)})
    texts = [" ".join(f"word{(n * k) % 4001}" for n in range(20)) for k in range(700)]
    assert sum(map(len, texts)) > 100_000
    began = time.process_time()
    phrases.find(texts)
    assert time.process_time() - began < 2
