"""A transcript of channels: each cut by itself, all put in order of start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.transcripts import assembled
from tests.spoken import examples
from tests.windows import spoken, window
from worker.results.presentation import Presentation
from worker.results.transcript import Channel, Language, Segment
from worker.speech.api import Recognition


def channel(
    label: str, number: int, code: str | None = None, same_as: str | None = None
) -> Channel:
    language = Language(code=code, probability=None, detected=False) if code else None
    return Channel(
        label=label,
        audio_stream=None,
        channel=number,
        same_as=same_as,
        language=language,
        seconds=1.23456,
        text="",
    )


def recognition(channels: Sequence[Channel], said: Sequence[Sequence[Segment]]) -> Recognition:
    """Of channels, with what was said in each."""
    return Recognition(
        audio_seconds=200.0,
        language=None,
        segments=sorted(
            (
                segment.model_copy(update={"channel": one.label})
                for one, its in zip(channels, said, strict=True)
                for segment in its
            ),
            key=lambda segment: segment.start,
        ),
        word_times="attention",
        seconds={},
        windows=1,
        channels=tuple(channels),
    )


AGENT, CALLER = channel("agent", 0), channel("caller", 1)


def test_a_sentence_goes_on_in_its_own_channel_whoever_speaks_between() -> None:
    agent = [window("Hello. And then we", 0.0, 4.0), window("went home.", 4.5, 2.0)]
    caller = [window("Oh. Really?", 2.5, 2.0)]
    made = assembled(recognition([AGENT, CALLER], [agent, caller]))
    assert [(one.id, one.channel, one.start, one.end, one.text) for one in made.segments] == [
        (0, "agent", 0.0, 1.0, "Hello."),
        (1, "agent", 1.0, 6.5, "And then we went home."),
        (2, "caller", 2.5, 3.5, "Oh."),
        (3, "caller", 3.5, 4.5, "Really?"),
    ]
    assert made.text == "Hello. And then we went home. Oh. Really?"
    assert made.channels is not None
    assert [(one.label, one.text, one.seconds) for one in made.channels] == [
        ("agent", "Hello. And then we went home.", 1.235),
        ("caller", "Oh. Really?", 1.235),
    ]


def test_what_is_said_at_once_keeps_its_times_in_each_channel() -> None:
    made = assembled(
        recognition([AGENT, CALLER], [[window("Yes.", 1.0, 2.0)], [window("No.", 1.0, 3.0)]])
    )
    assert [(one.channel, one.start, one.end) for one in made.segments] == [
        ("agent", 1.0, 3.0),
        ("caller", 1.0, 4.0),
    ]


def test_a_channel_that_holds_the_same_as_another_has_no_text() -> None:
    twin = channel("ch_1", 1, same_as="agent")
    made = assembled(recognition([AGENT, twin], [[window("Yes.")], []]))
    assert made.channels is not None
    assert [(one.text, one.same_as) for one in made.channels] == [("Yes.", None), ("", "agent")]


def test_a_segment_whose_language_is_not_known_has_its_channels() -> None:
    unknown = window("Ja.").model_copy(update={"language": None})
    channels = [channel("left", 0, "de"), channel("right", 1, "fr")]
    made = assembled(recognition(channels, [[unknown], [unknown]]))
    assert [one.language for one in made.segments] == ["de", "fr"]


def test_a_phrase_is_found_in_one_channel_whoever_speaks_between() -> None:
    agent = [window("We use the a p", 0.0, 5.0), window("eye now", 8.0, 2.0)]
    found = recognition([AGENT, CALLER], [agent, [window("eye", 5.5, 1.0)]])
    made = assembled(found, Presentation(display_as={"a p eye": "API"}))
    assert [one.text for one in made.segments] == ["We use the API", "eye", "now"]


@given(st.lists(spoken(), min_size=1, max_size=3), st.sampled_from(["sentence", "window"]))
@examples
def test_each_channel_is_as_if_it_were_alone(said: list[list[Segment]], resolution: str) -> None:
    asked = Presentation(segment_resolution=resolution)  # type: ignore[arg-type]  # one of them
    channels = [channel(f"ch_{number}", number) for number in range(len(said))]
    found = recognition(channels, said)
    made = assembled(found, asked)
    assert made.channels is not None
    assert [one.id for one in made.segments] == list(range(len(made.segments)))
    assert all(left.start <= right.start for left, right in pairwise(made.segments))
    for one, its in zip(made.channels, said, strict=True):
        alone = assembled(replace(found, segments=its, channels=None), asked)
        own = [segment for segment in made.segments if segment.channel == one.label]
        assert all(left.end <= right.start for left, right in pairwise(own))
        assert one.text == alone.text
        assert [segment.model_copy(update={"id": 0, "channel": None}) for segment in own] == [
            segment.model_copy(update={"id": 0}) for segment in alone.segments
        ]
    squeezed = "".join("".join(one.text for one in made.segments).split())
    assert "".join(made.text.split()) == squeezed
