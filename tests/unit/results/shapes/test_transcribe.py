"""Programs that read Amazon Transcribe's output read ours.

The models are what its developer guide shows: "Data input and output" (the whole), "Filtering
unwanted words" (`vocabularyFilterMatch`), "Language identification with batch transcription jobs"
(`language_identification`, `language_codes`), "Example diarization output (batch)"
(`speaker_labels`), "Example channel identification output (batch)" (`channel_labels`). Numbers in
strings are as its examples have them.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from tests.fakes.any_transcripts import as_json, transcripts
from tests.fakes.transcripts import segments, transcript
from worker.results.formats import render
from worker.results.spelling import one_line
from worker.results.transcript import LanguageShare, Segment, Speaker, Transcript, Word

Number = Annotated[str, Field(pattern=r"^\d+\.\d{1,4}$")]
SpeakerLabel = Annotated[str, Field(pattern=r"^spk_\d+$")]
ChannelLabel = Annotated[str, Field(pattern=r"^ch_\d+$")]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Alternative(Shape):
    confidence: Number
    content: str = Field(min_length=1)


class Pronunciation(Shape):
    id: int
    type: Literal["pronunciation"]
    alternatives: list[Alternative] = Field(min_length=1)
    start_time: Number
    end_time: Number
    vocabularyFilterMatch: bool = False  # noqa: N815  # Transcribe's own name
    language_code: str | None = None
    speaker_label: SpeakerLabel | None = None
    channel_label: ChannelLabel | None = None


class Punctuation(Shape):
    id: int
    type: Literal["punctuation"]
    alternatives: list[Alternative] = Field(min_length=1)
    language_code: str | None = None
    speaker_label: SpeakerLabel | None = None
    channel_label: ChannelLabel | None = None


Item = Annotated[Pronunciation | Punctuation, Field(discriminator="type")]


class AudioSegment(Shape):
    id: int
    transcript: str
    start_time: Number
    end_time: Number
    items: list[int]
    language_code: str | None = None
    speaker_label: SpeakerLabel | None = None
    channel_label: ChannelLabel | None = None


class SpokenItem(Shape):
    start_time: Number
    speaker_label: SpeakerLabel
    end_time: Number


class SpokenSegment(SpokenItem):
    items: list[SpokenItem]


class SpeakerLabels(Shape):
    channel_label: Literal["ch_0"]
    speakers: int
    segments: list[SpokenSegment]


class ChannelItems(Shape):
    channel_label: ChannelLabel
    items: list[Item]


class ChannelLabels(Shape):
    channels: list[ChannelItems]
    number_of_channels: int


class TranscriptText(Shape):
    transcript: str


class LanguageScore(Shape):
    score: Number
    code: str


class LanguageSeconds(Shape):
    language_code: str
    duration_in_seconds: float


class Results(Shape):
    transcripts: list[TranscriptText] = Field(min_length=1, max_length=1)
    speaker_labels: SpeakerLabels | None = None
    channel_labels: ChannelLabels | None = None
    items: list[Item]
    audio_segments: list[AudioSegment]
    language_code: str | None = None
    language_codes: list[LanguageSeconds] | None = None
    language_identification: list[LanguageScore] | None = None


class Output(Shape):
    jobName: str  # noqa: N815
    accountId: str = Field(pattern=r"^\d{12}$")  # noqa: N815
    status: Literal["COMPLETED"]
    results: Results


examples = settings(max_examples=60, derandomize=True, deadline=None)


def read(made: Transcript) -> Output:
    return Output.model_validate(as_json(render(made, "transcribe")))


def joined(items: list[Item]) -> str:
    """As programs put Transcribe's items together: a space before each but punctuation."""
    text = ""
    for item in items:
        content = item.alternatives[0].content
        text += content if item.type == "punctuation" or not text else f" {content}"
    return text


def spelled(text: str, words: tuple[Word, ...] = (), **also: object) -> list[str]:
    """The contents of a text's items, punctuation in brackets."""
    segment = Segment(id=0, start=0.0, end=4.0, text=text, avg_logprob=-0.1, words=words)
    items = read(transcript(segment).model_copy(update=also)).results.items
    return [
        f"[{content}]" if item.type == "punctuation" else content
        for item in items
        for content in [item.alternatives[0].content]
    ]


def test_it_is_what_transcribe_writes() -> None:
    made = transcript(*segments("Good morning, all."))
    assert as_json(render(made, "transcribe")) == {
        "jobName": "call-17",
        "accountId": "000000000000",
        "status": "COMPLETED",
        "results": {
            "language_code": "en",
            "language_identification": [{"score": "0.99", "code": "en"}],
            "transcripts": [{"transcript": "Good morning, all."}],
            "items": [
                {
                    "id": 0,
                    "type": "pronunciation",
                    "alternatives": [{"confidence": "0.9", "content": "Good"}],
                    "start_time": "0.5",
                    "end_time": "0.8",
                },
                {
                    "id": 1,
                    "type": "pronunciation",
                    "alternatives": [{"confidence": "0.9", "content": "morning"}],
                    "start_time": "0.9",
                    "end_time": "1.2",
                },
                {
                    "id": 2,
                    "type": "punctuation",
                    "alternatives": [{"confidence": "0.0", "content": ","}],
                },
                {
                    "id": 3,
                    "type": "pronunciation",
                    "alternatives": [{"confidence": "0.9", "content": "all"}],
                    "start_time": "1.3",
                    "end_time": "1.6",
                },
                {
                    "id": 4,
                    "type": "punctuation",
                    "alternatives": [{"confidence": "0.0", "content": "."}],
                },
            ],
            "audio_segments": [
                {
                    "id": 0,
                    "transcript": "Good morning, all.",
                    "start_time": "0.5",
                    "end_time": "1.6",
                    "items": [0, 1, 2, 3, 4],
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("It's a well-known dog's.", ["It's", "a", "well-known", "dog's", "[.]"]),
        ('"Why?" he asked.', ['"Why', "[?]", '["]', "he", "asked", "[.]"]),
        ("¿Qué (dijo)?", ["¿Qué", "(dijo", "[)]", "[?]"]),
        ("3.5 or 50%, C# and AT&T.", ["3.5", "or", "50%", "[,]", "C#", "and", "AT&T", "[.]"]),
        ("You ***, he said — no..", ["You", "***", "[,]", "he", "said", "— no", "[.]", "[.]"]),
        ("— Привет! — Пока.", ["— Привет", "[!]", "— Пока", "[.]"]),
        ("« Oui », dit-il !", ["« Oui", "[»]", "[,]", "dit-il", "[!]"]),
        ("… — so it was —", ["… — so", "it", "was", "[—]"]),
        ("Non » — « Si ?", ["Non", "[»]", "— « Si", "[?]"]),
        ("— …", ["[—]", "[…]"]),
        ("はい。「これは、本」です", ["はい", "[。]", "「これは", "[、]", "本", "[」]", "です"]),
        ("はい。(笑)そう", ["はい", "[。]", "(笑)そう"]),
        ("नमस्ते। مرحبا، 안녕.", ["नमस्ते", "[।]", "مرحبا", "[،]", "안녕", "[.]"]),
        ("♪ la ♪", ["♪", "la", "♪"]),
    ],
)
def test_words_and_the_punctuation_behind_them_are_items(text: str, contents: list[str]) -> None:
    assert spelled(text) == contents


def test_words_that_no_space_parts_are_items_where_scripts_write_none() -> None:
    def timed(*texts: str) -> tuple[Word, ...]:
        return tuple(Word(word=text, start=i, end=i + 0.5) for i, text in enumerate(texts))

    assert spelled("本です。はい", timed("本", "です。", "はい")) == ["本", "です", "[。]", "はい"]
    assert spelled("well-known", timed("well", "-known")) == ["well-known"]
    assert spelled("in New York", timed("in", "New York")) == ["in", "New York"]


def test_a_word_has_its_whole_time_and_its_punctuation_none() -> None:
    words = (
        Word(word='"Good', start=1.0, end=1.4, score=0.75),
        Word(word="day!", start=1.5, end=2.25, vocabulary_filter_match=True),
    )
    segment = Segment(id=0, start=0.5, end=3.0, text='"Good day!', avg_logprob=-0.1, words=words)
    good, day, _ = read(transcript(segment)).results.items
    assert isinstance(good, Pronunciation)
    assert isinstance(day, Pronunciation)
    assert (good.start_time, good.end_time) == ("1.0", "1.4")
    assert (day.start_time, day.end_time) == ("1.5", "2.25")
    assert [item.alternatives[0].confidence for item in (good, day)] == ["0.75", "0.0"]
    assert (good.vocabularyFilterMatch, day.vocabularyFilterMatch) == (False, True)


def test_without_words_their_times_are_shared_out() -> None:
    segment = Segment(id=0, start=1.0, end=3.0, text="abc def ghi", avg_logprob=-0.1)
    times = [
        (item.start_time, item.end_time)
        for item in read(transcript(segment)).results.items
        if isinstance(item, Pronunciation)
    ]
    assert times == [("1.0", "1.545"), ("1.727", "2.273"), ("2.455", "3.0")]


@given(transcripts())
@examples
def test_every_transcript_has_the_documented_shape(made: Transcript) -> None:
    results = read(made).results
    assert results.transcripts[0].transcript == made.text
    assert [item.id for item in results.items] == list(range(len(results.items)))
    assert [segment.id for segment in results.audio_segments] == list(
        range(len(results.audio_segments))
    )
    named = [number for segment in results.audio_segments for number in segment.items]
    assert named == [item.id for item in results.items]
    spoken = [segment for segment in made.segments if one_line(segment.text)]
    for segment, written in zip(spoken, results.audio_segments, strict=True):
        assert written.transcript == one_line(segment.text)
        items = [results.items[number] for number in written.items]
        assert joined(items).replace(" ", "") == written.transcript.replace(" ", "")
        times = [
            float(time)
            for item in items
            if isinstance(item, Pronunciation)
            for time in (item.start_time, item.end_time)
        ]
        assert times == sorted(times)
        assert all(segment.start <= time <= segment.end for time in times)


def labelled(made: Transcript) -> Results:
    """As read, if every segment has the label of who it is by, and each of its items too."""
    results = read(made).results
    speakers = {one.label: f"spk_{n}" for n, one in enumerate(made.speakers or ())}
    channels = {one.label: f"ch_{n}" for n, one in enumerate(made.channels or ())}
    spoken = [segment for segment in made.segments if one_line(segment.text)]
    for segment, written in zip(spoken, results.audio_segments, strict=True):
        items = [results.items[number] for number in written.items]
        for one in (written, *items):
            assert one.speaker_label == speakers.get(segment.speaker or "")
            assert one.channel_label == channels.get(segment.channel or "")
    return results


@given(transcripts())
@examples
def test_speakers_and_channels_are_labelled_in_every_place(made: Transcript) -> None:
    results = labelled(made)
    assert (results.speaker_labels is None) == (made.speakers is None)
    assert (results.channel_labels is None) == (made.channels is None)
    if results.speaker_labels is not None:
        assert results.speaker_labels.speakers == len(made.speakers or ())
        known = [one for one in results.audio_segments if one.speaker_label]
        for segment, spoken in zip(known, results.speaker_labels.segments, strict=True):
            assert spoken.speaker_label == segment.speaker_label
            assert (spoken.start_time, spoken.end_time) == (segment.start_time, segment.end_time)
            words = [results.items[number] for number in segment.items]
            assert [(one.start_time, one.end_time, one.speaker_label) for one in spoken.items] == [
                (word.start_time, word.end_time, segment.speaker_label)
                for word in words
                if isinstance(word, Pronunciation)
            ]
    if results.channel_labels is not None:
        assert results.channel_labels.number_of_channels == len(made.channels or ())
        for number, channel in enumerate(results.channel_labels.channels):
            assert channel.channel_label == f"ch_{number}"
            own = [one for one in results.items if one.channel_label == channel.channel_label]
            assert channel.items == own


def test_the_order_of_speakers_is_the_transcripts() -> None:
    """Who speaks first in the audio may be heard in no word."""
    (said,) = segments("Good.")
    made = transcript(said.model_copy(update={"speaker": "SPEAKER_01"}))
    speakers = tuple(
        Speaker(label=label, seconds=1.0, turns=1, words=words)
        for label, words in (("SPEAKER_00", 0), ("SPEAKER_01", 1))
    )
    labels = read(made.model_copy(update={"speakers": speakers})).results.speaker_labels
    assert labels is not None
    assert labels.speakers == 2
    assert [segment.speaker_label for segment in labels.segments] == ["spk_1"]


WORD = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", '"', "(", "¿", "«", "'", "— ", "« ", "— «"]),
    st.sampled_from(["it's", "well-known", "Zürich", "3.5", "a", "***", "$5", "слово"]),
    st.sampled_from(["", "", ".", ",", '?"', ")", "...", "!»", "'"]),
)


@given(st.lists(WORD, min_size=1, max_size=12), st.booleans())
@examples
def test_items_joined_are_the_text(said: list[str], with_words: bool) -> None:
    spoken = segments(" ".join(said), with_words=with_words)
    assert joined(read(transcript(*spoken)).results.items) == spoken[0].text


def test_a_text_in_several_languages_names_each() -> None:
    first, second = segments("Good morning.", "Bonjour.")
    made = transcript(first, second.model_copy(update={"language": "fr"}))
    shares = (LanguageShare(code="en", seconds=2.5), LanguageShare(code="fr", seconds=1.0))
    made = made.model_copy(update={"languages": shares})
    results = read(made).results
    assert results.language_code is None
    assert [
        (share.language_code, share.duration_in_seconds) for share in results.language_codes or ()
    ] == [
        ("en", 2.5),
        ("fr", 1.0),
    ]
    assert [segment.language_code for segment in results.audio_segments] == ["en", "fr"]
    codes = [
        (code, len(list(run)))
        for code, run in itertools.groupby(item.language_code for item in results.items)
    ]
    assert codes == [("en", 3), ("fr", 2)]
    translated = read(made.model_copy(update={"task": "translate"})).results
    assert (translated.language_code, translated.language_codes) == ("en", None)


def test_a_language_that_was_named_was_not_identified() -> None:
    made = transcript(*segments("Good."))
    assert made.language is not None
    named = made.language.model_copy(update={"probability": None, "detected": False})
    results = read(made.model_copy(update={"language": named})).results
    assert (results.language_code, results.language_identification) == ("en", None)


def test_without_speech_it_is_empty() -> None:
    results = read(transcript().model_copy(update={"language": None})).results
    assert results.transcripts[0].transcript == ""
    assert (results.items, results.audio_segments, results.language_code) == ([], [], None)
