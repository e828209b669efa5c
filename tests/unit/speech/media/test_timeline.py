"""Frames lie where the file's clock says: holes are filled, jitter and jumps are not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.media.timeline import (
    BACK,
    DRIFT,
    LATEST_START,
    LONGEST_HOLE,
    LONGEST_SEAM,
    ROUGH,
    SEAMS,
    SHORTEST_HOLE,
    SURE_HOLE,
    Clock,
    Timeline,
    clock_of,
)

PACKET = 0.02
FROM_ZERO = Clock(0.0)


def run(
    times: list[float | None],
    clock: Clock | None = FROM_ZERO,
    *,
    packet: float = PACKET,
    longest: float = 43_200.0,
    position: float = 0.0,
) -> tuple[list[float], Timeline[int]]:
    """Where each frame starts in the result, and the timeline at its end."""
    timeline: Timeline[int] = Timeline(clock, longest, position)
    placed = [
        one for number, time in enumerate(times) for one in timeline.add(number, time, packet)
    ]
    placed += timeline.finish()
    assert [one.frame for one in placed] == list(range(len(times))), "every frame, in its order"
    starts, end = [], position
    for one in placed:
        if one.at is not None:
            assert one.at > end or one.at >= end - LONGEST_SEAM - 1e-9
            end = one.at
        starts.append(end)
        end += packet
    return starts, timeline


def steps(count: int, start: float = 0.0, packet: float = PACKET) -> list[float | None]:
    """Times of frames one after the other."""
    return [start + number * packet for number in range(count)]


def test_what_follows_on_follows_on() -> None:
    starts, timeline = run(steps(200))
    assert starts == pytest.approx(steps(200))
    assert (timeline.holes, timeline.jumps) == (0, 0)


@pytest.mark.parametrize("start", [0.03, 4.0, 90.0])
def test_audio_that_begins_late_begins_late(start: float) -> None:
    starts, timeline = run(steps(100, start))
    assert starts == pytest.approx(steps(100, start))
    assert timeline.holes == 1
    assert timeline.filled == pytest.approx(start)


@given(
    st.lists(
        st.tuples(st.integers(30, 200), st.floats(SHORTEST_HOLE * 2, SURE_HOLE)),
        min_size=1,
        max_size=6,
    )
)
def test_holes_are_filled_to_where_the_clock_says(runs: list[tuple[int, float]]) -> None:
    times: list[float | None] = []
    at = 0.0
    for frames, hole in runs:
        times += steps(frames, at)
        at += frames * PACKET + hole
    times += steps(30, at)
    starts, timeline = run(times)
    assert starts == pytest.approx(times, abs=1e-6)
    assert timeline.holes == len(runs)
    assert timeline.filled == pytest.approx(sum(hole for _, hole in runs))


@given(st.integers(0, 2**32), st.floats(0.0, 0.3))
def test_times_that_jitter_leave_the_audio_whole(seed: int, jitter: float) -> None:
    """Times of arrival: each frame late by something, some of every half second by nothing."""
    rng = random.Random(seed)
    times: list[float | None] = [
        number * PACKET + (0.0 if number % 10 == 0 or number > 290 else rng.uniform(0.0, jitter))
        for number in range(300)
    ]
    starts, timeline = run(times)
    assert timeline.holes == 0
    assert starts == pytest.approx(steps(300))


def test_one_broken_time_moves_nothing() -> None:
    for broken in (-1e4, 5.0, 900.0, 1e6):
        for place in (100, 198, 199):
            times = steps(200)
            times[place] = broken
            starts, timeline = run(times)
            assert starts == pytest.approx(steps(200))
            assert timeline.holes == 0
            assert timeline.jumps == (place == 199 and broken < 0)


def test_frames_without_times_follow_on() -> None:
    late = steps(200, 7.0)
    times = [time if number < 40 or number > 150 else None for number, time in enumerate(late)]
    starts, _ = run(times)
    assert starts == pytest.approx(late)
    assert run([None] * 50)[0] == pytest.approx(steps(50))


def test_a_clock_that_goes_back_is_not_followed() -> None:
    """Two recordings joined: the second's times begin anew."""
    starts, timeline = run(steps(500) + steps(500))
    assert starts == pytest.approx(steps(1_000))
    assert timeline.jumps == 1


def test_audio_that_overlaps_is_kept_and_times_are_right_again_after_the_next_hole() -> None:
    back = BACK / 2
    times = steps(100) + steps(100, 100 * PACKET - back) + steps(100, 10.0)
    starts, timeline = run(times)
    assert timeline.jumps == 0
    assert starts[:200] == pytest.approx(steps(200))
    assert starts[200:] == pytest.approx(steps(100, 10.0))


@given(st.lists(st.floats(SHORTEST_HOLE * 1.01, LONGEST_SEAM * 0.99), min_size=1, max_size=8))
def test_seams_and_fast_clocks_are_followed(overlaps: list[float]) -> None:
    """Segments that begin a little before the one before them ends."""
    times: list[float | None] = []
    at = 0.0
    for overlap in overlaps:
        times += steps(300, at)
        at += 300 * PACKET - overlap
    times += steps(300, at)
    starts, timeline = run(times)
    assert starts == pytest.approx(times)
    assert (timeline.holes, timeline.jumps) == (0, 0)


def length(starts: list[float], filled: float) -> float:
    """Seconds of the frames that are left, silence apart."""
    return starts[-1] + PACKET - filled


@pytest.mark.parametrize("share", [-0.0005, -0.0001, 0.0001, 0.0005, 0.02])
def test_the_clocks_of_sound_cards_are_followed(share: float) -> None:
    times = [number * PACKET * (1.0 + share) for number in range(20_000)]
    starts, timeline = run([*times])
    assert starts == pytest.approx(times, abs=DRIFT + SHORTEST_HOLE)
    assert timeline.jumps == 0


@pytest.mark.parametrize(
    "time_of",
    [
        pytest.param(lambda number: 0.0, id="all at once"),
        pytest.param(lambda number: 0.97 * number * PACKET, id="a slow clock"),
        pytest.param(
            lambda number: number * PACKET + 0.15 * math.sin(number * PACKET / 4), id="wandering"
        ),
        pytest.param(
            # Every five seconds nothing comes for a second, and then all of it at once.
            lambda number: max(number * PACKET, (number * PACKET // 5) * 5 + 1.0),
            id="stalls",
        ),
    ],
)
def test_what_was_said_counts_for_more_than_times(time_of: Callable[[int], float]) -> None:
    starts, timeline = run([time_of(number) for number in range(6_000)])
    said = 6_000 * PACKET
    assert length(starts, timeline.filled) >= (1.0 - SEAMS) * said - LONGEST_SEAM - 1e-6
    assert timeline.filled <= 1.5


def test_a_huge_jump_is_not_followed() -> None:
    times = steps(200) + steps(200, 95_443.7)
    starts, timeline = run(times)
    assert starts == pytest.approx(steps(400))
    assert (timeline.holes, timeline.jumps) == (0, 1)


@pytest.mark.parametrize(
    ("clock", "hole", "followed"),
    [
        (Clock(0.0), SURE_HOLE + 1, True),
        (Clock(0.0), LONGEST_HOLE + 1, False),
        (Clock(0.0, end=20_000.0), LONGEST_HOLE + 1, True),
        (Clock(0.0, end=3_000.0), LONGEST_HOLE + 1, False),
        (Clock(0.0, set_anew=True), SURE_HOLE - 1, True),
        (Clock(0.0, set_anew=True), SURE_HOLE + 1, False),
        (Clock(0.0, set_anew=True, end=20_000.0), SURE_HOLE + 1, False),
    ],
)
def test_how_long_a_hole_is_believed(clock: Clock, hole: float, *, followed: bool) -> None:
    times = steps(200) + steps(200, 200 * PACKET + hole)
    starts, timeline = run(times, clock)
    assert starts == pytest.approx(times if followed else steps(400))
    assert timeline.jumps == (not followed)


def test_silence_never_makes_a_file_too_long() -> None:
    times = steps(200) + steps(200, 700.0)
    starts, timeline = run(times, longest=600.0)
    assert starts == pytest.approx(steps(400))
    assert timeline.jumps == 1


def test_a_late_start_in_a_transport_stream_is_followed_further_than_a_jump() -> None:
    late = steps(100, SURE_HOLE * 3)
    assert run(late, Clock(0.0, set_anew=True))[0] == pytest.approx(late)


def test_a_part_behind_another_counts_from_its_own_start() -> None:
    starts, _ = run(steps(100, 81.0), Clock(81.0), position=30.0)
    assert starts == pytest.approx(steps(100, 30.0))
    starts, _ = run(steps(100, 81.0), Clock(None), position=30.0)
    assert starts == pytest.approx(steps(100, 30.0))


def test_a_format_that_counts_bytes_tells_when_audio_begins_and_no_more() -> None:
    clock = Clock(0.0, start_alone=True)
    late = steps(200, 4.0)
    assert run(late, clock)[0] == pytest.approx(late)
    assert run(steps(200, ROUGH / 2), clock)[0] == pytest.approx(steps(200))
    slow = [0.97 * number * PACKET for number in range(20_000)]
    for times in (steps(200) + steps(200, 9.0), steps(500) + steps(500), slow):
        starts, timeline = run([*times], clock)
        assert starts == pytest.approx(steps(len(times)))
        assert (timeline.holes, timeline.jumps) == (0, 0)


def test_long_frames_are_placed_too() -> None:
    times = steps(10, packet=0.5) + steps(10, 12.0, packet=0.5)
    assert run(times, packet=0.5)[0] == pytest.approx(times)


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e7, 1e7)), max_size=120),
    st.sampled_from(
        [None, Clock(None), Clock(0.0), Clock(5.0, set_anew=True), Clock(0.0, end=9.0)]
    ),
)
def test_any_times_leave_every_frame_in_its_order(
    times: list[float | None], clock: Clock | None
) -> None:
    starts, timeline = run(times, clock, longest=1_000.0)
    assert all(later >= earlier - LONGEST_SEAM for earlier, later in pairwise(starts))
    assert all(math.isfinite(start) and start <= 1_000.0 + len(times) for start in starts)
    if clock is None:
        assert (timeline.holes, timeline.jumps) == (0, 0)


@pytest.mark.parametrize(
    ("name", "start", "clock"),
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", 0.0, Clock(0.0, end=9.0)),
        # An empty edit: the film begins with nothing.
        ("mov,mp4,m4a,3gp,3g2,mj2", 4.0, Clock(0.0, end=9.0)),
        # A fragment of a longer stream.
        ("mov,mp4,m4a,3gp,3g2,mj2", LATEST_START + 1, Clock(LATEST_START + 1, end=9.0)),
        ("matroska,webm", -0.007, Clock(-0.007, end=9.0)),
        ("matroska,webm", None, Clock(0.0, end=9.0)),
        ("ogg", 81.0, Clock(81.0, end=9.0)),
        ("flac", None, Clock(None, end=9.0)),
        ("mpegts", 1.4, Clock(1.4, set_anew=True, end=9.0)),
        ("mp3", 0.025, None),
        ("asf", 3.1, Clock(3.1, start_alone=True)),
        ("wav", None, None),
        ("aac", None, None),
        ("avi", 0.0, Clock(0.0, start_alone=True)),
    ],
)
def test_the_clocks_of_formats(name: str, start: float | None, clock: Clock | None) -> None:
    assert clock_of(set(name.split(",")), start, 9.0) == clock
