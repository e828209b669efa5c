"""When each token of a known text was spoken: WhisperX's trellis for many segments at once.

The algorithm is that of `get_trellis`, `backtrack` and `merge_repeats` in
`whisperx.alignment` (3.8.6), itself torchaudio's forced alignment tutorial. Two states a
frame: stay at the token (and emit blank), or change to the next token (and emit it). Where
WhisperX loops over torch scalars for one segment, this loops over frames only: each step is
one numpy operation over the tokens of all segments.

Sums are kept in float32 in WhisperX's order (its cumulative sum of blanks accumulates in
float64), so equal emissions give equal paths.

WhisperX writes +inf into the first column of its last rows. A cell holds +inf exactly where
fewer frames than tokens are left, and no path that reaches the last token passes there, so
nothing of it is needed here. What remains of it: with more tokens than frames the last
column is -inf throughout and the segment can't be aligned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["WILDCARD", "TokenScores", "TokenSpans", "align_tokens", "token_scores"]

WILDCARD = -1
"""The token of a character that the model doesn't know: it may match any sound."""

_MAX_CELLS = 8_000_000
"""Cells (frames x segments x tokens) of one pass: 40 MB of scores and decisions."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What the model says of one segment, reduced to what its text needs.

    Attributes:
        blank: log-probability of blank, float32 [frames].
        tokens: log-probability of each token of the text, float32 [frames, tokens].
    """

    blank: Floats
    tokens: Floats


@dataclass(frozen=True, slots=True)
class TokenSpans:
    """Where the tokens of one segment lie; frames before the first belong to none.

    Attributes:
        start: first frame of each token, int64 [tokens], increasing.
        end: frame after the last of each token, int64 [tokens]; the next token's start.
        score: mean probability over the token's frames, float64 [tokens].
    """

    start: Ints
    end: Ints
    score: npt.NDArray[np.float64]


def token_scores(emission: Floats, tokens: Sequence[int], blank: int) -> TokenScores:
    """Pick the scores of a text's tokens out of a model's output.

    A wildcard scores, in each frame, as the best of all classes but blank (WhisperX's
    wildcard column).

    Args:
        emission: log-probabilities, float32 [frames, classes].
        tokens: classes of the text's characters, or `WILDCARD`; [tokens].
        blank: the class of blank.
    """
    ids = np.asarray(tokens, dtype=np.int64)
    wild = ids == WILDCARD
    scores = emission[:, np.where(wild, blank, ids)]
    if wild.any():
        rest = np.concatenate((emission[:, :blank], emission[:, blank + 1 :]), axis=1)
        scores[:, wild] = rest.max(axis=1)[:, None]
    return TokenScores(blank=np.ascontiguousarray(emission[:, blank]), tokens=scores)


def align_tokens(segments: Sequence[TokenScores]) -> list[TokenSpans | None]:
    """Find the best path through each segment.

    Returns:
        For each segment, in order, its tokens' spans; None where it has no tokens or fewer
        frames than tokens.
    """
    results: list[TokenSpans | None] = [None] * len(segments)
    feasible = [
        index
        for index, segment in enumerate(segments)
        if 0 < segment.tokens.shape[1] <= segment.tokens.shape[0]
    ]
    for group in _groups(feasible, segments):
        for index, spans in zip(group, _align([segments[i] for i in group]), strict=True):
            results[index] = spans
    return results


def _groups(indices: Sequence[int], segments: Sequence[TokenScores]) -> Iterator[list[int]]:
    """Segments of like size together, so that little of a pass is padding."""
    group: list[int] = []
    frames = tokens = 0
    for index in sorted(indices, key=lambda i: segments[i].tokens.shape):
        wider = max(tokens, segments[index].tokens.shape[1])
        longer = max(frames, segments[index].tokens.shape[0])
        if group and (len(group) + 1) * wider * longer > _MAX_CELLS:
            yield group
            group = []
            longer, wider = segments[index].tokens.shape
        group.append(index)
        frames, tokens = longer, wider
    if group:
        yield group


def _align(segments: Sequence[TokenScores]) -> Iterator[TokenSpans]:
    """Align segments padded to one shape: T frames, S segments, N tokens."""
    frames = np.array([segment.tokens.shape[0] for segment in segments])
    counts = np.array([segment.tokens.shape[1] for segment in segments])
    blank = np.zeros((frames.max(), len(segments)), dtype=np.float32)
    emit = np.zeros((frames.max(), len(segments), counts.max()), dtype=np.float32)
    for s, segment in enumerate(segments):
        blank[: frames[s], s] = segment.blank
        emit[: frames[s], s, : counts[s]] = segment.tokens
    changed, reached = _forward(blank, emit, counts)
    # A path may not end in the padding. np.argmax takes the first of equals, as torch's does.
    reached[np.arange(len(reached))[:, None] > frames] = -np.inf
    last = reached.argmax(axis=0)
    starts = _backtrack(changed, counts, last)
    for s, segment in enumerate(segments):
        start = starts[s, : counts[s]]
        end = np.append(start[1:], last[s])
        yield TokenSpans(start=start, end=end, score=_scores(segment, start, end))


def _forward(blank: Floats, emit: Floats, counts: Ints) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Fill the trellis, keeping one row of it, every decision and the last column.

    Args:
        blank: [T, S].
        emit: [T, S, N].
        counts: tokens of each segment, [S].

    Returns:
        changed: whether the best way to have reached token n by frame t is a change in
            that frame, bool [T, S, N].
        reached: score of having said all tokens before frame t, float32 [T + 1, S].
    """
    frames, segments, tokens = emit.shape
    started = np.zeros((frames + 1, segments), dtype=np.float32)
    started[1:] = np.cumsum(blank, axis=0, dtype=np.float64)
    row = np.full((segments, tokens + 1), -np.inf, dtype=np.float32)
    row[:, 0] = 0.0
    following = np.empty_like(row)
    stay = np.empty((segments, tokens), dtype=np.float32)
    change = np.empty_like(stay)
    changed = np.empty((frames, segments, tokens), dtype=np.bool_)
    reached = np.full((frames + 1, segments), -np.inf, dtype=np.float32)
    each = np.arange(segments)
    for t in range(frames):
        np.add(row[:, 1:], blank[t][:, None], out=stay)
        np.add(row[:, :-1], emit[t], out=change)
        np.greater(change, stay, out=changed[t])
        np.maximum(stay, change, out=following[:, 1:])
        following[:, 0] = started[t + 1]
        reached[t + 1] = following[each, counts]
        row, following = following, row
    return changed, reached


def _backtrack(changed: npt.NDArray[np.bool_], counts: Ints, last: Ints) -> Ints:
    """Walk all segments back at once, noting the frame in which each token begins: [S, N]."""
    each = np.arange(len(counts))
    token = counts.copy()
    starts = np.zeros((len(counts), counts.max()), dtype=np.int64)
    for t in range(int(last.max()), 0, -1):
        moves = (t <= last) & (token > 0) & changed[t - 1, each, token - 1]
        token -= moves
        starts[each[moves], token[moves]] = t - 1
    return starts


def _scores(segment: TokenScores, start: Ints, end: Ints) -> npt.NDArray[np.float64]:
    """Mean probability of each token: itself in its first frame, blank in the others."""
    blanks = np.concatenate(([0.0], np.cumsum(np.exp(segment.blank), dtype=np.float64)))
    first = np.exp(segment.tokens[start, np.arange(len(start))]).astype(np.float64)
    scores: npt.NDArray[np.float64] = (first + blanks[end] - blanks[start + 1]) / (end - start)
    return scores
