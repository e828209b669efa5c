"""The cues of a transcript's subtitles: what is shown, from when to when (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.results.subtitles.choosing import choose
from worker.results.subtitles.layout import lay_out
from worker.results.subtitles.line_breaks import text_width
from worker.results.subtitles.pieces import CueWord, pieces
from worker.results.subtitles.timing import settle

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript

__all__ = ["Cue", "CueWord", "cues"]


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Attributes:
        start_ms: whole milliseconds.
        end_ms: whole milliseconds, after `start_ms`.
        text: lines joined by newlines; plain, not escaped for any format.
        words: in it; empty where the times of words aren't known.
        said_by: label of the speaker or of the channel; None where neither is known.
    """

    start_ms: int
    end_ms: int
    text: str
    words: tuple[CueWord, ...] = ()
    said_by: str | None = None


def cues(transcript: Transcript, *, named: bool = False) -> list[Cue]:
    """The transcript's subtitles, in order of their start, as its `subtitles` ask for.

    Each fits its lines and is shown for at most `max_cue_seconds`, overlaps no other of its
    channel, goes over no pause of more than a second, and has text of one language, one speaker and
    one channel. White space is normalised; otherwise the cues hold all text of all segments.

    Args:
        transcript: with speakers, with channels, or with neither.
        named: whether each text begins with who speaks, `[SPEAKER_00]: `. It takes room on the
            first line, but no time: a name that stands in most cues is seen, not read.
    """
    by_channel: dict[str | None, list[Segment]] = {}
    for segment in transcript.segments:
        by_channel.setdefault(segment.channel, []).append(segment)
    found = [
        cue
        for segments in by_channel.values()
        for cue in _of_channel(transcript, segments, named=named)
    ]
    return sorted(found, key=lambda cue: cue.start_ms)


def _of_channel(
    transcript: Transcript, segments: Sequence[Segment], *, named: bool
) -> Iterator[Cue]:
    options = transcript.subtitles
    all_pieces = pieces(transcript, segments, named=named)
    said_until = max((piece.end for piece in all_pieces), default=0.0)
    closes = round(max(transcript.input.audio_seconds * 1000, said_until))
    groups = choose(all_pieces, options, closes)
    shown = [lay_out(group) for group in groups]
    openings = [group[0].opening for group in groups]
    spans = settle(
        [(group[0].start, group[-1].end) for group in groups],
        [
            sum(map(text_width, text.removeprefix(begun.text).strip().split("\n")))
            for (text, _), begun in zip(shown, openings, strict=True)
        ],
        closes=closes,
        longest=round(options.max_cue_seconds * 1000),
    )
    for (text, words), (start, end), begun in zip(shown, spans, openings, strict=True):
        yield Cue(start, end, text, words, begun.said_by)
