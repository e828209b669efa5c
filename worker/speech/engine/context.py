"""How much encoder a window gets (pure).

Whisper pads every window to 30 s, so a clip of 6 s costs the encoder five times its length.
CTranslate2 encodes fewer frames if it is given fewer. But Whisper was trained on 30 s, and with
little encoder, or too little silence after the speech, texts are doubled and words repeated.
Hence a least length, a margin, checks on every short window (`quality`), a second attempt at 30 s
for those that fail or are unsure, and a guard that watches whether short windows still do no harm
(`guard`). Windows for which less than half of the encoder would be saved are not worth the risk,
nor are those with a word or two, or with a pause cut out.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.speech.engine.window import Rung, full_ladder
from worker.speech.windows import FULL_POSITIONS, POSITIONS_PER_SECOND

MARGIN_SECONDS = 3.0
"""Silence after the speech. For what less and more of it did, see `worker/speech/README.md`."""

BUCKET_SECONDS = (15, 30)
"""Encoder lengths in use. Under 10 s, single words came out twice (see `worker/speech/README.md`);
from 10 to 15 s a little more is lost on telephones than at 15 s; over 15 s, less than half is
saved. Few, so that windows of the same length are found to share a batch, and the device sees few
shapes."""

LEAST_SECONDS = 2.5
"""Speech in a window below which its encoder isn't shortened: a word or two leave the decoder
nothing to correct itself by, and take so few steps that little time is saved."""


def positions(
    seconds: float,
    *,
    margin: float = MARGIN_SECONDS,
    buckets: Sequence[float] = BUCKET_SECONDS,
) -> int:
    """Encoder positions for a window with this much speech.

    1500 where no bucket is shorter, and for windows with less than `LEAST_SECONDS`.
    """
    if seconds < LEAST_SECONDS:
        return FULL_POSITIONS
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
