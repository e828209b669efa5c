"""Transcripts of every kind for property tests: languages, tasks, with words or without.

Some have speakers, and some have channels.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.fakes.transcripts import ENGINE
from worker.results.transcript import (
    Channel,
    InputInfo,
    Language,
    LanguageShare,
    Segment,
    Speaker,
    Timings,
    Transcript,
    Word,
)

__all__ = ["as_json", "transcripts"]

_LETTERS = st.text(alphabet="abcdefgzÄßñ", min_size=1, max_size=8)
_WORDS = st.one_of(
    _LETTERS,
    st.builds("{}{}".format, _LETTERS, st.sampled_from([*",.?!:;)", '."', "?!", "…", "...", "'s"])),
    st.builds("{}{}".format, st.sampled_from([*'"(¿¡«-', "..."]), _LETTERS),
    st.sampled_from(
        ["it's", "well-known", "3.5", "50%", "C#", "AT&T", "***", "***,", "a.m.", "$5"]
    ),
    st.sampled_from(["—", "-", '"', "♪", "-->", "<b>", "&amp;", "👍🏽", "e\u0301", "New York"]),
    st.sampled_from(["안녕하세요.", "مرحبا،", "नमस्ते।", "सुनो"]),
)
_UNSPACED_WORDS = st.one_of(
    st.text(alphabet="録音今日は世界ー々ッ", min_size=1, max_size=4),
    st.sampled_from(["です。", "、", "「はい」", "(笑)", "2020", "年", "OpenAI", "สวัสดี", "ครับ"]),
)
_GAPS = st.sampled_from(["", "", "", " ", "  ", "\n", "\u3000"])
_MAYBE = st.sampled_from([None, 0.0, 0.4, 2.5])


def as_json(text: str) -> Any:
    """The document in a text; fails on NaN and infinity, which JSON doesn't have."""
    return json.loads(text, parse_constant=pytest.fail)


@st.composite
def _segments(draw: st.DrawFn, *, spaced: bool, with_words: bool, number: int) -> Segment:
    said = draw(st.lists(_WORDS if spaced else _UNSPACED_WORDS, max_size=8))
    gaps = draw(st.lists(_GAPS, min_size=len(said), max_size=len(said)))
    text = "".join(word + (gap or " " * spaced) for word, gap in zip(said, gaps, strict=True))
    # Words that don't spell the text are rare, but there are some.
    heard = said if draw(st.integers(0, 9)) else ["something", "else"]
    chance = random.Random(draw(st.integers(0, 2**32)))
    start = number * 10.0
    edges = sorted(chance.randint(0, 9_000) for _ in range(2 * len(heard)))
    words = [
        Word(
            word=word,
            start=start + edges[2 * i] / 1000,
            end=start + edges[2 * i + 1] / 1000,
            score=chance.choice([None, 0.0, 0.35, 0.999, 1.0]),
            vocabulary_filter_match=chance.choice([None, None, True]),
        )
        for i, word in enumerate(heard)
    ]
    return Segment(
        id=number,
        start=start,
        end=start + 9.0,
        text=text,
        avg_logprob=draw(st.sampled_from([-0.1, -1.5, float("-inf")])),
        no_speech_prob=draw(_MAYBE),
        temperature=draw(_MAYBE),
        compression_ratio=draw(_MAYBE),
        words=tuple(words) if with_words else (),
        language=draw(st.sampled_from([None, "de", "ja"])),
    )


def _with_speakers(draw: st.DrawFn, made: Transcript) -> Transcript:
    """Told apart by their voices; nobody is heard in some of the segments, and in some words."""
    labels = [f"SPEAKER_{number:02d}" for number in range(draw(st.integers(0, 3)))]
    segments = []
    for segment in made.segments:
        label = draw(st.sampled_from([None, *labels]))
        heard = [word.model_copy(update={"speaker": label}) for word in segment.words]
        if draw(st.booleans()) and heard:
            heard[0] = heard[0].model_copy(update={"speaker": None})
        segments.append(segment.model_copy(update={"speaker": label, "words": tuple(heard)}))
    speakers = tuple(
        Speaker(
            label=label,
            seconds=2.5,
            turns=1,
            words=sum(word.speaker == label for one in segments for word in one.words),
        )
        for label in labels
    )
    return made.model_copy(update={"segments": tuple(segments), "speakers": speakers, "turns": ()})


def _with_channels(draw: st.DrawFn, made: Transcript) -> Transcript:
    """Each transcribed on its own; they speak at the same time."""
    labels = draw(st.permutations(["agent", "<customer>", "ch_1", "--"]))[: draw(st.integers(1, 3))]
    segments = [
        segment.model_copy(update={"channel": draw(st.sampled_from(labels))})
        for segment in made.segments
    ]
    channels = tuple(
        Channel(
            label=label,
            audio_stream=None,
            channel=number,
            language=made.language,
            seconds=2.5,
            text=" ".join(one.text for one in segments if one.channel == label),
        )
        for number, label in enumerate(labels)
    )
    return made.model_copy(update={"segments": tuple(segments), "channels": channels})


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Any transcript; segments of ten seconds, which need not all have words."""
    language = draw(st.sampled_from([None, "en", "de", "ja", "zh", "th", "yue", "jw"]))
    with_words = draw(st.booleans())
    spaced = language not in ("ja", "zh", "th", "yue")
    segments = [
        draw(_segments(spaced=spaced, with_words=with_words and draw(st.booleans()), number=number))
        for number in range(draw(st.integers(0, 3)) if language else 0)
    ]
    shares = draw(st.sampled_from([(), ("de",), ("de", "ja")])) if segments else ()
    made = Transcript(
        job_id=draw(st.sampled_from(["call-17", "Müller.wav-1"])),
        input=InputInfo(uri="call.flac", bytes=1, audio_seconds=len(segments) * 10.0 + 1.0),
        language=Language(
            code=language,
            probability=draw(st.sampled_from([None, 0.987])),
            detected=draw(st.booleans()),
        )
        if language
        else None,
        languages=tuple(LanguageShare(code=code, seconds=4.5) for code in shares),
        task=draw(st.sampled_from(["transcribe", "translate"])),
        text=" ".join(segment.text for segment in segments),
        segments=tuple(segments),
        engine=ENGINE,
        timings=Timings(),
        speed=1.0,
    )
    of = draw(st.sampled_from([None, _with_speakers, _with_channels]))
    return made if of is None else of(draw, made)
