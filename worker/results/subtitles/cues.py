"""The cues of a transcript's subtitles: what is shown, from when to when (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.results.subtitles.choosing import choose
from worker.results.subtitles.layout import lay_out
from worker.results.subtitles.line_breaks import text_width
from worker.results.subtitles.pieces import CueWord, pieces
from worker.results.subtitles.timing import settle

if TYPE_CHECKING:
    from worker.results.transcript import Transcript

__all__ = ["Cue", "CueWord", "cues"]


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Attributes:
        start_ms: whole milliseconds.
        end_ms: whole milliseconds, after `start_ms`.
        text: lines joined by newlines; plain, not escaped for any format.
        words: in it; empty where the times of words aren't known.
    """

    start_ms: int
    end_ms: int
    text: str
    words: tuple[CueWord, ...] = ()


def cues(transcript: Transcript) -> list[Cue]:
    """The transcript's subtitles, in order, as its `subtitles` ask for.

    Each fits its lines and is shown for at most `max_cue_seconds`, overlaps no other, goes over no
    pause of more than a second, and has text of one language. White space is normalised; otherwise
    the cues hold all text of all segments.
    """
    options = transcript.subtitles
    all_pieces = pieces(transcript)
    said_until = max((piece.end for piece in all_pieces), default=0.0)
    closes = round(max(transcript.input.audio_seconds * 1000, said_until))
    groups = choose(all_pieces, options, closes)
    shown = [lay_out(group, options.max_line_width) for group in groups]
    spans = settle(
        [(group[0].start, group[-1].end) for group in groups],
        [sum(map(text_width, text.split("\n"))) for text, _ in shown],
        closes=closes,
        longest=round(options.max_cue_seconds * 1000),
    )
    return [
        Cue(start, end, text, words)
        for (text, words), (start, end) in zip(shown, spans, strict=True)
    ]
