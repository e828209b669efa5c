"""Transcripts for tests of results: a few lines of text, or anything at all (hypothesis)."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from tests.fakes import transcripts
from worker.results.transcript import Segment, SubtitleOptions, Transcript, Word

# The same examples on every run, and no clock: other work on the machine must not fail a test.
examples = settings(max_examples=25, derandomize=True, deadline=None)

WORD_TEXTS = st.one_of(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzÄß", min_size=1, max_size=12),
    st.sampled_from(["Well,", "stop.", "why?", "«bon»", "(so)", "it's", "1999", "42", "—", "A&B"]),
    st.sampled_from(["<b>", "</i>", "< i >", "{\\an8}", "-->", "&amp;", "&lt;", "\\N", "<", "{"]),
    st.text(alphabet="録音今日は世界。、「」『』ー々ッ", min_size=1, max_size=40),
    st.text(alphabet="안녕하세요반갑습니다", min_size=1, max_size=30),
    st.text(alphabet="สวัสดีครับตัวนี้", min_size=1, max_size=60),
    st.text(alphabet="e\u0301a\u0308\u200d👍🏽", min_size=1, max_size=10),
    st.text(alphabet="x", min_size=43, max_size=130),
)
# What separates and what no subtitle may hold: every kind of white space, controls.
GAPS = [*" " * 8, "  ", "\n", "\r\n", "\t", "\u3000", "\u2028", " \x00"]

OPTIONS = st.builds(
    SubtitleOptions,
    max_line_width=st.sampled_from([42, 42, 10, 11, 32, 200]),
    max_line_count=st.sampled_from([2, 2, 1, 3, 10]),
    max_cue_seconds=st.sampled_from([7.0, 7.0, 1.0, 2.5, 60.0]),
    output_start_index=st.sampled_from([1, 1, 0, 500]),
)


LABELS = [
    *["SPEAKER_00", "SPEAKER_01", "agent", "Anna & Co. <anna>", "the left one --", "-->", "{so}"],
    *["録音", "/b>", "&amp;", "A label that is as long as a label may be, which is 64 letters."],
]
"""What speakers and channels may be called."""


def transcript(*segments: Segment, options: SubtitleOptions | None = None) -> Transcript:
    """A transcript whose segments are windows; its audio ends with them, or after a minute."""
    whole = transcripts.transcript(*segments)
    return whole.model_copy(
        update={
            "subtitles": options or SubtitleOptions(),
            "input": whole.input.model_copy(
                update={"audio_seconds": max([60.0, *(one.end for one in segments)])}
            ),
        }
    )


def segment(start: float, end: float, text: str, words: Sequence[Word] = ()) -> Segment:
    return Segment(id=0, start=start, end=end, text=text, avg_logprob=-0.1, words=tuple(words))


def words_of(*timed: tuple[str, float, float]) -> list[Word]:
    return [Word(word=word, start=start, end=end) for word, start, end in timed]


def squeezed(text: str) -> str:
    """The text without white space and without the characters that no subtitle shows."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]", "", text)


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


@st.composite
def segments(draw: st.DrawFn, *, with_words: bool | None = None) -> list[Segment]:
    """Segments in order, from a blink to half a minute, with or without words, in any language.

    Of those without words, some say where their speech was heard.
    """
    found = []
    clock = 0
    for number in range(draw(st.integers(0, 3))):
        chance = random.Random(draw(st.integers(0, 2**32)))
        texts = draw(st.lists(WORD_TEXTS, max_size=12)) * chance.choice([1, 1, 2, 5])
        length = chance.choice([200, 3000, 30_000])
        clock += chance.choice([0, 0, 1, 37, 1500])
        words: list[Word] = []
        if chance.random() < 0.5 if with_words is None else with_words:
            edges = sorted(chance.randint(0, length) for _ in range(2 * len(texts)))
            words = [
                Word(
                    word=chance.choice(["", " "]) + text,
                    start=(clock + edges[2 * i]) / 1000,
                    end=(clock + edges[2 * i + 1]) / 1000,
                )
                for i, text in enumerate(texts)
            ]
        edges = sorted(chance.sample(range(length + 1), 2 * chance.randint(0, 6)))
        speech = [
            ((clock + start) / 1000, (clock + end) / 1000)
            for start, end in zip(edges[::2], edges[1::2], strict=True)
        ]
        found.append(
            Segment(
                id=number,
                start=clock / 1000,
                end=(clock + length) / 1000,
                text="".join(text + chance.choice(GAPS) for text in texts),
                avg_logprob=-0.2,
                words=tuple(words),
                speech=() if words else tuple(speech),
                language=chance.choice(["en", "en", "ja", None]),
            )
        )
        clock += length
    return found


@st.composite
def conversations(draw: st.DrawFn) -> list[Segment]:
    """Segments in order of start: of speakers, some of whom nobody knows, or of two channels.

    Those of two channels overlap.
    """
    if draw(st.booleans()):
        labels = st.sampled_from([None, *LABELS])
        return [one.model_copy(update={"speaker": draw(labels)}) for one in draw(segments())]
    first, second = draw(st.permutations(LABELS))[:2]
    both = [
        one.model_copy(update={"channel": label})
        for label in (first, second)
        for one in draw(segments())
    ]
    return sorted(both, key=lambda one: one.start)
