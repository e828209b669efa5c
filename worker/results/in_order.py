"""Windows and words put in order: in milliseconds, inside the audio, without overlap (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from worker.results.speech_times import clipped
from worker.results.transcript import Segment, Word

__all__ = ["in_order"]

_DECIMALS = 3
"""Times are rounded to milliseconds, as in subtitles."""


def in_order(
    segments: Iterable[Segment], audio_seconds: float, language: str | None, *, words: bool
) -> tuple[Segment, ...]:
    """The segments of one channel in order of start, with ids from 0; those without text left out.

    Args:
        segments: windows, whatever their times are.
        audio_seconds: length of the audio, in milliseconds.
        language: Whisper code for those whose own isn't known.
        words: whether they keep their words.
    """
    kept: list[Segment] = []
    clock = 0.0
    for segment in sorted(segments, key=lambda segment: segment.start):
        text = segment.text.strip()
        if not text:
            continue
        start, end = _inside(segment.start, segment.end, clock, audio_seconds)
        clock = end
        kept.append(
            segment.model_copy(
                update={
                    "id": len(kept),
                    "start": start,
                    "end": end,
                    "text": text,
                    "avg_logprob": round(segment.avg_logprob, 4),
                    "language": segment.language or language,
                    "words": _words_in_order(segment.words, start, end) if words else (),
                    "speech": clipped(segment.speech, start, end),
                }
            )
        )
    return tuple(kept)


def _words_in_order(words: Iterable[Word], opens: float, closes: float) -> tuple[Word, ...]:
    kept: list[Word] = []
    clock = opens
    for word in words:
        start, clock = _inside(word.start, word.end, clock, closes)
        score = None if word.score is None else round(word.score, _DECIMALS)
        kept.append(word.model_copy(update={"start": start, "end": clock, "score": score}))
    return tuple(kept)


def _inside(start: float, end: float, opens: float, closes: float) -> tuple[float, float]:
    """[start, end] in milliseconds, moved as little as it takes to lie in [opens, closes]."""
    start = min(max(round(start, _DECIMALS), opens), closes)
    return start, min(max(round(end, _DECIMALS), start), closes)
