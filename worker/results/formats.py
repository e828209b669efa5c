"""A transcript in the forms people use: json, srt, vtt, tsv, txt and html (pure).

Subtitle cues follow what broadcasters ask for: at most seven seconds, at most two lines of 42
characters, a wide character (Chinese, Japanese, Korean) counting two. A cue starts and ends with
the words in it; a segment without words is shared out in proportion to its characters.
Cue times are whole milliseconds, which is all that srt and vtt can say.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from worker.results.spelling import one_line, spans

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript, Word

__all__ = [
    "FORMATS",
    "FORMAT_NAMES",
    "MAX_CUE_SECONDS",
    "MAX_LINES",
    "MAX_LINE_WIDTH",
    "Cue",
    "Format",
    "cues",
    "render",
    "text_width",
]

Format = Literal["json", "srt", "vtt", "tsv", "txt", "html"]
FORMAT_NAMES: tuple[Format, ...] = get_args(Format)

MAX_CUE_SECONDS = 7.0
MAX_LINES = 2
MAX_LINE_WIDTH = 42

_MAX_CUE_MS = round(MAX_CUE_SECONDS * 1000)
_READABLE_MS = 1000
"""A cue stays this long where its segment and the next cue leave the room."""

_SENTENCE_ENDS = (
    *".?!…",
    "\N{IDEOGRAPHIC FULL STOP}",
    "\N{FULLWIDTH QUESTION MARK}",
    "\N{FULLWIDTH EXCLAMATION MARK}",
    "\N{ARABIC QUESTION MARK}",
    "\N{DEVANAGARI DANDA}",
)

_ZERO_WIDTH_SPACE = "\u200b"


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Attributes:
        start: seconds, a whole number of milliseconds.
        end: seconds, a whole number of milliseconds, after `start`.
        text: one or two lines joined by a newline; plain, not escaped for any format.
        word_starts: (offset in `text`, seconds) of each word that starts in this cue;
            empty where the segment had no word times.
    """

    start: float
    end: float
    text: str
    word_starts: tuple[tuple[int, float], ...] = ()


class _Timed(NamedTuple):
    """Text on one line, with the times in milliseconds of its characters and its words."""

    text: str
    starts: Sequence[float]
    ends: Sequence[float]
    words: Sequence[tuple[int, int]]
    """(first character, one past the last) of each word; empty without word times."""


class _Piece(NamedTuple):
    """Text that stays on one line. Times in milliseconds."""

    text: str
    width: int
    spaced: bool
    """Whether a space parts it from the piece before when they share a line."""
    start: float
    end: float
    word_starts: tuple[tuple[int, float], ...]


@functools.lru_cache(maxsize=8192)
def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def text_width(text: str) -> int:
    """Columns of a line: wide characters count two, combining marks and joiners none."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _timed_by_proportion(text: str, start: float, end: float) -> _Timed:
    step = (end - start) / len(text)
    edges = [start + i * step for i in range(len(text))] + [end]
    return _Timed(text, edges[:-1], edges[1:], ())


def _timed_by_words(line: str, words: Sequence[Word], start: float, end: float) -> _Timed | None:
    """Times of the characters of `line` from its words; None if they don't spell it.

    Punctuation between words takes no time: it belongs to the word before it, or, where it
    opens a quotation or a bracket, to the word after it.
    """
    spelled = [(word, text) for word in words if (text := one_line(word.word))]
    places = spans(line, [text for _, text in spelled])
    if not places:
        return None
    starts = [start] * len(line)
    ends = [start] * len(line)
    done = 0
    clock = start
    for (word, _), (first, after) in zip(spelled, places, strict=True):
        word_start = min(max(word.start * 1000, clock), end)
        word_end = min(max(word.end * 1000, word_start), end)
        for i in range(done, first):
            starts[i] = ends[i] = word_start if _opens(line[i]) else clock
        done = after
        step = (word_end - word_start) / (done - first)
        for i in range(first, done):
            starts[i] = word_start + (i - first) * step
            ends[i] = starts[i] + step
        ends[done - 1] = clock = word_end
    starts[done:] = ends[done:] = [clock] * (len(line) - done)
    return _Timed(line, starts, ends, places)


def _is_hangul(character: str) -> bool:
    return unicodedata.name(character, "").startswith("HANGUL")


def _opens(character: str) -> bool:
    """Whether it opens a bracket or a quotation; such a character never ends a line."""
    return unicodedata.category(character) in ("Ps", "Pi")


def _follows(character: str) -> bool:
    """Whether it is bound to what is before it: other punctuation, lengthening and repeat marks."""
    return unicodedata.category(character) in ("Pe", "Pf", "Po", "Lm")


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters that no space parts.

    Scripts that write no spaces break anywhere but at punctuation (in the main what JIS X 4051
    asks, by Unicode's general categories); Korean writes spaces.
    """
    return (
        2 in (_character_width(before), _character_width(after))
        and _character_width(after) > 0
        and not _opens(before)
        and not _follows(after)
        and not _is_hangul(before)
        and not _is_hangul(after)
    )


def _overflows(text: str, first: int, end: int) -> Iterator[int]:
    """Where [first, end) has to be cut for its parts to fit a line; marks stay with letters."""
    width = 0
    for i in range(first, end):
        step = _character_width(text[i])
        if width + step > MAX_LINE_WIDTH:
            yield i
            width = 0
        width += step


def _pieces(timed: _Timed) -> list[_Piece]:
    """`timed` cut at spaces, between wide characters, and where a line would overflow.

    Words are cut only if one alone is longer than a line.
    """
    text = timed.text
    inside_word = {i for first, end in timed.words for i in range(first + 1, end)}
    pieces: list[_Piece] = []
    following = 0
    for run in re.finditer(r"[^ ]+", text):
        allowed = [
            i
            for i in range(run.start() + 1, run.end())
            if i not in inside_word and _may_break(text[i - 1], text[i])
        ]
        edges: list[int] = []
        for first, end in itertools.pairwise([run.start(), *allowed, run.end()]):
            edges += [first, *_overflows(text, first, end)]
        for first, end in itertools.pairwise([*edges, run.end()]):
            word_starts = []
            while following < len(timed.words) and timed.words[following][0] < end:
                at = timed.words[following][0]
                word_starts.append((at - first, timed.starts[at]))
                following += 1
            pieces.append(
                _Piece(
                    text=text[first:end],
                    width=text_width(text[first:end]),
                    spaced=first == run.start(),
                    start=timed.starts[first],
                    end=timed.ends[end - 1],
                    word_starts=tuple(word_starts),
                )
            )
    return pieces


def _full_at(pieces: Sequence[_Piece], first: int) -> int:
    """One past the last piece that a cue starting at `first` has room and time for."""
    lines = 1
    width = pieces[first].width
    for i in range(first + 1, len(pieces)):
        piece = pieces[i]
        if width + piece.spaced + piece.width <= MAX_LINE_WIDTH:
            width += piece.spaced + piece.width
        else:
            lines += 1
            width = piece.width
        if lines > MAX_LINES or piece.end - pieces[first].start > _MAX_CUE_MS:
            return i
    return len(pieces)


def _groups(pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
    """The pieces of each cue: as many as fit, or less where a sentence ends in the second half."""
    first = 0
    while first < len(pieces):
        end = _full_at(pieces, first)
        if end < len(pieces):
            for i in range(end, (first + end) // 2, -1):
                if pieces[i - 1].text.endswith(_SENTENCE_ENDS):
                    end = i
                    break
        yield pieces[first:end]
        first = end


def _lay_out(group: Sequence[_Piece]) -> tuple[str, tuple[tuple[int, float], ...]]:
    """The text of a cue, on one line or on two of like length, and its words' starts."""
    widths = [0]
    for i, piece in enumerate(group):
        widths.append(widths[-1] + piece.width + (piece.spaced and i > 0))
    second_line = 0
    if widths[-1] > MAX_LINE_WIDTH:
        lines = {
            i: (widths[i], widths[-1] - widths[i] - group[i].spaced) for i in range(1, len(group))
        }
        fitting = [i for i in lines if max(lines[i]) <= MAX_LINE_WIDTH]
        second_line = min(fitting, key=lambda i: abs(lines[i][0] - lines[i][1]))
    text = ""
    word_starts: list[tuple[int, float]] = []
    for i, piece in enumerate(group):
        if i > 0:
            text += "\n" if i == second_line else " " * piece.spaced
        word_starts += [(len(text) + offset, at / 1000) for offset, at in piece.word_starts]
        text += piece.text
    return text, tuple(word_starts)


def _settle(spans: Sequence[tuple[float, float]], opens: int, closes: int) -> list[tuple[int, int]]:
    """Whole milliseconds for the cues of one segment, which lies in [opens, closes].

    Each lasts from 1 ms (vtt allows none of length zero) to seven seconds and starts no sooner
    than the one before it ends. Only a segment with less than a millisecond for each of its cues
    is overrun: better than losing text.
    """
    starts = [round(start) for start, _ in spans]
    ends = [min(round(end), round(start) + _MAX_CUE_MS) for start, end in spans]
    latest = closes
    for i in reversed(range(len(spans))):
        starts[i] = min(starts[i], latest - 1)
        ends[i] = min(ends[i], latest)
        latest = starts[i]
    earliest = opens
    for i in range(len(spans)):
        starts[i] = max(starts[i], earliest)
        ends[i] = earliest = max(ends[i], starts[i] + 1)
    for i, room in enumerate([*starts[1:], closes]):
        ends[i] = max(ends[i], min(starts[i] + _READABLE_MS, room))
    return list(zip(starts, ends, strict=True))


def _segment_cues(segment: Segment, opens: int) -> list[Cue]:
    text = one_line(segment.text)
    if not text:
        return []
    start, end = segment.start * 1000, segment.end * 1000
    timed = _timed_by_words(text, segment.words, start, end)
    groups = list(_groups(_pieces(timed or _timed_by_proportion(text, start, end))))
    spans = _settle(
        [(group[0].start, group[-1].end) for group in groups], max(opens, round(start)), round(end)
    )
    return [
        Cue(first / 1000, last / 1000, *_lay_out(group))
        for group, (first, last) in zip(groups, spans, strict=True)
    ]


def cues(transcript: Transcript) -> list[Cue]:
    """The transcript's subtitles, in order.

    Each is at most 7 s long, has at most two lines of 42 columns, lies inside its segment (to
    the nearest millisecond) and overlaps no other. White space is normalised; otherwise the
    cues of a segment hold all of its text.
    """
    found: list[Cue] = []
    opens = 0
    for segment in transcript.segments:
        found += _segment_cues(segment, opens)
        if found:
            opens = round(found[-1].end * 1000)
    return found


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


def _json(transcript: Transcript) -> str:
    return transcript.model_dump_json() + "\n"


def _srt(transcript: Transcript) -> str:
    return "\n".join(
        f"{number}\n{_timestamp(cue.start, ',')} --> {_timestamp(cue.end, ',')}\n"
        f"{_srt_text(cue.text)}\n"
        for number, cue in enumerate(cues(transcript), 1)
    )


def _vtt(transcript: Transcript, *, word_times: bool = False) -> str:
    blocks = ["WEBVTT\n"]
    # Numbers are optional, but parsers shared with srt mistake a line of digits for one.
    blocks += [
        f"{number}\n{_timestamp(cue.start, '.')} --> {_timestamp(cue.end, '.')}\n"
        f"{_vtt_text(cue, word_times=word_times)}\n"
        for number, cue in enumerate(cues(transcript), 1)
    ]
    return "\n".join(blocks)


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
        f"{text}\n" for segment in transcript.segments if (text := one_line(segment.text))
    )


def _html(transcript: Transcript) -> str:
    from worker.results.html import page  # only where it is asked for: it reads files

    return page(transcript)


FORMATS: Mapping[Format, tuple[Callable[[Transcript], str], str]] = MappingProxyType(
    {
        "json": (_json, "application/json"),
        "srt": (_srt, "application/x-subrip; charset=utf-8"),
        "vtt": (_vtt, "text/vtt; charset=utf-8"),
        "tsv": (_tsv, "text/tab-separated-values; charset=utf-8"),
        "txt": (_txt, "text/plain; charset=utf-8"),
        "html": (_html, "text/html; charset=utf-8"),
    }
)
"""Each format's renderer and the content type of its object."""


def render(transcript: Transcript, fmt: Format, *, word_timestamps_in_vtt: bool = False) -> str:
    """The transcript as a file of the format, to be written as UTF-8.

    json is one line as `transcript_schema` describes; tsv has one segment a row (`start`, `end`
    in milliseconds, `text`), as OpenAI's whisper writes it; txt has one segment a line; html
    is a page that stands by itself. A transcript without speech gives a valid empty file of each.
    """
    if fmt == "vtt":
        return _vtt(transcript, word_times=word_timestamps_in_vtt)
    renderer, _ = FORMATS[fmt]
    return renderer(transcript)
