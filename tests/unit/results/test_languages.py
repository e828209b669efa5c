"""Which language a text is written in."""

from worker.results.languages import written_in


def test_a_translation_is_english_whatever_was_spoken() -> None:
    assert [written_in(spoken, "translate") for spoken in ("ja", "en", None)] == ["en"] * 3
    assert [written_in(spoken, "transcribe") for spoken in ("ja", "en", None)] == ["ja", "en", None]
