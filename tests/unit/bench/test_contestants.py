from __future__ import annotations

import pytest

from worker.bench.contestants import (
    FasterWhisper,
    FasterWhisperSequential,
    Ours,
    WhisperX,
    make,
)
from worker.bench.plan import NAMES, PEERS, Plan, line_up
from worker.speech.model import allocator


def test_everybody_takes_part_on_every_device() -> None:
    specs = line_up(Plan(), ("cpu", "cuda"))
    assert {(spec.name, spec.device) for spec in specs} == {
        (name, device) for name in NAMES for device in ("cpu", "cuda")
    }
    assert len(specs) == 2 * len(NAMES)


def test_filter_and_contexts() -> None:
    specs = line_up(Plan(), ["cpu"], ["whisperx", "optimized"], ["full", "adaptive"])
    assert [(spec.name, spec.plan.context) for spec in specs] == [
        ("whisperx", "full"),
        ("optimized", "full"),
        ("optimized", "adaptive"),
    ]


def test_carried_context_is_a_dimension_beside_context() -> None:
    wanted = ["faster-whisper-sequential", "standard", "optimized", "after-int8"]
    specs = line_up(Plan(), ["cpu"], wanted, ["full", "auto"], ["auto", "off"])
    own = [("full", "auto"), ("full", "off"), ("auto", "auto"), ("auto", "off")]
    for name in ("optimized", "after-int8"):
        found = [spec for spec in specs if spec.name == name]
        assert [(spec.plan.context, spec.plan.carry_context) for spec in found] == own
        assert all(spec.takes_context for spec in found)
    assert [spec.name for spec in specs if not spec.takes_context] == wanted[:2]
    labels = [spec.label for spec in specs]
    assert len(set(labels)) == len(labels)
    assert "optimized transcriber, auto, carry off (cpu)" in labels


def test_before_and_after_are_what_they_are_whatever_the_rest_is() -> None:
    plan = Plan(model="small", model_label="small", batch_size=8, batch_size_given=True)
    specs = {spec.name: spec for spec in line_up(plan, ["cuda"])}
    before, int8, float16 = specs["before"], specs["after-int8"], specs["after-float16"]
    assert (before.plan.model, before.plan.batch_size, before.exact_batch) == ("base", 16, True)
    for after in (int8, float16):
        assert (after.plan.model, after.plan.batch_size) == ("large-v3", 64)
        assert not after.plan.batch_size_given
    assert (int8.plan.compute_type, float16.plan.compute_type) == ("int8_float16", "float16")
    assert before.title == "before: base, batch 16, sequential"
    assert float16.title == "after: large-v3, batch 64, float16"
    assert specs["optimized"].plan == plan


def test_random_weights_reach_all_but_before() -> None:
    plan = Plan(model="models/random", fixed_tokens=50, after_model="models/random")
    fixed = {spec.name: spec.plan.fixed_tokens for spec in line_up(plan, ["cpu"])}
    assert fixed.pop("before") is None
    assert set(fixed.values()) == {50}


def test_only_our_own_start_with_the_workers_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(allocator.VARIABLE, raising=False)
    specs = line_up(Plan(), ("cpu", "cuda"))
    tuned = {(spec.name, spec.device) for spec in specs if spec.environment}
    assert tuned == {(name, "cpu") for name in NAMES if name not in (*PEERS, "before")}
    monkeypatch.setenv(allocator.VARIABLE, allocator.tuned(""))
    assert {value for spec in specs for value in spec.environment.values()} == {allocator.tuned("")}


def test_only_what_has_no_words_has_a_floor() -> None:
    floors = {spec.name for spec in line_up(Plan(), ["cpu"]) if spec.floor}
    assert floors == {"optimized", "after-int8", "after-float16"}


def test_who_is_who() -> None:
    kinds = {spec.name: type(make(spec)) for spec in line_up(Plan(), ["cpu"])}
    assert {name for name, kind in kinds.items() if kind is WhisperX} == {"whisperx", "before"}
    assert kinds["faster-whisper"] is FasterWhisper
    assert kinds["faster-whisper-sequential"] is FasterWhisperSequential
    assert not FasterWhisperSequential.batches
    assert kinds["standard"] is kinds["optimized-words"] is Ours
