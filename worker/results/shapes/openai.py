"""`verbose_json` of OpenAI's transcription API (pure).

Written after `openai.types.audio.TranscriptionVerbose` of OpenAI's Python package (a translation
also fits `TranslationVerbose`), with the field `task` that the API's reference shows and the
package doesn't name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.results.compression import compression_ratio
from worker.results.languages import LANGUAGE_NAMES, text_language
from worker.results.shapes.slices import known
from worker.results.spelling import one_line

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript

__all__ = ["openai"]


def openai(transcript: Transcript) -> str:
    """The transcript as OpenAI's `verbose_json`.

    `language` is the English name in lower case, as OpenAI writes it: "english" of a translation,
    of several the one most spoken, empty where there was no speech. `words` is left out where
    words have no times; ours keep their punctuation, which OpenAI's have lost.
    """
    code = text_language(transcript) or ""
    seconds = float(transcript.input.audio_seconds)
    result: dict[str, Any] = {
        "task": transcript.task,
        "language": LANGUAGE_NAMES.get(code, code),
        "duration": seconds,
        "text": transcript.text,
        "segments": [
            _segment(segment, text)
            for segment in transcript.segments
            if (text := one_line(segment.text))
        ],
    }
    words = [
        {"word": text, "start": word.start, "end": word.end}
        for segment in transcript.segments
        for word in segment.words
        if (text := one_line(word.word))
    ]
    if words:
        result["words"] = words
    result["usage"] = {"type": "duration", "seconds": seconds}
    return json.dumps(result, ensure_ascii=False) + "\n"


def _segment(segment: Segment, text: str) -> dict[str, Any]:
    """All of OpenAI's fields, for each is required: zero stands for what isn't known.

    Tokens are known of no segment. `seek` is its start in hundredths of a second, Whisper's
    frames: each of our windows is sought by itself. How much a text repeats itself can be counted
    where it isn't known.
    """
    ratio = known(segment.compression_ratio)
    return {
        "id": segment.id,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": f" {text}",  # as Whisper's tokens spell it
        "tokens": [],
        "temperature": known(segment.temperature) or 0.0,
        "avg_logprob": known(segment.avg_logprob) or 0.0,
        "compression_ratio": compression_ratio(text) if ratio is None else ratio,
        "no_speech_prob": known(segment.no_speech_prob) or 0.0,
    }
