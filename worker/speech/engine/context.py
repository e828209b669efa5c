"""How much encoder a window gets (pure).

Whisper pads every window to 30 s, so a clip of 6 s costs the encoder five times its length.
CTranslate2 encodes fewer frames if it is given fewer. With too little silence after the speech,
though, many windows fall into repetition loops. Hence a margin, checks on every short window
(`quality`), a second attempt at 30 s for those that fail, and a guard that watches whether short
windows still do no harm (`guard`).
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.speech.engine.window import Rung, full_ladder
from worker.speech.windows import FULL_POSITIONS, POSITIONS_PER_SECOND

MARGIN_SECONDS = 2.0
"""Silence after the speech. For what less and more of it did, see `worker/bench/README.md`."""

BUCKET_SECONDS = (4, 6, 8, 10, 12, 15, 18, 22, 26, 30)
"""Encoder lengths in use. Few, so that windows of the same length are found to share a batch, and
the device sees few shapes."""


def positions(
    seconds: float,
    *,
    margin: float = MARGIN_SECONDS,
    buckets: Sequence[float] = BUCKET_SECONDS,
) -> int:
    """Encoder positions for a window with this much speech; 1500 where no bucket is shorter."""
    for bucket in buckets:
        if seconds + margin <= bucket:
            return min(FULL_POSITIONS, round(bucket * POSITIONS_PER_SECOND))
    return FULL_POSITIONS


def adaptive_ladder(
    seconds: float,
    language: str | None = None,
    *,
    margin: float = MARGIN_SECONDS,
    buckets: Sequence[float] = BUCKET_SECONDS,
) -> Sequence[Rung]:
    """The speech and a margin first; 30 s if that fails; only then rising temperatures."""
    del language
    short = positions(seconds, margin=margin, buckets=buckets)
    rungs = list(full_ladder(seconds))
    return rungs if short == FULL_POSITIONS else [Rung(short, 0.0), *rungs]
