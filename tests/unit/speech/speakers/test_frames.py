"""Frames of the speakers' child: what is written is read, and nonsense is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import sent
from worker.results.speakers import Diarization, Voice
from worker.speech.children.framing import FrameError
from worker.speech.speakers.choice import Chosen
from worker.speech.speakers.frames import (
    Found,
    SpeakersConfig,
    SpeakersTask,
    config_frame,
    found_frame,
    progress_frame,
    read_config,
    read_found,
    read_progress,
    read_task,
    task_frame,
)

times = st.floats(0, 43_200)
voices = st.lists(
    st.tuples(times, times, st.text(max_size=8)).map(
        lambda entry: Voice(min(entry[:2]), max(entry[:2]), entry[2])
    ),
    max_size=5,
).map(tuple)
some_found = st.builds(
    Found,
    st.builds(Diarization, st.text(max_size=20), voices, voices),
    st.sampled_from(["cpu", "cuda:0"]),
    st.lists(st.text(max_size=20), max_size=2).map(tuple),
)
numbers = st.none() | st.integers(1, 30)


@given(some_found, st.floats(0, 1), numbers, numbers)
def test_what_is_asked_and_found_arrives_as_it_was(
    found: Found, share: float, least: int | None, most: int | None
) -> None:
    assert read_found(*sent(found_frame(found))) == found
    assert read_progress(sent(progress_frame(share))[0]) == share
    task = SpeakersTask("/tmp/samples", least, most)  # noqa: S108  # nothing is written there
    assert read_task(sent(task_frame(task))[0]) == task


def test_the_configuration_arrives_as_it_was() -> None:
    chosen = Chosen("some/model", "hub", Path("/models/some"), Path("/models"), "A note.")
    config = SpeakersConfig(chosen, "cuda:1", 1 << 30)
    assert read_config(sent(config_frame(config))[0]) == config


HEADER = {"kind": "found", "diarizer": "x", "device": "cpu", "notes": []}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"\xff", b"7", b'{"voices": []}',
        *(
            json.dumps({"voices": wrong, "exclusive": []}).encode()
            for wrong in ([7], [[0, 1]], [["0", 1, "A"]], [[2, 1, "A"]], [[0, 1, 7]],
                          [[-1, 1, "A"]], [[0, float("nan"), "A"]], [[0, float("inf"), "A"]],
                          [[0, True, "A"]],
                          [[0, 10**400, "A"]])
        ),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_speakers_that_no_child_of_ours_sends_are_refused(payload: bytes) -> None:
    with pytest.raises(FrameError, match="broken speakers"):
        read_found(HEADER, payload)


@pytest.mark.parametrize("header", [{}, {"share": "half"}, {"share": -1.0}, {"share": None}])
def test_progress_that_no_child_of_ours_makes_is_refused(header: dict[str, object]) -> None:
    with pytest.raises(FrameError, match="progress"):
        read_progress(header)
