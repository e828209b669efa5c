"""One file's bookkeeping under every order of events: nothing lost, nothing decoded for nothing."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.results.transcript import Language, Word
from worker.speech.api import Options, Partial, Recognition, WindowText
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.language import VOTERS
from worker.speech.engine.scripts import compression_ratio
from worker.speech.engine.segments import segments, to_file_time
from worker.speech.engine.state import FileState
from worker.speech.engine.texts import Step
from worker.speech.engine.window import Ladder, Rung, full_ladder
from worker.speech.model.decoding import Decoded
from worker.speech.model.detection import SURE
from worker.speech.windows import SAMPLE_RATE, Span

FEATURES = np.zeros((80, 100), dtype=np.float32)


@dataclass(frozen=True)
class Script:
    """How the windows of a file behave, whatever the order they are decoded in.

    Attributes:
        seconds: of each window.
        rankings: what language each one sounds like, and how surely.
        doubtful: how many attempts of each are not believed.
        silent: which of them hold no speech.
    """

    seconds: list[float]
    rankings: list[tuple[str, float]]
    doubtful: list[int]
    silent: list[bool]
    language: str | None
    ladder: Ladder = full_ladder

    def spans(self, index: int) -> tuple[Span, ...]:
        start = sum(int(s * SAMPLE_RATE) + 1600 for s in self.seconds[:index])
        return (Span(start, start + int(self.seconds[index] * SAMPLE_RATE)),)

    @property
    def audio_seconds(self) -> float:
        return sum(self.seconds) + len(self.seconds)

    def decode(self, index: int, rung: Rung, language: str | None) -> Decoded:
        code, probability = self.rankings[index]
        rest = tuple((other, (1 - probability) / 3) for other in ("xx", "yy", "zz"))
        ranking = ((code, probability), *rest) if language is None else ()
        rungs = list(self.ladder(self.seconds[index]))
        believed = rungs.index(rung) >= self.doubtful[index]
        silent = self.silent[index]
        return Decoded(
            text=f"{index} {rung.temperature} {language or code}",
            tokens=(index,),
            avg_logprob=-0.2 if believed and not silent else -1.5,
            no_speech=0.9 if silent else 0.1,
            language=language or code,
            languages=ranking,
            words=(Word(word="w", start=0.0, end=self.seconds[index]),),
        )


lengths = st.integers(SAMPLE_RATE // 10, 29 * SAMPLE_RATE).map(lambda n: n / SAMPLE_RATE)

scripts = st.integers(0, 7).flatmap(
    lambda count: st.builds(
        Script,
        seconds=st.lists(lengths, min_size=count, max_size=count),
        rankings=st.lists(
            st.tuples(st.sampled_from(["de", "en"]), st.sampled_from([0.3, 0.45, SURE, 0.9])),
            min_size=count,
            max_size=count,
        ),
        doubtful=st.lists(st.integers(0, 9), min_size=count, max_size=count),
        silent=st.lists(st.booleans(), min_size=count, max_size=count),
        language=st.sampled_from([None, None, "fr"]),
        ladder=st.sampled_from([full_ladder, adaptive_ladder]),
    )
)


@dataclass
class Run:
    """Drives a state as the engine does: frames, batches, words and stages come in any order."""

    script: Script
    rng: random.Random
    resume: Partial | None = None
    stop_after: int | None = None
    decoded: Counter[tuple[int, str | None]] = field(default_factory=Counter)
    progress: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = FileState(
            name="job",
            # Texts with the text before them depend on what was decoded first; see test_carry.
            options=Options(language=self.script.language, carry_context="off"),
            ladder=self.script.ladder,
            resume=self.resume,
            stages_left={"speakers"} if self.rng.random() < 0.5 else set(),
        )
        self.ready: list[int] = []
        self.flying: list[tuple[int, Rung, str | None]] = []
        self.texts: list[int] = []
        self.frames = list(range(len(self.script.seconds) + 1))

    def follow(self, step: Step) -> None:
        for index in step.ready:
            assert index not in self.ready, "a window waits twice"
            assert index not in {flying for flying, _, _ in self.flying}
            self.ready.append(index)
        for index, winner in step.texts:
            assert index not in self.texts, "a text stands twice"
            assert self.state.language is not None
            assert winner.language == self.state.language.code
            self.texts.append(index)

    def frame(self) -> None:
        index = self.frames.pop(0)
        if index == len(self.script.seconds):
            self.follow(self.state.end(self.script.audio_seconds, {"decode": 0.5}))
            return
        spans = self.script.spans(index)
        done = {
            (window.index, window.start, window.end)
            for window in (self.resume.windows if self.resume else ())
        }
        known = (index, spans[0].start / SAMPLE_RATE, spans[-1].end / SAMPLE_RATE) in done
        self.follow(self.state.add_window(index, spans, None if known else FEATURES, None))

    def batch(self) -> None:
        """Takes some ready windows; the language each is decoded in is settled here."""
        chosen = self.rng.sample(self.ready, self.rng.randint(1, len(self.ready)))
        language = self.state.language.code if self.state.language else None
        for index in chosen:
            self.ready.remove(index)
            self.flying.append((index, self.state.begin(index), language))
            self.decoded[index, language] += 1

    def land(self) -> None:
        index, rung, language = self.flying.pop(0)
        self.follow(self.state.decoded(index, self.script.decode(index, rung, language)))

    def words(self) -> None:
        index = self.texts.pop(self.rng.randrange(len(self.texts)))
        self.state.words(index, [Word(word="w", start=0.0, end=1.0)])

    def stage(self) -> None:
        self.follow(self.state.stage_done("speakers"))

    def go(self) -> FileState:
        steps = 0
        while True:
            possible = [
                action
                for action, able in (
                    (self.frame, bool(self.frames)),
                    (self.batch, bool(self.ready) and not self.flying),
                    (self.land, bool(self.flying)),
                    (self.words, bool(self.texts)),
                    (self.stage, bool(self.state.stages_left)),
                )
                if able
            ]
            if not possible or steps == self.stop_after:
                return self.state
            self.rng.choice(possible)()
            steps += 1
            done, _total = self.state.progress()
            self.progress.append(done)
            assert set(self.state.done).isdisjoint(self.state.windows)
            if self.state.finished:
                assert not self.state.stages_left
                assert not possible_windows(self)


def possible_windows(run: Run) -> bool:
    """Whether any window is still to come, to be decoded or without its words."""
    return bool(run.frames or run.ready or run.flying or run.texts)


def finish(script: Script, seed: int, resume: Partial | None = None) -> tuple[Run, Recognition]:
    run = Run(script, random.Random(seed), resume)
    state = run.go()
    assert state.finished, "events ran out before the file was done"
    return run, state.recognition(None)


def comparable(recognition: Recognition) -> tuple[object, ...]:
    return (recognition.language, recognition.segments, recognition.windows)


@given(scripts, st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_the_result_does_not_depend_on_the_order_of_events(
    script: Script, one: int, other: int
) -> None:
    first, result = finish(script, one)
    second, again = finish(script, other)
    assert comparable(result) == comparable(again)
    assert sorted(first.state.done) == list(range(len(script.seconds)))
    assert result.windows == len(script.seconds)
    assert result.resumed == 0
    assert second.state.held_seconds == 0.0


@given(scripts, st.integers(0, 1 << 30))
def test_no_window_is_decoded_more_often_than_its_ladder_asks(script: Script, seed: int) -> None:
    run, result = finish(script, seed)
    for index, seconds in enumerate(script.seconds):
        rungs = list(script.ladder(seconds))
        attempts = {lang: n for (at, lang), n in run.decoded.items() if at == index}
        asked = attempts.pop(None, 0)
        assert asked <= (1 if index < VOTERS else 0)
        if script.language is None and index >= VOTERS:
            assert asked == 0
        settled = sum(attempts.values())
        wrong = (
            asked
            and result.language is not None
            and script.rankings[index][0] != result.language.code
        )
        # A voter of the right language keeps its first attempt; one of another is decoded anew.
        assert settled + (0 if wrong else asked) <= len(rungs)
        assert settled + asked >= 1
    if not script.seconds:
        assert result.language is None


@given(scripts, st.integers(0, 1 << 30))
def test_progress_never_falls_and_ends_at_the_audio(script: Script, seed: int) -> None:
    run, result = finish(script, seed)
    assert run.progress == sorted(run.progress)
    assert run.state.progress() == (result.audio_seconds, result.audio_seconds)


@given(scripts, st.integers(0, 1 << 30))
def test_segments_are_in_order_and_inside_the_audio(script: Script, seed: int) -> None:
    _, result = finish(script, seed)
    assert [segment.id for segment in result.segments] == list(range(len(result.segments)))
    for segment in result.segments:
        assert 0.0 <= segment.start <= segment.end <= result.audio_seconds
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end
    for left, right in pairwise(result.segments):
        assert left.end <= right.start
    loud = [index for index, silent in enumerate(script.silent) if not silent]
    assert [int(segment.text.split()[0]) for segment in result.segments] == loud


@given(scripts, st.integers(0, 1 << 30), st.integers(0, 60))
def test_a_resumed_file_decodes_only_the_rest_and_ends_the_same(
    script: Script, seed: int, stop_after: int
) -> None:
    _, whole = finish(script, seed)
    broken = Run(script, random.Random(seed + 1), stop_after=stop_after)
    partial = broken.go().partial()
    # A checkpoint is written and read as JSON.
    partial = Partial.model_validate_json(partial.model_dump_json())
    run, result = finish(script, seed + 2, partial)
    assert comparable(result) == comparable(whole)
    finished = {window.index for window in partial.windows}
    assert result.resumed == len(finished)
    assert finished.isdisjoint({index for index, _ in run.decoded})


@given(scripts.filter(lambda script: len(script.seconds) > 1), st.integers(0, 1 << 30))
def test_a_checkpoint_of_other_windows_is_decoded_anew(script: Script, seed: int) -> None:
    _, whole = finish(script, seed)
    moved = Partial(
        language=whole.language,
        windows=(
            WindowText(index=0, start=0.25, end=0.5, text="other", avg_logprob=-0.1),
            WindowText(index=99, start=0.0, end=1.0, text="beyond", avg_logprob=-0.1),
        ),
    )
    _, result = finish(script, seed, moved)
    assert result.resumed == 0
    assert comparable(result) == comparable(whole)


def test_a_window_without_features_must_be_in_the_checkpoint() -> None:
    state = FileState("job", Options(), full_ladder, resume=Partial())
    with pytest.raises(KeyError):
        state.add_window(0, (Span(0, 100),), None, None)


def test_later_windows_wait_for_the_language_and_the_first_is_asked_alone() -> None:
    script = Script([12.0] * 5, [("de", 0.9)] * 5, [0] * 5, [False] * 5, None)
    state = FileState("job", Options(), full_ladder)
    steps = [state.add_window(i, script.spans(i), FEATURES, None) for i in range(5)]
    assert [step.ready for step in steps] == [(0,), (), (), (), ()]
    step = state.decoded(0, script.decode(0, state.begin(0), None))
    assert step.ready == (1, 2, 3, 4)
    assert [index for index, _ in step.texts] == [0]


def test_a_voter_that_is_decoded_when_the_vote_ends_without_it_goes_with_the_others() -> None:
    rankings = [("de", 0.9), ("de", 0.9), ("en", 0.9)]
    script = Script([6.0] * 3, rankings, [0] * 3, [False] * 3, None)
    state = FileState("job", Options(), full_ladder)
    for index in range(3):
        state.add_window(index, script.spans(index), FEATURES, None)
    state.decoded(0, script.decode(0, state.begin(0), None))
    second, third = state.begin(1), state.begin(2)
    state.decoded(1, script.decode(1, second, None))
    assert state.language is not None
    step = state.decoded(2, script.decode(2, third, None))
    assert (step.ready, step.texts) == ((2,), ()), "English, in a German file"


def test_a_voter_that_was_outvoted_is_decoded_again() -> None:
    script = Script([1.0, 9.0, 9.0], [("de", 0.4), ("en", 0.45), ("en", 0.45)], [0] * 3,
                    [False] * 3, None)  # fmt: skip
    state = FileState("job", Options(carry_context="off"), full_ladder)
    ready = [state.add_window(i, script.spans(i), FEATURES, None).ready for i in range(3)]
    assert ready == [(0,), (), ()]
    rung = state.begin(0)
    assert state.decoded(0, script.decode(0, rung, None)).ready == (1, 2)
    assert state.decoded(1, script.decode(1, state.begin(1), None)) == Step()
    assert state.decoded(2, script.decode(2, state.begin(2), None)) == Step()
    step = state.end(19.0, {})
    assert state.language is not None
    assert state.language.code == "en"
    assert step.ready == (0,)
    assert sorted(index for index, _ in step.texts) == [1, 2]
    assert state.second_attempts == 1


def test_a_whole_file_stage_may_add_windows_after_the_files_end() -> None:
    script = Script([1.0], [("de", 0.9)], [0], [False], "de")
    state = FileState("job", Options(language="de"), full_ladder, stages_left={"windows", "more"})
    assert state.end(1.0, {}) == Step()
    assert (state.total, state.finished) == (None, False)
    assert state.add_window(0, script.spans(0), FEATURES, None).ready == (0,)
    state.stage_done("windows")
    rung = state.begin(0)
    state.decoded(0, script.decode(0, rung, "de"))
    state.words(0, ())
    assert not state.finished, "another stage is not done"
    state.stage_done("more")
    assert (state.total, state.finished) == (1, True)
    with pytest.raises(KeyError):
        state.stage_done("more")


def test_a_vote_ends_with_the_last_stage_that_could_add_voters() -> None:
    script = Script([1.0], [("de", 0.3)], [0], [False], None)
    state = FileState("job", Options(), full_ladder, stages_left={"windows"})
    state.add_window(0, script.spans(0), FEATURES, None)
    rung = state.begin(0)
    assert state.decoded(0, script.decode(0, rung, None)) == Step()
    assert state.end(1.0, {}) == Step()
    assert state.language is None, "more voters may come"
    step = state.stage_done("windows")
    assert state.language is not None
    assert [index for index, _ in step.texts] == [0]


def test_the_rungs_of_a_window_follow_the_language_known_when_it_comes() -> None:
    asked: list[str | None] = []

    def ladder(seconds: float, language: str | None = None) -> Sequence[Rung]:
        asked.append(language)
        return full_ladder(seconds)

    script = Script([12.0] * 2, [("de", 0.9)] * 2, [0] * 2, [False] * 2, None)
    state = FileState("job", Options(), ladder)
    state.add_window(0, script.spans(0), FEATURES, None)
    rung = state.begin(0)
    state.decoded(0, script.decode(0, rung, None))
    state.add_window(1, script.spans(1), FEATURES, None)
    assert asked == [None, "de"]


def test_the_result_tells_what_the_header_promised_and_why_nothing_was_heard() -> None:
    state = FileState("job", Options(language="en"), full_ladder)
    state.stated_seconds = 9.66
    state.end(0.3, {"decode": 0.1, "windows": 0.2}, ["2.0 s may be speech"], peak=0.5)
    result = state.recognition(None)
    assert result.notes == (
        "2.0 s may be speech",
        "The file says it lasts 9.7 s; 0.3 s of audio were found",
        "Nothing was heard: no speech was found in 0.3 s of audio, whose loudest sample is at "
        "-6 dB of full scale",
    )
    assert result.seconds == {"decode": 0.1, "windows": 0.2}
    assert result.language is None
    assert result.segments == ()


def said(text: str, *, logprob: float = -0.2) -> Decoded:
    """A decoding in English that says this."""
    return Decoded(text, tuple(range(len(text) // 4)), logprob, 0.01, "en", (), ())


def only_window(*texts: Decoded) -> tuple[Recognition, int]:
    """The result of one window of 4 s that is decoded to these in turn, and how many it took."""
    state = FileState("job", Options(language="en"), full_ladder)
    state.add_window(0, (Span(0, 4 * SAMPLE_RATE),), FEATURES, None)
    state.end(4.0, {})
    for count, decoded in enumerate(texts, 1):
        state.begin(0)
        if state.decoded(0, decoded).texts:
            state.words(0, (Word(word="w", start=0.0, end=4.0),))
            return state.recognition("attention"), count
    raise AssertionError("no text stands")


def test_a_text_that_repeats_itself_is_decoded_again_once() -> None:
    twice = said("Has never been surpassed. Has never been surpassed.")
    once = said("Has never been surpassed.")
    for again, text in ((once, once.text), (twice, twice.text)):
        result, attempts = only_window(twice, again)
        assert (attempts, [each.text for each in result.segments]) == (2, [text])
        assert result.notes == ()


LOOPS = [said(f"{word} goes on. " * 30) for word in ("This", "Here", "Where", "Now", "So")]


def test_what_cannot_be_believed_is_not_written_and_the_result_says_so() -> None:
    result, attempts = only_window(*LOOPS, said("Cabime on mannerfyo", logprob=-3.7))
    assert attempts == 6
    assert result.segments == ()
    assert result.notes == ("4.0 s of speech have no text: no decoding of them could be believed",)


@pytest.mark.parametrize(("stated", "found"), [(None, 5.0), (5.9, 5.0), (5.0, 50.0), (100.0, 91.0)])
def test_a_header_that_is_nearly_right_is_not_worth_a_note(
    stated: float | None, found: float
) -> None:
    state = FileState("job", Options(language="en"), full_ladder)
    state.stated_seconds = stated
    state.end(found, {})
    assert state.notes == []


@given(
    st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 20.0), st.booleans()), max_size=12),
    st.floats(0.0, 100.0),
)
def test_whatever_the_windows_segments_keep_their_promises(
    drawn: list[tuple[float, float, bool]], audio_seconds: float
) -> None:
    texts, position = [], 0.0
    for index, (gap, length, spoken) in enumerate(drawn):
        start = min(position + gap, audio_seconds)
        end = min(start + length, audio_seconds)
        position = end
        texts.append(
            WindowText(
                index=index,
                start=start,
                end=end,
                text="x" if spoken else "",
                avg_logprob=-0.12345678,
                words=(
                    Word(word="a", start=start - 5, end=end + 5),
                    Word(word="b", start=0, end=0),
                ),
            )
        )
    found = segments(texts, audio_seconds)
    assert len(found) == sum(spoken for _, _, spoken in drawn)
    reached = 0.0
    for segment in found:
        assert reached <= segment.start <= segment.end <= audio_seconds
        reached = segment.end
        times = [time for word in segment.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert all(segment.start <= time <= segment.end for time in times)


def test_a_segment_says_how_sure_the_model_was_of_its_window() -> None:
    known = WindowText(
        index=0,
        start=0,
        end=1,
        text="so so so so so so so so",
        avg_logprob=-0.1,
        no_speech_prob=0.123456,
        temperature=0.2,
    )
    unknown = WindowText(index=1, start=1, end=2, text="so", avg_logprob=-0.1)
    first, second = segments([known, unknown], 2.0)
    assert (first.no_speech_prob, first.temperature) == (0.1235, 0.2)
    assert first.compression_ratio == round(compression_ratio(known.text), 4) > 1
    assert (second.no_speech_prob, second.temperature) == (None, None)


def test_a_segment_begins_with_what_is_said_in_its_window_and_ends_with_it() -> None:
    window = WindowText(index=0, start=9.6, end=20.4, text="Oh, no.", avg_logprob=-0.1)
    words = (Word(word="Oh,", start=10.03, end=10.3), Word(word="no.", start=18.0, end=18.5))
    speech = ((10.0, 12.5), (17.9, 20.0001))
    (bare,) = segments([window], 20.4)
    assert (bare.start, bare.end, bare.speech) == (9.6, 20.4, ())
    (worded,) = segments([window.model_copy(update={"words": words})], 20.4)
    assert (worded.start, worded.end, worded.speech) == (10.03, 18.5, ())
    (heard,) = segments([window.model_copy(update={"speech": speech})], 20.4)
    assert (heard.start, heard.end) == (10.0, 20.0)
    assert heard.speech == ((10.0, 12.5), (17.9, 20.0))


def test_words_of_a_window_cut_from_two_spans_move_with_them() -> None:
    spans = (Span(16_000, 32_000), Span(80_000, 96_000))
    words = [
        Word(word="one", start=0.1, end=1.0, score=0.5),
        Word(word="two", start=1.0, end=1.5),
        Word(word="three", start=1.5, end=9.0),
    ]
    moved = to_file_time(words, spans)
    assert [(word.start, word.end) for word in moved] == [(1.1, 2.0), (5.0, 5.5), (5.5, 6.0)]
    assert moved[0].score == 0.5


def test_time_spent_adds_up_by_stage() -> None:
    state = FileState("job", Options(language="en"), full_ladder)
    totals: dict[str, float] = defaultdict(float)
    for stage, seconds in [("align", 0.5), ("transcribe", 1.0), ("align", 0.25)]:
        state.spend(stage, seconds)
        totals[stage] += seconds
    assert state.seconds == totals


def test_a_given_language_stands_over_the_checkpoints() -> None:
    earlier = Partial(language=Language(code="de", probability=0.9, detected=True))
    given_one = FileState("job", Options(language="fr"), full_ladder, resume=earlier)
    assert given_one.language == Language(code="fr", probability=None, detected=False)
    detected = FileState("job", Options(), full_ladder, resume=earlier)
    assert detected.language == earlier.language
