"""Short windows that are no longer trusted: what they said is decoded again before its job ends."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.engine_parts import Parts, decoded, end, parts, window
from worker.speech.api import CarryContext, Options
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.file import File
from worker.speech.engine.guard import Guard
from worker.speech.engine.inflow import FileFeed
from worker.speech.engine.state import FileState
from worker.speech.engine.texts import KEPT_SECONDS, Step
from worker.speech.engine.window import Rung
from worker.speech.model.decoding import Decoded
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span

FEATURES = np.zeros((80, 100), dtype=np.float32)


def said(rung: Rung, index: int) -> Decoded:
    kind = "short" if rung.positions < FULL_POSITIONS else "full"
    tokens = tuple(range(100 * index, 100 * index + 40))
    return Decoded(f"{index} {kind}", tokens, -0.2, 0.0, "en", (), ())


@given(
    st.lists(st.sampled_from([5, 20]), max_size=8),
    st.sampled_from(["auto", "on", "off"]),
    st.integers(0, 40),
    st.integers(0, 1 << 30),
)
def test_whenever_trust_ends_no_short_text_is_left(
    seconds: list[int], mode: CarryContext, trusted_for: int, seed: int
) -> None:
    rng = random.Random(seed)
    state = FileState("job", Options(language="en", carry_context=mode), adaptive_ladder)
    arrivals, steps = list(range(len(seconds) + 1)), 0
    waiting: set[int] = set()
    flying: list[int] = []
    texts: list[int] = []

    def follow(step: Step) -> None:
        waiting.update(step.ready)
        texts.extend(index for index, _ in step.texts)
        waiting.difference_update(index for index, _ in step.texts)

    while not state.finished or steps <= trusted_for:
        if steps == trusted_for:
            follow(state.distrust_short("en"))
        steps += 1
        actions = [
            action
            for action, able in (
                ("arrive", arrivals),
                ("begin", waiting),
                ("land", flying),
                ("words", texts),
            )
            if able
        ]
        if not actions:
            continue
        action = rng.choice(actions)
        if action == "arrive":
            index = arrivals.pop(0)
            if index == len(seconds):
                follow(state.end(30.0 * index, {}))
                continue
            start = 30 * SAMPLE_RATE * index
            spans = (Span(start, start + seconds[index] * SAMPLE_RATE),)
            follow(state.add_window(index, spans, FEATURES, None))
        elif action == "begin":
            index = rng.choice(sorted(waiting))
            waiting.remove(index)
            state.begin(index)
            flying.append(index)
        elif action == "land":
            index = flying.pop(rng.randrange(len(flying)))
            rung = state.windows[index].flying
            assert rung is not None
            follow(state.decoded(index, said(rung, index)))
        else:
            follow(state.words(texts.pop(rng.randrange(len(texts))), ()))
    assert [state.done[index].text for index in range(len(seconds))] == [
        f"{index} full" for index in range(len(seconds))
    ]


def test_a_file_keeps_no_more_short_windows_than_it_can_decode_again() -> None:
    state = FileState("job", Options(language="en", carry_context="off"), adaptive_ladder)
    count = round(KEPT_SECONDS / 10) + 5
    for index in range(count):
        start = 30 * SAMPLE_RATE * index
        state.add_window(index, (Span(start, start + 10 * SAMPLE_RATE),), FEATURES, None)
    short = [state.begin(index).positions < FULL_POSITIONS for index in range(count)]
    assert short == [True] * (count - 5) + [False] * 5


def test_where_the_guard_learns_that_short_windows_lose_their_job_is_repaired() -> None:
    engine = parts(context="auto", guard=Guard(first_share=1.0, min_words=4))
    file, feed = engine.file(language="en")
    window(feed, 0, 2.5)
    engine.decode("what the short window said")
    assert file.state.done[0].text == "what the short window said"
    # The audit hears something else altogether.
    engine.decode("quite other words in full")
    assert not engine.feedback.allows("en")
    (again,) = engine.decode("the words in full")
    assert (again.job, again.index, again.key.positions) == (file.number, 0, FULL_POSITIONS)
    end(feed, 30.0)
    result = file.future.result(0)
    assert [segment.text for segment in result.segments] == ["the words in full"]
    assert any("Context went to full" in note for note in result.notes)
    assert engine.shared.stats.second_attempts == 1


def distrusted_in_flight(engine: Parts, seconds: float) -> tuple[File, FileFeed]:
    """A file of one window that was on the device when trust ended."""
    file, feed = engine.file(language="en")
    window(feed, 0, seconds)
    with engine.flow.lock:
        batch = engine.batch()
        assert batch is not None
        (item,) = batch.items
        engine.flow.request(item)
        engine.flow.follow(file, file.state.distrust_short("en"))
        engine.flow.decoded(item, decoded("so it is"), 0.1)
    return file, feed


def test_a_word_is_said_as_before_where_nothing_was_short() -> None:
    file, feed = distrusted_in_flight(parts(context="full"), 20.0)
    end(feed, 30.0)
    assert [segment.text for segment in file.future.result(0).segments] == ["so it is"]


def test_what_was_on_the_device_when_trust_ended_counts_as_tried() -> None:
    engine = parts(context="auto")
    file, feed = distrusted_in_flight(engine, 2.5)
    assert engine.shared.stats.second_attempts == 1
    engine.decode("the words in full")
    end(feed, 30.0)
    assert [segment.text for segment in file.future.result(0).segments] == ["the words in full"]
