"""What memory has shown: limits by kind of batch, which come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.speech.engine.limits import PATIENCE, Kind, Limits

FULL = Kind(1500, 4, sampled=False)
SAMPLED = Kind(1500, 4, sampled=True)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 64)), max_size=200), st.integers(1, 64))
def test_a_limit_is_between_one_and_what_the_arithmetic_says(
    outcomes: list[tuple[bool, int]], fit: int
) -> None:
    limits = Limits()
    for good, windows in outcomes:
        (limits.passed if good else limits.failed)(FULL, windows)
        assert 1 <= limits.most(FULL, fit) <= fit
        if not good:
            assert limits.most(FULL, fit) <= max(1, windows - 1)
    assert limits.most(SAMPLED, fit) == fit


def test_only_full_batches_count_for_growth() -> None:
    limits = Limits()
    limits.failed(FULL, 16)
    for _ in range(10 * PATIENCE):
        limits.passed(FULL, 7)
    assert limits.most(FULL, 64) == 8
    for _ in range(PATIENCE):
        limits.passed(FULL, 8)
    assert limits.most(FULL, 64) == 9


def test_a_limit_that_grew_too_far_goes_back_and_waits_longer() -> None:
    limits = Limits()
    # One batch, split: its halves fail too.
    limits.failed(FULL, 16)
    limits.failed(FULL, 8)
    limits.failed(FULL, 8)
    for _ in range(PATIENCE):
        limits.passed(FULL, 4)
    assert limits.most(FULL, 64) == 5
    limits.failed(FULL, 5)
    assert limits.most(FULL, 64) == 4
    for _ in range(2 * PATIENCE - 1):
        limits.passed(FULL, 4)
    assert limits.most(FULL, 64) == 4
    limits.passed(FULL, 4)
    assert limits.most(FULL, 64) == 5
