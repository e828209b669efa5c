"""WhisperX's json: what its `WriteJSON` dumps, and its other writers take (pure).

Written after WhisperX 3.8: `whisperx.schema.AlignedTranscriptionResult` with the `language` that
its command adds; without words `TranscriptionResult`, as `--no_align` leaves it. Its writers join
words with spaces, in Japanese and Chinese without; so its words are what stands between spaces,
and in those two languages the transcript's own. Speakers stand where its `assign_word_speakers`
puts them. It knows no channels: a channel's label stands there too, so that its writers show it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.results.languages import text_language
from worker.results.said_by import said_by
from worker.results.shapes.slices import Slice, known, slices
from worker.results.spelling import one_line

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript

__all__ = ["LANGUAGES_JOINED_WITHOUT_SPACES", "whisperx"]

LANGUAGES_JOINED_WITHOUT_SPACES = ("ja", "zh")
"""Codes of the languages whose words WhisperX's writers join without spaces (in `whisperx.utils`:
`LANGUAGES_WITHOUT_SPACES`). Which languages are written so is in `worker.results.spacing`."""


def whisperx(transcript: Transcript) -> str:
    """The transcript as WhisperX's json.

    A word whose time or score isn't known has none, as a word that WhisperX can't align; so have
    all words of a segment that aren't known by themselves. `language` is that of the text: English
    of a translation, of several the one most spoken, empty where there was no speech.
    """
    language = text_language(transcript) or ""
    aligned = any(segment.words for segment in transcript.segments)
    segments = [
        _segment(segment, text, language, aligned=aligned)
        for segment in transcript.segments
        if (text := one_line(segment.text))
    ]
    result: dict[str, Any] = {"segments": segments}
    if aligned:
        result["word_segments"] = [word for segment in segments for word in segment["words"]]
    result["language"] = language
    return json.dumps(result, ensure_ascii=False) + "\n"


def _segment(segment: Segment, text: str, language: str, *, aligned: bool) -> dict[str, Any]:
    written: dict[str, Any] = {"start": segment.start, "end": segment.end, "text": text}
    if aligned:
        unspaced = language in LANGUAGES_JOINED_WITHOUT_SPACES
        written["words"] = [
            _word(one, segment) for one in slices(text, segment.words, lambda _place: unspaced)
        ]
    if (label := said_by(segment)) is not None:
        written["speaker"] = label
    if (mean := known(segment.avg_logprob)) is not None:
        written["avg_logprob"] = mean
    return written


def _word(one: Slice, segment: Segment) -> dict[str, Any]:
    written: dict[str, Any] = {"word": one.text}
    if one.words:
        written |= {"start": one.words[0].start, "end": one.words[-1].end}
    if one.score is not None:
        written["score"] = one.score
    # As WhisperX: a word without a time has no speaker.
    labels = (segment.channel or word.speaker for word in one.words)
    if (label := next(filter(None, labels), None)) is not None:
        written["speaker"] = label
    return written
