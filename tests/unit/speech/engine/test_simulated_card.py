"""The engine on a simulated card: it stays busy with full batches, and memory takes no text."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.fakes.card import BEAM, H100, L4, LARGE, T4, Card, SimulatedCard, call_seconds
from tests.fakes.simulation import Simulation, jobs_of_seconds, long_jobs, mixed_jobs
from worker.daemon.policy import lease_bound
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.engine.device_loop import Flight
from worker.speech.engine.own_prompt import NONE, OwnPrompt, own_prompt
from worker.speech.model import memory

CARDS = [T4, L4, H100]


@pytest.mark.parametrize(
    ("windows", "seconds_of_encoder", "steps", "encode", "generate"),
    [(1, 30, 100, 0.030, 0.976), (16, 30, 100, 0.437, 1.319), (64, 30, 100, 1.738, 2.503),
     (128, 6, 20, 0.468, 0.448)],
)  # fmt: skip
def test_a_call_takes_as_long_as_was_measured_on_an_h200(
    windows: int, seconds_of_encoder: int, steps: int, encode: float, generate: float
) -> None:
    fixed, grows = call_seconds(windows, 50 * seconds_of_encoder, steps, BEAM)
    assert fixed + grows == pytest.approx(encode + generate, rel=0.1)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_full_batch_goes_at_the_cards_rate(card: Card) -> None:
    windows = card.budget().capacity(1500)
    fixed, grows = call_seconds(windows, 1500, 100, BEAM)
    assert windows * 25.0 / (fixed + card.slower * grows) == pytest.approx(card.rate)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_is_busy_and_every_window_has_its_text(card: Card) -> None:
    jobs = mixed_jobs(150)
    simulation = Simulation(card)
    report = simulation.run(jobs)
    assert report.windows == sum(map(len, jobs))
    assert report.busy >= 0.95, report
    assert simulation.decoder.out_of_memory == 0
    assert report.stats.second_attempts > 0
    assert report.stats.prompted_windows > 0


class ReadsAtOnce(Simulation):
    """Texts are read just after a batch was taken ahead of them, and before it is decoded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take_flight = self.device.take
        self.ahead = 0

    def take(self) -> Flight | None:
        flight = self._take_flight()
        self.ahead += flight is not None and bool(self.shared.unread)
        while self.shared.unread:
            self.texts.read()
            waiting = {item.age for item in self.shared.batcher.waiting}
            assert waiting.isdisjoint(item.age for item in self.shared.flying)
        return flight or self._take_flight()

    def _read(self, windows: int) -> None:
        del windows


@pytest.mark.parametrize(
    ("card", "jobs"), [(L4, mixed_jobs(60)), (H100, long_jobs(2))], ids=["L4", "H100"]
)
def test_what_follows_from_a_text_touches_no_window_that_is_in_flight(
    card: Card, jobs: list[tuple[float, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = ReadsAtOnce(card)
    monkeypatch.setattr(simulation.device, "take", simulation.take)
    report = simulation.run(jobs)
    assert report.windows == sum(map(len, jobs))
    assert simulation.ahead > 2


def test_memory_that_something_else_took_costs_no_text() -> None:
    cost = memory.window_cost(LARGE, beam_size=BEAM, compute_type="int8_float16")
    jobs = mixed_jobs(60)
    simulation = Simulation(H100, free=10 * cost.bytes(1500))
    report = simulation.run(jobs)
    assert simulation.decoder.out_of_memory > 0
    assert report.windows == sum(map(len, jobs))


def test_a_card_that_finds_no_words_decodes_short_windows_again() -> None:
    jobs = jobs_of_seconds(100)
    report = Simulation(T4, words_fail=True).run(jobs)
    assert report.windows == len(jobs)
    # The guard sees that as well, and has the rest decoded in full.
    assert 0 < report.stats.short_failed == report.stats.short_windows < len(jobs)


def ten_lists(share: float = 1.0) -> Callable[[int], OwnPrompt]:
    """Jobs take turns with ten vocabularies of two to a hundred phrases; some have none.

    Args:
        share: of the jobs that have one.
    """
    chance = random.Random(4)
    model = SimulatedCard(L4, lambda _: None)
    made = [
        own_prompt(
            model,
            Options(vocabulary=tuple(f"{chance.random():.{length}f}" for _ in range(count))),
            carries=True,
        )
        for count, length in zip((2, 3, 5, 8, 10, 15, 20, 40, 60, 100), range(6, 16), strict=True)
    ]
    return lambda number: made[number % 10] if chance.random() < share else NONE


def test_jobs_with_vocabularies_of_their_own_share_batches() -> None:
    jobs = jobs_of_seconds(500)
    report = Simulation(T4).run(jobs, ten_lists())
    assert report.windows == len(jobs)
    assert report.fill >= 0.9, report


def test_jobs_that_ask_who_speaks_leave_batches_as_full_as_they_were() -> None:
    jobs = mixed_jobs(40)
    without = Simulation(T4).run(jobs)
    beside = Simulation(T4, diarize=lambda number: number % 2 == 0).run(jobs)
    assert beside.fill == without.fill
    assert beside.seconds == pytest.approx(without.seconds, rel=0.02)
    assert beside.stats == without.stats


def test_clips_that_wait_for_speakers_take_no_place_of_others() -> None:
    # A tenth as fast as the text: every second clip waits long after it has its text.
    clips = jobs_of_seconds(500)
    without = Simulation(H100).run(clips)
    beside = Simulation(H100, diarize=lambda number: number % 2 == 0, diarized=60.0).run(clips)
    assert beside.fill >= without.fill
    assert without.held <= lease_bound(64) < beside.held


def test_however_slowly_speakers_are_told_apart_no_more_than_twice_the_bound_is_held() -> None:
    config = EngineConfig(batch_size=4)
    report = Simulation(T4, config, diarize=lambda _: True, diarized=10.0).run(jobs_of_seconds(60))
    bound = lease_bound(config.batch_size)
    assert bound < report.held <= 2 * bound


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("every", [10, 2])
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_batches_of_clips_stay_full_where_half_of_them_ask_who_speaks(
    card: Card, every: int, record_property: Callable[[str, object], None]
) -> None:
    clips = jobs_of_seconds(3_000)
    without = Simulation(card).run(clips)
    beside = Simulation(card, diarize=lambda number: number % every == 0).run(clips)
    record_property("figure", f"{card.name}, 5 s, 1 job in {every} asks: {beside}")
    assert beside.fill >= without.fill - 0.01
    assert beside.seconds <= 1.01 * without.seconds


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("every", [10, 2, 1])
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
@pytest.mark.parametrize("load", ["mixed", "2 h"])
def test_batches_stay_full_whatever_share_of_the_jobs_asks_who_speaks(
    card: Card, load: str, every: int, record_property: Callable[[str, object], None]
) -> None:
    jobs = mixed_jobs(400) if load == "mixed" else long_jobs(6)
    without = Simulation(card).run(jobs)
    beside = Simulation(card, diarize=lambda number: number % every == 0).run(jobs)
    record_property("figure", f"{card.name}, {load}, 1 job in {every} asks: {beside}")
    assert beside.fill >= without.fill - 0.01


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
@pytest.mark.parametrize("load", ["5 s", "mixed"])
def test_batches_stay_full_whatever_share_of_the_jobs_has_a_vocabulary(
    card: Card, load: str, share: float, record_property: Callable[[str, object], None]
) -> None:
    # Jobs with and without one share no batch until there is text before their windows. So where
    # both come, there are twice as many kinds of windows among the jobs that a worker may hold.
    short, mixed = {"T4": (2_000, 400), "L4": (6_000, 1_000), "H100": (12_000, 4_000)}[card.name]
    jobs = jobs_of_seconds(short) if load == "5 s" else mixed_jobs(mixed)
    report = Simulation(card).run(jobs, ten_lists(share))
    record_property("figure", f"{card.name}, {load}, {share:.0%} with a vocabulary: {report}")
    assert report.windows == sum(map(len, jobs))
    assert report.fill >= (0.9 if share == 1.0 else 0.8)
    assert report.busy >= 0.94


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
@pytest.mark.parametrize("load", ["5 s", "mixed", "2 h"])
def test_batches_stay_full_through_hours_of_jobs(
    card: Card, load: str, record_property: Callable[[str, object], None]
) -> None:
    # What begins and ends a run has batches that nothing could fill: it is to be a small part.
    full = card.budget().capacity(1500)
    jobs = {
        "5 s": lambda: jobs_of_seconds(12_000),
        "mixed": lambda: mixed_jobs(2_000 if card is not H100 else 4_000),
        "2 h": lambda: long_jobs(max(6, full // 3)),
    }[load]()
    report = Simulation(card).run(jobs)
    record_property("figure", f"{card.name}, {load}: {report}")
    assert report.windows == sum(map(len, jobs))
    assert report.fill >= 0.9
    assert report.busy >= 0.95
