"""A transcript in the forms people use: json, srt, vtt, tsv, txt, html and others' shapes (pure).

What a job asks of its subtitles stands in the transcript itself (`Transcript.subtitles`), so that a
file can be made anew from the json alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from worker.results.names import Format
from worker.results.said_by import introduced
from worker.results.shapes.openai import openai
from worker.results.shapes.transcribe import transcribe
from worker.results.shapes.whisperx import whisperx
from worker.results.spelling import one_line
from worker.results.subtitles.files import srt, vtt

if TYPE_CHECKING:
    from worker.results.transcript import Transcript

__all__ = ["FORMATS", "render"]


def _json(transcript: Transcript) -> str:
    return transcript.model_dump_json() + "\n"


def _tsv(transcript: Transcript) -> str:
    rows = ["start\tend\ttext"]
    rows += [
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{text}"
        for segment in transcript.segments
        if (text := one_line(segment.text))
    ]
    return "\n".join(rows) + "\n"


def _txt(transcript: Transcript) -> str:
    return "".join(
        f"{introduced(segment, text)}\n"
        for segment in transcript.segments
        if (text := one_line(segment.text))
    )


def _html(transcript: Transcript) -> str:
    from worker.results.html import page  # only where it is asked for: it reads files

    return page(transcript)


FORMATS: Mapping[Format, tuple[Callable[[Transcript], str], str]] = MappingProxyType(
    {
        "json": (_json, "application/json"),
        "srt": (srt, "application/x-subrip; charset=utf-8"),
        "vtt": (vtt, "text/vtt; charset=utf-8"),
        "tsv": (_tsv, "text/tab-separated-values; charset=utf-8"),
        "txt": (_txt, "text/plain; charset=utf-8"),
        "html": (_html, "text/html; charset=utf-8"),
        "whisperx": (whisperx, "application/json"),
        "openai": (openai, "application/json"),
        "transcribe": (transcribe, "application/json"),
    }
)
"""Each format's renderer and the content type of its object."""


def render(transcript: Transcript, fmt: Format) -> str:
    """The transcript as a file of the format, to be written as UTF-8.

    json is one line as `transcript_schema` describes; tsv has one segment a row (`start`, `end`
    in milliseconds, `text`), as OpenAI's whisper writes it; txt has one segment a line, behind who
    says it (`[SPEAKER_00]: `) where that is known, as WhisperX writes it; html is a page that
    stands by itself; the rest are json as others write it, see `worker.results.shapes`. A
    transcript without speech gives a valid empty file of each.
    """
    renderer, _ = FORMATS[fmt]
    return renderer(transcript)
