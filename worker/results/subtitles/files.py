"""Cues written as srt and as vtt (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from worker.results.subtitles.cues import Cue, cues
from worker.results.subtitles.highlighting import highlighted

if TYPE_CHECKING:
    from worker.results.transcript import Transcript

__all__ = ["srt", "vtt"]

_ZERO_WIDTH_SPACE = "\u200b"

_SHOWN_BRACES = str.maketrans(
    "{}", "\N{FULLWIDTH LEFT CURLY BRACKET}\N{FULLWIDTH RIGHT CURLY BRACKET}"
)
"""Braces that every player of srt shows."""


def srt(transcript: Transcript) -> str:
    """The transcript as an srt file; each cue says who speaks where that is known."""
    found = cues(transcript, named=True)
    shown = _shown(transcript, found, _srt_text, lambda cue: _srt_text(cue.text))
    return "\n".join(_numbered(shown, transcript.subtitles.output_start_index, ","))


def vtt(transcript: Transcript) -> str:
    """The transcript as a WebVTT file; each cue has its voice where it is known who speaks.

    Where words are underlined in cues of their own, no times of words stand in the text.
    """
    timed = transcript.subtitles.vtt_word_times
    shown = _shown(
        transcript,
        cues(transcript),
        _vtt_text,
        lambda cue: _vtt_timed(cue) if timed else _vtt_text(cue.text),
        opening=lambda cue: _vtt_voice(cue.said_by),
    )
    # Numbers are optional, but parsers shared with srt mistake a line of digits for one.
    return "\n".join(["WEBVTT\n", *_numbered(shown, transcript.subtitles.output_start_index, ".")])


class _Shown(NamedTuple):
    """What is shown from when to when, in milliseconds, and the text as it is written."""

    start_ms: int
    end_ms: int
    text: str


def _shown(
    transcript: Transcript,
    found: Iterable[Cue],
    escape: Callable[[str], str],
    plain: Callable[[Cue], str],
    opening: Callable[[Cue], str] = lambda _: "",
) -> list[_Shown]:
    """What is shown, in order of its start.

    Args:
        transcript: whose options hold.
        found: its cues.
        escape: writes text, or a part of it.
        plain: writes the text of a cue in which no word is underlined.
        opening: writes what stands before the text of a cue and isn't shown.
    """
    if not transcript.subtitles.highlight_words:
        return [_Shown(cue.start_ms, cue.end_ms, opening(cue) + plain(cue)) for cue in found]
    shown = []
    for cue in found:
        for start_ms, end_ms, first, end in highlighted(cue):
            before, word, after = cue.text[:first], cue.text[first:end], cue.text[end:]
            underlined = f"<u>{escape(word)}</u>" if word else ""
            text = opening(cue) + escape(before) + underlined + escape(after)
            shown.append(_Shown(start_ms, end_ms, text))
    # Cues of two channels may overlap, and then their words take turns.
    return sorted(shown, key=lambda one: one.start_ms)


def _numbered(shown: Iterable[_Shown], first_number: int, point: str) -> Iterator[str]:
    for number, (start, end, text) in enumerate(shown, first_number):
        yield f"{number}\n{_timestamp(start, point)} --> {_timestamp(end, point)}\n{text}\n"


def _timestamp(milliseconds: int, point: str) -> str:
    seconds, part = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{part:03d}"


def _srt_text(text: str) -> str:
    r"""SRT has no escapes: a zero-width space keeps text from reading as markup.

    Players take `<b>` for formatting, and `-->` ends a cue for some parsers. What ends with the
    first half of one may be followed by a tag of ours. Braces are written as their wide forms:
    FFmpeg, and so mpv, makes SubStation Alpha of every srt, in which all that stands in braces is
    hidden, be it `{\an8}`, `{Y:i}` or `{so}`.
    """
    text = re.sub(r"<(?=[ /]*([A-Za-z]|$))", "<" + _ZERO_WIDTH_SPACE, text)
    return text.translate(_SHOWN_BRACES).replace("-->", "--" + _ZERO_WIDTH_SPACE + ">")


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _vtt_voice(label: str | None) -> str:
    """The start tag of the voice that says a whole cue, which need not be closed then.

    No line of a cue may have `-->` in it, as that of a name would that ends in two hyphens.
    """
    if label is None:
        return ""
    return f"<v {re.sub('--$', '-&#45;', _vtt_text(label))}>"


def _vtt_timed(cue: Cue) -> str:
    """The cue's text with a timestamp before each word that may have one.

    WebVTT wants them after the cue's start, before its end, and each later than the last.
    """
    parts: list[str] = []
    done = 0
    latest = cue.start_ms
    for word in cue.words:
        if latest < word.start_ms < cue.end_ms:
            parts += [_vtt_text(cue.text[done : word.first]), f"<{_timestamp(word.start_ms, '.')}>"]
            done, latest = word.first, word.start_ms
    return "".join([*parts, _vtt_text(cue.text[done:])])
