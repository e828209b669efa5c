"""Windows that hold more text than the decoder can write: divided, in order, resumed whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.api import Options, Partial, WindowText
from worker.speech.engine.batcher import Turn
from worker.speech.engine.division import cut, divided, middle
from worker.speech.engine.order import FIRST_PART, MOST_PARTS, Order, whole
from worker.speech.engine.resume import done, finished
from worker.speech.engine.state import FileState
from worker.speech.engine.texts import Step
from worker.speech.engine.window import WindowState, full_ladder
from worker.speech.model.decoding import Decoded
from worker.speech.prepare.features import features_of
from worker.speech.windows import SAMPLE_RATE, Span

ENGLISH = Options(language="en")
ALONE = Options(language="en", carry_context="off")

ONE = "One half of all that is ever said in this window, word for word, and no more."
TWO = "Another half, which is at least as long as the one that came just before it."


def said(text: str, first: int = 0, *, stopped: bool = False, logprob: float = -0.2) -> Decoded:
    """A text of 60 tokens, or of as many as the decoder can write."""
    tokens = tuple(range(first, first + (224 if stopped else 60)))
    return Decoded(text, tokens, logprob, 0.0, "en", (), (), stopped=stopped)


def state_of(windows: int, options: Options = ALONE, resume: Partial | None = None) -> FileState:
    """A file of windows of 20 s, but for those that `resume` has."""
    state = FileState("job", options, full_ladder, resume=resume)
    kept = {index for index, *_ in done(state.kept)}
    for index in range(windows):
        start = index * 30 * SAMPLE_RATE
        span = Span(start, start + 20 * SAMPLE_RATE)
        features = np.ones((80, 2001), dtype=np.float32)
        features[:, 980:1020] = -1.0  # a pause in the middle
        state.add_window(index, (span,), None if index in kept else features, None)
    return state


def decode(state: FileState, index: int, decoded: Decoded) -> Step:
    state.begin(index)
    return state.decoded(index, decoded)


def write(state: FileState, step: Step) -> None:
    for index, _ in step.texts:
        state.words(index, ())


def test_a_window_with_more_text_than_fits_is_decoded_in_halves_that_follow_each_other() -> None:
    state = state_of(3, ENGLISH)
    write(state, decode(state, 0, said(f"{ONE} {TWO}", 0)))
    step = decode(state, 1, said("One half, and as far as it goes", 1000, stopped=True))
    assert step.texts == ()
    first, second = step.ready
    assert (first, whole(second)) == (1, 1)
    assert second >= FIRST_PART
    assert [state.turn(index) for index in step.ready] == [Turn.NOW, Turn.LATER]
    assert state.windows[first].end == state.windows[second].start
    assert state.windows[second].end == 50.0
    step = decode(state, first, said(ONE, 1000))
    assert step.ready == (second,)
    write(state, step)
    assert state.turn(second) is Turn.NOW
    assert state.begin(second).prompt[-60:] == tuple(range(1000, 1060)), "the first half's text"
    step = state.decoded(second, said(TWO, 2000))
    assert step.ready == (2,)
    write(state, step)
    assert state.begin(2).prompt[-60:] == tuple(range(2000, 2060)), "the second half's text"
    write(state, state.decoded(2, said(f"{TWO} {ONE}", 3000)))
    state.end(90.0, {})
    assert state.finished
    result = state.recognition(None)
    assert [segment.text for segment in result.segments][1:3] == [ONE, TWO]
    assert result.windows == 3
    assert state.second_attempts == 1


def test_halves_are_halved_again_while_their_text_does_not_fit() -> None:
    state = state_of(1)
    first, second = decode(state, 0, said("all", stopped=True)).ready
    second, third = decode(state, second, said("its end", stopped=True)).ready
    for index, text in ((third, "c"), (first, "a"), (second, "b")):
        write(state, decode(state, index, said(text)))
    state.end(30.0, {})
    assert [segment.text for segment in state.recognition(None).segments] == ["a", "b", "c"]


@pytest.mark.parametrize(("seconds", "divided"), [(20, True), (12, False)])
def test_a_loop_is_decoded_in_halves_only_where_its_window_is_long(
    seconds: int, divided: bool
) -> None:
    state = FileState("job", ENGLISH, full_ladder)
    features = np.ones((80, 100 * seconds + 1), dtype=np.float32)
    state.add_window(0, (Span(0, seconds * SAMPLE_RATE),), features, None)
    step = decode(state, 0, said("so it is " * 70, stopped=True, logprob=-0.05))
    assert (len(state.windows) > 1) is divided
    assert step.ready[0] == 0
    assert (state.windows[0].rung.temperature == 0.0) is divided


@pytest.mark.parametrize(
    ("words", "no_speech", "divided"),
    [
        ("A sentence that is said twice.", 0.1, True),
        (f"{ONE} {TWO}", 0.1, False),
        ("Thank you.", 0.5, False),
    ],
)
def test_a_text_far_too_short_for_its_speech_is_decoded_in_halves(
    words: str, no_speech: float, divided: bool
) -> None:
    state = state_of(1)
    said_once = replace(said(words), no_speech=no_speech)
    decode(state, 0, said_once)
    assert (len(state.windows) > 1) is divided


def text(index: int, start: float, end: float) -> WindowText:
    return WindowText(index=index, start=start, end=end, text=f"at {start}", avg_logprob=-0.2)


def test_a_divided_window_is_kept_with_all_of_its_parts_or_decoded_again() -> None:
    state = state_of(2)
    first, second = decode(state, 0, said("all", stopped=True)).ready
    write(state, decode(state, first, said("one")))
    write(state, decode(state, 1, said("two")))
    assert [window.index for window in state.partial().windows] == [1], "a half is not kept"
    write(state, decode(state, second, said("and a half")))
    partial = state.partial()
    assert done(finished(partial)) == ((0, 0.0, 20.0), (1, 30.0, 50.0))
    again = state_of(2, resume=partial)
    again.end(60.0, {})
    assert [segment.text for segment in again.recognition(None).segments] == [
        "one",
        "and a half",
        "two",
    ]
    assert again.recognition(None).resumed == 2


def test_parts_of_two_runs_are_not_mixed() -> None:
    parts = (text(0, 0.0, 9.0), text(FIRST_PART, 9.0, 20.0))
    assert finished(Partial(windows=parts)) == {0: parts}
    assert finished(Partial(windows=(text(0, 0.0, 20.0), parts[1]))) == {}
    assert finished(Partial(windows=parts[1:])) == {}
    assert finished(None) == {}


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3)), max_size=14))
def test_what_stands_before_and_after_is_known_after_any_divisions(
    divisions: Sequence[tuple[int, int]],
) -> None:
    order, expected = Order(), list(range(5))
    for place, others in divisions:
        place %= len(expected)
        new = order.divide(expected[place], others)
        assert len(new) == others
        expected[place + 1 : place + 1] = new
    assert len(set(expected)) == len(expected)
    found, index = [], 0
    for _ in expected:
        found.append(index)
        assert order.before(order.after(index)) == index
        index = order.after(index)
    assert found == expected
    assert order.before(0) == -1
    assert [whole(index) for index in expected] == sorted(whole(index) for index in expected)
    for of in range(5):
        assert {of, *order.parts(of)} == {index for index in expected if whole(index) == of}


def test_a_window_has_a_bounded_number_of_parts() -> None:
    order = Order()
    order.divide(3, MOST_PARTS - 1)
    with pytest.raises(ValueError, match="window 3 has 65 parts"):
        order.divide(3, 1)


@given(st.integers(1, 60))
def test_however_much_is_said_a_window_has_few_enough_parts_and_loses_none(tenths: int) -> None:
    state = FileState("job", ALONE, full_ladder)
    seconds = 30.0 * tenths / 60
    features = np.random.default_rng(tenths).normal(size=(80, round(100 * seconds)))
    span = Span(0, round(seconds * SAMPLE_RATE))
    step = state.add_window(0, (span,), features.astype(np.float32), None)
    while step.ready or step.texts:
        following = Step()
        for index in step.ready:
            # 40 letters, as 224 tokens of Lao: never longer than their speech.
            following += decode(state, index, said("a b c d e f g h i j k l m n", stopped=True))
        write(state, step)
        step = following
    state.end(seconds, {})
    assert state.finished
    assert len(state.done) <= MOST_PARTS
    texts = sorted(state.done.values(), key=lambda text: text.start)
    assert texts[0].start == 0.0
    assert texts[-1].end == span.end / SAMPLE_RATE
    assert all(left.end == right.start for left, right in pairwise(texts))


def test_samples_are_cut_where_their_features_would_be() -> None:
    rng = np.random.default_rng(3)
    sound = rng.integers(-3_000, 3_000, 10 * SAMPLE_RATE).astype(np.int16)
    sound[96_000:104_000] //= 100
    spans = (Span(0, len(sound)),)
    place = middle(spans, sound)
    assert place == middle(spans, features_of(sound))
    assert 600 <= place < 650
    first, second = divided(WindowState(0, spans, sound, None, ()), [place], (0, 1))
    assert first.sound is not None
    assert second.sound is not None
    np.testing.assert_array_equal(np.concatenate([first.sound, second.sound]), sound)


def test_a_window_is_cut_in_the_pause_in_its_middle_half() -> None:
    features = np.ones((80, 2001), dtype=np.float32)
    features[:, 100:200] = features[:, 1300:1340] = -1.0
    assert 1300 <= middle((Span(0, 320_000),), features) < 1340


def test_the_parts_of_a_window_know_their_own_speech() -> None:
    spans = (Span(0, 32_000, speech=((6_400, 12_800), (16_000, 25_600))), Span(64_000, 80_000))
    before, after = cut(spans, 120)
    assert [span.speech for span in before] == [((6_400, 12_800), (16_000, 19_200))]
    assert [span.speech for span in after] == [((19_200, 25_600),), ()]
