"""The GPU test, asked of machines that aren't there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from worker.bench.gpu_test.checks import Check, Driver, Kind, Outcome, Run, run_checks, verdict
from worker.bench.gpu_test.gpu import parse_drivers
from worker.bench.gpu_test.libraries import Libraries
from worker.errors import MachineError

T4 = Driver("Tesla T4", "570.133.20", 15360, "7.5")
WORKING = Libraries("2.8.0+cu128", "12.8", 91002, "4.8.5", (), 1, 1)
WINDOW = 390 << 20


@dataclass
class FakeSession:
    """A T4 with large-v3: 24 windows fit, batches gain four times."""

    capacity: int = 24
    window_bytes: int = WINDOW
    really_takes: int = WINDOW - (20 << 20)
    gain: float = 4.0
    fails_at: int = 1000
    wrong_at: int = 1000
    tuned: Sequence[str] = ("TF32: not on this card", "cuDNN benchmark: on")
    stays_tuned: bool = True
    closed: bool = False
    description: str = "large-v3 on cuda:0 (Tesla T4), int8_float16, beam 5"
    self_test: tuple[Outcome, str] = (Outcome.PASSED, "known speech was recognised")
    window_seconds: float = 30.0

    def run(self, windows: int) -> Run:
        if windows >= self.fails_at:
            raise RuntimeError("CUDA failed with error out of memory")
        seconds = 1.0 if windows == 1 else windows / self.gain
        problem = "only silence was heard" if windows >= self.wrong_at else ""
        return Run(windows, seconds, (2 << 30) + windows * self.really_takes, problem)

    def still_tuned(self) -> bool:
        return self.stays_tuned

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeMachine:
    cards: Sequence[Driver] = (T4,)
    found: Libraries = WORKING
    session: FakeSession = field(default_factory=FakeSession)
    broken: str = ""
    loaded: int = 0

    def drivers(self) -> Sequence[Driver]:
        return self.cards

    def libraries(self) -> Libraries:
        return self.found

    def compute_type(self, kind: Kind) -> str:
        return "int8_float16; supported: float16, int8_float16"

    def load(self, kind: Kind) -> FakeSession:
        self.loaded += 1
        if self.broken:
            raise MachineError(self.broken)
        return self.session


def checked(machine: FakeMachine, kind: Kind = "cuda") -> tuple[dict[str, Check], str]:
    checks = list(run_checks(machine, kind))
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    return {check.name: check for check in checks}, verdict(checks, kind)


def test_a_t4_passes() -> None:
    machine = FakeMachine()
    checks, line = checked(machine)
    assert line == "GPU test PASSED"
    assert {name: check.outcome for name, check in checks.items()} == {
        "driver": Outcome.PASSED,
        "CUDA libraries": Outcome.PASSED,
        "compute type": Outcome.PASSED,
        "model": Outcome.PASSED,
        "self-test": Outcome.PASSED,
        "TF32": Outcome.INFO,  # a card without it is no failure
        "cuDNN benchmark": Outcome.PASSED,
        "batch of 1": Outcome.PASSED,
        "batch of 16": Outcome.PASSED,
        "batch of 24": Outcome.PASSED,  # the most that fits is tried
        "batch of 32": Outcome.SKIPPED,
        "batch of 64": Outcome.SKIPPED,
        "memory arithmetic": Outcome.PASSED,
        "batches pay": Outcome.PASSED,
        "switches after decoding": Outcome.PASSED,
    }
    assert checks["batch of 32"].detail == "does not fit: 24 windows do, by memory"
    assert "6.00 s, 4.00 windows/s, 120.0 audio s/s" in checks["batch of 24"].detail
    assert "a window takes 370 MiB in a batch of 24, 390 MiB" in checks["memory arithmetic"].detail
    assert machine.session.closed


def test_a_large_card_runs_what_was_asked_and_no_more() -> None:
    checks, line = checked(FakeMachine(session=FakeSession(capacity=180)))
    assert line == "GPU test PASSED"
    sizes = [name for name in checks if name.startswith("batch of")]
    assert sizes == ["batch of 1", "batch of 16", "batch of 32", "batch of 64"]


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (FakeMachine(cards=()), "driver: no GPU"),
        (FakeMachine(cards=[replace(T4, version="515.65.01")]), "driver: Tesla T4"),
        (
            FakeMachine(found=replace(WORKING, missing=("libcublas.so.12",))),
            "CUDA libraries: torch 2.8.0+cu128",
        ),
        (FakeMachine(found=replace(WORKING, ctranslate2_cards=0)), "CUDA libraries"),
        (FakeMachine(found=replace(WORKING, problem="illegal address")), "CUDA libraries"),
        (
            FakeMachine(broken="the self-test failed on cuda:0"),
            "model and self-test: the self-test",
        ),
        (FakeMachine(session=FakeSession(wrong_at=16)), "batch of 16: "),
        (FakeMachine(session=FakeSession(fails_at=24)), "batch of 24: RuntimeError: CUDA failed"),
        (FakeMachine(session=FakeSession(really_takes=500 << 20)), "memory arithmetic: a window"),
        (FakeMachine(session=FakeSession(gain=1.1)), "batches pay: 1.1 times"),
        (FakeMachine(session=FakeSession(stays_tuned=False)), "switches after decoding: TF32"),
    ],
)
def test_what_is_wrong_is_the_reason(machine: FakeMachine, reason: str) -> None:
    _, line = checked(machine)
    assert line.startswith(f"GPU test FAILED: {reason}")
    assert "\n" not in line


def test_nothing_is_loaded_on_a_machine_that_is_broken() -> None:
    machine = FakeMachine(cards=())
    checks, _ = checked(machine)
    assert machine.loaded == 0
    assert checks["model"].outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("version", "capability", "outcome"),
    [
        ("524.10", "7.5", Outcome.FAILED),
        ("525.60.13", "7.5", Outcome.PASSED),
        ("535.183.01", "8.9", Outcome.PASSED),
        ("535.183.01", "9.0", Outcome.FAILED),
        ("569.99", "12.0", Outcome.FAILED),
        ("570.26", "9.0", Outcome.PASSED),
        ("580.159.04", "9.0", Outcome.PASSED),
        ("535.183.01", "[N/A]", Outcome.FAILED),
    ],
)
def test_a_driver_must_be_new_enough_for_its_card(
    version: str, capability: str, outcome: Outcome
) -> None:
    card = replace(T4, version=version, capability=capability)
    checks, line = checked(FakeMachine(cards=[card]))
    assert checks["driver"].outcome is outcome
    if outcome is Outcome.FAILED:
        assert "too old" in checks["driver"].detail
        assert ("570" if capability != "7.5" else "525") in checks["driver"].detail
        assert line.startswith("GPU test FAILED: driver")


def test_a_cpu_runs_what_can_be_run_and_does_not_say_that_a_gpu_passed() -> None:
    none = replace(WORKING, torch_cards=0, ctranslate2_cards=0)
    session = FakeSession(capacity=8, gain=1.0, tuned=("TF32: not on a CPU",))
    machine = FakeMachine(cards=(), found=none, session=session)
    checks, line = checked(machine, "cpu")
    assert line == "CPU test PASSED"
    assert checks["driver"].outcome is Outcome.SKIPPED
    assert checks["CUDA libraries"].outcome is Outcome.INFO
    assert checks["batch of 8"].outcome is Outcome.PASSED
    assert checks["batches pay"].outcome is Outcome.INFO


def test_one_window_at_most_leaves_nothing_to_compare() -> None:
    checks, line = checked(FakeMachine(session=FakeSession(capacity=1)))
    assert checks["memory arithmetic"].outcome is Outcome.SKIPPED
    assert checks["batches pay"].outcome is Outcome.SKIPPED
    assert line == "GPU test PASSED"


def test_what_nvidia_smi_says_is_read() -> None:
    table = "Tesla T4, 570.133.20, 15360, 7.5\nNVIDIA L4, 570.133.20, 23034, 8.9\n"
    assert parse_drivers(table) == [T4, Driver("NVIDIA L4", "570.133.20", 23034, "8.9")]
    assert T4.number == (570, 133, 20)
    with pytest.raises(MachineError, match="can't be read"):
        parse_drivers("No devices were found\n")
