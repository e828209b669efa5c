"""Which windows of which jobs go next (pure; never touches the GPU).

The batcher holds the ready windows of all jobs and decides; it neither waits nor decodes.
A device thread asks `next_batch` when the device is free, and gets windows that can share one
call: same prompt length, temperature and encoder length (`Key`).

The order: the oldest job's first window leads a batch. It is joined by windows of about the same
length, because a batch lasts as long as its longest text; but a quarter of each batch is kept for
other jobs while any of theirs wait. Every fourth batch is led by the window that has waited
longest, whatever its job: else windows that can't share a batch with a long file would wait for its
end, and a window of unusual length as long as others come. On a card it has to let many batches
pass first.

A window whose predecessor has no text yet stands back, because it would be decoded without the
text before it (`Turn.LATER`): other files fill the batch first. Where they don't keep the device
busy, some such windows go all the same, each as the start of another chain of windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

POOL = 4
"""How many batches' worth of the oldest windows are searched for ones of about the same length."""

SHARE = 4
"""One in this many places of a batch is kept for jobs other than the one with most windows."""

CARD_CHAINS = 2
"""Batches that the chains are to fill on a card, where they are spread over batches of several
kinds: prompts of two lengths, their first windows, second attempts."""

CARD_PATIENCE = 40
"""Batches for jobs that a window on a card lets pass before it leads one that isn't full. What
seldom comes, as second attempts do, would else leave most of a quarter of the batches empty."""

FILL = 0.9
"""Share of the places of a batch under which another chain is started to fill them."""

AUDIT_EVERY = 20
"""After so many batches for jobs without audits between them, one of audits goes by right, if they
fill it: under load nothing else would ever let them."""

AUDITS_FILL = 32
"""Audits that fill a batch, though more may fit."""

AUDITS_WAIT = 4 * AUDIT_EVERY
"""After so many batches for jobs, an audit goes by right though it fills none. Prompts of a rare
length may never fill one: their languages would never be judged by them, and as few audits may wait
at a time (`audits.MOST`), they would come to hold every place. It costs little: by right goes one
batch in `AUDIT_EVERY` at most, filled or not, and an unfilled one takes less time."""


class Turn(IntEnum):
    """When a window's turn comes, beside others that could go.

    Attributes:
        NOW: it gains nothing by waiting.
        LATER: its predecessor has no text yet.
        LOOK: it has a text, and is to be decoded once more with the text before it. Never delays
            a window that has none.
        AUDIT: no job waits for it. Never enlarges a batch that a job waits for, and goes before one
            only as often as `AUDIT_EVERY` says.
    """

    NOW = 0
    LATER = 1
    LOOK = 2
    AUDIT = 3


@dataclass(frozen=True, slots=True)
class Key:
    """What windows must have in common to share a call.

    Attributes:
        prompt_length: CTranslate2 wants the start token at the same index in each prompt.
        temperature: sampling options belong to the call, not to the window.
        positions: encoder length that the window is padded to (1500 is 30 s).
        alone: the number of a job that shares no batch (it may have killed a worker), else None.
    """

    prompt_length: int
    temperature: float = 0.0
    positions: int = 1500
    alone: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One window, ready to be decoded.

    Attributes:
        job: the job's number; a smaller one came earlier.
        index: the window's position in its job.
        key: what it can share a batch with.
        seconds: speech in it; the length of its text follows from that.
        ready_at: monotonic seconds at which it was added.
        turn: when it goes.
        prompted: whether the text of the windows before it is in its prompt.
    """

    job: int
    index: int
    key: Key
    seconds: float
    ready_at: float
    turn: Turn = Turn.NOW
    prompted: bool = False

    @property
    def age(self) -> tuple[int, int]:
        """Sorts by who came first."""
        return (self.job, self.index)


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows to decode in one call.

    Attributes:
        key: what they have in common.
        items: the windows, longest first.
        capacity: how many would have been enough for a full batch.
    """

    key: Key
    items: tuple[Item, ...]
    capacity: int


@dataclass(slots=True)
class Batcher:
    """The windows that wait.

    Attributes:
        max_wait: seconds that the oldest window waits for others while more are on their way.
        lanes: calls that the device runs at once. Where all windows that jobs wait for fit one
            call, they are divided between the lanes.
        few: prompted windows that are enough for a batch, though more may fit; see
            `memory.Budget.few`.
        card: whether a batch takes nearly as long with few windows as with many.
    """

    max_wait: float
    lanes: int = 1
    few: int = 1
    card: bool = False
    _led_by_age: int = 0
    _for_jobs: int = 0  # batches so far that jobs waited for
    _at_audits: int = 0  # how many those were when audits last went
    _waiting: dict[tuple[int, int], Item] = field(default_factory=dict)
    _came_at: dict[tuple[int, int], int] = field(default_factory=dict)  # and when each came

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> list[Item]:
        """The windows that wait, in the order they were added."""
        return list(self._waiting.values())

    @property
    def busy(self) -> bool:
        """Whether windows wait that have no text yet."""
        return any(item.turn <= Turn.LATER for item in self._waiting.values())

    def add(self, item: Item) -> None:
        """Adds a window.

        Raises:
            ValueError: that window is here already.
        """
        if item.age in self._waiting:
            raise ValueError(f"window {item.index} of job {item.job} waits already")
        self._waiting[item.age] = item
        self._came_at[item.age] = self._for_jobs

    def remove(self, job: int, index: int) -> Item | None:
        """Removes a window, and returns it; None if it doesn't wait."""
        self._came_at.pop((job, index), None)
        return self._waiting.pop((job, index), None)

    def drop(self, job: int) -> list[Item]:
        """Removes all windows of a job, and returns them."""
        gone = [item for item in self._waiting.values() if item.job == job]
        self._take(gone)
        return gone

    def next_batch(
        self,
        now: float,
        capacity: Callable[[Key], int],
        *,
        expecting: bool,
        flying: Sequence[Item] = (),
        ahead: bool = False,
    ) -> Batch | None:
        """The windows that go next, or None to wait.

        Of the batches that are possible, the first full one, in the order of their leaders; if
        none is full, the fullest.

        Args:
            now: monotonic seconds.
            capacity: how many windows with a key fit a batch.
            expecting: whether more windows are on their way. Then only a full batch is given
                out, until the oldest window has waited `max_wait`.
            flying: the windows that are being decoded, or whose texts are not read yet.
            ahead: whether the texts of a batch are not read yet. What follows from them comes in
                a moment, so only a full batch goes ahead of them, or audits by right.
        """
        turns: dict[Turn, list[Item]] = {turn: [] for turn in Turn}
        for item in self._waiting.values():
            turns[item.turn].append(item)
        if (audits := self._audits_by_right(turns[Turn.AUDIT], capacity)) is not None:
            return audits
        ready = turns[Turn.NOW]
        starts = self._chain_starts(turns[Turn.LATER], [*ready, *flying])
        leaders = [*_oldest(ready), *_oldest(starts)]
        if (longest := self._overdue(ready)) is not None:
            leaders.insert(0, longest)
        best: _Choice | None = None
        for leader in leaders:
            choice = self._choice(leader, ready, starts, capacity)
            if choice.full or self._ripe(choice.items, now, expecting):
                if best is None or choice.fill > best.fill:
                    best = choice
                if choice.full or leader is longest:
                    break
        if ahead and (best is None or not best.full):
            return None
        if best is None:
            return self._background(turns, now, capacity, expecting)
        self._led_by_age = 0 if best.leader is longest else self._led_by_age + 1
        self._for_jobs += 1
        everything = len(ready) + len(starts)
        divided = best.leader.turn is Turn.NOW and len(best.items) == everything < best.most
        share = -(-everything // self.lanes) if divided else best.most
        looks = _group(turns[Turn.LOOK], best.leader)[: max(0, best.enough - len(best.items))]
        return self._batch(best, choose(best.items, share, best.leader) + looks)

    def _overdue(self, ready: Sequence[Item]) -> Item | None:
        """The window that has waited longest, if it is to lead the next batch."""
        if not ready or self._led_by_age < SHARE - 1:
            return None
        if not self.card:
            return min(ready, key=lambda item: item.ready_at)
        # By batches: a window of a chain was added long before its turn came.
        longest = min(ready, key=lambda item: (self._came_at[item.age], item.ready_at))
        waited = self._for_jobs - self._came_at[longest.age]
        return longest if waited >= CARD_PATIENCE else None

    def _audits_by_right(self, audits: list[Item], capacity: Callable[[Key], int]) -> Batch | None:
        """A full batch of audits, or an overdue one, if jobs have had theirs often enough."""
        if not audits or self._for_jobs - self._at_audits < AUDIT_EVERY:
            return None
        first = min(audits, key=lambda item: (self._came_at[item.age], item.age))
        overdue = self._for_jobs - self._came_at[first.age] >= AUDITS_WAIT
        for leader in [first] if overdue else _oldest(audits):
            choice = self._choice(leader, audits, [], capacity)
            enough = min(choice.most, AUDITS_FILL)
            if overdue or len(choice.items) >= enough:
                return self._free_batch(choice, enough)
        return None

    def wait_seconds(self, now: float) -> float | None:
        """Seconds until the oldest window has waited `max_wait`; None if there is no window."""
        if not self._waiting:
            return None
        oldest = min(item.ready_at for item in self._waiting.values())
        return max(0.0, oldest + self.max_wait - now)

    def _chain_starts(self, later: list[Item], others: Iterable[Item]) -> list[Item]:
        """Windows that go without the text before them, so that the device stays busy.

        There are to be as many chains as fill the prompted batches of all lanes (on a card, two
        of them). Where they are clearly fewer, new ones are started, at least a batch of them.
        """
        going_on = {item.job for item in later}
        alive = sum(item.prompted or item.job in going_on for item in others)
        wanted = self.few * (CARD_CHAINS if self.card else self.lanes)
        if alive >= FILL * wanted:
            return []
        # A place in a batch that goes anyway costs little, a batch of its own as much as any.
        shortest = 2 if self.few == 1 else 1
        return chain_starts(later, max(wanted - alive, self.few), shortest)

    def _choice(
        self, leader: Item, ready: list[Item], starts: list[Item], capacity: Callable[[Key], int]
    ) -> _Choice:
        most = max(1, capacity(leader.key))
        # Chains are started to be few: no more of them than keep the lanes busy.
        few = leader.prompted or leader.turn is Turn.LATER
        enough = min(most, self.few) if few else most
        items = _group(ready, leader)
        if len(items) < enough:
            items += _group(starts, leader)[: most - len(items)]
        return _Choice(leader, items, most, enough)

    def _background(
        self,
        turns: dict[Turn, list[Item]],
        now: float,
        capacity: Callable[[Key], int],
        expecting: bool,
    ) -> Batch | None:
        """A batch for which no window without a text has to wait."""
        if turns[Turn.NOW] or (turns[Turn.LATER] and not turns[Turn.LOOK]):
            return None
        waiting = turns[Turn.LOOK] or turns[Turn.AUDIT]
        for leader in _oldest(waiting):
            choice = self._choice(leader, waiting, [], capacity)
            if choice.full or self._ripe(choice.items, now, expecting):
                return self._free_batch(choice, choice.enough)
        return None

    def _ripe(self, items: Iterable[Item], now: float, expecting: bool) -> bool:
        """Whether windows needn't wait any more for others to fill their batch."""
        return not expecting or now - min(item.ready_at for item in items) >= self.max_wait

    def _batch(self, choice: _Choice, items: list[Item]) -> Batch:
        self._take(items)
        return Batch(choice.leader.key, tuple(items), max(choice.enough, len(items)))

    def _free_batch(self, choice: _Choice, most: int) -> Batch:
        """A batch of looks or audits: what places it leaves nobody would have used.

        Audits that go while no job waits count as those that go by right: none follow them soon.
        """
        if choice.leader.turn is Turn.AUDIT:
            self._at_audits = self._for_jobs
        batch = self._batch(choice, choose(choice.items, most, choice.leader))
        return replace(batch, capacity=len(batch.items))

    def _take(self, items: Iterable[Item]) -> None:
        for item in items:
            del self._waiting[item.age]
            del self._came_at[item.age]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A batch that could go: its leader, what can share it, how many fit, how many are enough."""

    leader: Item
    items: list[Item]
    most: int
    enough: int

    @property
    def fill(self) -> float:
        return len(self.items) / self.enough

    @property
    def full(self) -> bool:
        return len(self.items) >= self.enough


def chain_starts(later: Sequence[Item], count: int, shortest: int = 1) -> list[Item]:
    """At most `count` windows that lie far from each other: each the middle of what is left.

    The longer a chain is before it meets the next, the fewer windows go without the text before
    them.

    Args:
        later: the windows to choose from.
        count: how many are wanted.
        shortest: windows in a row that are worth a start. A single one, decoded and then looked at
            once more, is done no sooner than if it had waited for the text before it.
    """
    runs: list[list[Item]] = []
    for item in sorted(later, key=lambda item: item.age):
        if runs and runs[-1][-1].age == (item.job, item.index - 1):
            runs[-1].append(item)
        else:
            runs.append([item])
    found: list[Item] = []
    runs = [run for run in runs if len(run) >= shortest]
    while runs and len(found) < count:
        run = max(runs, key=lambda run: (len(run), -run[0].job, -run[0].index))
        runs.remove(run)
        # The chain before it has a window on its way already, and will look at this one.
        middle = (len(run) - 1) // 2
        found.append(run[middle])
        parts = (run[:middle], run[middle + 1 :])
        runs += [part for part in parts if len(part) >= shortest]
    return found


def _oldest(items: Iterable[Item]) -> list[Item]:
    """Of windows that can share a batch, the oldest; of all such groups, the oldest first."""
    groups: dict[Key, Item] = {}
    for item in sorted(items, key=lambda item: item.age):
        groups.setdefault(item.key, item)
    return list(groups.values())


def _group(items: Iterable[Item], leader: Item) -> list[Item]:
    """The windows that can share a batch with one."""
    return [item for item in items if item.key == leader.key]


def choose(items: list[Item], limit: int, leader: Item) -> list[Item]:
    """At most `limit` of some windows that share a key, the leader among them.

    Returns them longest first, which is how they are decoded.
    """
    by_age = sorted(items, key=lambda item: item.age)
    if len(by_age) > limit:
        others = [item for item in by_age if item.job != leader.job]
        pool = {item.age: item for item in (*by_age[: limit * POOL], *others[:limit])}
        alike = sorted(
            pool.values(), key=lambda item: (abs(item.seconds - leader.seconds), item.age)
        )
        by_age = _shared_out(alike, leader, limit)
    return sorted(by_age, key=lambda item: (-item.seconds, item.age))


def _shared_out(alike: list[Item], leader: Item, limit: int) -> list[Item]:
    """The first `limit`, but no job gets the last quarter while other jobs' windows wait."""
    most = limit - limit // SHARE
    taken: Counter[int] = Counter()
    chosen: list[Item] = []
    passed: list[Item] = []
    for item in (leader, *(item for item in alike if item is not leader)):
        if len(chosen) == limit:
            break
        if taken[item.job] < most:
            taken[item.job] += 1
            chosen.append(item)
        else:
            passed.append(item)
    return chosen + passed[: limit - len(chosen)]
