"""A transcript as a page that stands by itself (pure, but that it reads its own static parts once).

All text is in the page as plain HTML, escaped, so that it reads without JavaScript; scripts add the
search, the marks and the keys. Nothing is loaded from anywhere: the page's policy (CSP) forbids it,
and allows exactly the styles and scripts that were put in here, by their hashes.

The command `view` serves the same page with a player and with corrections (`Viewing`).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from worker.results.languages import written_in
from worker.results.said_by import said_by
from worker.results.spelling import one_line, spans

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Task, Transcript, Word

__all__ = ["DOUBTS", "Viewing", "page"]

DOUBTS = (0.25, 0.5, 0.75)
"""A word whose score is below one of these is marked, the stronger the lower the bound."""

_PARTS = Path(__file__).parent / "page"

_BARS = 8
"""How many bars for speakers and channels `page.css` has; with more the first comes again."""

_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""They turn the direction of what follows: `cod.exe` can look like `exe.doc`."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """What the page gets beside the transcript where `transcription-worker view` serves it.

    Attributes:
        sources: (address, content type) of the recording, in the order in which a browser is to
            try them; empty where there is no recording.
    """

    sources: tuple[tuple[str, str], ...] = ()


def page(transcript: Transcript, viewing: Viewing | None = None) -> str:
    """The page, as one HTML document to be written as UTF-8.

    Args:
        transcript: any; no text in it can become markup.
        viewing: the player and the corrections, for pages that `view` serves; None: a page to keep.
    """
    styles, scripts = ["page.css"], ["page.js", "words.js", "search.js"]
    player = editing = keys = ""
    if viewing is not None:
        styles, scripts = [*styles, "view.css"], [*scripts, "edit.js"]
        editing, keys = _part("edit.html"), _part("edit-keys.html")
        if viewing.sources:
            scripts.append("player.js")
            player = _player(transcript, viewing)
            keys = _part("player-keys.html") + keys
    name = _name(transcript.input.uri.rpartition("/")[2] or transcript.job_id)
    return Template(_part("page.html")).substitute(
        policy=_policy(styles, scripts, served=viewing is not None),
        styles=_inlined("style", styles),
        scripts=_inlined("script", scripts),
        name=name,
        facts=_facts(transcript),
        player=player,
        editing=editing,
        keys=keys,
        speakers=_who_speaks(transcript),
        legend=_legend(transcript),
        segments=_segments(transcript),
        about=_about(transcript),
    )


# -- static parts -----------------------------------------------------------------------------


@cache
def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _inlined(tag: str, names: Iterable[str]) -> str:
    return "\n".join(f"<{tag}>{_part(name)}</{tag}>" for name in names)


def _policy(styles: Iterable[str], scripts: Iterable[str], *, served: bool) -> str:
    """The page's content security policy."""
    policy = [
        "default-src 'none'",
        f"style-src {' '.join(map(_hash, styles))}",
        f"script-src {' '.join(map(_hash, scripts))}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if served:
        policy += ["connect-src 'self'", "media-src 'self'"]
    return "; ".join(policy)


@cache
def _hash(name: str) -> str:
    digest = hashlib.sha256(_part(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# -- what is said of the transcript -----------------------------------------------------------


def _text(text: str) -> str:
    """Escaped for text and for attributes in double quotes."""
    return escape(one_line(text))


def _name(text: str) -> str:
    """A name, which may not turn the direction of what it shows."""
    return _text(_BIDI_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text))


def _clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(value: float) -> str:
    """To the millisecond, without zeros that say nothing."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _facts(transcript: Transcript) -> str:
    codes = [share.code for share in transcript.languages]
    if not codes and transcript.language is not None:
        codes = [transcript.language.code]
    words = sum(len(segment.words) for segment in transcript.segments)
    facts = [_clock(transcript.input.audio_seconds)]
    facts += [f'<span data-language="{_name(code)}">{_name(code)}</span>' for code in codes]
    if transcript.task == "translate":
        facts.append("translated into English")
    if words:
        facts.append(_many(words, "word"))
    if transcript.speakers is not None:
        facts.append(_many(len(transcript.speakers), "speaker"))
    if transcript.channels is not None:
        facts.append(_many(len(transcript.channels), "channel"))
    return " &middot; ".join(facts)


def _about(transcript: Transcript) -> str:
    engine = transcript.engine
    rows = [
        ("Recording", [_name(transcript.input.uri)]),
        ("Job", [_name(transcript.job_id)]),
        ("Model", [_text(f"{engine.model} on {engine.device}, {engine.compute_type}")]),
        ("Notes", [_text(note) for note in (*transcript.notes, *engine.notes)]),
    ]
    rows += [(_name(name), [_name(value)]) for name, value in transcript.metadata.items()]
    return "\n".join(
        f"<div><dt><bdi>{term}</bdi></dt>"
        + "".join(f'<dd dir="auto">{value}</dd>' for value in values)
        + "</div>"
        for term, values in rows
        if values
    )


def _player(transcript: Transcript, viewing: Viewing) -> str:
    sources = "".join(
        f'<source src="{escape(address)}" type="{escape(kind)}">'
        for address, kind in viewing.sources
    )
    seconds = transcript.input.audio_seconds
    return Template(_part("player.html")).substitute(
        sources=sources, seconds=_number(seconds), length=_clock(seconds)
    )


# -- who speaks -------------------------------------------------------------------------------


def _ranks(transcript: Transcript) -> Mapping[str, int]:
    """The rank of each speaker, or channel, from 0: those that the transcript lists come first."""
    listed = [one_line(one.label) for one in transcript.channels or transcript.speakers or ()]
    heard = (said_by(segment) for segment in transcript.segments)
    labels = dict.fromkeys(label for label in (*listed, *heard) if label)
    return {label: number for number, label in enumerate(labels)}


def _bar(rank: int) -> str:
    """The classes of the bar beside what a speaker says."""
    return f"bar b{rank % _BARS}"


def _who_speaks(transcript: Transcript) -> str:
    """Who speaks, for how long, and how many words."""
    ranks = _ranks(transcript)
    parts = [
        f'<li class="{_bar(ranks[one_line(label)])}"><bdi>{_name(label)}</bdi> {figures}</li>'
        for label, figures in _figures(transcript)
        if one_line(label)
    ]
    if not parts:
        return ""
    kind = "Speakers" if transcript.channels is None else "Channels"
    return f'<ul class="speakers" aria-label="{kind}">{"".join(parts)}</ul>'


def _figures(transcript: Transcript) -> Iterator[tuple[str, str]]:
    """The label of each speaker, or channel, and what is known of it, as markup."""
    for speaker in transcript.speakers or ():
        yield speaker.label, f"{_clock(speaker.seconds)} &middot; {_many(speaker.words, 'word')}"
    words: Counter[str | None] = Counter()
    for segment in transcript.segments:
        words[segment.channel] += len(segment.words)
    for channel in transcript.channels or ():
        if channel.same_as is not None:
            yield channel.label, f"the same as <bdi>{_name(channel.same_as)}</bdi>"
            continue
        spoken = [_clock(channel.seconds)]
        if words.total():
            spoken.append(_many(words[channel.label], "word"))
        yield channel.label, " &middot; ".join(spoken)


# -- segments and words -----------------------------------------------------------------------


def _legend(transcript: Transcript) -> str:
    """What the marks on words mean, of those that are there."""
    words = [word for segment in transcript.segments for word in segment.words]
    parts = []
    if any(_score(word) is not None for word in words):
        parts.append(_part("legend.html"))
    if any(word.vocabulary_filter_match for word in words):
        parts.append(_part("legend-tagged.html"))
    return f'<div class="legend" role="note">\n{"".join(parts)}</div>' if parts else ""


def _segments(transcript: Transcript) -> str:
    ranks = _ranks(transcript)
    found = []
    before: str | None = ""
    for number, segment in enumerate(transcript.segments):
        label = said_by(segment)
        begins = bool(ranks) and label != before
        before = label
        found.append(_segment(number, segment, transcript.task, ranks, begins=begins))
    return "\n".join(found) or '<p class="nothing">No speech was found in this recording.</p>'


def _segment(
    number: int, segment: Segment, task: Task, ranks: Mapping[str, int], *, begins: bool
) -> str:
    """A segment, with who says it where another one begins."""
    language = written_in(segment.language, task)
    spoken_in = f' lang="{_name(language)}"' if language else ""
    times = f"{_number(segment.start)} {_number(segment.end)}"
    label = said_by(segment)
    bar = channel = name = ""
    if label:
        bar = f" {_bar(ranks[label])}"
        if segment.channel:  # the player lights each by itself: their segments overlap
            channel = f' data-channel="{ranks[label]}"'
    if begins:
        name = (
            f'<span class="speaker"><bdi>{_name(label)}</bdi></span>'
            if label
            else '<span class="speaker nobody">unknown</span>'
        )
    return (
        f'<div class="segment{bar}" id="s{number}" data-t="{times}"{channel}><div class="margin">'
        f'<a class="time" href="#s{number}">{_clock(segment.start)}</a></div>'
        f'{name}<p dir="auto"{spoken_in}>{_said(segment)}</p></div>'
    )


def _said(segment: Segment) -> str:
    """The text, each word in an element of its own, in the order of `segment.words`.

    Where the words don't spell the text, it is the text alone.
    """
    line = one_line(segment.text)
    parts = [one_line(word.word) for word in segment.words]
    places = spans(line, parts) if parts else None
    if places is None:
        return escape(line)
    pieces: list[str] = []
    done = 0
    for word, (first, end) in zip(segment.words, places, strict=True):
        pieces += [escape(line[done:first]), _word(word, line[first:end])]
        done = end
    return "".join([*pieces, escape(line[done:])])


def _score(word: Word) -> float | None:
    """The score; None where it is no number, which JSON can't say but Python's readers let by."""
    if word.score is None or not math.isfinite(word.score):
        return None
    return min(max(word.score, 0.0), 1.0)


def _word(word: Word, text: str) -> str:
    values: Sequence[str] = (_number(word.start), _number(word.end))
    marks = ["tagged"] if word.vocabulary_filter_match else []
    score = _score(word)
    if score is not None:
        values = (*values, str(round(score * 100)))
        bound = next((n for n, bound in enumerate(DOUBTS) if score < bound), None)
        marks += [] if bound is None else [f"d{len(DOUBTS) - bound}"]
    mark = f' class="{" ".join(marks)}"' if marks else ""
    return f'<span data-w="{" ".join(values)}"{mark}>{escape(text)}</span>'
