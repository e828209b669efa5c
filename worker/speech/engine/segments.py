"""The texts of a file's windows -> the segments of its result; words in the file's time (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from worker.results.compression import compression_ratio
from worker.results.speech_times import clipped
from worker.results.transcript import Segment, Word
from worker.speech.api import WindowText
from worker.speech.windows import Span, TimeMap
from worker.speech.words.fit import fit_words


def segments(texts: Sequence[WindowText], audio_seconds: float) -> tuple[Segment, ...]:
    """Windows -> segments that never overlap and stay inside the audio; one for each text.

    A segment begins with its first word and ends with its last, or where its speech does: in the
    padding around that nothing is said.
    """
    found: list[Segment] = []
    reached = 0.0
    for window in texts:
        if not window.text:
            continue
        said = [(word.start, word.end) for word in window.words] or window.speech
        first, last = (said[0][0], said[-1][1]) if said else (window.start, window.end)
        start = _within(max(first, window.start), reached, audio_seconds)
        end = _within(min(last, window.end), start, audio_seconds)
        reached = end
        found.append(
            Segment(
                id=len(found),
                start=start,
                end=end,
                text=window.text,
                language=window.language,
                avg_logprob=round(window.avg_logprob, 4),
                no_speech_prob=(
                    None if window.no_speech_prob is None else round(window.no_speech_prob, 4)
                ),
                temperature=window.temperature,
                compression_ratio=compression_ratio(window.text),
                words=tuple(fit_words(window.words, start, end)),
                speech=clipped(
                    [(round(one, 3), round(other, 3)) for one, other in window.speech], start, end
                ),
            )
        )
    return tuple(found)


def to_file_time(words: Sequence[Word], spans: Sequence[Span]) -> tuple[Word, ...]:
    """Words in a window's time -> words in the file's time."""
    at = TimeMap(spans)
    return tuple(
        word.model_copy(
            update={"start": round(at(word.start), 3), "end": round(at(word.end, end=True), 3)}
        )
        for word in words
    )


def _within(value: float, low: float, high: float) -> float:
    """Rounded to a millisecond, then clamped, so that rounding doesn't lead outside."""
    return min(max(round(value, 3), low), high)
