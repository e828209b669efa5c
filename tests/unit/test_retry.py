"""The back-off rules: bounds, growth and jitter."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.retry import COMMIT_WAITS, doubling, equal_jitter, full_jitter, release_seconds


@given(
    failures=st.integers(-3, 10**6),
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 10**4),
    seed=st.integers(),
)
def test_no_rule_waits_longer_than_its_cap(
    failures: int, base: float, cap: float, seed: int
) -> None:
    full = doubling(failures, base=base, cap=cap)
    assert 0 < full <= cap
    rng = random.Random(seed)
    assert 0 <= full_jitter(failures, base=base, cap=cap, rng=rng) <= full
    assert full / 2 <= equal_jitter(failures, base=base, cap=cap, rng=rng) <= full


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (5, 16), (6, 30), (99, 30)])
def test_doubling_doubles_up_to_its_cap(failures: int, seconds: float) -> None:
    assert doubling(failures, base=1.0, cap=30.0) == seconds


def test_commits_are_tried_for_half_a_minute() -> None:
    assert sum(COMMIT_WAITS) == 30


@given(st.integers(-3, 10**6), st.integers())
def test_a_release_stays_in_bounds(receive_count: int, seed: int) -> None:
    seconds = release_seconds(receive_count, random.Random(seed))
    assert 7 <= seconds <= 900


def test_a_release_grows_until_the_cap() -> None:
    shortest = [min(release_seconds(n, random.Random(s)) for s in range(50)) for n in range(1, 12)]
    assert shortest == sorted(shortest)
    assert shortest[0] < 15
    assert shortest[-1] >= 450
