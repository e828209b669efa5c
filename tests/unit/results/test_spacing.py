"""Which texts have spaces between words."""

from __future__ import annotations

import pytest

from worker.results.spacing import LANGUAGES_WITHOUT_SPACES, is_spaced, joint


@pytest.mark.parametrize("language", sorted(LANGUAGES_WITHOUT_SPACES))
def test_a_language_without_spaces_has_them_in_translation(language: str) -> None:
    assert not is_spaced(language, "transcribe")
    assert is_spaced(language, "translate")


@pytest.mark.parametrize("language", ["en", "de", "ko", "hi"])
def test_other_languages_have_them_always(language: str) -> None:
    assert is_spaced(language, "transcribe")
    assert is_spaced(language, "translate")


@pytest.mark.parametrize(
    ("first", "second", "between"),
    [
        ("ja", "ja", ""),
        ("ja", "zh", ""),
        ("ja", "en", " "),
        (None, "ja", " "),
        (None, None, " "),
        *((spaced, spaced, " ") for spaced in ("en", "th", "lo", "km", "my")),
    ],
)
def test_texts_are_parted_by_a_space_where_clauses_are(
    first: str | None, second: str | None, between: str
) -> None:
    assert joint(first, second) == between
