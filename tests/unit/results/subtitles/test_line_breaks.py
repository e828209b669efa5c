"""Lines end where a reader of the script expects it."""

# ruff: noqa: RUF001

import itertools
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spoken import WORD_TEXTS, examples
from worker.results.spelling import one_line
from worker.results.subtitles.line_breaks import line_ends, parted_by_space, text_width

FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"


def parts(
    text: str, language: str | None = None, *, width: int = 42, words: list[str] | None = None
) -> list[str]:
    places: list[tuple[int, int]] = []
    for word in words or []:
        first = text.index(word, places[-1][1] if places else 0)
        places.append((first, first + len(word)))
    ends = line_ends(text, language, width=width, words=places)
    assert ends[-1] == len(text)
    return [text[first:end] for first, end in itertools.pairwise([0, *ends])]


@pytest.mark.parametrize(
    ("language", "broken"),
    [
        ("en", "It |is |10,000.50 |U.S. |dollars."),
        ("fr", "« bon » |dit-|il ! |et |“ quoi ” ?"),
        ("ar", "مرحبا، |كيف |الحال؟"),
        ("hi", "नमस्ते |दुनिया। |क्षत्रिय"),
        ("th", "สวัสดี|ครับ|ฉัน|รัก|เมือง|ไทย"),
        ("lo", "ສະບາຍດີ|ຂ້ອຍ|ຮັກ|ລາວ"),
        ("km", "ខ្ញុំ|ស្រឡាញ់|ប្រទេស|កម្ពុជា"),
        ("my", "မြန်မာနိုင်ငံ|ကို|ချစ်|တယ်"),
        ("zh", "今天|天气|非常|好，|我们|一起|出去|散步|吧。|“你好。”|他|说"),
        ("ja", "今日は|世界。|「録音」|です。|インターネット|きょうは|「え」ーお"),
        ("ko", "안녕하세요 |반갑습니다 |2024년 |AI는 |서울A"),
    ],
)
def test_a_line_ends_between_words_and_keeps_punctuation(language: str, broken: str) -> None:
    assert parts(broken.replace("|", ""), language) == broken.split("|")
    if language != "ja":
        assert parts(broken.replace("|", ""), None) == broken.split("|")


def test_words_of_the_transcript_are_not_cut() -> None:
    text = "a well-known 判断的知識が"
    assert parts(text, "ja") == ["a ", "well-", "known ", "判断", "的", "知識が"]
    words = ["a", "well-known", "判断的知識", "が"]
    assert parts(text, "ja", words=words) == ["a ", "well-known ", "判断的知識が"]
    assert parts("he said so", words=["he said", "so"]) == ["he ", "said ", "so"]


def test_a_part_that_is_wider_than_a_line_is_cut_where_it_hurts_least() -> None:
    assert parts("https://example.com/very-long/path", width=20) == [
        "https://",
        "example.com/",
        "very-",
        "long/",
        "path",
    ]
    assert parts("インターネット", "ja", width=10) == ["イ", "ン", "ター", "ネッ", "ト"]
    assert parts("x" * 25 + " y", width=10) == ["x" * 10, "x" * 10, "x" * 5 + " ", "y"]
    assert parts("« mot très long »", "fr", width=10) == ["« mot ", "très ", "long »"]


@pytest.mark.parametrize(
    "character", ["e\u0301", "か\u3099", "กำ", "क्षि", FAMILY, "👍🏽", "🇩🇪", "☎\ufe0f"]
)
def test_what_a_reader_takes_for_a_character_is_never_cut(character: str) -> None:
    for lead in range(12):
        text = "x" * lead + character * 40
        done = ""
        for part in parts(text, width=10):
            done += part
            assert len(done) <= lead or (len(done) - lead) % len(character) == 0
            assert text_width(part) <= 10


def test_width_is_counted_in_columns() -> None:
    assert text_width("録音 abc") == 8
    assert text_width("e\u0301") == 1
    assert text_width("\N{FULLWIDTH LATIN SMALL LETTER F}" * 4) == 8
    assert text_width(FAMILY) == text_width("👍🏽") == text_width("🇩🇪") == 2
    assert text_width("\u1112\u1161\u11ab") == text_width("한") == 2
    assert text_width("a 🏽🏽") == text_width("a") + 1 + text_width("🏽🏽")
    assert text_width("") == 0


@examples
@given(st.lists(WORD_TEXTS, min_size=1, max_size=20), st.sampled_from([10, 42]))
def test_parts_fit_and_begin_with_no_mark(texts: list[str], width: int) -> None:
    text = one_line(" ".join(texts))
    done = 0
    for part in parts(text, "ja", width=width):
        assert text_width(part.rstrip()) <= width
        assert part.strip()
        if done and text[done - 1] != " ":
            assert unicodedata.category(part[0]) != "Mn"
            assert part[0] not in " \u200d🏽"
            assert part[0] not in "、。」』ー々ッ" or width == 10
        done += len(part)


def test_no_line_starts_with_closing_punctuation_or_ends_with_an_opening_bracket() -> None:
    for lead in range(1, 60):
        for part in parts("あ" * lead + "、「い」、う" + "「え」ーお" * 4 + "う" * 40, "ja"):
            assert part[0] not in "、」ー"
            assert part[-1] != "「"


def test_half_of_a_character_is_a_character() -> None:
    assert parts("a\ud800b c") == ["a\ud800b ", "c"]


def test_a_space_parts_two_texts_unless_their_script_has_none() -> None:
    assert parted_by_space("one.", "Two")
    assert parted_by_space("안녕", "안녕")
    assert parted_by_space("👍", "yes")
    assert not parted_by_space("です。", "今日")
    assert not parted_by_space("好", "Hello")


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "あ" * 33_000, "客観的実在の知識が整理する" * 2500, "\u0301" * 50_000],
    ids=["x", "a", "phrases", "marks"],
)
def test_a_hundred_kilobytes_take_a_second(text: str, language: str) -> None:
    started = time.process_time()
    line_ends(text, language, width=42)
    assert time.process_time() - started < 3
