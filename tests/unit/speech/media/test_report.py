"""What a result says of how its file was read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from worker.errors import ErrorCode, JobError
from worker.speech.media.report import Report


@dataclass
class Counts:
    damaged: int = 0
    decoded: int = 100
    holes: int = 0
    filled: float = 0.0
    jumps: int = 0


def report(counts: Counts, *, cancelled: bool = False, joined: int = 0, unread: int = 0) -> Report:
    made = Report(joined=joined, unread=unread)
    made.add_stream(counts, cancelled=cancelled)
    made.add_times(counts)
    return made


def test_a_file_that_is_in_order_needs_no_word() -> None:
    assert report(Counts()).sentences() == []
    assert report(Counts(holes=3, filled=0.4)).sentences() == []


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (report(Counts(damaged=3)), "3 damaged packets were skipped"),
        (report(Counts(holes=1, filled=4.0)), "4.0 s of silence stand in 1 place where"),
        (report(Counts(holes=2, filled=14.04)), "14.0 s of silence stand in 2 places where"),
        (report(Counts(jumps=1)), "The file's clock jumps once and was not followed there"),
        (report(Counts(jumps=2)), "The file's clock jumps 2 times"),
        (report(Counts(), joined=1), "The file holds 2 recordings one after the other"),
        (report(Counts(), unread=1), "1 of the recordings in the file could not be read"),
        (report(Counts(), cancelled=True), "Channels that cancel each other were turned over"),
        (Report(stale_length=True), "The file's header gives a shorter length; all"),
    ],
)
def test_what_was_out_of_order_is_said(made: Report, sentence: str) -> None:
    (said,) = made.sentences()
    assert said.startswith(sentence)


def test_half_of_the_packets_may_be_damaged_and_no_more() -> None:
    report(Counts(damaged=100)).check_damage()
    with pytest.raises(JobError, match="101 of the file's 201 packets are damaged") as caught:
        report(Counts(damaged=101)).check_damage()
    assert caught.value.code is ErrorCode.DECODE_FAILED


def test_channels_that_are_missing_for_long_are_named_and_those_that_never_were_are_refused() -> (
    None
):
    made = Report()
    made.add_channels(1, 1, 0.4)
    made.add_channels(3, 3, 0.4)
    made.check_channels(2)
    assert made.sentences() == []
    made.add_channels(1, 1, 0.1)
    made.add_channels(3, 3, 0.1)
    assert [note.split(" s of ")[0] for note in made.sentences()] == ["0.5", "0.5"]
    with pytest.raises(JobError, match="the audio has 3 channels, counted from 0") as caught:
        made.check_channels(3)
    assert caught.value.code is ErrorCode.INVALID_JOB
    Report().check_channels(5)  # nothing was read
