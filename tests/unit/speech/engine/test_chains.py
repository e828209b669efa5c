"""Chains of windows on a device: batches stay full, nobody starves, hardly a window goes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.engine_parts import Parts, decoded, end, parts, window
from worker.speech.api import CarryContext
from worker.speech.engine import carry
from worker.speech.engine.batcher import Batch, Batcher, Item, Key, Turn, chain_starts
from worker.speech.engine.file import File


def text_of(item: Item) -> str:
    """About as many words as are said in a window of 26 s, none of them twice in its file."""
    return " ".join(f"w{(70 * item.index + number) * 7919 % 100_003}" for number in range(70))


@dataclass
class Device:
    """Lanes that decode in step: each takes a batch, then all of them land.

    Attributes:
        most: windows that fit a batch.
        few: prompted windows that are enough.
    """

    most: int
    few: int
    lanes: int = 1
    engine: Parts = field(init=False)
    batches: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = parts(held_seconds=1e9)
        self.engine.shared.batcher.lanes = self.lanes
        self.engine.shared.batcher.few = self.few

    def file(self, windows: int, carry_context: CarryContext = "auto") -> File:
        file, feed = self.engine.file(carry_context=carry_context)
        for index in range(windows):
            window(feed, index, 20.0)
        end(feed, 30.0 * windows)
        return file

    def round(self) -> list[Batch]:
        shared, flow = self.engine.shared, self.engine.flow
        taken: list[Batch] = []
        for _ in range(self.lanes):
            batch = shared.batcher.next_batch(
                0.0,
                lambda _: self.most,
                expecting=False,
                flying=[item for batch in taken for item in batch.items],
            )
            if batch is None:
                break
            for item in batch.items:
                assert flow.request(item) is not None
            taken.append(batch)
        with flow.lock:
            for batch in taken:
                for item in batch.items:
                    flow.decoded(item, decoded(text_of(item)), 0.1)
                flow.drop_looks()
        self.batches += taken
        return taken

    def run(self) -> int:
        """Decodes all there is; the rounds it took."""
        rounds = 0
        while self.round():
            rounds += 1
            assert rounds < 10_000
        return rounds

    @property
    def fill(self) -> float:
        slots = sum(batch.capacity for batch in self.batches)
        return sum(len(batch.items) for batch in self.batches) / slots

    def alone(self, file: File) -> int:
        """Windows of a file that were never decoded with the text before them."""
        prompted = {item.index for item in self.items(file) if item.prompted}
        return len({item.index for item in self.items(file)} - prompted)

    def items(self, file: File) -> Iterator[Item]:
        for batch in self.batches:
            yield from (item for item in batch.items if item.job == file.number)


def test_one_file_on_a_cpu_is_as_many_chains_as_lanes() -> None:
    device = Device(most=4, few=1, lanes=2)
    file = device.file(30)
    rounds = device.run()
    assert file.future.done()
    assert rounds <= 30 / 2 + 4
    assert device.alone(file) == 1, "the first has nothing before it"
    starts = [item for item in device.items(file) if not item.prompted]
    assert len(starts) <= 6


def test_as_many_files_as_a_batch_has_places_are_a_chain_each() -> None:
    device = Device(most=8, few=8)
    files = [device.file(12) for _ in range(8)]
    assert device.run() == 12
    assert device.fill == 1.0
    for file in files:
        assert [item.index for item in device.items(file)] == list(range(12))
        assert device.alone(file) == 1


def test_one_file_on_a_card_fills_batches_with_chains_and_looks_at_their_starts_in_the_end() -> (
    None
):
    device = Device(most=24, few=18)
    file = device.file(200)
    device.run()
    assert file.future.done()
    assert device.alone(file) <= 2, "the first, and one with little text before it"
    assert device.fill >= 0.8
    looks = [item for item in device.items(file) if item.turn is Turn.LOOK]
    assert len(looks) <= 200 / 3


@pytest.mark.parametrize(
    ("most", "few", "lanes", "fill"),
    # The larger the batch, the more the end of all work weighs, when few windows are left.
    [(4, 1, 2, 0.95), (8, 8, 1, 0.9), (24, 18, 1, 0.85)],
)
def test_batches_stay_full_with_many_short_jobs_and_two_long_files(
    most: int, few: int, lanes: int, fill: float
) -> None:
    device = Device(most, few, lanes)
    long = [device.file(140) for _ in range(2)]
    short = [device.file(1) for _ in range(40)]
    device.run()
    assert all(file.future.done() for file in (*long, *short))
    assert device.fill >= fill
    for file in long:
        assert device.alone(file) <= 1 + 140 // 8


def test_looks_wait_for_windows_without_a_text_and_keep_no_file_from_its_end() -> None:
    device = Device(most=4, few=4)
    first = device.file(8)
    while not any(item.turn is Turn.LOOK for item in device.engine.shared.batcher.waiting):
        device.round()
    others = [device.file(1) for _ in range(30)]
    while not first.future.done():
        (batch,) = device.round()
        assert not [item for item in batch.items if item.turn is Turn.LOOK] or batch.key != Key(4)
    assert any(not file.future.done() for file in others), "it did not wait for the others' end"
    device.run()


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.lists(st.integers(0, 6), max_size=60),
    st.sampled_from([(4, 1, 2), (4, 2, 1), (8, 8, 1), (1, 1, 1)]),
    st.sampled_from(["auto", "on", "off"]),
)
def test_nobody_starves_whatever_else_comes(
    files: list[int],
    arriving: Sequence[int],
    shape: tuple[int, int, int],
    mode: CarryContext,
) -> None:
    device = Device(*shape)
    held = [device.file(windows, mode) for windows in files]
    for count in arriving:
        held += [device.file(1, mode) for _ in range(count)]
        device.round()
    device.run()
    assert all(file.future.done() for file in held)
    decoded_at = {
        (item.job, item.index): number
        for number, batch in enumerate(device.batches)
        for item in batch.items
        if item.turn <= Turn.LATER
    }
    assert len(decoded_at) == sum(files) + sum(arriving)


@pytest.mark.parametrize(("most", "few", "lanes"), [(4, 1, 2), (8, 8, 1)])
def test_a_file_of_hours_ends_while_short_jobs_keep_coming(most: int, few: int, lanes: int) -> None:
    device = Device(most, few, lanes)
    file = device.file(carry.CHAIN * 4)
    rounds = 0
    while not file.future.done() and rounds < 2000:
        for _ in range(most * lanes):
            device.file(1)
        device.round()
        rounds += 1
    # A place in every batch would be as many rounds as it has windows.
    assert rounds < carry.CHAIN * 4


def late(job: int, index: int) -> Item:
    return Item(job, index, Key(4), 20.0, 0.0, Turn.LATER)


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=40), st.integers(0, 12))
def test_chains_start_far_from_each_other(places: set[tuple[int, int]], count: int) -> None:
    items = [late(*place) for place in places]
    starts = chain_starts(items, count)
    assert len(starts) == len(set(starts)) == min(count, len(items))
    assert set(starts) <= set(items)


def test_a_chain_starts_in_the_middle_of_the_longest_stretch() -> None:
    items = [late(0, index) for index in range(1, 10)] + [late(1, index) for index in range(1, 31)]
    assert [(start.job, start.index) for start in chain_starts(items, 3)] == [
        (1, 15),
        (1, 23),
        (1, 7),
    ]
    assert [start.index for start in chain_starts([late(0, 1), late(0, 2)], 2, 2)] == [1]
    assert chain_starts([late(0, 1), late(0, 3)], 2, 2) == [], "each as soon with the text before"


def test_looks_are_shared_out_among_the_lanes_of_a_cpu() -> None:
    batcher = Batcher(max_wait=0.2, lanes=2, few=1)
    for index in range(3):
        batcher.add(Item(0, index, Key(227), 20.0, 0.0, Turn.LOOK, prompted=True))
    taken = [batcher.next_batch(0.0, lambda _: 4, expecting=False) for _ in range(3)]
    assert [len(batch.items) for batch in taken if batch is not None] == [1, 1, 1]
