"""Which windows of which jobs go next (pure; never touches the GPU).

The batcher holds the ready windows of all jobs and decides; it neither waits nor decodes.
Whoever drives the device asks `next_batch` when the device is free, and gets windows that can
share one call: same prompt length, temperature and encoder length (`Key`).

The order: the oldest job's first window leads a batch. Then windows of like length, since a
batch lasts as long as its longest text; but a quarter of each batch is kept for other jobs while
any wait. Every fourth batch is led by the window that has waited longest instead, whatever its
job: else a long file would go before all that can't share a batch with it, and a window unlike
all others would be passed over as long as better company comes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

POOL = 4
"""Batches' worth of windows among which like lengths are looked for."""

SHARE = 4
"""One in this many places of a batch is kept for jobs other than the one that fills it."""


@dataclass(frozen=True, slots=True)
class Key:
    """What windows must have in common to share a call.

    Attributes:
        prompt_length: CTranslate2 wants the start token at the same index in each prompt.
        temperature: sampling options belong to the call, not to the window.
        positions: encoder length that the window is padded to (1500 is 30 s).
        alone: a job under suspicion shares with nobody: its number, else None.
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
        seconds: speech in it, which is what its text's length follows.
        ready_at: monotonic seconds at which it was added.
        awaited: whether a job waits for it; what nobody waits for takes no one's turn, and
            makes no one's batch longer.
    """

    job: int
    index: int
    key: Key
    seconds: float
    ready_at: float
    awaited: bool = True

    @property
    def group(self) -> tuple[Key, bool]:
        """Windows of the same group can share a batch."""
        return (self.key, self.awaited)

    @property
    def age(self) -> tuple[int, int]:
        """Sorts by who came first."""
        return (self.job, self.index)


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows to decode in one call, at most as many as the budget allows."""

    key: Key
    items: tuple[Item, ...]
    capacity: int

    @property
    def fill(self) -> float:
        """Share of the capacity that is used."""
        return len(self.items) / self.capacity


@dataclass(slots=True)
class Batcher:
    """The windows that wait.

    Attributes:
        max_wait: seconds that the oldest window waits for company while more is on its way.
        lanes: calls that the device runs at once. Where all that jobs wait for does not fill
            one, it is divided between them.
    """

    max_wait: float
    lanes: int = 1
    _led_by_age: int = 0
    _waiting: dict[tuple[int, int, float], Item] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> None:
        """Takes a window in.

        Raises:
            ValueError: that window, at that temperature, waits already.
        """
        identity = (item.job, item.index, item.key.temperature)
        if identity in self._waiting:
            raise ValueError(f"window {item.index} of job {item.job} waits already")
        self._waiting[identity] = item

    def drop(self, job: int) -> list[Item]:
        """Takes all windows of a job out, and returns them."""
        gone = [item for item in self._waiting.values() if item.job == job]
        for item in gone:
            self._remove(item)
        return gone

    def next_batch(
        self, now: float, capacity: Callable[[int], int], *, expecting: bool
    ) -> Batch | None:
        """The windows that go next, or None to wait.

        Args:
            now: monotonic seconds.
            capacity: how many windows of some encoder positions fit a batch.
            expecting: whether more windows are on their way. If not, or if the oldest window
                has waited `max_wait`, a batch goes as it is; else only a full one does.
        """
        if not self._waiting:
            return None
        groups: dict[tuple[Key, bool], list[Item]] = defaultdict(list)
        for item in self._waiting.values():
            groups[item.group].append(item)
        leaders = sorted(
            (min(items, key=lambda item: item.age) for items in groups.values()),
            key=lambda item: (not item.awaited, item.age),
        )
        awaited = [item for item in self._waiting.values() if item.awaited]
        fair = bool(awaited) and self._led_by_age >= SHARE - 1
        if fair:
            leaders.insert(0, min(awaited, key=lambda item: item.ready_at))
        for leader in leaders:
            items = groups[leader.group]
            limit = max(1, capacity(leader.key.positions))
            waited = now - min(item.ready_at for item in items)
            if len(items) >= limit or not expecting or waited >= self.max_wait:
                divided = leader.awaited and len(items) == len(awaited) < limit
                share = -(-len(items) // self.lanes) if divided else limit
                chosen = choose(items, share, leader)
                for item in chosen:
                    self._remove(item)
                self._led_by_age = 0 if fair and leader is leaders[0] else self._led_by_age + 1
                return Batch(leader.key, tuple(chosen), limit)
        return None

    def wait_seconds(self, now: float) -> float | None:
        """Seconds until the oldest window has waited `max_wait`; None if nothing waits."""
        if not self._waiting:
            return None
        oldest = min(item.ready_at for item in self._waiting.values())
        return max(0.0, oldest + self.max_wait - now)

    def _remove(self, item: Item) -> None:
        del self._waiting[(item.job, item.index, item.key.temperature)]


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
    """The first `limit`, but a share for other jobs before any job gets more than the rest."""
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
