"""Measurements -> the figures of a report (pure).

Ratios between contestants are taken repeat by repeat, each against the other's run in the same
repeat, and their median is reported: a machine that grows slower over the hours slows both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from statistics import median

import numpy as np

from worker.bench.loads import Load
from worker.bench.plan import PEERS, Spec, Started
from worker.bench.trial import Measurement, Trial
from worker.bench.wer import (
    Interval,
    errors_by_clip,
    normalize,
    paired_interval,
    repeats,
    stretches,
    word_error_rate,
)

__all__ = ["OWN", "RIVALS", "Cell", "Comparison", "Missing", "Prices", "Row", "make_rows"]

OWN = ("full", "carry-off")
"""What a row of the optimized transcriber is compared with beside the peers: itself with full
context, and itself with no text carried from window to window."""

RIVALS = (*PEERS, *OWN)

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
class Comparison:
    """A row beside a rival, on the same device, model and load.

    Attributes:
        ratio: how many times as fast, the median over the repeats.
        ratios: in each repeat that both have.
        points: how much higher the word error rate is.
    """

    ratio: Cell
    ratios: tuple[float, ...]
    points: Interval | Missing


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant on one device and load.

    Attributes:
        started: what it ran on; None if it didn't.
        runs: seconds of each repeat.
        seconds: their median.
        speed: audio seconds per second.
        to_cpu: how many times as fast as the same contestant and model on the CPU.
        beside: each of the `RIVALS`.
        wer: word error rate in percent.
        repeating: files whose text says something twice over that was said once (see
            `wer.repeats`); the most of any repeat.
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
    beside: Mapping[str, Comparison]
    wer: Cell
    repeating: Cell
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

    @property
    def words(self) -> list[list[str]]:
        """The words of each reference."""
        return [normalize(text) for text in self.load.references or ()]

    def by_file(self) -> Iterator[tuple[int, list[list[str]]]]:
        """Each file's number, and the words of each of its references."""
        words = iter(self.words)
        for number, count in enumerate(self.load.counts):
            yield number, list(islice(words, count))


_Key = tuple[str, str, str, str, str, str]


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
    plan = spec.plan
    own = (plan.context, plan.carry_context) if spec.takes_context else ("", "")
    return (spec.name, spec.device, plan.model, *own, load.name)


def _rivals(spec: Spec) -> dict[str, Spec]:
    """Whom a contestant is compared with: the peers and, if it can differ from itself, itself."""
    found = {peer: replace(spec, name=peer) for peer in PEERS}
    if spec.takes_context:
        found["full"] = replace(spec, plan=replace(spec.plan, context="full"))
        found["carry-off"] = replace(spec, plan=replace(spec.plan, carry_context="off"))
    return found


def _collect(entries: dict[_Key, _Entry], number: int, trial: Trial, load: Load) -> None:
    spec = trial.spec
    entry = entries.setdefault(_key(spec, load), _Entry(spec, load))
    entry.started = trial.started or entry.started
    if load.name in trial.measurements:
        entry.runs[number] = trial.measurements[load.name]
    elif trial.failure:
        entry.failure = trial.failure


def _errors(entry: _Entry) -> list[float]:
    """Word errors of each reference, the mean over repeats; nothing where they are unknown."""
    if entry.load.references is None or not entry.runs or entry.spec.plan.fixed_tokens is not None:
        return []
    counts = np.zeros(len(entry.load.references))
    for run in entry.runs.values():
        counts += [
            errors
            for number, pieces in entry.by_file()
            for errors in errors_by_clip(pieces, normalize(run.texts[number]))
        ]
    return [float(count) / len(entry.runs) for count in counts]


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
    rivals = {name: entries.get(_key(rival, load)) for name, rival in _rivals(spec).items()}
    gpu = spec.device == "cuda"
    no_floor = Missing("measured for the optimized transcriber without words alone", "-")
    return Row(
        spec=spec,
        load=load.name,
        started=entry.started,
        runs=tuple(run.seconds for run in runs),
        seconds=seconds,
        speed=speed,
        to_cpu=_ratio(entry, entries.get(_key(replace(spec, device="cpu"), load)))[0],
        beside={
            name: _compare(entry, rivals[name], seed) if name in rivals else _NOBODY
            for name in RIVALS
        },
        wer=_rate(entry),
        repeating=_repeating(entry),
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


_ABSENT = "what it is compared with took no part with that model"

_ONE_WAY = Missing("it has no such setting", "-")
_NOBODY = Comparison(_ONE_WAY, (), _ONE_WAY)

_ITSELF = Missing("it is compared with itself", "-")


def _compare(entry: _Entry, other: _Entry | None, seed: int) -> Comparison:
    if other is entry:
        return Comparison(_ITSELF, (), _ITSELF)
    return Comparison(*_ratio(entry, other), _interval(entry, other, seed))


def _ratio(entry: _Entry, other: _Entry | None) -> tuple[Cell, tuple[float, ...]]:
    """How many times as fast as another: the median, and in each repeat that both have."""
    if not entry.runs:
        return _nothing(entry), ()
    if other is None:
        return Missing(_ABSENT), ()
    ratios = tuple(
        other.runs[number].seconds / run.seconds
        for number, run in sorted(entry.runs.items())
        if number in other.runs
    )
    return (median(ratios) if ratios else Missing(other.failure)), ratios


def _rate(entry: _Entry) -> Cell:
    if not entry.runs:
        return _nothing(entry)
    if entry.spec.plan.fixed_tokens is not None:
        return Missing("random weights recognise nothing")
    if entry.load.references is None:
        return Missing("there is no transcript of every file")
    words = [len(text) for text in entry.words]
    if not sum(words):
        return Missing("the transcripts have no words")
    return word_error_rate(words, entry.errors)


def _repeating(entry: _Entry) -> Cell:
    rate = _rate(entry)
    if isinstance(rate, Missing):
        return rate
    said = [repeats([word for piece in pieces for word in piece]) for _, pieces in entry.by_file()]
    return max(
        sum(
            repeats(normalize(text)) and not twice
            for text, twice in zip(run.texts, said, strict=True)
        )
        for run in entry.runs.values()
    )


def _interval(entry: _Entry, other: _Entry | None, seed: int) -> Interval | Missing:
    rate = _rate(entry)
    if isinstance(rate, Missing):
        return rate
    if other is None:
        return Missing(_ABSENT)
    if not other.errors:
        return Missing(other.failure)
    units = _units(entry)
    if len(units) < 2:
        return Missing("an interval needs two clips, or a recording of two stretches, at least")
    words, errors, baseline = (
        [sum(values[index] for index in unit) for unit in units]
        for values in ([len(text) for text in entry.words], entry.errors, other.errors)
    )
    return paired_interval([int(count) for count in words], errors, baseline, seed=seed)


def _units(entry: _Entry) -> list[list[int]]:
    """What the bootstrap draws: stretches of each file; of a clip there is one."""
    found: list[list[int]] = []
    first = 0
    for _, pieces in entry.by_file():
        found += [
            [first + index for index in stretch]
            for stretch in stretches([len(words) for words in pieces])
        ]
        first += len(pieces)
    return found


def _dollars(speed: Cell, price: float | None, otherwise: Missing) -> Cell:
    if isinstance(speed, Missing):
        return speed
    return otherwise if price is None else price / speed
