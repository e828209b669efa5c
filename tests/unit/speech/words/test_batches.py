"""Batches of segments to align keep their bounds, and their shapes are few."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.speech.words.batches import MIN_SAMPLES, next_batch


@given(
    lengths=st.lists(st.integers(MIN_SAMPLES, 30 * 16_000), min_size=1, max_size=40),
    seconds=st.integers(1, 120),
    paddable=st.booleans(),
    bucketed=st.booleans(),
)
@settings(deadline=None)
def test_batches_hold_every_segment_once_and_keep_their_bound(
    lengths: list[int], seconds: int, paddable: bool, bucketed: bool
) -> None:
    limit = seconds * 16_000
    left = list(range(len(lengths)))
    while left:
        chosen, padded = next_batch(
            [lengths[i] for i in left], max_samples=limit, paddable=paddable, bucketed=bucketed
        )
        batch = [left[at] for at in chosen]
        assert batch
        assert len(set(batch)) == len(batch)
        assert max(lengths[i] for i in batch) <= padded
        assert len(batch) == 1 or padded * len(batch) <= limit
        if not paddable:
            assert {lengths[i] for i in batch} == {padded}
        elif not bucketed:
            assert padded == max(lengths[i] for i in batch)
        elif padded > 10_000:
            # Four steps an octave: no segment is padded by more than a quarter.
            assert all(lengths[i] > 0.79 * padded for i in batch)
        if bucketed:
            assert len(batch) & (len(batch) - 1) == 0
        left = [i for i in left if i not in set(batch)]


def test_bucketed_shapes_are_few() -> None:
    rng = np.random.default_rng(0)
    shapes = set()
    for _ in range(300):
        lengths = rng.integers(MIN_SAMPLES, 30 * 16_000 + 1, size=20).tolist()
        chosen, padded = next_batch(lengths, max_samples=960_000, paddable=True, bucketed=True)
        shapes.add((len(chosen), padded))
    assert len(shapes) <= 24 * 4


def test_a_full_window_is_a_bucket_and_is_not_padded() -> None:
    chosen, padded = next_batch([480_000] * 3, max_samples=960_000, paddable=True, bucketed=True)
    assert (len(chosen), padded) == (2, 480_000)
