"""Frames of prepare children: what is written on one end is read on the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import sent
from worker.speech.children.framing import FrameError
from worker.speech.media.raw import ENCODINGS, MAX_CHANNELS, MAX_RATE, MIN_RATE, RawAudio
from worker.speech.media.selection import MOST_SURVEYED, Selection, Survey, Surveyed
from worker.speech.prepare.frames import (
    PrepareConfig,
    PreparedWindow,
    PrepareTask,
    config_frame,
    read_config,
    read_survey,
    read_task,
    read_window,
    surveyed_frame,
    task_frame,
    window_frame,
)
from worker.speech.prepare.sound import to_samples
from worker.speech.windows import Span, Window

configs = st.builds(
    PrepareConfig,
    mels=st.sampled_from([80, 128]),
    vad=st.sampled_from(["silero", "none"]),
    spans=st.dictionaries(st.text(max_size=5), st.floats(0, 30)),
    memory_bytes=st.integers(0, 1 << 40),
)

seconds = st.floats(0, 43_200)
selections = st.builds(Selection, st.none() | st.integers(0, 63), st.none() | st.integers(0, 63))
tasks = st.builds(
    PrepareTask,
    path=st.text(max_size=20),
    done=st.lists(st.tuples(st.integers(0, 5_000), seconds, seconds), max_size=4).map(tuple),
    samples=st.booleans(),
    raw=st.none()
    | st.builds(
        RawAudio,
        st.sampled_from(ENCODINGS),
        st.integers(MIN_RATE, MAX_RATE),
        st.integers(1, MAX_CHANNELS),
    ),
    selection=selections,
    survey=st.sampled_from([None, "channels", "tracks"]),
    samples_file=st.none() | st.text(max_size=20),
)


@given(configs, tasks)
def test_configuration_and_tasks_arrive_as_they_were(
    config: PrepareConfig, task: PrepareTask
) -> None:
    assert read_config(sent(config_frame(config))[0]) == config
    assert read_task(sent(task_frame(task))[0]) == task


@given(
    st.integers(0, 5_000),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 480_000)), min_size=1, max_size=3),
    st.integers(1, 40),
    st.integers(0, 100) | st.none(),
)
def test_windows_arrive_as_they_were(
    index: int, pairs: list[tuple[int, int]], frames: int, count: int | None
) -> None:
    spans = [
        Span(
            start, start + length, speech=((start, start + 1), (start + length - 1, start + length))
        )
        for start, length in pairs
    ]
    window = Window(index, tuple(spans))
    rng = np.random.default_rng(index)
    features = rng.normal(size=(80, frames)).astype(np.float32)
    samples = None if not count else rng.uniform(-1, 1, size=count).astype(np.float32)
    found = read_window(*sent(window_frame(window, features, samples)), 80)
    assert (found.index, found.spans) == (window.index, window.spans)
    assert [span.speech for span in found.spans] == [span.speech for span in spans]
    assert found.sound is not None
    np.testing.assert_array_equal(found.sound, features)
    if samples is None:
        assert found.samples is None
    else:
        assert found.samples is not None
        np.testing.assert_array_equal(found.samples, to_samples(samples))


def test_a_window_that_is_done_is_named_alone() -> None:
    window = Window(3, (Span(10, 20), Span(40, 50)))
    header, payload = sent(window_frame(window, None))
    assert payload == b""
    assert read_window(header, payload, 80) == PreparedWindow(3, window.spans, None, None)


@st.composite
def surveys(draw: st.DrawFn) -> Survey:
    parts: list[Surveyed] = []
    for _ in range(draw(st.integers(1, MOST_SURVEYED))):
        firsts = [place for place, part in enumerate(parts) if part.same_as is None]
        parts.append(Surveyed(draw(selections), draw(st.sampled_from([None, *firsts]))))
    notes = draw(st.lists(st.text(max_size=20), max_size=2).map(tuple))
    return Survey(tuple(parts), notes, {"decode": draw(seconds)})


@given(surveys())
def test_surveys_arrive_as_they_were(survey: Survey) -> None:
    assert read_survey(sent(surveyed_frame(survey))[0]) == survey


def part(
    stream: object = None, channel: object = None, same_as: object = None
) -> dict[str, object]:
    return {"stream": stream, "channel": channel, "same_as": same_as}


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [part()] * (MOST_SURVEYED + 1),
        [part(stream="0")],
        [part(channel=-1)],
        [part(channel=True)],
        [part(same_as=0)],
        [part(), part(same_as=0), part(same_as=1)],
        [{"stream": 0}],
        [7],
        None,
    ],
)
def test_a_survey_that_no_child_of_ours_sends_is_refused(parts: object) -> None:
    header = {"kind": "surveyed", "found": parts, "notes": [], "seconds": {}}
    with pytest.raises(FrameError, match="a child sent a"):
        read_survey(header)
