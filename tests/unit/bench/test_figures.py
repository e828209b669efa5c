"""Rows and claims from trials that nobody ran."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from worker.bench.claims import Claim, claims
from worker.bench.figures import Missing, Prices, Row, make_rows
from worker.bench.loads import Load
from worker.bench.plan import Plan, Spec, Started, line_up
from worker.bench.probe import Floor
from worker.bench.report import Report, draw, to_json, to_markdown
from worker.bench.trial import Measurement, Trial
from worker.bench.wer import Interval

REFERENCES = ("one two three four", "five six", "seven eight nine ten")
CLIPS = Load("clips", (Path("a"), Path("b"), Path("c")), 60.0, REFERENCES)
JOINED = Load("joined", (Path("all"),), 61.0, REFERENCES)
STARTED = Started("int8", 8, "a processor")
NO_CARD = "no CUDA device can be used"


def spec(name: str, device: str = "cpu", plan: Plan | None = None) -> Spec:
    (found,) = [s for s in line_up(plan or Plan(), ["cpu", "cuda"], [name]) if s.device == device]
    return found


def measured(
    seconds: float, texts: Sequence[str] = REFERENCES, *, floor: float | None = None
) -> Measurement:
    return Measurement(
        seconds=seconds,
        audio_seconds=60.0,
        texts=tuple(texts),
        windows=6,
        slots=8,
        peak_bytes=1 << 30,
        floor=Floor(floor, 1, 6, 6) if floor else None,
    )


def trial(name: str, *args: float, device: str = "cpu", texts: Sequence[str] = REFERENCES) -> Trial:
    seconds, floor = (*args, None)[:2]
    assert seconds is not None
    found = Trial(spec(name, device), STARTED)
    found.measurements = {"clips": measured(seconds, texts, floor=floor)}
    return found


def absent(name: str) -> Trial:
    return Trial(spec(name, "cuda"), failure=NO_CARD)


def by_name(rows: Sequence[Row], device: str = "cpu") -> dict[str, Row]:
    return {row.spec.name: row for row in rows if row.spec.device == device}


def test_ratios_are_taken_within_a_repeat() -> None:
    """The machine is three times slower in the second repeat; the ratio is 2 in both."""
    repeats = [
        [trial("whisperx", 20.0), trial("optimized", 10.0, 8.0)],
        [trial("whisperx", 60.0), trial("optimized", 30.0, 24.0)],
        [trial("whisperx", 21.0), trial("optimized", 10.5, 8.4)],
    ]
    rows = by_name(make_rows(repeats, [CLIPS], Prices()))
    ours = rows["optimized"]
    assert ours.runs == (10.0, 30.0, 10.5)
    assert ours.seconds == 10.5
    assert ours.speed == pytest.approx(60 / 10.5)
    assert ours.to_peer["whisperx"] == pytest.approx(2.0)
    assert ours.to_cpu == 1.0
    assert ours.overhead == pytest.approx(1.25)
    assert ours.fill == pytest.approx(0.75)
    assert ours.peak == 1 << 30
    assert isinstance(ours.to_peer["faster-whisper"], Missing)
    assert isinstance(rows["whisperx"].overhead, Missing)


def test_errors_and_their_interval() -> None:
    wrong = ("one two four", "five six", "seven ate nine ten")
    repeats = [[trial("whisperx", 20.0), trial("optimized", 10.0, texts=wrong)]]
    ours = by_name(make_rows(repeats, [CLIPS], Prices()))["optimized"]
    assert ours.wer == pytest.approx(20.0)
    interval = ours.against["whisperx"]
    assert isinstance(interval, Interval)
    assert interval.difference == pytest.approx(20.0)
    assert 0.0 <= interval.low <= 20.0 <= interval.high


def test_joined_text_is_taken_apart_by_clip() -> None:
    clean = Trial(spec("whisperx"), STARTED)
    clean.measurements = {"joined": measured(20.0, [" ".join(REFERENCES)])}
    wrong = Trial(spec("optimized"), STARTED)
    wrong.measurements = {"joined": measured(10.0, ["One, two three four five. Seven ten"])}
    ours = by_name(make_rows([[clean, wrong]], [JOINED], Prices()))["optimized"]
    assert ours.wer == pytest.approx(30.0)
    interval = ours.against["whisperx"]
    assert isinstance(interval, Interval)
    assert interval.low == pytest.approx(0.0)  # a draw of the first clip alone


def test_dollars() -> None:
    prices = Prices(gpu=0.6, gpu_spot=None, cpu=0.2)
    card = trial("optimized", 2.0, device="cuda")
    rows = make_rows([[trial("optimized", 10.0), card]], [CLIPS], prices)
    cpu, gpu = by_name(rows)["optimized"], by_name(rows, "cuda")["optimized"]
    assert cpu.dollars == pytest.approx(0.2 / 6.0)
    assert gpu.dollars == pytest.approx(0.6 / 30.0)
    assert gpu.dollars_spot == Missing("its price was not given", "not given")
    assert gpu.to_cpu == pytest.approx(5.0)
    spot = make_rows([[card]], [CLIPS], replace(prices, gpu_spot=0.3))[0].dollars_spot
    assert spot == pytest.approx(0.3 / 30.0)


def test_what_was_not_measured_says_why() -> None:
    rows = make_rows([[absent("optimized")]], [CLIPS, JOINED], Prices())
    assert [row.load for row in rows] == ["clips", "joined"]
    for row in rows:
        assert row.seconds == Missing(NO_CARD)
        for cell in (row.speed, row.wer, row.overhead, row.peak, row.dollars):
            assert isinstance(cell, Missing)
            assert cell.reason == NO_CARD


def test_a_trial_that_failed_half_way_keeps_what_it_has() -> None:
    half = trial("optimized", 10.0)
    half.failure = "its process ended with -9"
    clips, joined = make_rows([[half]], [CLIPS, JOINED], Prices())
    assert clips.seconds == 10.0
    assert joined.seconds == Missing("its process ended with -9")


def test_random_weights_have_no_word_error_rate() -> None:
    fixed = trial("optimized", 10.0)
    fixed.spec = replace(fixed.spec, plan=replace(fixed.spec.plan, fixed_tokens=100))
    (row,) = make_rows([[fixed]], [CLIPS], Prices())
    assert row.wer == Missing("random weights recognise nothing")


def test_no_transcripts_no_word_error_rate() -> None:
    (row,) = make_rows([[trial("optimized", 10.0)]], [replace(CLIPS, references=None)], Prices())
    assert isinstance(row.wer, Missing)
    assert "transcripts.csv" in row.wer.reason


def test_silence_costs_no_division_by_zero() -> None:
    quiet = trial("optimized", 1.0)
    silence = replace(measured(1.0), windows=0, slots=0, floor=Floor(0.0, 0, 0, 0))
    quiet.measurements = {"clips": silence}
    (row,) = make_rows([[quiet]], [CLIPS], Prices())
    assert isinstance(row.fill, Missing)
    assert isinstance(row.overhead, Missing)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (14.9, "below"),
        (15.0, "holds"),
        (30.0, "holds"),
        (31.0, "above"),
        (Missing("x"), "not measured"),
    ],
)
def test_verdicts(value: float | Missing, verdict: str) -> None:
    assert Claim("15 to 30", value, 15, 30).verdict == verdict


def test_claims() -> None:
    trials = [trial("whisperx", 20.0), trial("faster-whisper", 15.0), trial("optimized", 10.0, 9.0)]
    found = {
        claim.text: claim
        for claim in claims(make_rows([[*trials, absent("optimized")]], [CLIPS], Prices()))
    }
    verdicts = {text: claim.verdict for text, claim in found.items()}
    where = "clips, CPU, context full"
    seed = "clips: 15 to 30 times a CPU"
    assert verdicts == {
        f"{seed} (optimized on the GPU over WhisperX on the CPU)": "not measured",
        f"{seed} (after-int8 on the GPU over the same on the CPU)": "not measured",
        f"{where}: at least 1.8 times WhisperX": "holds",
        f"{where}: at least 1.2 times faster-whisper": "holds",
        f"{where}: word error rate at most 0.5 points above the better peer": "holds",
        f"{where}: overhead over the floor at most 1.15": "holds",
    }
    (seed_claim,) = [claim for text, claim in found.items() if "WhisperX on the CPU" in text]
    assert isinstance(seed_claim.value, Missing)
    assert seed_claim.value.reason == NO_CARD


def test_the_seed_claim_is_measured_where_there_is_a_card() -> None:
    trials = [trial("whisperx", 20.0), trial("optimized", 1.0, device="cuda")]
    first, *_ = claims(make_rows([trials], [CLIPS], Prices()))
    assert first.value == pytest.approx(20.0)
    assert first.verdict == "holds"


@pytest.fixture
def report() -> Report:
    noted = trial("optimized", 10.0, 9.0)
    noted.started = replace(STARTED, notes=("Quantization fallback: a | b",))
    repeats = [
        [trial("whisperx", 20.0), noted, absent("optimized")],
        [trial("whisperx", 22.0), noted, absent("optimized")],
    ]
    rows = make_rows(repeats, [CLIPS], Prices())
    return Report({"processor": "some"}, {"model": "base"}, rows, claims(rows))


def test_markdown(report: Report) -> None:
    text = to_markdown(report)
    lines = [line for line in text.splitlines() if line.startswith("| optimized")]
    on_cpu, on_card, *_ = lines
    assert "10.0 (10.0 to 10.0)" in on_cpu
    assert "2.10" in on_cpu
    assert "not measured [" in on_card
    assert NO_CARD in text
    for table in text.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1
        assert len({len(line) for line in rows}) <= 1


def test_json(report: Report) -> None:
    document = json.loads(to_json(report))
    ours, card = [row for row in document["rows"] if row["contestant"] == "optimized"]
    assert ours["seconds"] == 10.0
    assert ours["ratio_to_peer"]["whisperx"] == pytest.approx(2.1)
    assert ours["points_over_peer"]["whisperx"]["difference"] == 0.0
    assert ours["overhead_over_floor"] == pytest.approx(10 / 9)
    assert card["seconds"] == {"not_measured": NO_CARD}
    assert {claim["verdict"] for claim in document["claims"]} >= {"holds", "not measured"}


def test_chart(report: Report, tmp_path: Path) -> None:
    draw(report, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
