"""The report of a benchmark: tables in Markdown, JSON, and a chart.

A figure that could not be measured says so, with a number that leads to the reason below the
tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.bench.claims import TITLES, Claim
from worker.bench.figures import OWN, Cell, Comparison, Missing, Row
from worker.bench.plan import PEERS
from worker.bench.wer import Interval

__all__ = ["Report", "draw", "to_json", "to_markdown"]

SPREAD_RUNS = 2
"""From this many repeats on, the least and the most stand beside the median."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found out.

    Attributes:
        machine: a label and a sentence for each thing.
        settings: what was asked for, the same way.
        rows: see `figures`.
        claims: see `claims`.
    """

    machine: Mapping[str, str]
    settings: Mapping[str, str]
    rows: Sequence[Row]
    claims: Sequence[Claim]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text; the first column is the widest."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Footnotes:
    """Reasons, numbered as they come."""

    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> str:
        """The number of a reason, in brackets."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"[{self.reasons.index(reason) + 1}]"


def _grids(report: Report, notes: Footnotes) -> list[Grid]:
    """The tables of a report; the reasons that they refer to go into the notes."""
    found: list[Grid] = []
    for load in dict.fromkeys(row.load for row in report.rows):
        rows = [row for row in report.rows if row.load == load]
        found += [_speed(load, rows, notes), _quality(load, rows, notes)]
        found += [grid] if (grid := _compared(load, rows)).rows else []
    found.append(
        Grid(
            "Claims",
            ("claim", "measured", "interval", "verdict"),
            [
                (claim.text, _measured(claim, notes), _interval(claim.interval), claim.verdict)
                for claim in report.claims
            ],
        )
    )
    return found


def to_markdown(report: Report) -> str:
    """The report as a Markdown document."""
    notes = Footnotes()
    tables = _grids(report, notes)
    lines = ["# Benchmark", ""]
    for title, values in (("Machine", report.machine), ("Settings", report.settings)):
        lines += [f"## {title}", ""]
        lines += [f"- {name}: {value}" for name, value in values.items()]
        lines.append("")
    for grid in tables:
        lines += [f"## {grid.title}", ""]
        lines += [*_table(grid), ""]
    lines += _below(report, notes)
    return "\n".join(lines).rstrip() + "\n"


def to_json(report: Report) -> str:
    """The report for programs; a figure that is missing is {"not_measured": why}."""
    document = {
        "schema_version": 1,
        "machine": dict(report.machine),
        "settings": dict(report.settings),
        "rows": [_plain_row(row) for row in report.rows],
        "claims": [
            {
                "claim": claim.text,
                "measured": _plain(claim.value),
                "interval": claim.interval,
                "verdict": claim.verdict,
            }
            for claim in report.claims
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def draw(report: Report, path: Path) -> None:
    """Writes a chart of audio seconds per second, a panel for each load, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    loads = list(dict.fromkeys(row.load for row in report.rows))
    most = max(sum(row.load == load for row in report.rows) for load in loads)
    figure, panels = pyplot.subplots(
        len(loads), 1, figsize=(10, len(loads) * (1.2 + 0.34 * most)), squeeze=False
    )
    for load, panel in zip(loads, panels[:, 0], strict=True):
        rows = [row for row in report.rows if row.load == load][::-1]
        speeds = [0.0 if isinstance(row.speed, Missing) else row.speed for row in rows]
        colours = ["tab:green" if row.spec.device == "cuda" else "tab:blue" for row in rows]
        bars = panel.barh([row.spec.label for row in rows], speeds, color=colours)
        labels = [
            "not measured" if isinstance(row.speed, Missing) else f"{row.speed:.1f}" for row in rows
        ]
        panel.bar_label(bars, labels=labels, padding=3)
        panel.margins(x=0.12)
        panel.set_title(f"{load}: audio seconds per second")
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _table(grid: Grid) -> list[str]:
    """Lines of a Markdown table, padded so that it can be read as it is."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (grid.columns, *grid.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(grid.columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


_WHO = ("contestant", "device", "model", "compute type", "context", "carry")
"""The columns that say what a row is about."""


def _speed(load: str, rows: Sequence[Row], notes: Footnotes) -> Grid:
    columns = [
        *_WHO, "batch", "seconds", "audio s / s", "x CPU", "over floor", "fill",
    ]  # fmt: skip
    return Grid(
        f"{load}: speed",
        columns,
        [
            [
                *_who(row, notes),
                str(row.started.batch_size) if row.started else "-",
                _seconds(row, notes),
                _cell(row.speed, "{:.2f}", notes),
                _cell(row.to_cpu, "{:.2f}", notes),
                _cell(row.overhead, "{:.3f}", notes),
                _cell(row.fill, "{:.2f}", notes),
            ]
            for row in rows
        ],
    )


def _quality(load: str, rows: Sequence[Row], notes: Footnotes) -> Grid:
    columns = [
        *_WHO, "WER %", "repeating", "peak MiB", "peak MiB on the card",
        "$ / audio hour", "$ / audio hour on spot",
    ]  # fmt: skip
    return Grid(
        f"{load}: errors, memory and cost",
        columns,
        [
            [
                *_who(row, notes),
                _cell(row.wer, "{:.2f}", notes),
                _cell(row.repeating, "{:.0f}", notes),
                _mebibytes(row.peak, notes),
                _mebibytes(row.card_peak, notes),
                _cell(row.dollars, "{:.4f}", notes),
                _cell(row.dollars_spot, "{:.4f}", notes),
            ]
            for row in rows
        ],
    )


def _compared(load: str, rows: Sequence[Row]) -> Grid:
    """Every contestant beside every rival that ran as well."""
    return Grid(
        f"{load}: comparisons",
        ("contestant", "with", "times as fast", "of any repeat", "points of WER over it", "95 %"),
        [
            (row.spec.label, TITLES[rival], *_comparison(comparison))
            for row in rows
            for rival, comparison in row.beside.items()
            if comparison.ratios
        ],
    )


def _comparison(found: Comparison) -> tuple[str, str, str, str]:
    ratio = "-" if isinstance(found.ratio, Missing) else f"{found.ratio:.2f}"
    spread = (min(found.ratios), max(found.ratios)) if len(found.ratios) >= SPREAD_RUNS else None
    if isinstance(found.points, Missing):
        return ratio, _interval(spread), "-", "-"
    points = found.points
    return (
        ratio,
        _interval(spread),
        f"{points.difference:+.2f}",
        _interval((points.low, points.high)),
    )


def _who(row: Row, notes: Footnotes) -> list[str]:
    marks = "".join(notes.mark(note) for note in row.notes)
    return [
        f"{row.spec.title} {marks}".strip(),
        row.spec.device,
        row.spec.plan.model_label,
        row.started.compute_type if row.started else row.spec.plan.compute_type,
        row.spec.plan.context,
        row.spec.plan.carry_context if row.spec.takes_context else "-",
    ]


def _seconds(row: Row, notes: Footnotes) -> str:
    text = _cell(row.seconds, "{:.1f}", notes)
    if len(row.runs) >= SPREAD_RUNS:
        text += f" ({min(row.runs):.1f} to {max(row.runs):.1f})"
    return text


def _cell(value: Cell, layout: str, notes: Footnotes) -> str:
    if isinstance(value, Missing):
        return _missing(value, notes)
    return layout.format(value)


def _measured(claim: Claim, notes: Footnotes) -> str:
    if isinstance(claim.value, Missing):
        return _missing(Missing(claim.value.reason), notes)
    return _cell(claim.value, "{:.2f}", notes)


def _missing(value: Missing, notes: Footnotes) -> str:
    return value.said if value.said == "-" else f"{value.said} {notes.mark(value.reason)}"


def _mebibytes(value: Cell, notes: Footnotes) -> str:
    return _cell(value if isinstance(value, Missing) else value / (1 << 20), "{:.0f}", notes)


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def _below(report: Report, notes: Footnotes) -> list[str]:
    """What stands under the tables."""
    lines = [
        "Seconds run from the first file opened to the last text; loading is left out. Ratios and "
        "the overhead are medians over the repeats, each taken within one repeat. Word errors are "
        "counted after lower-casing, with punctuation removed and hyphens as spaces; 95 % "
        "intervals are a paired bootstrap over clips or, in longer files, over stretches of some "
        "75 words. Repeating is how many files have a text that says something twice over. The "
        "floor is the engine's own calls of CTranslate2 made again, bare, with the same windows "
        "and batches. Peak memory is the resident set of the process and its children; on the "
        "card, what all processes use. Dollars take it that the instance of that price is as fast "
        "as this machine.",
        "",
    ]
    if any(row.spec.plan.fixed_tokens is not None for row in report.rows):
        lines += [
            "**Rows marked (random weights) ran the architecture with random weights and a fixed "
            "number of tokens for each window: their speed is an estimate, and they have no word "
            "error rate.**",
            "",
        ]
    lines += [f"- [{number}] {reason}" for number, reason in enumerate(notes.reasons, start=1)]
    return lines


def _plain_row(row: Row) -> dict[str, Any]:
    plan = row.spec.plan
    return {
        "contestant": row.spec.name,
        "title": row.spec.title,
        "device": row.spec.device,
        "load": row.load,
        "model": plan.model_label,
        "random_weights": plan.fixed_tokens is not None,
        "compute_type_asked": plan.compute_type,
        "compute_type": row.started.compute_type if row.started else None,
        "context": plan.context,
        "carry_context": plan.carry_context if row.spec.takes_context else None,
        "words": row.spec.words,
        "batch_size": row.started.batch_size if row.started else None,
        "runs": list(row.runs),
        "seconds": _plain(row.seconds),
        "audio_seconds_per_second": _plain(row.speed),
        "ratio_to_cpu": _plain(row.to_cpu),
        "ratio_to_peer": {peer: _plain(row.beside[peer].ratio) for peer in PEERS},
        "ratio_to_own": {own: _plain(row.beside[own].ratio) for own in OWN},
        "word_error_rate": _plain(row.wer),
        "points_over_peer": {peer: _plain(row.beside[peer].points) for peer in PEERS},
        "points_over_own": {own: _plain(row.beside[own].points) for own in OWN},
        "repeating": _plain(row.repeating),
        "overhead_over_floor": _plain(row.overhead),
        "floor_seconds": _plain(row.floor),
        "batch_fill": _plain(row.fill),
        "peak_bytes": _plain(row.peak),
        "card_peak_bytes": _plain(row.card_peak),
        "dollars_per_audio_hour": _plain(row.dollars),
        "dollars_per_audio_hour_spot": _plain(row.dollars_spot),
        "notes": list(row.notes),
    }


def _plain(value: Cell | Interval) -> Any:
    if isinstance(value, Missing):
        return {"not_measured": value.reason}
    if isinstance(value, Interval):
        return {"difference": value.difference, "low": value.low, "high": value.high}
    return value
