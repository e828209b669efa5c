"""Which windows of which jobs go next (pure; never touches the GPU).

The batcher holds the ready windows of all jobs and decides; it neither waits nor decodes.
A device thread asks `next_batch` when the device is free, and gets windows that can share one
call: same prompt length, temperature and encoder length (`Key`).

The order: the oldest job's first window leads a batch. It is joined by windows of about the same
length, because a batch lasts as long as its longest text; but a quarter of each batch is kept for
other jobs while any of theirs wait. Every fourth batch is led by the window that has waited
longest, whatever its job. Without that, windows that can't share a batch with a long file would
wait for its end, and a window of unusual length would wait as long as others come.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

POOL = 4
"""How many batches' worth of the oldest windows are searched for ones of about the same length."""

SHARE = 4
"""One in this many places of a batch is kept for jobs other than the one with most windows."""


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
        awaited: whether a job waits for it. Background items (False) never delay or enlarge a
            batch that a job waits for.
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
    """Windows to decode in one call.

    Attributes:
        key: what they have in common.
        items: the windows, longest first.
        capacity: how many would have fitted.
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
    """

    max_wait: float
    lanes: int = 1
    _led_by_age: int = 0
    _waiting: dict[tuple[int, int, float], Item] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> None:
        """Adds a window.

        Raises:
            ValueError: that window, at that temperature, is here already.
        """
        identity = (item.job, item.index, item.key.temperature)
        if identity in self._waiting:
            raise ValueError(f"window {item.index} of job {item.job} waits already")
        self._waiting[identity] = item

    def drop(self, job: int) -> list[Item]:
        """Removes all windows of a job, and returns them."""
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
            expecting: whether more windows are on their way. Then only a full batch is given
                out, until the oldest window has waited `max_wait`.
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
        """Seconds until the oldest window has waited `max_wait`; None if there is no window."""
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
