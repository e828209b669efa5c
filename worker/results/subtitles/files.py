"""Cues written as srt and as vtt (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.results.subtitles.cues import Cue, cues

if TYPE_CHECKING:
    from worker.results.transcript import Transcript

__all__ = ["srt", "vtt"]

_ZERO_WIDTH_SPACE = "\u200b"


def _timestamp(seconds: float, point: str) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, part = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{point}{part:03d}"


def _srt_text(text: str) -> str:
    r"""SRT has no escapes: a zero-width space keeps text from reading as markup.

    Players take `<b>` and `{\an8}` for formatting, and `-->` ends a cue for some parsers.
    """
    text = re.sub(r"<(?=[ /]*[A-Za-z])", "<" + _ZERO_WIDTH_SPACE, text)
    text = text.replace("{\\", "{" + _ZERO_WIDTH_SPACE + "\\")
    return text.replace("-->", "--" + _ZERO_WIDTH_SPACE + ">")


def _vtt_escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _vtt_text(cue: Cue, *, word_times: bool) -> str:
    """The cue's text, escaped; with `word_times`, a timestamp before each word that may have one.

    WebVTT wants them after the cue's start, before its end, and each later than the last.
    """
    parts: list[str] = []
    done = 0
    latest = round(cue.start * 1000)
    for offset, seconds in cue.word_starts if word_times else ():
        at = round(seconds * 1000)
        if latest < at < round(cue.end * 1000):
            parts += [_vtt_escape(cue.text[done:offset]), f"<{_timestamp(seconds, '.')}>"]
            done, latest = offset, at
    return "".join([*parts, _vtt_escape(cue.text[done:])])


def srt(transcript: Transcript) -> str:
    """The transcript as an srt file."""
    return "\n".join(
        f"{number}\n{_timestamp(cue.start, ',')} --> {_timestamp(cue.end, ',')}\n"
        f"{_srt_text(cue.text)}\n"
        for number, cue in enumerate(cues(transcript), 1)
    )


def vtt(transcript: Transcript) -> str:
    """The transcript as a WebVTT file."""
    word_times = transcript.subtitles.vtt_word_times
    blocks = ["WEBVTT\n"]
    # Numbers are optional, but parsers shared with srt mistake a line of digits for one.
    blocks += [
        f"{number}\n{_timestamp(cue.start, '.')} --> {_timestamp(cue.end, '.')}\n"
        f"{_vtt_text(cue, word_times=word_times)}\n"
        for number, cue in enumerate(cues(transcript), 1)
    ]
    return "\n".join(blocks)
