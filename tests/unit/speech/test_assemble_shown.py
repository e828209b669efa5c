"""A transcript's text, words and notes are those of what its job has shown."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.transcripts import assembled, segments
from worker.results.presentation import FilterMethod, Presentation
from worker.results.transcript import Transcript
from worker.speech.api import Recognition


def shown(
    *texts: str, hidden: tuple[str, ...], method: FilterMethod, with_words: bool = True
) -> Transcript:
    presentation = Presentation(vocabulary_filter=hidden, vocabulary_filter_method=method)
    recognition = Recognition(
        audio_seconds=60.0,
        language=None,
        segments=segments(*texts, with_words=with_words),
        word_times="attention",
        seconds={},
        windows=1,
        notes=("a note",),
    )
    return assembled(recognition, replace(presentation, segment_resolution="window"))


def test_the_whole_text_has_what_segments_have() -> None:
    made = shown("Darn, it rained.", "Darn.", hidden=("darn",), method="remove")
    assert made.text == "it rained."
    assert [segment.text for segment in made.segments] == ["it rained."]
    assert made.word_times == "attention"
    assert made.notes == ("a note",)


def test_where_all_is_removed_nothing_is_left() -> None:
    made = shown("Darn!", "Darn it.", hidden=("darn", "it"), method="remove")
    assert (made.text, made.segments, made.word_times) == ("", (), None)


def test_a_note_says_that_tags_have_no_words_to_stand_in() -> None:
    made = shown("Darn.", hidden=("darn",), method="tag", with_words=False)
    assert made.text == "Darn."
    assert made.notes[0] == "a note"
    assert "vocabulary_filter" in made.notes[1]
    assert "arn" not in made.notes[1]
