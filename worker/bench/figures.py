"""Measurements -> the figures of a report (pure).

Ratios between contestants are taken repeat by repeat, each against the other's run in the same
repeat, and their median is reported: a machine that grows slower over the hours slows both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from worker.bench.loads import Load
from worker.bench.plan import PEERS, Spec, Started
from worker.bench.trial import Measurement, Trial
from worker.bench.wer import (
    Interval,
    errors_by_clip,
    normalize,
    paired_interval,
    word_error_rate,
)

__all__ = ["Cell", "Missing", "Prices", "Row", "make_rows"]

SETTLED_SECONDS = 0.1
"""Work that goes on for longer than this after the last text is reported."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A figure that is missing, and why.

    Attributes:
        reason: a sentence.
        said: what stands in the figure's place.
    """

    reason: str
    said: str = "not measured"


Cell = float | Missing

NOT_GIVEN = Missing("its price was not given", "not given")


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars an hour; None where it was not given.

    Attributes:
        gpu: g4dn.xlarge, on demand.
        gpu_spot: the same on spot.
        cpu: c5.2xlarge, on demand.
    """

    gpu: float | None = 0.526
    gpu_spot: float | None = None
    cpu: float | None = 0.20


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant on one device and load.

    Attributes:
        started: what it ran on; None if it didn't.
        runs: seconds of each repeat.
        seconds: their median.
        speed: audio seconds per second.
        to_cpu: how many times as fast as the same contestant and model on the CPU.
        to_peer: how many times as fast as each peer, on the same device and model.
        wer: word error rate in percent.
        against: how much higher it is than each peer's, in points.
        overhead: seconds over those of the same calls made bare.
        floor: seconds of those calls.
        fill: share of the batches' places that were used.
        peak: resident bytes.
        card_peak: bytes on the card.
        dollars: per hour of audio, on demand.
        dollars_spot: the same on spot.
        notes: what it decided by itself.
    """

    spec: Spec
    load: str
    started: Started | None
    runs: tuple[float, ...]
    seconds: Cell
    speed: Cell
    to_cpu: Cell
    to_peer: Mapping[str, Cell]
    wer: Cell
    against: Mapping[str, Interval | Missing]
    overhead: Cell
    floor: Cell
    fill: Cell
    peak: Cell
    card_peak: Cell
    dollars: Cell
    dollars_spot: Cell
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Entry:
    """All repeats of one contestant on one load."""

    spec: Spec
    load: Load
    runs: dict[int, Measurement] = field(default_factory=dict)
    started: Started | None = None
    failure: str = "it was not run"
    errors: list[float] = field(default_factory=list)


_Key = tuple[str, str, str, str, str]


def make_rows(
    repeats: Sequence[Sequence[Trial]], loads: Sequence[Load], prices: Prices, *, seed: int = 0
) -> list[Row]:
    """The rows, load by load, contestants in the order of the first repeat.

    Args:
        repeats: the trials of each repeat, in any order.
        loads: that they ran on.
        prices: dollars an hour.
        seed: of the bootstrap.
    """
    entries: dict[_Key, _Entry] = {}
    for load in loads:
        for number, trials in enumerate(repeats):
            for trial in trials:
                _collect(entries, number, trial, load)
    for entry in entries.values():
        entry.errors = _errors(entry)
    return [_row(entry, entries, prices, seed) for entry in entries.values()]


def _key(spec: Spec, load: Load) -> _Key:
    return (spec.name, spec.device, spec.plan.model, spec.plan.context, load.name)


def _collect(entries: dict[_Key, _Entry], number: int, trial: Trial, load: Load) -> None:
    spec = trial.spec
    entry = entries.setdefault(_key(spec, load), _Entry(spec, load))
    entry.started = trial.started or entry.started
    if load.name in trial.measurements:
        entry.runs[number] = trial.measurements[load.name]
    elif trial.failure:
        entry.failure = trial.failure


def _errors(entry: _Entry) -> list[float]:
    """Word errors of each clip, the mean over repeats; nothing where they are unknown."""
    references = entry.load.references
    if references is None or not entry.runs or entry.spec.plan.fixed_tokens is not None:
        return []
    words = [normalize(text) for text in references]
    counts = [0.0] * len(words)
    for run in entry.runs.values():
        if len(run.texts) == len(words):
            found = [
                errors_by_clip([reference], normalize(text))[0]
                for reference, text in zip(words, run.texts, strict=True)
            ]
        else:
            found = errors_by_clip(words, normalize(" ".join(run.texts)))
        counts = [
            total + errors / len(entry.runs) for total, errors in zip(counts, found, strict=True)
        ]
    return counts


def _row(entry: _Entry, entries: Mapping[_Key, _Entry], prices: Prices, seed: int) -> Row:
    spec, load = entry.spec, entry.load
    runs = [entry.runs[number] for number in sorted(entry.runs)]
    nothing = _nothing(entry)

    def median_of(values: Sequence[float | None], otherwise: Missing) -> Cell:
        known = [value for value in values if value is not None]
        return median(known) if known else (otherwise if runs else nothing)

    seconds: Cell = Missing(entry.failure)  # the one cell that says why the row is empty
    speed: Cell = nothing
    if runs:
        seconds = median(run.seconds for run in runs)
        speed = load.seconds / seconds
    peers = {
        peer: entries.get((peer, spec.device, spec.plan.model, "full", load.name)) for peer in PEERS
    }
    gpu = spec.device == "cuda"
    no_floor = Missing("measured for the optimized transcriber without words alone", "-")
    return Row(
        spec=spec,
        load=load.name,
        started=entry.started,
        runs=tuple(run.seconds for run in runs),
        seconds=seconds,
        speed=speed,
        to_cpu=_ratio(entry, entries.get(_key(replace(spec, device="cpu"), load))),
        to_peer={peer: _ratio(entry, other) for peer, other in peers.items()},
        wer=_rate(entry),
        against={peer: _interval(entry, other, seed) for peer, other in peers.items()},
        overhead=median_of(
            [
                run.seconds / run.floor.seconds if run.floor and run.floor.calls else None
                for run in runs
            ],
            no_floor,
        ),
        floor=median_of([run.floor.seconds if run.floor else None for run in runs], no_floor),
        fill=median_of(
            [run.windows / run.slots if run.slots else None for run in runs],
            Missing("nothing was decoded"),
        ),
        peak=median_of([run.peak_bytes for run in runs], Missing("the kernel doesn't show it")),
        card_peak=median_of([run.card_peak_bytes for run in runs], Missing("not on a card", "-")),
        dollars=_dollars(speed, prices.gpu if gpu else prices.cpu, NOT_GIVEN),
        dollars_spot=_dollars(
            speed,
            prices.gpu_spot if gpu else None,
            NOT_GIVEN if gpu else Missing("no spot price is asked for on a CPU", "-"),
        ),
        notes=_notes(entry, runs),
    )


def _nothing(entry: _Entry) -> Missing:
    """What the figures of a row are that was not measured."""
    return Missing(entry.failure, "-")


def _notes(entry: _Entry, runs: Sequence[Measurement]) -> tuple[str, ...]:
    found = list(entry.started.notes) if entry.started else []
    found += [note for run in runs for note in run.notes]
    settled = max((run.settled_seconds for run in runs), default=0.0)
    if settled > SETTLED_SECONDS:
        found.append(
            f"after the last text it audited short windows for another {settled:.1f} s"
            f"{' at most' if len(runs) > 1 else ''}, which a busy worker does when it is idle"
        )
    again = max((run.second_attempts for run in runs), default=0)
    if again:
        found.append(f"windows decoded again because their text failed the checks: {again}")
    for run in runs:
        if run.floor and run.floor.same != run.floor.windows:
            differ = run.floor.windows - run.floor.same
            found.append(f"windows that came out otherwise in the floor: {differ}")
    return tuple(dict.fromkeys(found))


def _ratio(entry: _Entry, other: _Entry | None) -> Cell:
    """How many times as fast as another, the median over the repeats that both have."""
    if not entry.runs:
        return _nothing(entry)
    if other is None:
        return Missing("what it is compared with took no part with that model")
    ratios = [
        other.runs[number].seconds / run.seconds
        for number, run in entry.runs.items()
        if number in other.runs
    ]
    return median(ratios) if ratios else Missing(other.failure)


def _rate(entry: _Entry) -> Cell:
    if not entry.runs:
        return _nothing(entry)
    if entry.spec.plan.fixed_tokens is not None:
        return Missing("random weights recognise nothing")
    if entry.load.references is None:
        return Missing("there is no transcripts.csv for every clip")
    words = [len(normalize(text)) for text in entry.load.references]
    if not sum(words):
        return Missing("the transcripts have no words")
    return word_error_rate(words, entry.errors)


def _interval(entry: _Entry, other: _Entry | None, seed: int) -> Interval | Missing:
    rate = _rate(entry)
    if isinstance(rate, Missing):
        return rate
    if other is None:
        return Missing("what it is compared with took no part with that model")
    if other is entry:
        return Missing("it is the peer itself", "-")
    if not other.errors:
        return Missing(other.failure)
    words = [len(normalize(text)) for text in entry.load.references or ()]
    if len(words) < 2:
        return Missing("an interval over clips needs at least two")
    return paired_interval(words, entry.errors, other.errors, seed=seed)


def _dollars(speed: Cell, price: float | None, otherwise: Missing) -> Cell:
    if isinstance(speed, Missing):
        return speed
    return otherwise if price is None else price / speed
