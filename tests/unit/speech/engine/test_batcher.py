"""Batches: no window lost or twice, none passed over for ever, keys never mixed, bounds kept."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker.speech.engine.batcher import (
    AUDIT_EVERY,
    AUDITS_FILL,
    AUDITS_WAIT,
    CARD_PATIENCE,
    SHARE,
    Batch,
    Batcher,
    Item,
    Key,
    Turn,
    choose,
)

FULL = Key(prompt_length=4)
PROMPTED = Key(prompt_length=9)


def item(job: int, index: int, key: Key = FULL, seconds: float = 5.0, at: float = 0.0) -> Item:
    return Item(job=job, index=index, key=key, seconds=seconds, ready_at=at)


def take(batcher: Batcher, limit: int, now: float = 0.0, *, expecting: bool = False) -> Batch:
    batch = batcher.next_batch(now, lambda _: limit, expecting=expecting)
    assert batch is not None
    return batch


def ahead(batcher: Batcher, limit: int) -> list[int] | None:
    """The jobs of a batch that goes while texts are being read."""
    batch = batcher.next_batch(9.0, lambda _: limit, expecting=False, ahead=True)
    return None if batch is None else sorted(one.job for one in batch.items)


keys = st.builds(
    Key,
    prompt_length=st.sampled_from([4, 9]),
    temperature=st.sampled_from([0.0, 0.2]),
    positions=st.sampled_from([200, 750, 1500]),
    alone=st.sampled_from([None, None, None, 1, 2]),
)


class Batching(RuleBasedStateMachine):
    """Windows come and go in any order while the device takes batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher(max_wait=0.5)
        self.now = 0.0
        self.waiting: set[Item] = set()
        self.counts: Counter[int] = Counter()
        self.passed: Counter[Item] = Counter()
        self.before: dict[Item, int] = {}

    @initialize(lanes=st.integers(1, 3))
    def choose_lanes(self, lanes: int) -> None:
        self.batcher.lanes = lanes

    @rule(job=st.integers(0, 4), key=keys, seconds=st.floats(0.1, 30.0))
    def add(self, job: int, key: Key, seconds: float) -> None:
        new = item(job, self.counts[job], key, seconds, self.now)
        self.counts[job] += 1
        self.before[new] = len(self.waiting)
        self.batcher.add(new)
        self.waiting.add(new)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def add_twice(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(sorted(self.waiting, key=lambda i: i.age)))
        with pytest.raises(ValueError, match="waits already"):
            self.batcher.add(replace(known, ready_at=self.now))

    @rule(job=st.integers(0, 4))
    def drop(self, job: int) -> None:
        gone = self.batcher.drop(job)
        assert set(gone) == {item for item in self.waiting if item.job == job}
        assert len(gone) == len(set(gone))
        self.waiting -= set(gone)

    @rule(limit=st.integers(1, 8), expecting=st.booleans())
    def go_ahead(self, limit: int, expecting: bool) -> None:
        batch = self.batcher.next_batch(self.now, lambda _: limit, expecting=expecting, ahead=True)
        if batch is not None:
            assert len(batch.items) == batch.capacity
            self.taken(batch)

    @rule(limit=st.integers(0, 8), expecting=st.booleans(), wait=st.sampled_from([0.0, 0.1, 1.0]))
    def take(self, limit: int, expecting: bool, wait: float) -> None:
        self.now += wait
        batch = self.batcher.next_batch(
            self.now, lambda key: limit * 1500 // key.positions, expecting=expecting
        )
        if batch is None:
            assert not self.waiting or expecting
            assert all(self.now - item.ready_at < 0.5 for item in self.waiting)
            return
        assert 1 <= len(batch.items) <= batch.capacity
        assert batch.capacity == max(1, limit * 1500 // batch.key.positions)
        self.taken(batch)

    def taken(self, batch: Batch) -> None:
        assert {item.key for item in batch.items} == {batch.key}
        assert len(set(batch.items)) == len(batch.items)
        assert set(batch.items) <= self.waiting
        self.waiting -= set(batch.items)
        for passed in self.waiting:
            self.passed[passed] += 1
            # Every fourth batch is led by whoever waited longest: this ends the wait of each.
            assert self.passed[passed] <= SHARE * (self.before[passed] + 1)

    @invariant()
    def counts_what_waits(self) -> None:
        assert len(self.batcher) == len(self.waiting)
        wait = self.batcher.wait_seconds(self.now)
        assert (wait is None) == (not self.waiting)
        # now and the wait are sums of decimals that no double holds.
        assert wait is None or 0.0 <= wait <= 0.5 + 1e-9


TestBatching = Batching.TestCase


@given(st.lists(st.tuples(st.integers(0, 5), keys, st.floats(0.1, 30.0)), max_size=60))
def test_all_that_is_added_comes_out_once(added: list[tuple[int, Key, float]]) -> None:
    batcher = Batcher(max_wait=0.2)
    items = [item(job, index, key, seconds) for index, (job, key, seconds) in enumerate(added)]
    for one in items:
        batcher.add(one)
    out: list[Item] = []
    while len(batcher):
        out += take(batcher, 8).items
    assert sorted(out, key=lambda i: i.index) == items


def test_windows_of_jobs_share_a_batch_and_the_oldest_job_leads() -> None:
    batcher = Batcher(max_wait=0.2)
    for job in range(20):
        batcher.add(item(job, 0, seconds=job % 7 + 1.0))
    first = take(batcher, 8)
    assert 0 in {one.job for one in first.items}
    assert len(first.items) == first.capacity == 8
    lengths = [one.seconds for one in first.items]
    assert lengths == sorted(lengths, reverse=True)


def test_like_lengths_go_together() -> None:
    batcher = Batcher(max_wait=0.2)
    for index in range(16):
        batcher.add(item(index, 0, seconds=5.0 if index % 2 else 25.0))
    assert {one.seconds for one in take(batcher, 8).items} == {25.0}
    assert {one.seconds for one in take(batcher, 8).items} == {5.0}


@given(st.integers(4, 64), st.integers(1, 40))
def test_a_long_file_leaves_a_quarter_for_others(limit: int, others: int) -> None:
    batcher = Batcher(max_wait=0.2)
    for index in range(limit * 3):
        batcher.add(item(0, index, seconds=29.0))
    for job in range(1, others + 1):
        batcher.add(item(job, 0, seconds=1.0))
    batch = take(batcher, limit)
    assert len(batch.items) == limit
    served = sum(one.job != 0 for one in batch.items)
    assert served >= min(others, limit // SHARE)


def test_alone_a_long_file_gets_the_whole_batch() -> None:
    batcher = Batcher(max_wait=0.2)
    for index in range(20):
        batcher.add(item(0, index))
    assert len(take(batcher, 8).items) == 8


def test_a_suspect_shares_no_batch() -> None:
    batcher = Batcher(max_wait=0.2)
    suspect = Key(prompt_length=4, alone=3)
    for index in range(3):
        batcher.add(item(3, index, suspect))
        batcher.add(item(4, index))
    seen = [{one.job for one in take(batcher, 8).items} for _ in range(2)]
    assert seen == [{3}, {4}]
    assert not len(batcher)


def _batches_until(wanted: Item, *, limit: int, refill: Item) -> int:
    """Batches until a window is decoded while a long file refills whatever is taken."""
    batcher = Batcher(max_wait=0.2)
    for index in range(limit * 4):
        batcher.add(replace(refill, index=index))
    batcher.add(wanted)
    following = limit * 4
    for count in range(1, 1000):
        batch = take(batcher, limit, float(count), expecting=True)
        if wanted in batch.items:
            return count
        for _ in batch.items:
            batcher.add(replace(refill, index=following, ready_at=float(count)))
            following += 1
    raise AssertionError("the window starved")


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_a_long_file_does_not_starve_a_job_with_another_prompt_length(limit: int) -> None:
    wanted = item(7, 0, PROMPTED, at=0.5)
    assert _batches_until(wanted, limit=limit, refill=item(0, 0)) <= SHARE * (4 * limit + 1)


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_a_long_file_does_not_starve_a_second_attempt(limit: int) -> None:
    wanted = item(7, 0, Key(prompt_length=4, temperature=0.2), at=0.5)
    assert _batches_until(wanted, limit=limit, refill=item(0, 0)) <= SHARE * (4 * limit + 1)


def test_on_a_card_a_rare_window_waits_for_some_batches_whatever_came_before_it() -> None:
    batcher = Batcher(max_wait=0.2, few=4, card=True)
    chains = [replace(item(0, index, PROMPTED), turn=Turn.LATER) for index in range(400)]
    for one in chains:
        batcher.add(one)
    rare = item(5, 0, Key(prompt_length=4, temperature=0.2), at=1.0)
    batcher.add(rare)
    for count in range(1, 100):
        for _ in range(4):  # the texts before them are there: as `Flow` says it, they come anew
            one = chains.pop(0)
            if batcher.remove(one.job, one.index) is not None:
                batcher.add(replace(one, turn=Turn.NOW, prompted=True))
        if rare in take(batcher, 4, 100.0 + count, expecting=True).items:
            assert count > CARD_PATIENCE // 2, "it was to wait for others of its kind"
            assert count <= CARD_PATIENCE + SHARE
            return
    raise AssertionError("the window starved")


def test_a_window_unlike_all_others_is_not_passed_over_for_ever() -> None:
    rng = random.Random(0)
    batcher = Batcher(max_wait=0.2)
    batcher.add(item(1, 0, seconds=0.5))
    job, index = 2, 0
    for count in range(200):
        while len(batcher) < 40:
            batcher.add(item(0, index, seconds=29.0, at=count))
            batcher.add(item(job, 0, seconds=28.0 + rng.random(), at=count))
            job, index = job + 1, index + 1
        if item(1, 0, seconds=0.5) in take(batcher, 8, count).items:
            assert count <= SHARE * 2
            return
    raise AssertionError("the short window starved")


def test_what_no_job_waits_for_takes_no_turn_but_comes_in_the_end() -> None:
    batcher = Batcher(max_wait=0.2)
    audit = replace(item(99, 0, Key(prompt_length=4, positions=750)), turn=Turn.AUDIT)
    batcher.add(audit)
    for index in range(40):
        batcher.add(item(0, index, at=1.0))
    batches = [take(batcher, 4) for _ in range(11)]
    assert [audit in batch.items for batch in batches] == [False] * 10 + [True]
    assert not len(batcher)


def test_under_load_what_no_job_waits_for_gets_every_so_many_turns_if_it_fills_a_batch() -> None:
    batcher = Batcher(max_wait=0.2)
    for number in range(1_000, 1_006):
        batcher.add(replace(item(number, 0, Key(4, positions=750)), turn=Turn.AUDIT))
    found = []
    for index in range(100):
        for place in range(4):
            batcher.add(item(0, 4 * index + place, at=1.0))
        found.append(take(batcher, 4).items)
    audited = [number for number, items in enumerate(found) if items[0].turn is Turn.AUDIT]
    # Six audits fill one batch of four; two wait for more, in vain.
    assert audited == [AUDIT_EVERY, AUDITS_WAIT + 1]
    assert all(len({item.turn for item in items}) == 1 for items in found)


def audit(number: int, key: Key = FULL) -> Item:
    return replace(item(number, 0, key), turn=Turn.AUDIT)


def under_load(batcher: Batcher, limit: int) -> Iterator[Batch]:
    """Batches while a job fills every one: audits go by right alone."""
    for index in itertools.count():
        for place in range(limit):
            batcher.add(item(0, limit * index + place))
        yield take(batcher, limit)
        # Where audits went, the job's windows are still there, and are not to pile up.
        batcher.drop(0)


def test_none_goes_by_right_soon_after_some_went_for_nothing() -> None:
    batcher = Batcher(max_wait=0.2)
    batches = under_load(batcher, 4)
    for _ in range(AUDIT_EVERY - 1):
        next(batches)
    batcher.drop(0)
    batcher.add(audit(1_000))
    assert take(batcher, 4).items == (audit(1_000),)  # no job waits: it is free
    for number in range(2_000, 2_004):
        batcher.add(audit(number))
    turns = [next(batches).items[0].turn for _ in range(AUDIT_EVERY + 1)]
    assert turns == [Turn.NOW] * AUDIT_EVERY + [Turn.AUDIT]


def test_looks_take_nothing_from_the_audits() -> None:
    batcher = Batcher(max_wait=0.2)
    batches = under_load(batcher, 4)
    for _ in range(AUDIT_EVERY - 1):
        next(batches)
    batcher.drop(0)
    look = replace(item(7, 0), turn=Turn.LOOK)
    batcher.add(look)
    assert take(batcher, 4).items == (look,)
    for number in range(2_000, 2_004):
        batcher.add(audit(number))
    assert [next(batches).items[0].turn for _ in range(2)] == [Turn.NOW, Turn.AUDIT]


def test_audits_that_never_fill_a_batch_go_beside_others_that_always_do() -> None:
    batcher = Batcher(max_wait=0.2)
    rare = {audit(1_000, PROMPTED), audit(1_001, PROMPTED)}
    for one in rare:
        batcher.add(one)
    gone: list[tuple[int, set[Item]]] = []
    jobs = 0
    number = 2_000
    for batch in under_load(batcher, 4):
        if batch.items[0].turn is Turn.NOW:
            jobs += 1
        else:
            gone.append((jobs, set(batch.items)))
        while sum(one.key == FULL and one.turn is Turn.AUDIT for one in batcher.waiting) < 4:
            batcher.add(audit(number))
            number += 1
        if jobs > AUDITS_WAIT + AUDIT_EVERY:
            break
    assert [at for at, _ in gone] == list(
        range(AUDIT_EVERY, AUDITS_WAIT + AUDIT_EVERY + 1, AUDIT_EVERY)
    )
    assert [at for at, items in gone if items == rare] == [AUDITS_WAIT]
    assert all(len(items) == 4 for _, items in gone if items != rare)


@given(
    st.lists(st.tuples(st.integers(0, 15), st.sampled_from([4, 9, 20])), max_size=40),
    st.integers(1, 40),
)
def test_under_load_every_audit_goes_and_never_more_than_one_batch_in_so_many(
    arrivals: list[tuple[int, int]], limit: int
) -> None:
    """Arrivals: batches for jobs before each, and the length of its prompt."""
    batcher = Batcher(max_wait=0.2)
    came: dict[Item, tuple[int, int]] = {}
    coming = [audit(1_000 + n, Key(prompt)) for n, (_, prompt) in enumerate(arrivals)]
    due = list(itertools.accumulate(pause for pause, _ in arrivals))
    jobs, last = 0, 0
    batches = under_load(batcher, limit)
    while coming or came:
        while coming and due[0] <= jobs:
            due.pop(0)
            one = coming.pop(0)
            came[one] = (jobs, len(came))
            batcher.add(one)
        batch = next(batches)
        if batch.items[0].turn is Turn.NOW:
            jobs += 1
            for since, before in came.values():
                assert jobs - since <= AUDITS_WAIT + AUDIT_EVERY * (before + 1)
            continue
        assert jobs - last >= AUDIT_EVERY
        last = jobs
        waited = max(jobs - came[one][0] for one in came)
        assert len(batch.items) >= min(limit, AUDITS_FILL) or waited >= AUDITS_WAIT
        for one in batch.items:
            del came[one]


def test_what_no_job_waits_for_makes_no_batch_longer() -> None:
    batcher = Batcher(max_wait=0.2)
    audits = {replace(item(number, 0), turn=Turn.AUDIT) for number in (90, 91)}
    for audit in audits:
        batcher.add(audit)
    batcher.add(item(99, 0))
    assert [one.job for one in take(batcher, 4).items] == [99]
    assert set(take(batcher, 4).items) == audits


def test_only_a_full_batch_goes_ahead_of_texts_that_are_being_read() -> None:
    batcher = Batcher(max_wait=0.2)
    for job in range(3):
        batcher.add(item(job, 0))
    assert ahead(batcher, 4) is None
    batcher.add(item(3, 0))
    assert ahead(batcher, 4) == [0, 1, 2, 3]
    # Looks, and audits without a right yet, would stand in the way of what follows.
    for turn in (Turn.LOOK, Turn.AUDIT):
        for job in range(4):
            batcher.add(replace(item(job, 1), turn=turn))
        assert ahead(batcher, 4) is None
        assert len(take(batcher, 4).items) == 4


def test_audits_by_right_go_ahead_of_texts_or_would_never_go_under_load() -> None:
    batcher = Batcher(max_wait=0.2)
    for number in range(2 * AUDITS_FILL):
        batcher.add(replace(item(1000 + number, 0), turn=Turn.AUDIT))
    taken: Counter[bool] = Counter()
    for turn in range(3 * AUDIT_EVERY):
        for job in range(4):
            batcher.add(item(4 * turn + job, 0))
        jobs = ahead(batcher, 4)
        assert jobs is not None
        taken[jobs[0] >= 1000] += 1
    assert taken[True] == 2


def test_what_is_overdue_waits_for_texts_but_for_no_batch_behind_it() -> None:
    batcher = Batcher(max_wait=0.2)
    batcher.add(item(0, 0, Key(prompt_length=4, temperature=0.4), at=-1.0))
    for job in range(1, 17):
        batcher.add(item(job, 0))
    for _ in range(SHARE - 1):
        assert len(ahead(batcher, 4) or []) == 4
    assert ahead(batcher, 4) is None
    assert [one.job for one in take(batcher, 4).items] == [0]
    assert ahead(batcher, 4) == [13, 14, 15, 16]


def test_a_batch_goes_when_full_when_nothing_is_expected_or_after_the_wait() -> None:
    batcher = Batcher(max_wait=0.2)
    for job in range(3):
        batcher.add(item(job, 0, at=10.0))
    assert batcher.next_batch(10.1, lambda _: 4, expecting=True) is None
    assert batcher.wait_seconds(10.1) == pytest.approx(0.1)
    batcher.add(item(3, 0, at=10.1))
    assert len(take(batcher, 4, 10.1, expecting=True).items) == 4

    batcher.add(item(4, 0, at=11.0))
    assert len(take(batcher, 4, 11.0, expecting=False).items) == 1

    batcher.add(item(5, 0, at=12.0))
    assert batcher.next_batch(12.1, lambda _: 4, expecting=True) is None
    assert len(take(batcher, 4, 12.3, expecting=True).items) == 1
    assert batcher.next_batch(13.0, lambda _: 4, expecting=False) is None
    assert batcher.wait_seconds(13.0) is None


def test_a_full_batch_does_not_wait_behind_a_half_empty_one() -> None:
    batcher = Batcher(max_wait=5.0)
    batcher.add(item(0, 0, PROMPTED))
    for job in range(1, 5):
        batcher.add(item(job, 0))
    assert take(batcher, 4, 0.1, expecting=True).key == FULL


def test_what_does_not_fill_a_batch_is_divided_between_lanes() -> None:
    batcher = Batcher(max_wait=0.2, lanes=2)
    for job in range(5):
        batcher.add(item(job, 0))
    assert [len(take(batcher, 8).items) for _ in range(3)] == [3, 1, 1]
    for job in range(5, 15):
        batcher.add(item(job, 0))
    batches = [take(batcher, 4) for _ in range(4)]
    assert [(len(batch.items), batch.capacity) for batch in batches] == [
        (4, 4), (4, 4), (1, 4), (1, 4)
    ]  # fmt: skip


def test_a_batch_is_not_divided_while_others_can_go() -> None:
    batcher = Batcher(max_wait=0.2, lanes=2)
    for job in range(4):
        batcher.add(item(job, 0))
    batcher.add(item(4, 0, PROMPTED))
    assert len(take(batcher, 8).items) == 4


def test_capacity_follows_the_windows_length() -> None:
    batcher = Batcher(max_wait=0.2)
    for job in range(12):
        batcher.add(item(job, 0, Key(prompt_length=4, positions=500)))
    batch = batcher.next_batch(0.0, lambda key: 6000 // key.positions, expecting=False)
    assert batch is not None
    assert batch.capacity == len(batch.items) == 12


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 30.0)), min_size=1, max_size=40),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_the_choice_does_not_depend_on_the_order_of_arrival(
    drawn: list[tuple[int, float]], limit: int, rng: random.Random
) -> None:
    items = [item(job, index, seconds=seconds) for index, (job, seconds) in enumerate(drawn)]
    leader = min(items, key=lambda one: one.age)
    chosen = choose(items, limit, leader)
    rng.shuffle(items)
    assert choose(items, limit, leader) == chosen
    assert leader in chosen
    assert len(chosen) == min(limit, len(items))
