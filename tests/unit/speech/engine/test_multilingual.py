"""A multilingual file: every window ends in one language, one of two languages as its parts."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Word
from worker.speech.api import Options, Recognition
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.division import divided
from worker.speech.engine.language import VOTERS
from worker.speech.engine.language_parts import parts
from worker.speech.engine.order import FIRST_PART
from worker.speech.engine.state import FileState
from worker.speech.engine.texts import Step
from worker.speech.engine.window import Ladder, WindowState, full_ladder
from worker.speech.model.decoding import Decoded
from worker.speech.model.detection import Ranking, pieces
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span

CODES = ("de", "en", "fr")
MULTILINGUAL = Options(multilingual=True, carry_context="off")
"""Texts with the text before them depend on what was decoded first; see test_carry."""


def ranking(first: str, probability: float = 0.97) -> Ranking:
    others = [code for code in CODES if code != first]
    return ((first, probability), *((code, (1 - probability) / 2) for code in others))


def said(language: str, rankings: Ranking = (), looked_at: tuple[Ranking, ...] = ()) -> Decoded:
    words = (Word(word=language, start=0.5, end=1.0),)
    return Decoded(language, (1, 2), -0.2, 0.0, language, rankings, words, looked_at)


def file_of(
    *seconds: float, options: Options = MULTILINGUAL, ladder: Ladder = full_ladder
) -> FileState:
    """A file whose windows are half a minute apart."""
    state = FileState("job", options, ladder)
    for index, length in enumerate(seconds):
        start = index * 30 * SAMPLE_RATE
        span = Span(start, start + round(length * SAMPLE_RATE))
        features = np.zeros((80, round(length * 100) + 1), dtype=np.float32)
        assert state.add_window(index, (span,), features, None) == Step(ready=(index,))
    return state


def decode(state: FileState, index: int, decoded: Decoded) -> Step:
    state.begin(index)
    return state.decoded(index, decoded)


def finish(state: FileState, step: Step) -> Recognition:
    """Decodes what is ready in the language it is known to be in, and ends the file."""
    step += state.end(600.0, {})
    while step.ready or step.texts:
        following = Step()
        for index in step.ready:
            if index in following.ready:
                continue  # it waits already: it goes as it is to be decoded now
            language = state.windows[index].language
            assert language is not None, "each window of the file was heard"
            following += decode(state, index, said(language))
        for index, decoded in step.texts:
            following += state.words(index, decoded.words)
        step = following
    assert state.finished
    return state.recognition("attention")


def test_a_file_of_one_window_that_cannot_tell_ends() -> None:
    state = file_of(1.0)
    assert decode(state, 0, said("fr", ranking("fr", 0.5))) == Step()
    result = finish(state, Step())
    assert [segment.language for segment in result.segments] == ["fr"]
    assert result.language is not None
    assert result.language.code == "fr"


@pytest.mark.parametrize("language", ["fr", "de"])
def test_a_window_that_waits_for_its_language_when_short_windows_lose_goes_on(
    language: str,
) -> None:
    """It waits for its neighbour, in any language, and is not asked for before it is known."""
    state = file_of(3.0, 20.0, ladder=adaptive_ladder)
    assert state.begin(0).positions < FULL_POSITIONS
    assert state.decoded(0, said("fr", ranking("fr", 0.5))) == Step()
    assert 0 not in state.distrust_short("fr").ready
    step = decode(state, 1, said(language, ranking(language)))
    assert 0 in step.ready
    assert state.windows[0].language == language
    # In the language that lost it is decoded in full; the other has it as it was.
    assert (state.windows[0].rung.positions == FULL_POSITIONS) == (language == "fr")
    recognition = finish(state, step)
    assert [segment.text for segment in recognition.segments] == [language, language]


def test_a_window_of_two_languages_is_decoded_as_two() -> None:
    state = file_of(20.0, 12.0, 20.0)
    step = decode(state, 0, said("de", ranking("de")))
    looked_at = (ranking("de"), ranking("fr"), ranking("fr"))
    step += decode(state, 1, said("fr", ranking("fr", 0.6), looked_at))
    step += decode(state, 2, said("fr", ranking("fr")))
    first, second = step.ready
    assert first == 1
    assert second >= FIRST_PART
    assert [state.windows[index].language for index in step.ready] == ["de", "fr"]
    # The parts are all of the window, and nothing of it twice.
    assert state.windows[first].start == 30.0
    assert state.windows[first].end == state.windows[second].start
    assert state.windows[second].end == 42.0
    result = finish(state, step)
    assert [segment.language for segment in result.segments] == ["de", "de", "fr", "fr"]
    assert [word.word for segment in result.segments for word in segment.words] == [
        "de", "de", "fr", "fr",
    ]  # fmt: skip
    assert dict(result.languages).keys() == {"de", "fr"}
    assert sum(seconds for _, seconds in result.languages) == 52.0
    assert result.languages[0][1] >= result.languages[1][1]
    assert result.windows == 3


def test_a_part_has_no_neighbour_whose_text_it_would_take_or_wait_for() -> None:
    state = file_of(12.0, options=Options(multilingual=True, carry_context="on"))
    looked_at = (ranking("de"), ranking("fr"), ranking("fr"))
    step = decode(state, 0, said("de", ranking("de", 0.6), looked_at))
    assert all(not state.windows[index].rung.prompt for index in step.ready)
    assert [segment.language for segment in finish(state, step).segments] == ["de", "fr"]


def test_a_window_that_cannot_tell_asks_for_more_windows_and_holds_nothing_up_for_good() -> None:
    state = file_of(*[1.0] * (VOTERS + 2))
    assert not state.wants_windows
    step = Step()
    for index in range(VOTERS + 2):
        step += decode(state, index, said("fr", ranking("fr", 0.5)))
        assert state.wants_windows
    assert [index for index, _ in step.texts] == [0, 1], "they have heard enough ahead"
    finish(state, step)
    assert not state.wants_windows


heard = st.tuples(
    st.sampled_from((0.8, 1.5, 6.0, 12.0, 25.0)),
    st.sampled_from(CODES),
    st.sampled_from((0.4, 0.6, 0.97)),
    st.lists(st.sampled_from(CODES), min_size=7, max_size=7),
)


@given(st.lists(heard, max_size=10), st.integers(0, 1_000))
def test_whatever_is_heard_in_whatever_order_the_result_is_the_same(
    windows: list[tuple[float, str, float, list[str]]], seed: int
) -> None:
    def run(order: list[int]) -> Recognition:
        state = file_of(*(seconds for seconds, *_ in windows))
        step = Step()
        for index in order:
            seconds, code, probability, codes = windows[index]
            count = len(pieces(seconds)) if probability == 0.6 else 0
            looked_at = tuple(ranking(other) for other in codes[:count])
            step += decode(state, index, said(code, ranking(code, probability), looked_at))
        return finish(state, step)

    order = list(range(len(windows)))
    expected = run(order)
    random.Random(seed).shuffle(order)
    assert run(order) == expected
    ends = [time for each in expected.segments for time in (each.start, each.end)]
    assert ends == sorted(ends)
    assert {each.language for each in expected.segments} <= set(CODES)


@given(st.lists(st.floats(0.5, 8.0), min_size=2, max_size=3), st.data())
def test_parts_share_all_that_a_window_has(lengths: list[float], data: st.DataObject) -> None:
    spans: list[Span] = []
    for length in lengths:
        start = (spans[-1].end if spans else 0) + 20_000
        spans.append(Span(start, start + round(length * SAMPLE_RATE)))
    samples = sum(span.length for span in spans)
    count = len(pieces(samples / SAMPLE_RATE))
    if not count:
        return
    window = WindowState(
        index=3,
        spans=tuple(spans),
        sound=np.zeros((80, -(-samples // 160) + 1), dtype=np.float32),
        samples=np.arange(samples, dtype=np.float32),
        rungs=full_ladder(1.0),
    )
    languages = data.draw(st.lists(st.sampled_from(CODES), min_size=count, max_size=count))
    assert window.sound is not None
    where = parts(languages, window.spans, window.sound)
    made = divided(window, [part.end for part in where[:-1]], range(len(where)))
    assert [part.index for part in made] == list(range(len(where)))
    found = [part.samples for part in made if part.samples is not None]
    assert np.array_equal(np.concatenate(found), np.arange(samples, dtype=np.float32))
    assert sum(span.length for part in made for span in part.spans) == samples
    for part in made:
        assert part.sound is not None
        assert abs(part.sound.shape[1] / 100 - part.seconds) < 0.05
