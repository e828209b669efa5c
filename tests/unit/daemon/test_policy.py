from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.daemon import policy
from worker.daemon.policy import Idle, IdleClock

# -- taking work ------------------------------------------------------------------------------


@given(
    held=st.floats(0, 1e5),
    limit=st.floats(1, 1e5),
    leases=st.integers(0, 400),
    most=st.integers(1, 256),
    suspects=st.integers(0, 3),
    speakers=st.integers(0, 400),
)
def test_room_never_breaks_its_bounds(
    held: float, limit: float, leases: int, most: int, suspects: int, speakers: int
) -> None:
    wanted = policy.room(
        held_seconds=held,
        limit_seconds=limit,
        leases=leases + speakers,
        max_leases=most,
        suspects=suspects,
        only_speakers=speakers,
    )
    assert 0 <= wanted <= 10
    leases += max(0, speakers - most)
    assert leases + wanted <= max(leases, most)
    if wanted:
        assert held < limit
        assert not suspects
        assert wanted >= min(10, most // 4), "a request for few"
    elif held < limit and leases + max(1, min(10, most // 4)) <= most:
        assert suspects


@pytest.mark.parametrize(
    ("leases", "most", "wanted"),
    [
        (0, 64, 10),
        (54, 64, 10),
        (55, 64, 0),
        (12, 16, 4),
        (13, 16, 0),
        (0, 1, 1),
        (2, 3, 1),
    ],
)
def test_at_the_bound_it_asks_for_several_places_at_once(
    leases: int, most: int, wanted: int
) -> None:
    found = policy.room(held_seconds=0, limit_seconds=1, leases=leases, max_leases=most, suspects=0)
    assert found == wanted


@pytest.mark.parametrize(
    ("text", "speakers", "wanted"),
    [
        (16, 0, 0),
        (16, 16, 0),
        (0, 16, 10),
        (12, 16, 4),
        (12, 17, 0),
        (0, 28, 4),
        (0, 29, 0),
    ],
)
def test_messages_that_only_wait_for_speakers_have_as_many_places_of_their_own(
    text: int, speakers: int, wanted: int
) -> None:
    found = policy.room(
        held_seconds=0,
        limit_seconds=1,
        leases=text + speakers,
        max_leases=16,
        suspects=0,
        only_speakers=speakers,
    )
    assert found == wanted


@given(st.integers(1, 1024))
def test_lease_bound_holds_some_batches_and_never_hoards(batch_size: int) -> None:
    bound = policy.lease_bound(batch_size)
    assert 16 <= bound <= 320
    assert bound >= min(320, 5 * batch_size)


@given(st.integers(1, 20), st.floats(0, 1e4), st.integers(6, 43200))
def test_a_poll_fits_between_heartbeats_and_does_not_oversleep_idleness(
    poll: int, idle_timeout: float, visibility_timeout: int
) -> None:
    seconds = policy.poll_seconds(
        poll, idle_timeout=idle_timeout, visibility_timeout=visibility_timeout
    )
    assert 1 <= seconds <= poll
    assert seconds <= visibility_timeout / 6
    assert seconds <= max(1.0, idle_timeout + 1)


# -- ending -----------------------------------------------------------------------------------


def _clock(*, idle: float = 100.0, visibility: float = 30.0, uptime: float = 0.0) -> IdleClock:
    return IdleClock(0.0, idle_timeout=idle, visibility_timeout=visibility, min_uptime=uptime)


def _look(
    clock: IdleClock, now: float, *, held: int = 0, queued: int | None = 0, in_flight: int = 0
) -> Idle:
    return clock.observe(now, held=held, queued=queued, in_flight=in_flight)


def test_with_nothing_anywhere_it_ends_after_the_timeout() -> None:
    clock = _clock()
    assert _look(clock, 99.9) is Idle.WAITING
    assert _look(clock, 100.0) is Idle.END


def test_straight_after_a_long_job_the_clock_starts_anew() -> None:
    clock = _clock()
    assert _look(clock, 5000.0, held=1) is Idle.BUSY
    clock.work(5010.0)
    assert _look(clock, 5109.0) is Idle.WAITING
    assert _look(clock, 5110.0) is Idle.END


def test_what_is_visible_or_delayed_is_work() -> None:
    clock = _clock()
    assert _look(clock, 300.0, queued=1) is Idle.BUSY
    assert _look(clock, 399.0) is Idle.WAITING
    assert _look(clock, 400.0) is Idle.END


def test_messages_in_flight_elsewhere_delay_the_end_by_twice_the_visibility() -> None:
    clock = _clock()
    assert _look(clock, 100.0, in_flight=1) is Idle.IN_FLIGHT
    assert _look(clock, 159.9, in_flight=1) is Idle.IN_FLIGHT
    assert _look(clock, 160.0, in_flight=1) is Idle.END


def test_in_flight_elsewhere_that_ends_lets_go_at_once() -> None:
    clock = _clock()
    assert _look(clock, 110.0, in_flight=3) is Idle.IN_FLIGHT
    assert _look(clock, 111.0) is Idle.END


def test_its_own_retries_keep_it_until_they_are_due() -> None:
    clock = _clock()
    clock.retry(700.0)
    assert _look(clock, 699.0, in_flight=1) is Idle.WAITING
    assert _look(clock, 701.0, in_flight=1) is Idle.END


def test_a_queue_that_can_t_be_asked_neither_restarts_nor_rings_the_clock() -> None:
    clock = _clock()
    assert _look(clock, 500.0, queued=None) is Idle.WAITING
    assert _look(clock, 501.0) is Idle.END


def test_it_stays_up_for_its_minimum() -> None:
    clock = _clock(uptime=1000.0)
    assert _look(clock, 999.0) is Idle.WAITING
    assert _look(clock, 1000.0) is Idle.END


@given(
    st.lists(
        st.tuples(
            st.floats(0, 50), st.integers(0, 1), st.sampled_from([0, 0, 1, None]), st.integers(0, 2)
        ),
        max_size=40,
    )
)
def test_it_never_ends_within_the_timeout_of_work_and_always_ends_in_bounded_time(
    looks: list[tuple[float, int, int | None, int]],
) -> None:
    clock = _clock(idle=60, visibility=10)
    now = last_work = 0.0
    for step, held, queued, in_flight in looks:
        now += step
        found = _look(clock, now, held=held, queued=queued, in_flight=in_flight)
        if held or queued:
            last_work = now
        if found is Idle.END:
            assert now - last_work >= 60
            assert not held
            assert queued == 0
        if not held and queued == 0 and now - last_work >= 60 + 20:
            assert found is Idle.END


# -- health -----------------------------------------------------------------------------------

ENDS = {"done": (True, False), "failed": (False, True), "neither": (False, False)}


@given(st.lists(st.sampled_from(sorted(ENDS)), max_size=40))
def test_failures_in_a_row_are_those_since_the_last_commit(ends: list[str]) -> None:
    counted = 0
    for end in ends:
        committed, ours = ENDS[end]
        counted = policy.failures_in_a_row(counted, committed=committed, ours=ours)
    since = ends[len(ends) - ends[::-1].index("done") :] if "done" in ends else ends
    assert counted == since.count("failed")


@given(st.integers(2, 128))
def test_no_single_moment_makes_a_worker_unhealthy(threads: int) -> None:
    assert threads < policy.failing_from(threads) <= max(5, threads + 1)


# -- the watchdog -----------------------------------------------------------------------------


def test_progress_decides_what_hangs_and_not_time() -> None:
    assert not policy.hung(1e9, None, timeout=300)
    assert not policy.hung(1300.0, 1000.0, timeout=300)
    assert policy.hung(1301.0, 1000.0, timeout=300)


@given(st.floats(0, 600), st.floats(0, 300))
def test_a_drain_ends_inside_the_notice(timeout: float, notice: float) -> None:
    seconds = policy.drain_seconds(timeout, notice)
    assert 0 <= seconds <= timeout
    assert seconds + 5 <= notice or seconds == 0
    assert policy.drain_seconds(timeout, None) == timeout


def test_a_longer_notice_never_means_a_shorter_drain() -> None:
    drains = [policy.drain_seconds(90, notice) for notice in range(130)]
    assert all(a <= b for a, b in pairwise(drains))
    assert drains[120] == 90
