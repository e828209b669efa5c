from __future__ import annotations

from worker.results.names import (
    CHECKPOINT,
    ERROR,
    FORMAT_NAMES,
    TRANSCRIPT,
    WRITTEN,
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


def test_every_name_that_is_written_is_known_and_no_other() -> None:
    assert {sibling(name) for name in FORMAT_NAMES} | {ERROR, CHECKPOINT} == WRITTEN
