"""Every kind of call that the engine makes, made once at start.

A window of 30 s in English proves little: what fails on a card may be word times (an open bug of
CTranslate2, issue 2064, on a T4), sampling, a part of a batch or the detection of a language. Such
a failure is to be known before the first job, and not in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.speech.model.reading import read_words
from worker.speech.prepare.sound import cut, frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from worker.speech.model.decoding import Decoded, Request

    class _Decodes(Protocol):
        """What is needed of a model: see `loaded.Model`."""

        def decode(
            self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
        ) -> list[Decoded]: ...


__all__ = ["rehearse"]

SECONDS = 1.2
"""Of speech in the longest of the short windows."""

POSITIONS = 125
"""Encoder length of the short windows: 2.5 seconds, less than the engine uses, to be quick."""

TEMPERATURE = 0.4
"""A second attempt's."""


def rehearse(model: _Decodes, probe: Request, *, beam_size: int) -> bool:
    """Decodes windows of unlike lengths, languages and wishes, then some by sampling.

    Args:
        model: the loaded one.
        probe: a window that is known to work; its beginning is used.
        beam_size: the setting.

    Returns:
        Whether the times of words could be found. If not, short windows can't be checked.

    Raises:
        RuntimeError: the device fails.
    """
    long = _cut(probe, SECONDS)
    short = replace(_cut(long, 0.6 * long.seconds), want_words=True)
    windows = [replace(long, want_words=True), short, long, replace(short, language=None)]
    decoded = model.decode(windows, positions=POSITIONS, beam_size=beam_size, temperature=0.0)
    model.decode([long, short], positions=POSITIONS, beam_size=1, temperature=TEMPERATURE)
    return not any(read_words(window).words_failed for window in decoded)


def _cut(request: Request, seconds: float) -> Request:
    """The beginning of a window."""
    seconds = min(seconds, request.seconds)
    count = max(1, round(frames(request.sound) * seconds / request.seconds))
    return replace(request, sound=cut(request.sound, 0, count), seconds=seconds)
