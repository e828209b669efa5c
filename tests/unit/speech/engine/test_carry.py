"""Text carried from window to window: in time or later, never past what was doubted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Language
from worker.speech.api import CarryContext, Options, Partial, WindowText
from worker.speech.engine import carry
from worker.speech.engine.batcher import Turn
from worker.speech.engine.own_prompt import OwnPrompt
from worker.speech.engine.state import FileState
from worker.speech.engine.texts import Step
from worker.speech.engine.window import Phase, Rung, full_ladder
from worker.speech.model.decoding import Decoded
from worker.speech.windows import SAMPLE_RATE, Span

FEATURES = np.zeros((80, 100), dtype=np.float32)
TOKENS = 40
"""Of each window's text: enough for the shortest prompt."""


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=90), max_size=6),
    st.integers(1, carry.LENGTHS[-1]),
    st.sampled_from([carry.ON_CPU.lengths, carry.ON_CARD.lengths]),
)
def test_a_prompt_is_the_end_of_the_text_before_it_at_one_of_a_few_lengths(
    before: list[list[int]], own: int, lengths: Sequence[int]
) -> None:
    found = carry.prompt(before, own, lengths)
    text: list[int] = []
    for tokens in before:
        if not tokens:
            break
        text = [*tokens, *text]
    if found:
        assert own + len(found) in lengths
        assert text[-len(found) :] == list(found)
    assert not [length for length in lengths if len(found) < length - own <= len(text)], (
        "a longer one would have fitted"
    )


def tokens_of(index: int) -> tuple[int, ...]:
    return tuple(range(1000 * index, 1000 * index + TOKENS))


def add_windows(state: FileState, count: int) -> None:
    """Windows of three seconds, half a minute apart."""
    for index in range(count):
        spans = (Span(index * 480_000, index * 480_000 + 48_000),)
        state.add_window(index, spans, FEATURES, None)


@dataclass
class Run:
    """A file whose windows come, are decoded and get words in any order that the engine allows.

    Attributes:
        doubted: windows of which no text is believed.
        silent: windows without speech.
        worse: windows whose text with the text before them is doubted.
    """

    windows: int
    mode: CarryContext
    rng: random.Random
    doubted: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    worse: set[int] = field(default_factory=set)
    resume: Partial | None = None
    drop: bool = False
    rungs: list[tuple[int, Rung]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = FileState(
            "job",
            Options(language="en", carry_context=self.mode),
            full_ladder,
            resume=self.resume,
        )
        self.waiting: set[int] = set()
        self.flying: list[tuple[int, Rung]] = []
        self.texts: list[int] = []

    def follow(self, step: Step) -> None:
        for index in step.ready:
            assert index not in {flying for flying, _ in self.flying}
            self.waiting.add(index)
        for index, _ in step.texts:
            assert index not in self.texts, "a text stands twice"
            self.waiting.discard(index)
            self.texts.append(index)

    def decode(self, index: int, rung: Rung) -> Decoded:
        doubted = index in self.doubted or (bool(rung.prompt) and index in self.worse)
        silent = index in self.silent
        return Decoded(
            text="" if silent else f"{index} {'after' if rung.prompt else 'alone'}",
            tokens=() if silent else tokens_of(index),
            avg_logprob=-1.5 if doubted or silent else -0.2 + 0.1 * bool(rung.prompt),
            no_speech=0.9 if silent else 0.0,
            language="en",
            languages=(),
            words=(),
        )

    def go(self) -> FileState:
        arrivals = list(range(self.windows + 1))
        done = {window.index for window in self.resume.windows} if self.resume else set()
        while arrivals or self.waiting or self.flying or self.texts or self.state.only_looks:
            kinds = [
                kind
                for kind, able in (
                    ("arrive", arrivals),
                    ("begin", self.waiting),
                    ("land", self.flying),
                    ("words", self.texts),
                    ("drop", self.drop and self.state.only_looks),
                )
                if able
            ]
            assert kinds, "nothing can happen any more, and the file is not done"
            kind = self.rng.choice(kinds)
            if kind == "arrive":
                index = arrivals.pop(0)
                if index == self.windows:
                    self.follow(self.state.end(30.0 * self.windows, {}))
                    continue
                start = index * 30 * SAMPLE_RATE
                spans = (Span(start, start + 2 * SAMPLE_RATE),)
                features = None if index in done else FEATURES
                self.follow(self.state.add_window(index, spans, features, None))
            elif kind == "begin":
                index = self.rng.choice(sorted(self.waiting))
                self.waiting.remove(index)
                rung = self.state.begin(index)
                self.rungs.append((index, rung))
                self.flying.append((index, rung))
            elif kind == "land":
                index, rung = self.flying.pop(self.rng.randrange(len(self.flying)))
                self.follow(self.state.decoded(index, self.decode(index, rung)))
            elif kind == "words":
                self.state.words(self.texts.pop(self.rng.randrange(len(self.texts))), ())
            else:
                self.follow(self.state.drop_looks())
        assert self.state.finished
        return self.state


windows = st.integers(0, 9)
some = st.sets(st.integers(0, 8), max_size=4)
modes = st.sampled_from(["auto", "on"])


@given(windows, modes, some, some, some, st.booleans(), st.integers(0, 1 << 30))
def test_whatever_comes_first_every_window_has_a_text_and_no_prompt_holds_what_was_doubted(
    count: int,
    mode: CarryContext,
    doubted: set[int],
    silent: set[int],
    worse: set[int],
    drop: bool,
    seed: int,
) -> None:
    run = Run(count, mode, random.Random(seed), doubted, silent, worse, drop=drop)
    state = run.go()
    assert sorted(state.done) == list(range(count))
    for index, rung in run.rungs:
        if not rung.prompt:
            continue
        assert rung.temperature == 0.0
        origins = sorted({token // 1000 for token in rung.prompt})
        assert origins == list(range(origins[0], index)), "the text right before it, in one piece"
        assert not (set(origins) & (doubted | silent))
        assert 1 + len(rung.prompt) in carry.LENGTHS
    for index in range(count):
        prompted = [rung for at, rung in run.rungs if at == index and rung.prompt]
        alone = [rung for at, rung in run.rungs if at == index and not rung.prompt]
        assert len(prompted) <= 1
        assert len(alone) <= len(full_ladder(2.0))
        assert len({rung.temperature for rung in alone}) == len(alone), "no rung twice"
        if index in worse and index not in silent:
            assert "after" not in state.done[index].text or index in doubted


@given(windows, some, some, st.integers(0, 1 << 30))
def test_asked_for_at_any_price_every_window_that_can_is_decoded_with_the_text_before_it(
    count: int, doubted: set[int], silent: set[int], seed: int
) -> None:
    state = Run(count, "on", random.Random(seed), doubted, silent).go()
    for index in range(count):
        before = state.done.get(index - 1)
        if before is not None and before.carried and index not in doubted | silent:
            assert state.done[index].text == f"{index} after"


@given(windows, some, st.integers(0, 1 << 30))
def test_switched_off_no_window_is_prompted_or_waits_for_another(
    count: int, doubted: set[int], seed: int
) -> None:
    run = Run(count, "off", random.Random(seed), doubted)
    run.go()
    assert not [rung for _, rung in run.rungs if rung.prompt]


def test_one_after_another_no_window_is_decoded_twice() -> None:
    run = Run(6, "auto", random.Random(0))
    for index in range(6):
        start = index * 30 * SAMPLE_RATE
        run.follow(run.state.add_window(index, (Span(start, start + SAMPLE_RATE),), FEATURES, None))
    assert [run.state.turn(index) for index in range(6)] == [Turn.NOW] + [Turn.LATER] * 5
    for index in range(6):
        assert run.state.turn(index) is Turn.NOW
        rung = run.state.begin(index)
        run.waiting.remove(index)
        assert bool(rung.prompt) == (index > 0)
        run.follow(run.state.decoded(index, run.decode(index, rung)))
    assert run.texts == list(range(6))
    assert run.waiting == set()


def test_a_window_decoded_too_early_is_looked_at_once_more_and_the_likelier_text_stands() -> None:
    for look, stands in ((-0.1, "look"), (-0.4, "first"), (-1.5, "first")):
        state = FileState("job", Options(language="en", carry_context="on"), full_ladder)
        add_windows(state, 2)
        assert state.begin(1) == Rung(1500, 0.0)
        assert state.decoded(1, said("first", -0.3)) == Step(), "its text waits for window 0"
        assert state.windows[1].phase is Phase.LOOKING
        state.begin(0)
        step = state.decoded(0, said("zero", -0.3))
        assert (step.ready, [index for index, _ in step.texts]) == ((1,), [0])
        assert state.turn(1) is Turn.NOW
        assert state.begin(1).prompt == tokens_of(0)[-31:]
        step = state.decoded(1, said("look", look))
        assert [(index, decoded.text) for index, decoded in step.texts] == [(1, stands)]
        assert (state.looks, state.second_attempts) == (1, 0)


@pytest.mark.parametrize(("tokens", "looks"), [(400, True), (carry.WORTH_A_LOOK - 40, False)])
def test_a_look_is_worth_its_time_where_much_was_said_before(tokens: int, looks: bool) -> None:
    state = FileState("job", Options(language="en"), full_ladder)
    add_windows(state, 2)
    state.begin(1)
    state.decoded(1, said("first", -0.3))
    state.begin(0)
    step = state.decoded(0, replace(said("zero", -0.3), tokens=tuple(range(tokens))))
    assert (1 in step.ready) is looks
    assert ((1, "first") in [(index, decoded.text) for index, decoded in step.texts]) is not looks
    if looks:
        assert state.turn(1) is Turn.LOOK


def test_a_prompted_window_that_fails_is_decoded_without_and_a_failed_look_costs_nothing() -> None:
    state = FileState("job", Options(language="en", carry_context="on"), full_ladder)
    add_windows(state, 3)
    state.begin(0)
    state.decoded(0, said("zero", -0.3))
    state.begin(2)
    state.decoded(2, said("two", -0.3))
    assert state.begin(1).prompt
    assert state.failed(1) == Step(ready=(1,))
    assert not state.begin(1).prompt
    step = state.decoded(1, said("one", -0.3))
    assert step.ready == (2,), "the look at window 2"
    state.begin(2)
    failed = state.failed(2)
    assert failed is not None
    assert [(index, decoded.text) for index, decoded in failed.texts] == [(2, "two")]
    state.add_window(3, (Span(1_500_000, 1_600_000),), FEATURES, None)
    state.windows[3].prompt = ()
    state.begin(3)
    assert state.failed(3) is None


def test_text_in_another_language_is_no_prompt() -> None:
    state = FileState("job", Options(multilingual=True), full_ladder)
    for index in range(3):
        spans = (Span(index * 480_000, index * 480_000 + 320_000),)
        state.add_window(index, spans, FEATURES, None)
    state.begin(0)
    state.decoded(0, heard("null", "de"))
    assert state.begin(1).prompt
    # Only now it is known that this window is in another language.
    assert state.decoded(1, heard("one", "en")) == Step(ready=(1,))
    assert not state.begin(1).prompt
    state.decoded(1, heard("one", "en"))
    assert {token // 1000 for token in state.begin(2).prompt} == {0}
    assert len(state.begin(2).prompt) == 31, "of window 1 alone"


def test_a_window_of_a_multilingual_file_that_cannot_tell_goes_with_its_neighbours() -> None:
    state = FileState("job", Options(multilingual=True), full_ladder)
    for index, seconds in enumerate((20, 1, 20)):
        start = index * 480_000
        spans = (Span(start, start + seconds * SAMPLE_RATE),)
        state.add_window(index, spans, FEATURES, None)
    for index, language in ((0, "de"), (1, "en"), (2, "de")):
        state.begin(index)
        step = state.decoded(index, heard(language, language))
        if state.windows[index].attempts == [] or 1 in step.ready:
            break
    while step.ready or state.windows[1].phase is Phase.ASKED:
        index = step.ready[0] if step.ready else 2
        state.begin(index)
        step = state.decoded(index, heard("de", "de"))
    assert state.windows[1].language == "de"
    state.end(90.0, {})
    for index in range(3):
        state.words(index, ())
    result = state.recognition(None)
    assert [segment.language for segment in result.segments] == ["de"] * 3
    assert result.languages == (("de", 41.0),)
    assert result.language is not None
    assert result.language.code == "de"


def heard(text: str, language: str) -> Decoded:
    """A text, in a language that the model is sure of."""
    other = "en" if language == "de" else "de"
    ranking = ((language, 0.97), (other, 0.03))
    return Decoded(text, tokens_of(0), -0.3, 0.0, language, ranking, ())


def test_resumed_windows_pass_on_what_they_said() -> None:
    texts = tuple(
        WindowText(
            index=index,
            start=30.0 * index,
            end=30.0 * index + 20.0,
            text="x",
            avg_logprob=-0.2,
            language="en",
            carried=tokens_of(index) if index else (),
        )
        for index in range(2)
    )
    english = Language(code="en", probability=0.9, detected=True)
    run = Run(4, "on", random.Random(1), resume=Partial(language=english, windows=texts))
    run.go()
    prompts = {index: rung.prompt for index, rung in run.rungs if rung.prompt}
    assert {token // 1000 for token in prompts[2]} == {1}
    assert sorted(prompts) == [2, 3]


@pytest.mark.parametrize("own", [0, 1, 30, 150, 223])
def test_the_jobs_own_prompt_comes_first_and_leaves_the_rest_of_the_room(own: int) -> None:
    state = FileState("job", Options(language="en"), full_ladder, own=OwnPrompt((7,) * own))
    for index in range(8):
        spans = (Span(index * 480_000, index * 480_000 + 48_000),)
        state.add_window(index, spans, FEATURES, None)
        state.begin(index)
        state.decoded(index, said(str(index), -0.2))
    state.add_window(8, (Span(8 * 480_000, 8 * 480_000 + 48_000),), FEATURES, None)
    assert max(1, own) + len(state.begin(8).prompt) == carry.LENGTHS[-1]


def said(text: str, logprob: float, language: str = "en") -> Decoded:
    return Decoded(text, tokens_of(0), logprob, 0.0, language, (), ())


def test_a_long_file_has_chains_by_right() -> None:
    state = FileState("job", Options(language="en"), full_ladder)
    count = 2 * carry.CHAIN + 1
    add_windows(state, count)
    now = [index for index in range(count) if state.turn(index) is Turn.NOW]
    assert now == [0, carry.CHAIN, 2 * carry.CHAIN]
