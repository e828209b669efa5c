"""What may name a job, and what an id keeps of a file's name."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.ids import JOB_ID_PATTERN, id_part, is_job_id, within


@pytest.mark.parametrize(
    "text", ["call-17", "Müller", "日本語", "مرحبا", "हिन्दी", "Ⅷ_2.wav", "x" * 128, "語" * 42]
)
def test_letters_and_digits_of_any_script_name_a_job(text: str) -> None:
    assert is_job_id(text)
    assert re.search(JOB_ID_PATTERN, text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a b", "a/b", "a\n", "x" * 129, "語" * 43, "☎", "a:b", "Mu\u0308ller",
     "a\u202eb", "a\u200db", "a\u00a0b", "\ud800",
     "call\u3164", "\uffa0", "call\u034f", "a\ufe0f", "\u845b\U000e0100", "\u1780\u17b4",
     "\u0301", "a-\u0301", "_\u093f", "a\u034f\u0301"],
)  # fmt: skip
def test_what_may_not_name_a_job(text: str) -> None:
    assert not is_job_id(text)


@pytest.mark.parametrize("code", range(128))
def test_of_ascii_the_schema_takes_what_the_worker_takes(code: int) -> None:
    text = f"a{chr(code)}b"
    assert is_job_id(text) == bool(re.search(JOB_ID_PATTERN, text))


@given(st.text(max_size=200))
def test_the_schema_takes_whatever_the_worker_takes(text: str) -> None:
    if is_job_id(text):
        assert re.search(JOB_ID_PATTERN, text)


@given(st.text(max_size=300), st.sampled_from(["._", "_-"]), st.integers(1, 80), st.booleans())
def test_a_part_of_any_name_leaves_room_for_a_hash(
    name: str, keep: str, characters: int, end: bool
) -> None:
    part = within(id_part(name, keep=keep), characters=characters, end=end)
    assert len(part) <= characters
    assert is_job_id(f"{part}-0123456789abcdef")


def test_a_part_does_not_begin_with_a_mark_whose_letter_is_cut_off() -> None:
    part = within(id_part("हि" * 10, keep="_-"), characters=3, end=True)
    assert part == "हि"
    assert is_job_id(f"{part}-0123456789abcdef")


@given(
    st.text(
        st.characters(categories=["L", "N"], exclude_characters="\u115f\u1160\u3164\uffa0"),
        min_size=1,
        max_size=60,
    )
)
def test_letters_and_digits_stay(name: str) -> None:
    assert id_part(name, keep="_-") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Call 17 (final)", "Call-17-final-"),
        ("a - b", "a---b"),
        ("Mu\u0308ller", "Müller"),
        ("हिन्दी की", "हिन्दी-की"),
        ("\u2764\ufe0f song", "-song"),  # the mark that made a heart an emoji stands on no letter
        ("a\u3164b", "a-b"),
        ("_\u0301a", "_-a"),
    ],
)
def test_what_may_not_stand_becomes_one_hyphen(name: str, part: str) -> None:
    assert id_part(name, keep="_-") == part


def test_of_a_hostile_name_only_the_length_of_a_key_is_looked_at() -> None:
    # Normalising takes time that grows with the square of a run of marks: hours for this one.
    marks = "\u0323\u0301" * 1_000_000
    assert id_part(marks, keep="_-") == id_part(marks[:1024], keep="_-")
