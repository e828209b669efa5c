"""Claims about the optimized transcriber, each beside what was measured (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.bench.figures import Cell, Missing, Row
from worker.bench.plan import PEERS, Spec

__all__ = ["TITLES", "Claim", "claims"]

TITLES = {"whisperx": "WhisperX", "faster-whisper": "faster-whisper"}

BOUNDS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "full": {"clips": (1.8, 1.2), "joined": (1.8, 1.0)},
    "adaptive": {"clips": (5.0, 3.0), "joined": (2.0, 1.1)},
    "auto": {"clips": (5.0, 3.0), "joined": (2.0, 1.1)},
}
"""How many times as fast as WhisperX and as faster-whisper the optimized transcriber is meant to
be with base int8 on two cores, by context and load."""

MOST_POINTS = 0.5
"""Of word error rate above the better peer."""

MOST_OVERHEAD = 1.15
"""Over the floor, with full context."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim with the figure that decides it.

    Attributes:
        text: what is claimed.
        value: what was measured.
        low: the claim holds from here.
        high: up to here.
    """

    text: str
    value: Cell
    low: float = -math.inf
    high: float = math.inf

    @property
    def verdict(self) -> str:
        """Whether the claim holds."""
        if isinstance(self.value, Missing):
            return "not measured"
        if self.value < self.low:
            return "below"
        return "above" if self.value > self.high else "holds"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """The claims that these rows decide, load by load.

    They are the aim of 15 to 30 times a CPU, and the bounds in this module.
    """
    found: list[Claim] = []
    for load in dict.fromkeys(row.load for row in rows):
        of_load = [row for row in rows if row.load == load]
        found += _aims(load, of_load)
        for row in of_load:
            if _is(row, "optimized", "cpu") and row.spec.plan.fixed_tokens is None:
                found += _bounds(row, of_load)
    return found


def _aims(load: str, rows: Sequence[Row]) -> list[Claim]:
    """15 to 30 times a CPU, against stock WhisperX there and against the same code there."""
    found = []
    for name, slow, against in (
        ("optimized", "whisperx", "WhisperX on the CPU"),
        ("after-int8", "after-int8", "the same on the CPU"),
    ):
        on_cpu = next((row for row in rows if _is(row, slow, "cpu")), None)
        on_card = [row for row in rows if _is(row, name, "cuda")]
        value: Cell = Missing(f"{name} on a GPU or {slow} on the CPU took no part")
        if on_cpu is not None and on_card:
            value = _over(max(on_card, key=_speed), on_cpu)
        found.append(
            Claim(f"{load}: 15 to 30 times a CPU ({name} on the GPU over {against})", value, 15, 30)
        )
    return found


def _bounds(row: Row, of_load: Sequence[Row]) -> list[Claim]:
    where = f"{row.load}, CPU, context {row.spec.plan.context}"
    peers = [other for other in of_load if other.spec.name in PEERS and _same(other.spec, row.spec)]
    rates = [other.wer for other in peers if not isinstance(other.wer, Missing)]
    above: Cell = Missing("no peer has a word error rate")
    if isinstance(row.wer, Missing):
        above = row.wer
    elif rates:
        above = row.wer - min(rates)
    least = BOUNDS[row.spec.plan.context][row.load]
    found = [
        Claim(f"{where}: at least {low:g} times {TITLES[peer]}", row.to_peer[peer], low)
        for peer, low in zip(PEERS, least, strict=True)
    ]
    found.append(
        Claim(
            f"{where}: word error rate at most {MOST_POINTS:g} points above the better peer",
            above,
            high=MOST_POINTS,
        )
    )
    if row.spec.plan.context == "full":
        found.append(
            Claim(
                f"{where}: overhead over the floor at most {MOST_OVERHEAD:g}",
                row.overhead,
                high=MOST_OVERHEAD,
            )
        )
    return found


def _is(row: Row, name: str, device: str) -> bool:
    return (row.spec.name, row.spec.device) == (name, device)


def _speed(row: Row) -> float:
    return -1.0 if isinstance(row.speed, Missing) else row.speed


def _over(fast: Row, slow: Row) -> Cell:
    """The ratio of two rows' speeds."""
    if isinstance(fast.speed, Missing):
        return fast.speed
    return slow.speed if isinstance(slow.speed, Missing) else fast.speed / slow.speed


def _same(one: Spec, other: Spec) -> bool:
    return one.device == other.device and one.plan.model == other.plan.model
