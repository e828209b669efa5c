"""Amazon Transcribe's output of a batch job (pure).

Written after the developer guide: "Data input and output" (output), "Filtering unwanted words",
"Language identification with batch transcription jobs", "Example diarization output (batch)" and
"Example channel identification output (batch)". There times, confidences and scores are
strings, ids are numbers, times are seconds, and `audio_segments` name their items by id. An item of
type `punctuation` has no times and the confidence 0.0. Programs write a space before each item but
punctuation; so whatever a word begins with (a quotation mark, a bracket, `¿`) stays with it, and so
does what stands alone before it (a dash, French `«`). Only what comes behind a word is an item of
its own; a space between the two, as French has, is lost.

What a transcript doesn't know: the account, whose id is twelve zeros, and the region of a language,
so that codes are Whisper's (`en`, not `en-US`). A confidence of 0.0 is also that of a word whose
score isn't known.

Speakers are `spk_0`, `spk_1`, ... in the order of the transcript's, channels `ch_0`, `ch_1`, ...,
whatever they are called: programs look for these. An item has its segment's speaker. What nobody is
known to say has no `speaker_label`, and isn't among the `speaker_labels`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from worker.results.languages import segment_language, text_language
from worker.results.shapes.slices import Slice, known, slices
from worker.results.spelling import one_line
from worker.results.timed import Timed, opens, timed

if TYPE_CHECKING:
    from worker.results.transcript import Segment, Transcript

__all__ = ["transcribe"]

_ACCOUNT = "000000000000"
"""Readers may want twelve digits."""

_SPOKEN = frozenset("#%&*/@\\§‰\N{FULLWIDTH PERCENT SIGN}\N{ARABIC PERCENT SIGN}")
"""Punctuation to Unicode, but said like a word, or in the place of one (`***`)."""

_UNKNOWN_CONFIDENCE = "0.0"


def transcribe(transcript: Transcript) -> str:
    """The transcript as Amazon Transcribe's output.

    Words without times of their own get them in proportion to their segment's text. `language_code`
    is that of the text, so English of a translation; `language_identification` names the language
    that was detected in the audio. A text in several languages has `language_codes` in place of the
    one, and each of its items and segments has its own.
    """
    several = _is_in_several_languages(transcript)
    speakers = _numbered(
        "spk",
        (speaker.label for speaker in transcript.speakers or ()),
        (segment.speaker for segment in transcript.segments),
    )
    channels = _numbered(
        "ch",
        (channel.label for channel in transcript.channels or ()),
        (segment.channel for segment in transcript.segments),
    )
    items: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    for segment in transcript.segments:
        if not (text := one_line(segment.text)):
            continue
        language = segment_language(transcript, segment) if several else None
        marked = {"language_code": language} if language else {}
        if segment.channel:
            marked["channel_label"] = channels[segment.channel]
        elif segment.speaker:
            marked["speaker_label"] = speakers[segment.speaker]
        own = [
            {"id": number, **marked, **item}
            for number, item in enumerate(_items(segment, text), len(items))
        ]
        segments.append(
            {
                "id": len(segments),
                "transcript": text,
                "start_time": _seconds(segment.start * 1000),
                "end_time": _seconds(segment.end * 1000),
                **marked,
                "items": [item["id"] for item in own],
            }
        )
        items += own
    result = {
        "jobName": transcript.job_id,
        "accountId": _ACCOUNT,
        "status": "COMPLETED",
        "results": {
            **_languages(transcript),
            "transcripts": [{"transcript": transcript.text}],
            **_speaker_labels(transcript, speakers, segments, items),
            **_channel_labels(transcript, channels, items),
            "items": items,
            "audio_segments": segments,
        },
    }
    return json.dumps(result, ensure_ascii=False) + "\n"


def _numbered(kind: str, listed: Iterable[str], used: Iterable[str | None]) -> dict[str, str]:
    """What Transcribe calls each label: those that are listed come first, in their order."""
    labels = dict.fromkeys([*listed, *(label for label in used if label)])
    return {label: f"{kind}_{number}" for number, label in enumerate(labels)}


def _speaker_labels(
    transcript: Transcript,
    speakers: Mapping[str, str],
    segments: Iterable[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Who speaks when: segments and their words, without what they say. Nothing if not asked."""
    if transcript.speakers is None and not speakers:
        return {}
    spoken = []
    for segment in segments:
        if "speaker_label" in segment:
            words = [items[number] for number in segment["items"]]
            words = [word for word in words if word["type"] == "pronunciation"]
            spoken.append(_spoken(segment) | {"items": [_spoken(word) for word in words]})
    labels = {"channel_label": "ch_0", "speakers": len(speakers), "segments": spoken}
    return {"speaker_labels": labels}


def _spoken(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in ("start_time", "speaker_label", "end_time")}


def _channel_labels(
    transcript: Transcript, channels: Mapping[str, str], items: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The items of each channel. Nothing if not asked."""
    if transcript.channels is None and not channels:
        return {}
    spoken: dict[str, list[Mapping[str, Any]]] = {label: [] for label in channels.values()}
    for item in items:
        if "channel_label" in item:
            spoken[item["channel_label"]].append(item)
    listed = [{"channel_label": label, "items": own} for label, own in spoken.items()]
    return {"channel_labels": {"channels": listed, "number_of_channels": len(listed)}}


def _languages(transcript: Transcript) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if _is_in_several_languages(transcript):
        written["language_codes"] = [
            {"language_code": share.code, "duration_in_seconds": share.seconds}
            for share in transcript.languages
        ]
    elif (code := text_language(transcript)) is not None:
        written["language_code"] = code
    spoken = transcript.language
    if spoken is not None and spoken.detected:
        score = known(spoken.probability)
        written["language_identification"] = [
            {"score": _UNKNOWN_CONFIDENCE if score is None else str(score), "code": spoken.code}
        ]
    return written


def _is_in_several_languages(transcript: Transcript) -> bool:
    return len(transcript.languages) > 1 and transcript.task != "translate"


def _items(segment: Segment, text: str) -> Iterator[dict[str, Any]]:
    """The items of a segment, without ids."""
    start, end = segment.start * 1000, segment.end * 1000
    clock = timed(text, segment.words, start, end, segment.speech)
    cut = slices(text, segment.words, lambda place: _is_unspaced(text, place))
    for first, piece, of in _pieces(text, cut):
        yield from _items_of_piece(piece, first, of, clock)


def _items_of_piece(piece: str, first: int, of: Slice, clock: Timed) -> Iterator[dict[str, Any]]:
    """A word, if it is one, and the punctuation behind it."""
    spoken = [place for place, character in enumerate(piece) if _is_spoken(character)]
    end = spoken[-1] + 1 if spoken else 0
    if spoken:
        # A mark has no time of its own, but it may have a share of its word's.
        sounds = first + spoken[0]
        while sounds > first and clock.ends[sounds - 1] > clock.starts[sounds - 1]:
            sounds -= 1
        word: dict[str, Any] = {
            "type": "pronunciation",
            "alternatives": [
                {
                    "confidence": _UNKNOWN_CONFIDENCE if of.score is None else str(of.score),
                    "content": piece[:end],
                }
            ],
            "start_time": _seconds(clock.starts[sounds]),
            "end_time": _seconds(clock.ends[first + len(piece) - 1]),
        }
        if any(said.vocabulary_filter_match for said in of.words):
            word["vocabularyFilterMatch"] = True
        yield word
    for mark in piece[end:].replace(" ", ""):
        yield {
            "type": "punctuation",
            "alternatives": [{"confidence": _UNKNOWN_CONFIDENCE, "content": mark}],
        }


def _pieces(text: str, cut: Iterable[Slice]) -> Iterator[tuple[int, str, Slice]]:
    """Words, each with what stands around it: its first character, its text, the slice it is in.

    What stands alone between two words is the end of the first, but for what opens something and
    for a dash: so a dash has its space on both sides, whatever it means. Before the first word all
    belongs to that.
    """
    waiting: int | None = None
    worded = False
    for of in cut:
        first = of.first
        for piece in _parted(of.text):
            after = first + len(piece)
            if any(map(_is_spoken, piece)):
                begin = first if waiting is None else waiting
                yield begin, text[begin:after], of
                waiting, worded = None, True
            elif waiting is None:
                leads = (place for place, mark in enumerate(piece) if _leads(mark))
                behind = next(leads, len(piece)) if worded else 0
                if behind:
                    yield first, piece[:behind], of
                if behind < len(piece):
                    waiting = first + behind
            first = after
    if waiting is not None:
        yield waiting, text[waiting:], of


def _leads(mark: str) -> bool:
    return opens(mark) or mark in "¿¡" or unicodedata.category(mark) == "Pd"


def _parted(text: str) -> Iterator[str]:
    """Text without spaces, cut at the punctuation of scripts that write none.

    A piece ends behind punctuation as wide as a letter, or before such as opens a quotation. Other
    punctuation inside stays there: an apostrophe, a hyphen, a decimal point.
    """
    begin = 0
    for place in range(1, len(text)):
        before, after = text[place - 1], text[place]
        ends = _is_wide_mark(before) and not opens(before) and (opens(after) or not _is_mark(after))
        if ends or (_is_wide_mark(after) and opens(after) and not opens(before)):
            yield text[begin:place]
            begin = place
    yield text[begin:]


def _is_spoken(character: str) -> bool:
    return not (character == " " or _is_mark(character))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in _SPOKEN


def _is_wide_mark(character: str) -> bool:
    return _is_mark(character) and unicodedata.east_asian_width(character) in "WF"


def _is_unspaced(text: str, place: int) -> bool:
    """Whether a word may begin here without a space: only scripts without letter case do so."""
    return "Lo" in (unicodedata.category(text[place - 1]), unicodedata.category(text[place]))


def _seconds(milliseconds: float) -> str:
    return str(round(milliseconds) / 1000)
