"""The batched trellis: optimal paths, whatever stands beside them in the batch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.speech.words import trellis
from worker.speech.words.trellis import (
    WILDCARD,
    TokenScores,
    TokenSpans,
    align_tokens,
    token_scores,
)


def random_scores(rng: np.random.Generator, frames: int, tokens: int) -> TokenScores:
    scores = -rng.exponential(2.0, size=(frames, tokens + 1)).astype(np.float32)
    return TokenScores(blank=scores[:, 0].copy(), tokens=scores[:, 1:].copy())


def path_score(scores: TokenScores, starts: tuple[int, ...], stop: int) -> float:
    """Sum of log-probabilities of one path: a change in each of `starts`, blank elsewhere."""
    total = float(scores.blank[:stop].sum())
    for token, frame in enumerate(starts):
        total += float(scores.tokens[frame, token] - scores.blank[frame])
    return total


def best_score(scores: TokenScores) -> float:
    """Of all paths: the slow way."""
    frames, tokens = scores.tokens.shape
    return max(
        path_score(scores, starts, stop)
        for starts in itertools.combinations(range(frames), tokens)
        for stop in range(starts[-1] + 1, frames + 1)
    )


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 8), tokens=st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_no_path_is_better(seed: int, frames: int, tokens: int) -> None:
    scores = random_scores(np.random.default_rng(seed), frames, tokens)
    (spans,) = align_tokens([scores])
    if tokens > frames:
        assert spans is None
        return
    assert spans is not None
    found = path_score(scores, tuple(spans.start.tolist()), int(spans.end[-1]))
    assert found == pytest.approx(best_score(scores), abs=1e-4)


@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 45)), max_size=12),
    cells=st.sampled_from([1, 500, 5_000, 8_000_000]),
)
@settings(deadline=None)
def test_batch_mates_change_nothing(seed: int, shapes: list[tuple[int, int]], cells: int) -> None:
    rng = np.random.default_rng(seed)
    segments = [random_scores(rng, frames, tokens) for frames, tokens in shapes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trellis, "_MAX_CELLS", cells)
        together = align_tokens(segments)
    assert len(together) == len(segments)
    for segment, spans in zip(segments, together, strict=True):
        (alone,) = align_tokens([segment])
        frames, tokens = segment.tokens.shape
        assert (spans is None) == (alone is None) == (tokens == 0 or tokens > frames)
        if spans is not None and alone is not None:
            check(spans, frames, tokens)
            np.testing.assert_array_equal(spans.start, alone.start)
            np.testing.assert_array_equal(spans.end, alone.end)
            np.testing.assert_array_equal(spans.score, alone.score)


def check(spans: TokenSpans, frames: int, tokens: int) -> None:
    """What every result promises."""
    assert len(spans.start) == len(spans.end) == len(spans.score) == tokens
    assert spans.start[0] >= 0
    assert spans.end[-1] <= frames
    assert (spans.end > spans.start).all()
    assert (spans.start[1:] == spans.end[:-1]).all()
    assert ((spans.score > 0) & (spans.score <= 1 + 1e-6)).all()


def test_a_plain_case_by_hand() -> None:
    # Blank is likely everywhere but in frames 2 and 5, where the tokens are.
    blank = np.log(np.array([0.9, 0.9, 0.1, 0.8, 0.9, 0.2, 0.9], dtype=np.float32))
    tokens = np.log(np.full((7, 2), 0.05, dtype=np.float32))
    tokens[2, 0] = np.log(0.9)
    tokens[5, 1] = np.log(0.8)
    (spans,) = align_tokens([TokenScores(blank, tokens)])
    assert spans is not None
    assert spans.start.tolist() == [2, 5]
    # The path ends with its last token: frame 6 belongs to none.
    assert spans.end.tolist() == [5, 6]
    assert spans.score == pytest.approx([(0.9 + 0.8 + 0.9) / 3, 0.8])


def test_nothing_to_align() -> None:
    assert align_tokens([]) == []


def test_scores_are_the_tokens_columns_and_a_wildcard_is_the_best_that_is_not_blank() -> None:
    emission = np.log(
        np.array([[0.6, 0.1, 0.3], [0.2, 0.7, 0.1], [0.4, 0.25, 0.35]], dtype=np.float32)
    )
    scores = token_scores(emission, [2, WILDCARD, 0], blank=0)
    np.testing.assert_array_equal(scores.blank, emission[:, 0])
    np.testing.assert_array_equal(scores.tokens[:, 0], emission[:, 2])
    np.testing.assert_array_equal(scores.tokens[:, 1], emission[[0, 1, 2], [2, 1, 2]])
    np.testing.assert_array_equal(scores.tokens[:, 2], emission[:, 0])
    middle = token_scores(emission, [WILDCARD], blank=1)
    np.testing.assert_array_equal(middle.tokens[:, 0], emission[[0, 1, 2], [0, 0, 0]])
