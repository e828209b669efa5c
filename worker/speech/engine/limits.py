"""How many windows of a kind share a batch, by what memory has shown (pure).

The budget's arithmetic comes first (`model.memory`). Where memory runs out all the same, the lower
size is remembered for batches of that kind alone: one that ran out while sampling says nothing
about beam search. It is no verdict for ever, since what took the memory may be gone: after many
batches that went well it is tried again, a little at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PATIENCE", "Kind", "Limits"]

PATIENCE = 50
"""Full batches that go well before a larger one is tried; twice as many after each failure."""

STEP = 8
"""A limit grows by one in this many."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides how much memory a window of a batch takes.

    Attributes:
        positions: of the encoder.
        prompt: tokens before the text.
        sampled: whether texts are sampled.
    """

    positions: int
    prompt: int
    sampled: bool


@dataclass(slots=True)
class _Limit:
    """What is known of one kind.

    Attributes:
        windows: most in a batch.
        good: full batches that went well since that changed.
        patience: how many are to, before a larger one is tried.
        before: the limit before it grew last, which went well often; 0 if it didn't grow.
    """

    windows: int
    good: int = 0
    patience: int = PATIENCE
    before: int = 0


@dataclass(slots=True)
class Limits:
    """What memory has shown so far. Not thread-safe."""

    _found: dict[Kind, _Limit] = field(default_factory=dict)

    def most(self, kind: Kind, fit: int) -> int:
        """Windows of a kind in a batch; at least one.

        Args:
            kind: of the batch.
            fit: what the budget's arithmetic says.
        """
        limit = self._found.get(kind)
        return max(1, fit if limit is None else min(fit, limit.windows))

    def failed(self, kind: Kind, windows: int) -> None:
        """A batch ran out of memory."""
        limit = self._found.get(kind)
        if limit is None:
            self._found[kind] = _Limit(max(1, windows // 2))
            return
        # The other half of a split batch may fail at a size over the one now remembered.
        most = min(limit.windows, max(1, windows // 2))
        if 0 < limit.before < windows:
            most = limit.before
            limit.patience *= 2
        limit.windows, limit.good, limit.before = most, 0, 0

    def passed(self, kind: Kind, windows: int) -> None:
        """A batch went well."""
        limit = self._found.get(kind)
        if limit is None or windows < limit.windows:
            return
        limit.good += 1
        if limit.good >= limit.patience:
            limit.before = limit.windows
            limit.windows += max(1, limit.windows // STEP)
            limit.good = 0
