"""What contestants made of each kind of recordings, and whether short encoders are safe there.

Every kind is shown, also those that fail. The bar: `context = auto` is nowhere worse than `full` by
more than `MOST_OVER_FULL` points of word error rate, nor by an amount whose paired 95 % interval
excludes nought. Where nobody knows what is said, the text of `full` stands in for it, and the
difference is only shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.bench.claims import MOST_OVER_FULL
from worker.bench.trial import Measurement
from worker.bench.wer import (
    Interval,
    errors_by_clip,
    normalize,
    paired_interval,
    repeats,
    word_error_rate,
)

__all__ = ["ALL", "AUTO", "FULL", "Heard", "Judged", "judge", "pool", "to_json", "to_markdown"]

FULL, AUTO = "full", "auto"
"""Names of this worker's contestants: its contexts."""

ALL = "all with text"
"""The row of all kinds whose text is known, together."""

WORST_FILES = 5
"""Of each kind that fails, shown below the table."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the contestants made of one kind.

    Attributes:
        kind: its name.
        files: names, in order.
        seconds: of audio in them.
        references: what is said in each; None if that is unknown.
        measurements: by contestant; one that failed is missing.
        failures: why those are missing.
    """

    kind: str
    files: tuple[str, ...]
    seconds: float
    references: tuple[str, ...] | None
    measurements: Mapping[str, Measurement]
    failures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """The figures of one kind.

    Attributes:
        heard: what they were taken from.
        known: whether what is said is known; else errors are against the text of `full`.
        words: in each file.
        errors: of each contestant in each file.
        repeating: texts of each contestant that say something twice over which was said once.
        interval: `auto` over `full`, in points; None if one of them is missing or there is one
            file only.
    """

    heard: Heard
    known: bool
    words: tuple[int, ...]
    errors: Mapping[str, tuple[int, ...]]
    repeating: Mapping[str, int]
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """Whether the kind holds the bar."""
        if not {FULL, AUTO} <= self.errors.keys():
            return "not measured"
        if not self.known:
            return "no text"
        if self.interval is None:
            return "one file"
        if self.interval.difference > MOST_OVER_FULL:
            return "FAILS (above)"
        return "FAILS (interval)" if self.interval.low > 0 else "holds"

    @property
    def fails(self) -> bool:
        """Whether it was measured and does not."""
        return self.verdict.startswith("FAILS")

    def worse(self) -> list[tuple[str, int, int]]:
        """The files in which `auto` has more errors than `full`: name and both; worst first."""
        if not {FULL, AUTO} <= self.errors.keys():
            return []
        found = [
            (name, full, auto)
            for name, full, auto in zip(
                self.heard.files, self.errors[FULL], self.errors[AUTO], strict=True
            )
            if auto > full
        ]
        return sorted(found, key=lambda one: one[1] - one[2])


def judge(heard: Heard, *, seed: int = 0) -> Judged:
    """The figures of one kind.

    Args:
        heard: what came out.
        seed: of the bootstrap.
    """
    texts = {
        name: [normalize(text) for text in run.texts] for name, run in heard.measurements.items()
    }
    known = heard.references is not None
    said = [normalize(text) for text in heard.references or ()] or texts.get(FULL)
    if said is None:
        return Judged(heard, known, (), {}, {}, None)
    errors = {
        name: tuple(
            errors_by_clip([reference], text)[0]
            for reference, text in zip(said, found, strict=True)
        )
        for name, found in texts.items()
    }
    twice = [known and repeats(words) for words in said]
    repeating = {
        name: sum(
            _copies(text) > _copies(reference) or (repeats(text) and not right)
            for reference, text, right in zip(said, found, twice, strict=True)
        )
        for name, found in texts.items()
    }
    words = tuple(len(reference) for reference in said)
    return Judged(heard, known, words, errors, repeating, _interval(words, errors, seed))


def pool(kinds: Sequence[Judged], *, seed: int = 0) -> Judged | None:
    """All kinds whose text is known as one; None if there are not two, or one lacks a contestant.

    Only what all of them have is taken: the contestants that ran everywhere.
    """
    known = [one for one in kinds if one.known]
    names = [
        name
        for name in (known[0].errors if known else ())
        if all(name in one.errors for one in known)
    ]
    if len(known) < 2 or not names:
        return None
    words = tuple(count for one in known for count in one.words)
    errors = {name: tuple(e for one in known for e in one.errors[name]) for name in names}
    return Judged(
        Heard(
            ALL,
            tuple(f"{one.heard.kind}/{file}" for one in known for file in one.heard.files),
            sum(one.heard.seconds for one in known),
            tuple(text for one in known for text in one.heard.references or ()),
            {name: _sum([one.heard.measurements[name] for one in known]) for name in names},
            {},
        ),
        True,
        words,
        errors,
        {name: sum(one.repeating[name] for one in known) for name in names},
        _interval(words, errors, seed),
    )


def to_markdown(kinds: Sequence[Judged], *, seed: int = 0) -> str:
    """The table with a row for each kind and one for all; then the worst files of what fails."""
    together = pool(kinds, seed=seed)
    rows = [*kinds, *([together] if together else [])]
    names = list(dict.fromkeys(name for one in kinds for name in one.heard.measurements))
    columns = ["kind", "files", "audio s", "words"]
    columns += [f"{name}: errors %" for name in names]
    columns += ["auto - full [95 %]", "bar"]
    columns += [f"{name}: twice" for name in names]
    columns += [f"{name}: s" for name in names]
    columns += ["auto: short %", "second attempts full / auto"]
    cells = [columns, *(_row(one, names) for one in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    lines += [
        "",
        "Errors are in a hundred words; where no text is known ('no text'), against the text of "
        "full. Twice: texts that say something twice over which was said once. Short: windows "
        "tried with less than 30 s of encoder. The bar: auto is not worse than full by more than "
        f"{MOST_OVER_FULL:g} points, nor by an amount whose paired interval lies above nought.",
    ]
    for one in kinds:
        for name, reason in one.heard.failures.items():
            lines.append(f"- {one.heard.kind}: {name} was not measured: {reason}")
        if one.fails:
            for file, full, auto in one.worse()[:WORST_FILES]:
                lines.append(
                    f"- {one.heard.kind}, {file}: {full} errors with full, {auto} with auto"
                )
    return "\n".join(lines) + "\n"


def to_json(kinds: Sequence[Judged], settings: Mapping[str, str]) -> str:
    """The figures for programs, with every text."""
    document = {
        "schema_version": 1,
        "settings": dict(settings),
        "kinds": [
            {
                "kind": one.heard.kind,
                "audio_seconds": one.heard.seconds,
                "verdict": one.verdict,
                "auto_over_full": None
                if one.interval is None
                else {
                    "difference": one.interval.difference,
                    "low": one.interval.low,
                    "high": one.interval.high,
                },
                "files": list(one.heard.files),
                "references": one.heard.references,
                "words": list(one.words),
                "contestants": {
                    name: {
                        "seconds": run.seconds,
                        "errors": one.errors.get(name),
                        "repeating": one.repeating.get(name),
                        "texts": list(run.texts),
                        "windows": run.file_windows,
                        "short_windows": run.short_windows,
                        "second_attempts": run.second_attempts,
                    }
                    for name, run in one.heard.measurements.items()
                },
                "failures": dict(one.heard.failures),
            }
            for one in kinds
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _row(one: Judged, names: Sequence[str]) -> list[str]:
    runs = one.heard.measurements
    auto = runs.get(AUTO)
    short = (
        f"{100 * auto.short_windows / auto.file_windows:.0f}"
        if auto is not None and auto.file_windows
        else "-"
    )
    interval = "-"
    if one.interval is not None:
        found = one.interval
        interval = f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    again = [str(runs[name].second_attempts) if name in runs else "-" for name in (FULL, AUTO)]
    return [
        one.heard.kind,
        str(len(one.heard.files)),
        f"{one.heard.seconds:.0f}",
        str(sum(one.words)),
        *(
            f"{word_error_rate(one.words, one.errors[name]):.2f}"
            if name in one.errors and (one.known or name != FULL)
            else "-"
            for name in names
        ),
        interval,
        one.verdict,
        *(str(one.repeating.get(name, "-")) for name in names),
        *(f"{runs[name].seconds:.1f}" if name in runs else "-" for name in names),
        short,
        " / ".join(again),
    ]


def _interval(
    words: Sequence[int], errors: Mapping[str, Sequence[int]], seed: int
) -> Interval | None:
    if not {FULL, AUTO} <= errors.keys() or len(words) < 2 or not sum(words):
        return None
    return paired_interval(words, errors[AUTO], errors[FULL], seed=seed)


def _copies(words: Sequence[str]) -> int:
    """How often a text says the same from its beginning to its end; 1 where it doesn't."""
    for period in range(1, len(words) // 2 + 1):
        if len(words) % period == 0 and list(words[period:]) == list(words[:-period]):
            return len(words) // period
    return 1


def _sum(runs: Sequence[Measurement]) -> Measurement:
    windows = [run.file_windows for run in runs if run.file_windows is not None]
    return Measurement(
        seconds=sum(run.seconds for run in runs),
        audio_seconds=sum(run.audio_seconds for run in runs),
        texts=tuple(text for run in runs for text in run.texts),
        windows=sum(run.windows for run in runs),
        slots=sum(run.slots for run in runs),
        second_attempts=sum(run.second_attempts for run in runs),
        file_windows=sum(windows) if windows else None,
        short_windows=sum(run.short_windows for run in runs),
    )
