"""A demo that failed for one cause says one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from worker.cli.demo_faults import Ending, faults
from worker.sender.send import Answers, Failure

WELL = Ending(
    answers=Answers(completed={"a": "s3://demo/out/a/transcript.json"}),
    exit_code=0,
    last_error="",
    stage="Transcribing",
    timed_out=False,
    timeout=900,
)
LEFT = "1 messages are still on the queue"
MISSING = "s3://demo/out/a/transcript.srt isn't there"
UNTOLD = "a: its transcript doesn't say who speaks"


def spoilt(ending: Ending) -> Ending:
    """With what follows from any cause."""
    return replace(ending, leftovers=[LEFT], missing=[MISSING], untold=[UNTOLD])


def test_nothing_to_say() -> None:
    assert faults(WELL) == []


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (
            replace(WELL, answers=Answers(waiting=("a",)), exit_code=2, last_error="port is taken"),
            "the worker ended with exit code 2: port is taken",
        ),
        (
            replace(WELL, answers=Answers(waiting=("a",)), exit_code=-9),
            "the worker was ended by signal 9",
        ),
        (
            replace(WELL, answers=Answers(failed=[Failure("a", "not_media", "It is JSON.")])),
            "a failed: not_media: It is JSON.",
        ),
        (
            replace(WELL, answers=Answers(waiting=("a", "b")), exit_code=None, timed_out=True),
            "time was up after 900 s (transcribing), with no answer for a, b: give a longer"
            " --timeout",
        ),
        (
            replace(WELL, answers=Answers(waiting=("a",))),
            "the worker ended without an answer for a",
        ),
        (replace(WELL, exit_code=None), "the worker didn't end itself when it was idle"),
    ],
)
def test_one_cause_is_one_sentence_whatever_it_spoilt(ending: Ending, said: str) -> None:
    assert faults(spoilt(ending)) == [said]


def test_what_was_left_or_is_missing_is_said_if_there_is_no_other_cause() -> None:
    assert faults(spoilt(WELL)) == [LEFT, MISSING, UNTOLD]
