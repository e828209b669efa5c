from __future__ import annotations

from worker.results.names import (
    CHECKPOINT,
    ERROR,
    FORMAT_NAMES,
    SHAPE_NAMES,
    TRANSCRIPT,
    WRITTEN,
    ending,
    shape_in,
    sibling,
)


def test_the_names_are_those_that_readers_look_for() -> None:
    assert (TRANSCRIPT, ERROR, CHECKPOINT) == (
        "transcript.json",
        "error.json",
        "checkpoint.json",
    )
    assert sibling("srt") == "transcript.srt"
    assert sibling("json") == TRANSCRIPT
    assert [sibling(name) for name in SHAPE_NAMES] == [
        "transcript.whisperx.json",
        "transcript.openai.json",
        "transcript.transcribe.json",
    ]


def test_every_name_that_is_written_is_known_and_no_other() -> None:
    assert {sibling(name) for name in FORMAT_NAMES} | {ERROR, CHECKPOINT} == WRITTEN


def test_a_shape_of_others_is_told_from_a_transcript_by_its_name() -> None:
    for name in FORMAT_NAMES:
        shape = name if name in SHAPE_NAMES else None
        assert shape_in(f"talk{ending(name)}") == shape_in(f"TALK{ending(name).upper()}") == shape
    assert shape_in("openai.json") is None
    assert shape_in("talk.openai") is None
