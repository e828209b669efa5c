"""Word edges moved off the pauses that a window's log-mel shows (pure).

The decoder's attention gives every frame to some token, silence included, so words reach into the
pauses beside them. Where sound stops and starts again is plain in the log-mel that is there;
moved to it, word edges are right within 0.02 s on average (see `worker/speech/README.md`). What is
loud throughout shows no pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from worker.results.transcript import Word
from worker.speech.windows import MEL_FRAMES_PER_SECOND

__all__ = ["Pause", "find_pauses", "leave_pauses"]

Pause = tuple[float, float]
"""Start and end in seconds of the window."""

_SECONDS_PER_FRAME = 1.0 / MEL_FRAMES_PER_SECOND
_MIN_PAUSE = 0.15  # seconds; the closure of a stop consonant is shorter

# A frame is silent if its loudest band lies less than a third of the way from the quietest
# frames (5th percentile) to the loud ones (90th).
_QUIET, _LOUD, _SILENT_BELOW = 5.0, 90.0, 0.3

_LATE = 0.4
"""Seconds that a word's end may move on to the pause that follows."""


def find_pauses(peaks: npt.NDArray[np.float32]) -> list[Pause]:
    """Where a window is silent for long enough to be a pause.

    Args:
        peaks: the loudest band of each frame of Whisper's log-mel, without padding, float32
            [frames of 10 ms].

    Returns:
        Pauses in order, silence at either end of the window among them.
    """
    if not len(peaks):
        return []
    quiet, loud = np.percentile(peaks, (_QUIET, _LOUD))
    silent = peaks < quiet + _SILENT_BELOW * (loud - quiet)
    steps = np.diff(np.concatenate(([0], silent.astype(np.int8), [0])))
    edges = np.flatnonzero(steps).reshape(-1, 2) * _SECONDS_PER_FRAME
    return [(float(start), float(end)) for start, end in edges if end - start >= _MIN_PAUSE]


def leave_pauses(words: Sequence[Word], pauses: Sequence[Pause], seconds: float) -> list[Word]:
    """The same words, without the pauses that they reach into.

    A word begins after the last pause that it reaches into: what sounded before that pause
    belongs to its predecessor. It ends where the next pause or word begins, or with the
    window, if that is soon after its end at the latest: the decoder gives the tail of a word to the
    punctuation behind it. A word that lies in a pause altogether stays.

    Args:
        words: in order, not overlapping; times in seconds of the window.
        pauses: of the window, in order.
        seconds: length of the window.
    """
    moved = [word.model_copy(update={"start": _onset(word, pauses)}) for word in words]
    limits = [following.start for _, following in pairwise(moved)] + [seconds]
    return [
        word.model_copy(update={"end": _offset(word, limit, pauses)})
        for word, limit in zip(moved, limits, strict=False)
    ]


def _onset(word: Word, pauses: Sequence[Pause]) -> float:
    """Where the word begins, knowing the pauses."""
    inside = [end for start, end in pauses if start < word.end and word.start < end < word.end]
    return inside[-1] if inside else word.start


def _offset(word: Word, limit: float, pauses: Sequence[Pause]) -> float:
    """Where the word ends, knowing the pauses and the next word or the window's end."""
    silence = next((start for start, _ in pauses if word.start < start <= limit), limit)
    return silence if silence <= word.end + _LATE else word.end
