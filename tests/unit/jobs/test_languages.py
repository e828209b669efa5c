"""The language codes are Whisper's, and a wrong one finds the one that was meant."""

import pytest

from worker.jobs.languages import LANGUAGE_CODES, nearest_language
from worker.results.languages import LANGUAGE_NAMES


def test_codes_are_those_of_the_tokenizer() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert len(LANGUAGE_CODES) == 100
    assert LANGUAGE_CODES == _LANGUAGE_CODES


def test_names_are_those_that_whisperx_takes() -> None:
    from whisperx.utils import LANGUAGES

    assert dict(LANGUAGE_NAMES) == LANGUAGES


@pytest.mark.parametrize("code", LANGUAGE_CODES)
def test_every_code_and_name_finds_its_code(code: str) -> None:
    assert nearest_language(code.upper()) == code
    assert nearest_language(LANGUAGE_NAMES[code].title()) == code
    assert nearest_language(f"{code}-XX") == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("english", "en"),
        (" English ", "en"),
        ("en_US", "en"),
        ("pt-BR", "pt"),
        ("zh-Hans-CN", "zh"),
        ("japanse", "ja"),
        ("Mandarin", "zh"),
        ("jv", "jw"),
        ("haitian creole", "ht"),
        ("deutsch-land", None),
        ("auto", None),
        ("", None),
        ("x" * 1_000_000, None),
        ("\ud800", None),
    ],
)
def test_nearest_language(text: str, code: str | None) -> None:
    assert nearest_language(text) == code
