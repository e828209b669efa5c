"""What a person corrected in a transcript, and the transcript with it (pure).

A corrected word keeps its times and its speaker, and loses its score, which was the model's, and
the filter's tag, which was another word's. Between words stands what stood there before. A word or
a segment that was corrected to nothing is left out. What a result says of its speakers' words and
of its channels' texts goes with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from worker.results.plural import counted
from worker.results.spelling import one_line, respelled, spans
from worker.results.transcript import Channel, Segment, Speaker, Transcript, Word

__all__ = ["Corrections", "SegmentCorrections", "corrected"]

_Place = Annotated[int, Field(ge=0)]
_WordText = Annotated[str, Field(max_length=1000)]
_SegmentText = Annotated[str, Field(max_length=100_000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SegmentCorrections(_Model):
    """Of one segment: either some of its words, or the whole text where words don't spell it."""

    words: Mapping[_Place, _WordText] = Field(
        default_factory=dict, description="by place in the segment's `words`, from 0"
    )
    text: _SegmentText | None = None


class Corrections(_Model):
    """All that was corrected, as the page sends it and as it was saved."""

    version: int = Field(
        default=0,
        ge=0,
        description="of the saved state: how many saves led to it. What the page sends names the"
        " state that it began with",
    )
    segments: Mapping[_Place, SegmentCorrections] = Field(
        default_factory=dict, description="by place in the transcript's `segments`, from 0"
    )


def corrected(transcript: Transcript, corrections: Corrections) -> Transcript:
    """The transcript with the corrections, checked by its own rules; its notes say so.

    Raises:
        ValueError: a correction is of a segment or a word that isn't there, or is of words in a
            segment whose text isn't spelled by them, or of the text where it is.
    """
    if not corrections.segments:
        return transcript
    missing = [place for place in corrections.segments if place >= len(transcript.segments)]
    if missing:
        raise ValueError(
            f"there is no segment {missing[0]}: the transcript has {len(transcript.segments)}"
        )
    changed = [
        _corrected(place, segment, corrections.segments[place])
        if place in corrections.segments
        else segment
        for place, segment in enumerate(transcript.segments)
    ]
    kept = [segment for segment in changed if one_line(segment.text)]
    segments = tuple(
        segment.model_copy(update={"id": number}) for number, segment in enumerate(kept)
    )
    result = transcript.model_copy(
        update={
            "segments": segments,
            "text": _whole_text(transcript.text, transcript.segments, changed),
            "speakers": _speakers(transcript, changed),
            "channels": _channels(transcript, changed),
            "word_times": transcript.word_times if any(one.words for one in segments) else None,
            "notes": (*transcript.notes, _note(corrections)),
        }
    )
    return Transcript.model_validate(result.model_dump())


def _corrected(place: int, segment: Segment, corrections: SegmentCorrections) -> Segment:
    line = one_line(segment.text)
    parts = [one_line(word.word) for word in segment.words]
    places = spans(line, parts) if parts else None
    if (places is None) == bool(corrections.words) or (
        places is not None and corrections.text is not None
    ):
        means = "its text" if places is None else "its words"
        raise ValueError(f"segment {place} is corrected by {means}, and by nothing else")
    if places is None:
        text = line if corrections.text is None else one_line(corrections.text)
        return segment.model_copy(update={"text": text, "words": ()})
    missing = [number for number in corrections.words if number >= len(parts)]
    if missing:
        raise ValueError(f"segment {place} has no word {missing[0]}: it has {len(parts)}")
    texts = {number: one_line(text) for number, text in corrections.words.items()}
    words = [_corrected_word(word, texts.get(number)) for number, word in enumerate(segment.words)]
    return segment.model_copy(
        update={
            "text": respelled(line, places, [texts.get(n, part) for n, part in enumerate(parts)]),
            "words": tuple(word for word in words if word is not None),
        }
    )


def _corrected_word(word: Word, text: str | None) -> Word | None:
    if text is None:
        return word
    if not text:
        return None
    return word.model_copy(update={"word": text, "score": None, "vocabulary_filter_match": None})


def _speakers(transcript: Transcript, changed: Iterable[Segment]) -> tuple[Speaker, ...] | None:
    """The speakers without the words that were removed.

    Words are counted in results that leave them out, too; so what is gone is taken off.
    """
    if transcript.speakers is None:
        return None
    gone = _words_of(transcript.segments)
    gone.subtract(_words_of(changed))
    return tuple(
        speaker.model_copy(update={"words": max(0, speaker.words - gone[speaker.label])})
        for speaker in transcript.speakers
    )


def _words_of(segments: Iterable[Segment]) -> Counter[str | None]:
    return Counter(word.speaker for segment in segments for word in segment.words)


def _channels(transcript: Transcript, changed: Sequence[Segment]) -> tuple[Channel, ...] | None:
    """The channels with the texts that they have now; one that is as another has none."""
    if transcript.channels is None:
        return None
    return tuple(
        channel.model_copy(
            update={
                "text": _whole_text(
                    channel.text,
                    [one for one in transcript.segments if one.channel == channel.label],
                    [one for one in changed if one.channel == channel.label],
                )
            }
        )
        for channel in transcript.channels
    )


def _whole_text(text: str, segments: Iterable[Segment], changed: Iterable[Segment]) -> str:
    """The text of all segments, joined as it was.

    Args:
        text: as it was.
        segments: whose text it is, as they were.
        changed: the same as they are now.
    """
    line = one_line(text)
    places = spans(line, [one_line(segment.text) for segment in segments])
    texts = [one_line(segment.text) for segment in changed]
    return one_line(" ".join(texts)) if places is None else respelled(line, places, texts)


def _note(corrections: Corrections) -> str:
    words = sum(len(one.words) for one in corrections.segments.values())
    texts = sum(one.text is not None for one in corrections.segments.values())
    counts = [
        counted(count, noun) for count, noun in ((words, "word"), (texts, "segment")) if count
    ]
    return f"Corrected by hand: {' and '.join(counts)}."
