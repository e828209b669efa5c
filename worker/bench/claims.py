"""Claims about the optimized transcriber, each beside what was measured (pure).

The bounds hold for base int8 with beam 5 on two cores. What the default settings promise is listed
whatever was run; what was not run is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worker.bench.figures import Cell, Comparison, Missing, Row
from worker.bench.loads import LOADS, LoadName
from worker.bench.plan import CARRIES, PEERS, Context
from worker.bench.wer import Interval
from worker.speech.api import CarryContext

__all__ = ["RULES", "TITLES", "Claim", "Rule", "claims"]

TITLES = {
    "whisperx": "WhisperX",
    "faster-whisper": "faster-whisper",
    "faster-whisper-sequential": "faster-whisper sequential",
    "full": "context full",
    "carry-off": "carry_context off",
}

BATCHED = ("whisperx", "faster-whisper")
"""The peers that decode several windows at once."""

MOST_OVER_FULL = 0.3
"""Points of word error rate above full context, on any load."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is claimed of the optimized transcriber with some settings, on some loads.

    Attributes:
        loads: where it is claimed.
        contexts: with which contexts.
        carries: with which `carry_context`.
        faster: how many times as fast as a peer, at least.
        points: of word error rate above the best of `best_of`, at most.
        best_of: peers.
        slower_than_off: how many times the seconds of `carry_context = off`, at most.
        overhead: over the floor, at most.
        over_full: points of word error rate above full context, at most; besides, the interval
            must not lie above nought.
        says_once: whether no text says something twice over.
    """

    loads: tuple[LoadName, ...]
    contexts: tuple[Context, ...]
    carries: tuple[CarryContext, ...]
    faster: Mapping[str, float] = field(default_factory=dict)
    points: float | None = None
    best_of: tuple[str, ...] = PEERS
    slower_than_off: float | None = None
    overhead: float | None = None
    over_full: float | None = None
    says_once: bool = False


RULES = (
    Rule(
        loads=("clips",),
        contexts=("auto", "adaptive"),
        carries=CARRIES,
        faster={"whisperx": 4.0},
        points=0.5,
        best_of=BATCHED,
        over_full=MOST_OVER_FULL,
        says_once=True,
    ),
    Rule(
        loads=("joined", "long"),
        contexts=("auto", "adaptive"),
        carries=("auto",),
        faster={"whisperx": 1.5, "faster-whisper": 1.0, "faster-whisper-sequential": 3.0},
        points=0.3,
        over_full=MOST_OVER_FULL,
    ),
    Rule(
        loads=("joined", "long"),
        contexts=("auto", "adaptive"),
        carries=("off",),
        faster={"whisperx": 2.5, "faster-whisper": 1.3},
        points=0.5,
        best_of=("faster-whisper",),
        over_full=MOST_OVER_FULL,
    ),
    Rule(
        loads=("long-many",),
        contexts=("auto", "adaptive", "full"),
        carries=("auto",),
        slower_than_off=1.5,
    ),
    Rule(
        loads=("clips",),
        contexts=("full",),
        carries=CARRIES,
        faster={"whisperx": 1.8, "faster-whisper": 1.2},
        points=0.5,
        best_of=BATCHED,
        overhead=1.15,
    ),
    Rule(
        loads=("joined", "long"),
        contexts=("full",),
        carries=("off",),
        faster={"whisperx": 1.8, "faster-whisper": 1.0},
        points=0.5,
        best_of=BATCHED,
        overhead=1.15,
    ),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim with the figure that decides it.

    Attributes:
        text: what is claimed.
        value: what was measured.
        low: the claim holds from here.
        high: up to here.
        interval: of the value: the paired 95 % interval of a difference of word error rates, or
            the least and the most of any repeat; None where neither is known.
        no_worse: whether an interval that lies above nought decides against the claim.
    """

    text: str
    value: Cell
    low: float = -math.inf
    high: float = math.inf
    interval: tuple[float, float] | None = None
    no_worse: bool = False

    @property
    def verdict(self) -> str:
        """Whether the claim holds."""
        if isinstance(self.value, Missing):
            return "not measured"
        if self.value < self.low:
            return "fails (below)"
        if self.value > self.high:
            return "fails (above)"
        if self.no_worse and self.interval is not None and self.interval[0] > 0:
            return "fails (interval above 0)"
        return "holds"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """All claims, load by load: those that these rows decide, and those of the default settings.

    They are the aim of 15 to 30 times a CPU, and the `RULES`. Random weights have only the first.
    """
    found: list[Claim] = []
    for load in LOADS:
        of_load = [row for row in rows if row.load == load]
        if of_load:
            found += _aims(load, of_load)
        if any(row.spec.plan.fixed_tokens is not None for row in rows):
            continue
        for rule in RULES:
            if load in rule.loads:
                for where, row in _subjects(rule, load, of_load):
                    found += _judge(rule, where, row)
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


def _subjects(rule: Rule, load: str, rows: Sequence[Row]) -> Iterator[tuple[str, Row | Missing]]:
    """Each row that a rule speaks of, with its name; the default settings' even if missing."""
    for context in rule.contexts:
        for carry in rule.carries:
            where = f"{load}, CPU, context {context}, carry_context {carry}"
            row = next(
                (
                    row
                    for row in rows
                    if _is(row, "optimized", "cpu")
                    and (row.spec.plan.context, row.spec.plan.carry_context) == (context, carry)
                ),
                None,
            )
            if row is not None:
                yield where, row
            elif (context, carry) == ("auto", rule.carries[0]):
                yield where, Missing("those settings took no part on that load")


def _judge(rule: Rule, where: str, row: Row | Missing) -> Iterator[Claim]:
    """The claims of one rule about one row."""
    for peer, least in rule.faster.items():
        comparison = _beside(row, peer)
        yield Claim(
            f"{where}: at least {least:g} times as fast as {TITLES[peer]}",
            comparison.ratio,
            low=least,
            interval=_span(comparison.ratios),
        )
    if rule.slower_than_off is not None:
        off = _beside(row, "carry-off")
        yield Claim(
            f"{where}: at most {rule.slower_than_off:g} times the seconds of carry_context off",
            off.ratio if isinstance(off.ratio, Missing) else 1 / off.ratio,
            high=rule.slower_than_off,
            interval=_span([1 / ratio for ratio in off.ratios]),
        )
    if rule.points is not None:
        best, points = _best(row, rule.best_of)
        yield Claim(
            f"{where}: word error rate at most {rule.points:g} points above {best}",
            points if isinstance(points, Missing) else points.difference,
            high=rule.points,
            interval=None if isinstance(points, Missing) else (points.low, points.high),
        )
    if rule.over_full is not None:
        points = _beside(row, "full").points
        yield Claim(
            f"{where}: word error rate at most {rule.over_full:g} points above context full, "
            "and not surely above it",
            points if isinstance(points, Missing) else points.difference,
            high=rule.over_full,
            interval=None if isinstance(points, Missing) else (points.low, points.high),
            no_worse=True,
        )
    if rule.says_once:
        yield Claim(
            f"{where}: no text says something twice over",
            row if isinstance(row, Missing) else row.repeating,
            high=0,
        )
    if rule.overhead is not None:
        yield Claim(
            f"{where}: overhead over the floor at most {rule.overhead:g}",
            row if isinstance(row, Missing) else row.overhead,
            high=rule.overhead,
        )


def _beside(row: Row | Missing, rival: str) -> Comparison:
    return Comparison(row, (), row) if isinstance(row, Missing) else row.beside[rival]


def _best(row: Row | Missing, peers: Sequence[str]) -> tuple[str, Interval | Missing]:
    """The best of some peers, in words, and a row beside it; missing if one of them is."""
    one_of = {1: TITLES[peers[0]], 2: "the better of the batched peers"}
    name = one_of.get(len(peers), "the best of the three peers")
    known: list[Interval] = []
    for peer in peers:
        points = _beside(row, peer).points
        if isinstance(points, Missing):
            return name, points
        known.append(points)
    return name, max(known, key=lambda points: points.difference)


def _span(values: Sequence[float]) -> tuple[float, float] | None:
    """The least and the most of several repeats; of one there is no telling."""
    return (min(values), max(values)) if len(values) > 1 else None


def _is(row: Row, name: str, device: str) -> bool:
    return (row.spec.name, row.spec.device) == (name, device)


def _speed(row: Row) -> float:
    return -1.0 if isinstance(row.speed, Missing) else row.speed


def _over(fast: Row, slow: Row) -> Cell:
    """The ratio of two rows' speeds."""
    if isinstance(fast.speed, Missing):
        return fast.speed
    return slow.speed if isinstance(slow.speed, Missing) else fast.speed / slow.speed
