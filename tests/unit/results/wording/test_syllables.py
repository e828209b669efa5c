"""A phrase is part of what is written together with it, or it leaves half a syllable behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.results.wording.phrases import Phrases
from worker.results.wording.syllables import cuts_syllable


def is_found(phrase: str, text: str) -> bool:
    return bool(Phrases({phrase: ""}).find([text]))


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("บ้า", "คุณบ้าไปแล้ว"),
        ("บ้า", "ไอ้บ้า"),
        ("บ้า", "คนบ้า น"),
        ("สมชาย", "คุณสมชายยกมือ"),  # a name that is in ICU's dictionary
        ("ประยุทธ์จันทร์โอชา", "นายกประยุทธ์จันทร์โอชากล่าว"),  # one of several of its words
        ("เชี่ย", "เชี่ยอะไร"),  # ICU's words end elsewhere
        ("หี", "หีนะ"),  # to ICU one word
        ("รู้", "ไม่รู้"),
        ("ตา", "ตาราง"),
        ("ລາວ", "ພາສາລາວ"),
        ("ບ້າ", "ຂ້ອຍບ້າ"),
        ("ខ្មែរ", "ភាសាខ្មែរ"),
        ("សែន", "ហ៊ុនសែនបាន"),
        ("အောင်ဆန်းစုကြည်", "အောင်ဆန်းစုကြည်သည်"),
        ("လှိုင်", "မင်းအောင်လှိုင်"),
        ("東", "東京"),
        ("AWS", "ใช้AWSได้"),
    ],
)
def test_what_may_have_been_said_is_found(phrase: str, text: str) -> None:
    assert is_found(phrase, text)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("บ้า", "เขาอยู่ที่บ้าน"),
        ("กา", "การงาน"),
        ("กา", "เกา"),
        ("ก", "กำลัง"),
        ("ลม", "กลม"),
        ("สัต", "สัตว์"),
        ("ບ້າ", "ຂ້ອຍຢູ່ບ້ານ"),
        ("កា", "កាត់"),
        ("ម៉ា", "ម៉ាក"),
        ("ပြ", "ပြန်"),
    ],
)
def test_half_a_syllable_was_not_said(phrase: str, text: str) -> None:
    assert not is_found(phrase, text)


_TEXTS = st.text(alphabet="กบนาะเ้์ບນາກាត់ပြန်a東 \u200b", max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_TEXTS, st.data())
def test_what_stands_between_spaces_is_whole(text: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(first, len(text)))
    inner = text[first:end]
    if inner:
        assert not cuts_syllable(f"a {inner} a", 2, 2 + len(inner))
        cuts_syllable(text, first, end)  # whatever stands there
